"""Payments, "simulate": raw payments through admission and the account processor to all topics, as files.

raw records → one in-memory loop (admission → payments.inflight → accounts → payments.inflight ...; watchdog) → topics on disk.
Flags, outputs and failures: docs/pipelines/payments.md.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam

from payments import topics
from payments.account import MEMORY_MS
from payments.accounts import AccountProcessor
from payments.admission import Admission
from payments.intake import ACCOUNT_EVENTS, client_key, client_time
from payments.watchdog import Watchdog
from pipelines import payment_rules
from pipelines.common import JobOptions, UsageError, check_range, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_apart, check_inputs, publish_folder
from pipelines.registry import REGISTRY
from schemas.rails import Record, Rule
from transforms.breaker import BreakOnRatio, CountShards
from transforms.chunks import CHUNK_RECORDS
from transforms.in_memory import RunInMemory
from transforms.lines import WriteLines
from transforms.loop import Loop, Stage
from transforms.record_files import ReadRecords
from transforms.topic_settings import DAY_MS

MAX_TICKS = 5_000  # per partition, when the interval is chosen automatically
MAX_CHUNK_RECORDS = 1_000_000
_ACCOUNT_FRAMES = frozenset(map(REGISTRY.frame, ACCOUNT_EVENTS))
_RULE_FRAME = REGISTRY.frame(Rule)
_EVERY_PARTITION = [(topics.INFLIGHT.name, partition) for partition in range(topics.INFLIGHT.partitions)]


class PaymentsOptions(JobOptions):
    """Raw payments through the whole payment system, in memory."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", required=True, help="raw payments: files, folders or globs, separated by commas")
        parser.add_argument("--output", required=True, help="folder for the topics and the summary; replaced whole")
        cls.add_rules(parser)

    @staticmethod
    def add_rules(parser: argparse.ArgumentParser) -> None:
        """The flags that say how payments are run, which the main job has too."""
        parser.add_argument("--hop_ms", type=int, default=5, help="log time that each hop takes, ms")
        parser.add_argument(
            "--tick_ms", type=int, default=0, help="interval of ticks, ms; 0: one second, more for long inputs"
        )
        payment_rules.add_rules(parser)
        parser.add_argument(
            "--max_bad", type=float, default=0.5, help="share of dead letters of a stage at which the job stops"
        )
        parser.add_argument("--chunk_records", type=int, default=CHUNK_RECORDS, help="records of an input chunk")


def entry(record: Record) -> Iterable[tuple[str, int]]:
    """Where a client's record is appended: account changes and rules on payments.inflight, all else on payments.incoming."""
    frame = record.value[:5] if record.value else b""
    if frame == _RULE_FRAME:
        return _EVERY_PARTITION
    topic = topics.INFLIGHT if frame in _ACCOUNT_FRAMES else topics.INCOMING
    return ((topic.name, topic.partition_of(record.key)),)


def stages(ttl_ms: int = DAY_MS, sla_ms: int = 10_000, reversal_ms: int = MEMORY_MS) -> list[Stage]:
    """The payment system."""
    return [
        Stage(Admission(ttl_ms), topics.INCOMING),
        Stage(AccountProcessor(reversal_ms), topics.INFLIGHT),
        Stage(Watchdog(sla_ms), topics.STATUS),
    ]


def loop_maker(options: JobOptions) -> Callable[[int], Loop]:
    """Builds the loop on the worker; the tick interval may depend on how long the input lasts."""
    hop_ms, tick_ms, rules = options.hop_ms, options.tick_ms, (options.ttl_ms, options.sla_ms, options.reversal_ms)

    def make_loop(span_ms: int) -> Loop:
        every = tick_ms or max(1000, span_ms // MAX_TICKS)
        return Loop(stages(*rules), REGISTRY, entry, [topics.INFLIGHT, topics.STATUS], hop_ms, every)

    return make_loop


def build_pipeline(p: beam.Pipeline, options: JobOptions, inputs: list[str], folder: Path) -> None:
    """`inputs` are raw records; `folder` gets `topics/` and `shards.jsonl`, one line per shard."""
    shards = (
        p
        | "ReadInputs" >> ReadRecords(inputs, REGISTRY, client_time, client_key, options.chunk_records)
        | "RunPayments" >> RunInMemory(loop_maker(options), topics.ALL, str(folder / "topics"))
    )
    _ = shards | "WriteShards" >> WriteLines(str(folder / "shards.jsonl"))
    _ = shards | "CountShards" >> CountShards() | "Break" >> BreakOnRatio(options.max_bad)


def check_rules(options: JobOptions) -> None:
    """UsageError for a flag of `add_rules` that is out of range."""
    check_range(
        options,
        hop_ms=(0, DAY_MS),
        tick_ms=(0, DAY_MS),
        chunk_records=(1, MAX_CHUNK_RECORDS),
    )
    payment_rules.check_rules(options)
    if not 0 <= options.max_bad <= 1:
        raise UsageError(f"must lie between 0 and 1, got {options.max_bad}", "--max_bad")


def run(argv: list[str]) -> None:
    options = parse_options(argv, PaymentsOptions)
    check_rules(options)
    inputs = check_inputs(options.input)
    check_apart([options.output], options.input)
    with publish_folder(options.output) as folder:
        run_job(options, lambda p: build_pipeline(p, options, inputs, folder))


if __name__ == "__main__":
    main(run)
