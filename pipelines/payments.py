"""Payments, "simulate": raw payments through admission and the account processor to all topics, as files.

raw records → one in-memory loop (admission → payments.inflight → accounts → payments.inflight ...; watchdog) → topics on disk.
Flags, outputs and failures: docs/pipelines/payments.md.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam

from payments import topics
from payments.accounts import AccountProcessor
from payments.admission import DAY_MS, Admission
from payments.watchdog import Watchdog
from pipelines.common import JobOptions
from pipelines.registry import REGISTRY
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened
from schemas.rails import Record, Rule
from transforms.in_memory import RunInMemory
from transforms.loop import Loop, Stage

MAX_TICKS = 5_000  # per partition, when the interval is chosen automatically
_ADMIN = frozenset(REGISTRY.frame(event) for event in (AccountOpened, AccountLimited, AccountFrozen, AccountClosed))
_RULE = REGISTRY.frame(Rule)


class PaymentsOptions(JobOptions):
    """Raw payments through the whole payment system, in memory."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", required=True, help="raw payments: files, folders or globs, separated by commas")
        parser.add_argument("--output", required=True, help="folder for the topics and the summary; replaced whole")
        parser.add_argument("--hop_ms", type=int, default=5, help="log time that each hop takes, ms")
        parser.add_argument(
            "--tick_ms", type=int, default=0, help="interval of ticks, ms; 0: one second, more for long inputs"
        )
        parser.add_argument("--ttl_ms", type=int, default=DAY_MS, help="how long payment ids are remembered, ms")
        parser.add_argument("--sla_ms", type=int, default=10_000, help="a payment still open after this is overdue, ms")
        parser.add_argument("--chunk_records", type=int, default=1000, help="records of an input chunk")


def targets(record: Record) -> Iterable[tuple[str, int]]:
    """Where a raw record is appended: account changes and rules on payments.inflight, all else on payments.incoming."""
    frame = record.value[:5] if record.value else b""
    if frame == _RULE:
        return [(topics.INFLIGHT.name, partition) for partition in range(topics.INFLIGHT.partitions)]
    topic = topics.INFLIGHT if frame in _ADMIN else topics.INCOMING
    return [(topic.name, topic.partition_of(record.key))]


def stages(ttl_ms: int = DAY_MS, sla_ms: int = 10_000) -> list[Stage]:
    """The payment system."""
    return [
        Stage(Admission(ttl_ms), topics.INCOMING),
        Stage(AccountProcessor(), topics.INFLIGHT),
        Stage(Watchdog(sla_ms), topics.STATUS),
    ]


def loop_maker(options: PaymentsOptions) -> Callable[[int], Loop]:
    """Builds the loop on the worker; the tick interval may depend on how long the input lasts."""
    hop_ms, tick_ms, ttl_ms, sla_ms = options.hop_ms, options.tick_ms, options.ttl_ms, options.sla_ms

    def make_loop(span_ms: int) -> Loop:
        every = tick_ms or max(1000, span_ms // MAX_TICKS)
        return Loop(stages(ttl_ms, sla_ms), REGISTRY, targets, [topics.INFLIGHT, topics.STATUS], hop_ms, every)

    return make_loop


def build_pipeline(p: beam.Pipeline, options: PaymentsOptions, inputs: list[str], folder: Path) -> beam.PCollection:
    return (
        p
        | "ReadInputs" >> ReadRawRecords(inputs, options.chunk_records)
        | "RunPayments" >> RunInMemory(loop_maker(options), topics.ALL, str(folder / "topics"))
        | "WriteSummary" >> WriteLines(str(folder / "shards.jsonl"))
    )
