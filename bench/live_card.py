"""The card example live: deposits that stand in Kafka, folded by `FoldLog` on a real Flink cluster, balances written back to Kafka.

The full contract: Avro in and out, origins, gapless writes, claims after the flush, snapshots. The rate is taken from the broker's own
append times of the balances, between the first and the last tenth of them, so neither the start of the job nor its end counts. Broker,
cluster and workers share this machine.

    python -m bench.live_card --records=2000000 --lanes=2

starts a stack of its own below --folder, for each run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.broker import ends, rate, read
from bench.card import BALANCES, CARDS, DEPOSITS, EVENTS, Deposit, make_engine
from transforms.fold_log import FoldLog, FoldLogKnobs
from transforms.kafka_headers import Headings
from transforms.lane_types import LaneKnobs, Summary
from transforms.log_reader import ReadKnobs
from transforms.log_writer import WriteKnobs
from transforms.snapshots import SnapshotStore

SMALL = 100_000  # distinct deposits; more records repeat them


@dataclass(frozen=True)
class Local:
    """Settings of a plain broker."""

    bootstrap: str

    def resolved(self) -> dict[str, str]:
        return {"bootstrap.servers": self.bootstrap, "log_level": "0"}


def fill(bootstrap: str, records: int) -> None:
    """Makes both topics and writes the deposits; the same bytes for the same number."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {"message.timestamp.type": "LogAppendTime"}
    topics = [NewTopic(topic.name, topic.partitions, 1, config=config) for topic in (DEPOSITS, BALANCES)]
    for made in admin.create_topics(topics).values():
        made.result(30)
    rng = Random(4)
    deposits = []
    for _ in range(min(records, SMALL)):
        card = f"card-{rng.randrange(CARDS):06d}"
        deposits.append((EVENTS.encode(Deposit(card, rng.randrange(1, 100_000))), card.encode()))
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "acks": "all"})
    for n in range(records):
        value, key = deposits[n % len(deposits)]
        while True:
            try:
                producer.produce(DEPOSITS.name, value, key, DEPOSITS.partition_of(key))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


class Note(beam.DoFn):
    """Appends each summary with records to a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def process(self, summary: Summary) -> list[bytes]:
        if summary.records:
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(json.dumps(summary._asdict()) + "\n")
        return []


def knobs(linger_ms: float, trace: bool, cloud_events: bool, step: int, lease_ms: int) -> FoldLogKnobs:
    """The throughput operating point."""
    return FoldLogKnobs(
        lane=LaneKnobs(step_records=step, lease_ms=lease_ms),
        read=ReadKnobs(buffered=100_000, buffered_kb=65_536),
        write=WriteKnobs(linger_ms=linger_ms),
        headings=Headings(trace, cloud_events),
    )


def launch(argv: Sequence[str]) -> None:
    """The job itself, in a process of its own."""
    parser = argparse.ArgumentParser()
    _add_knobs(parser)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--snapshots", required=True)
    parser.add_argument("--notes", required=True)
    own, others = parser.parse_known_args(argv)
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming", *others]))
    folded = pipeline | "Cards" >> FoldLog(
        make_engine,
        Local(own.bootstrap),
        SnapshotStore(own.snapshots),
        own.lanes,
        knobs(own.linger_ms, own.trace, own.cloud_events, own.step, own.lease_ms),
    )
    _ = folded | "Note" >> beam.ParDo(Note(own.notes)).with_output_types(bytes)
    pipeline.run().wait_until_finish()


def _add_knobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--linger_ms", type=float, default=5)
    parser.add_argument("--lease_ms", type=int, default=1000)
    parser.add_argument("--step", type=int, default=2000)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--cloud_events", action="store_true")


def measure(own: argparse.Namespace, stack: Any, folder: Path) -> dict[str, Any]:
    """Fills, launches, waits for the last balance, cancels."""
    fill(stack.bootstrap, own.records)
    command = [
        *(sys.executable, "-m", "bench.live_card", "launch", f"--bootstrap={stack.bootstrap}", f"--lanes={own.lanes}"),
        *(f"--snapshots={folder / 'snapshots'}", f"--notes={folder / 'notes'}", f"--linger_ms={own.linger_ms}"),
        *(
            f"--lease_ms={own.lease_ms}",
            f"--step={own.step}",
            *(["--trace"] if own.trace else []),
            *(["--cloud_events"] if own.cloud_events else []),
        ),
        *("--runner=PortableRunner", f"--job_endpoint={stack.job_endpoint}", "--job_name=live-card"),
        *("--environment_type=EXTERNAL", f"--environment_config={stack.worker_endpoint()}"),
        *(f"--parallelism={own.lanes}", "--checkpointing_interval=2000"),
        *("--finish_bundle_before_checkpointing", "--max_bundle_time_mills=20"),
    ]
    with (folder / "job.log").open("w") as log:
        job = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            end = time.monotonic() + own.patience_s
            while sum(ends(stack.bootstrap, BALANCES.name, BALANCES.partitions)) < own.records:
                if time.monotonic() > end:
                    raise SystemExit(f"not done within {own.patience_s} s: see {folder / 'job.log'}")
                time.sleep(1)
        finally:
            if found := stack.rest.job("live-card"):
                stack.rest.cancel(found["jid"])
            job.kill()
            job.wait()
    per_second, seconds = rate([at for at, _, _ in read(stack.bootstrap, BALANCES.name, BALANCES.partitions)])
    notes = [json.loads(line) for line in (folder / "notes").read_text().splitlines()]
    checkpoints = stack.rest.checkpoints(found["jid"])["counts"] if found else {}
    return {
        "records": own.records,
        "lanes": own.lanes,
        "records_per_s": round(per_second),
        "seconds": seconds,
        "workers": len({note["worker"] for note in notes}),
        "busy_us_per_record": round(sum(n["busy"] for n in notes) * 1000 / sum(n["records"] for n in notes), 2),
        "checkpoints": checkpoints,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one JSON line per run."""
    from stack.cluster import Stack

    parser = argparse.ArgumentParser(description="The card example live on Flink.")
    _add_knobs(parser)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--port", type=int, default=21_000)
    parser.add_argument("--folder", default="")
    parser.add_argument("--patience_s", type=int, default=300)
    own = parser.parse_args(argv)
    for number in range(own.runs):
        folder = Path(own.folder or tempfile.mkdtemp(prefix="live-card-")) / str(number)
        # A TaskManager with one slot, so a worker, for each lane.
        with Stack(folder, own.port, own.lanes, 1, 1, ("kafka", "flink", "jobserver")) as stack:
            print(json.dumps(measure(own, stack, folder)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["launch"]:
        launch(sys.argv[2:])
    else:
        main()
