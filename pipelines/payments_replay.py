"""Replay: a recorded payments.inflight is folded again by partition, and all it regenerates is compared with what was recorded.

topics on disk → fold each partition of payments.inflight → compare legs, journal, statuses, confirmations, dead letters and balances.
Exit status 1 when anything differs. Flags, outputs and failures: docs/pipelines/payments_replay.md.
"""

import argparse
from functools import partial
from pathlib import Path

import apache_beam as beam

from payments import topics
from payments.live_stages import ACCOUNTS
from pipelines.common import JobOptions, main, parse_options
from pipelines.live_stages import accounts_engine
from pipelines.live_topics import read_ids
from pipelines.payment_rules import add_reversal, check_reversal
from pipelines.replays import run_replay
from transforms.lines import WriteLines
from transforms.replay import CompareReplay
from transforms.topic_files import ReadTopic

COMPARED = [topic.name for topic in ACCOUNTS.writes]
UPSERTS = [topic.name for topic in ACCOUNTS.upserts]


class ReplayOptions(JobOptions):
    """Folds a recorded payments.inflight again and compares the outcome with the recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="folder with the recorded topics (the `topics` folder of a run)"
        )
        parser.add_argument(
            "--output", default="", help="folder for differences.txt and shards.jsonl; none is kept without it"
        )
        add_reversal(parser)


def build_pipeline(p: beam.Pipeline, options: ReplayOptions, folder: Path) -> None:
    """`folder` gets differences.txt (empty when the replay is exact), compared.txt (records that agree, a line per block), shards.jsonl."""
    replayed = (
        p
        | "Read" >> ReadTopic(options.input, [*COMPARED, *UPSERTS])
        | "Replay"
        >> CompareReplay(
            partial(accounts_engine, options.reversal_ms, read_ids(Path(options.input)).get(topics.INFLIGHT.name, "")),
            topics.INFLIGHT.name,
            COMPARED,
            UPSERTS,
        )
    )
    _ = replayed.differences | "WriteDifferences" >> WriteLines(str(folder / "differences.txt"))
    _ = replayed.compared | "AsText" >> beam.Map(str) | "WriteCompared" >> WriteLines(str(folder / "compared.txt"))
    _ = replayed.summaries | "WriteShards" >> WriteLines(str(folder / "shards.jsonl"))


def run(argv: list[str]) -> int:
    options = parse_options(argv, ReplayOptions)
    check_reversal(options)
    return run_replay(options, [*COMPARED, *UPSERTS], lambda p, folder: build_pipeline(p, options, folder))


if __name__ == "__main__":
    main(run)
