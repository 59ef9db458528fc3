"""The two stages of `tests.transforms.hops` live, as one job: `python -m tests.stack.hops_job`, with Beam's flags."""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from tests.transforms import hops
from transforms.fold_log import FoldLog, FoldLogKnobs
from transforms.lane_types import LaneKnobs, Summary
from transforms.snapshots import SnapshotStore


@dataclass(frozen=True)
class Local:
    """Settings of a plain broker."""

    bootstrap: str

    def resolved(self) -> dict[str, str]:
        return {"bootstrap.servers": self.bootstrap, "log_level": "0"}


class Note(beam.DoFn):
    """Appends a line per turn that did something, or was the first of its process."""

    def __init__(self, path: str) -> None:
        self._path, self._seen = path, set[tuple[str, int]]()

    def process(self, summary: Summary) -> Iterable[bytes]:
        if summary.records or summary.refolded or (summary.stage, summary.lane) not in self._seen:
            self._seen.add((summary.stage, summary.lane))
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(summary._asdict()) + "\n")
        return []


def build(pipeline: beam.Pipeline, bootstrap: str, snapshots: str, notes: str, lanes: int) -> None:
    """Both stages from PBegin; small snapshots, often."""
    knobs = FoldLogKnobs(lane=LaneKnobs(snapshot_records=500, snapshot_s=1, snapshot_share=1, stall_s=10))
    for name, engine in (("Debit", hops.debit_engine), ("Credit", hops.credit_engine)):
        _ = (
            pipeline
            | name >> FoldLog(engine, Local(bootstrap), SnapshotStore(snapshots), lanes, knobs)
            | f"Note{name}" >> beam.ParDo(Note(notes)).with_output_types(bytes)
        )


def run(argv: Sequence[str]) -> None:
    """Launches the job and stays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--snapshots", required=True)
    parser.add_argument("--notes", required=True)
    parser.add_argument("--lanes", type=int, default=2)
    own, others = parser.parse_known_args(argv)
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming", *others]))
    build(pipeline, own.bootstrap, own.snapshots, own.notes, own.lanes)
    pipeline.run().wait_until_finish()


if __name__ == "__main__":
    run(sys.argv[1:])
