"""Replay: a recorded payments.inflight is folded again by partition, and all it regenerates is compared with what was recorded.

topics on disk → fold each partition of payments.inflight → compare legs, journal, statuses, confirmations, dead letters and balances.
Exit status 1 when anything differs. Flags, outputs and failures: docs/pipelines/payments_replay.md.
"""

import argparse
from pathlib import Path

import apache_beam as beam
from transforms.files import WriteLines

from payments import topics
from payments.accounts import AccountProcessor
from pipelines.common import JobOptions
from pipelines.registry import REGISTRY
from transforms.fold import DEAD_LETTERS
from transforms.fold_bounded import Engine
from transforms.loop import Stage
from transforms.replay import CompareReplay
from transforms.topic_files import ReadTopic

COMPARED = (topics.INFLIGHT, topics.JOURNAL, topics.STATUS, topics.CONFIRMED, DEAD_LETTERS)


class ReplayOptions(JobOptions):
    """Folds a recorded payments.inflight again and compares the outcome with the recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--input", required=True, help="folder with the recorded topics (the `topics` folder of a run)"
        )
        parser.add_argument(
            "--output", default="", help="folder for differences.txt and shards.jsonl; none are written without it"
        )


def make_engine() -> Engine:
    return Engine(Stage(AccountProcessor(), topics.INFLIGHT), REGISTRY)


def build_pipeline(p: beam.Pipeline, options: ReplayOptions, folder: Path) -> None:
    recorded = [topic.name for topic in (*COMPARED, topics.BALANCES)]
    chunks = tuple(p | f"Read {name}" >> ReadTopic(options.input, name) for name in recorded) | beam.Flatten()
    replayed = chunks | "Replay" >> CompareReplay(
        make_engine, topics.INFLIGHT.name, [topic.name for topic in COMPARED], [topics.BALANCES.name]
    )
    replayed.differences | "WriteDifferences" >> WriteLines(str(folder / "differences.txt"))
    replayed.summaries | "WriteShards" >> WriteLines(str(folder / "shards.jsonl"))
    replayed.compared | "CountCompared" >> beam.CombineGlobally(sum) | "CompareText" >> beam.Map(str)
