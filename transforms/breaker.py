"""The breaker: a job whose records are dead letters too often stops, because then it is the code, the schema or the sender that is wrong.

It stands outside of the folds (contract line 10): it reads counts, changes no output, and decides by exact sums. A bounded job writes its
results only after it has ended well, so nothing of a broken run appears. A runner that restarts failed jobs for ever would restart this one
too: the launcher has to stop it, and knows it by `errors.find_error`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import coders
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from transforms.errors import InputError
from transforms.plain import PlainTupleCoder

TOP_CODES = 3  # named in the message of the breaker


class TooManyDeadLetters(InputError):
    """The share of dead letters is above the limit; the message is one line: stage, ratio, top codes."""


class BadCounts(NamedTuple):
    """How many records a stage has looked at, how many of them are dead letters, and why.

    codes: (code, dead letters) pairs, sorted; they may be missing, then they do not add up to `bad`. clock: append time (ms) of the
    newest record counted, -1 if it is not known.
    """

    stage: str
    records: int
    bad: int
    codes: tuple[tuple[str, int], ...]
    clock: int


class BadCountsCoder(PlainTupleCoder):
    kind = BadCounts


coders.registry.register_coder(BadCounts, BadCountsCoder)


class BreakOnRatio(beam.PTransform):
    """PCollection[BadCounts] → PCollection[BadCounts], their sum per stage; stops the job with TooManyDeadLetters when one is bad.

    A stage is bad when more than `max_ratio` (0 to 1) of its records are dead letters and it has at least `min_records` of them, because of
    a few records a share says nothing. Bounded: one sum over the whole input, exact and the same at every run. Unbounded: give `window_ms`,
    then it is one sum per stage and window of the log's clock, judged when the watermark passes its end; the counts of a chunk belong to
    the window of its newest record.
    """

    def __init__(self, max_ratio: float, min_records: int = 100, window_ms: int | None = None) -> None:
        super().__init__()
        if not 0 <= max_ratio <= 1:
            raise ValueError(f"max_ratio must lie between 0 and 1, got {max_ratio}")
        if min_records < 1:
            raise ValueError(f"min_records must be at least 1, got {min_records}")
        if window_ms is not None and window_ms < 1:
            raise ValueError(f"window_ms must be at least 1, got {window_ms}")
        self.max_ratio, self.min_records, self.window_ms = max_ratio, min_records, window_ms

    def expand(self, counts: Any) -> Any:
        max_ratio, min_records = self.max_ratio, self.min_records

        def judge(group: tuple[str, Iterable[BadCounts]]) -> BadCounts:
            return check_ratio(add_counts(group[0], group[1]), max_ratio, min_records)

        if self.window_ms is None:
            windowed = counts | "Global" >> beam.WindowInto(GlobalWindows())
        else:
            stamped = counts | "AtClock" >> beam.Map(_at_clock).with_output_types(BadCounts)
            windowed = stamped | "Window" >> beam.WindowInto(FixedWindows(self.window_ms / 1000))
        return (
            windowed
            | "ByStage" >> beam.Map(_by_stage).with_output_types(tuple[str, BadCounts])
            | "Group" >> beam.GroupByKey()
            | "Judge" >> beam.Map(judge).with_output_types(BadCounts)
        )


def _by_stage(counts: BadCounts) -> tuple[str, BadCounts]:
    return counts.stage, counts


def _at_clock(counts: BadCounts) -> TimestampedValue:
    return TimestampedValue(counts, Timestamp(micros=max(counts.clock, 0) * 1000))


def add_counts(stage: str, counts: Iterable[BadCounts]) -> BadCounts:
    """The sum of the counts of a stage."""
    records, bad, clock, codes = 0, 0, -1, Counter[str]()
    for one in counts:
        records += one.records
        bad += one.bad
        clock = max(clock, one.clock)
        codes.update(dict(one.codes))
    return BadCounts(stage, records, bad, tuple(sorted(codes.items())), clock)


def check_ratio(counts: BadCounts, max_ratio: float, min_records: int = 1) -> BadCounts:
    """The counts as they are; TooManyDeadLetters when more than `max_ratio` of at least `min_records` records are dead letters."""
    if counts.records >= min_records and counts.bad > max_ratio * counts.records:
        top = sorted(counts.codes, key=lambda item: (-item[1], item[0]))[:TOP_CODES]
        codes = ", ".join(f"{code} {count:,}" for code, count in top)
        raise TooManyDeadLetters(
            f"{counts.stage}: {counts.bad:,} of {counts.records:,} records are dead letters "
            f"({_percent(counts.bad / counts.records)}, at most {_percent(max_ratio)} allowed)"
            + (f": {codes}" if codes else "")
        )
    return counts


def _percent(ratio: float) -> str:
    return f"{math.floor(ratio * 10_000) / 100:g} %"


# --- counts of folds ---


class CountShards(beam.PTransform):
    """PCollection[bytes] of shard summaries (`fold_bounded.shard_summary`) → PCollection[BadCounts]. Ticks are no records here."""

    def expand(self, summaries: Any) -> Any:
        return summaries | "Count" >> beam.Map(shard_counts).with_output_types(BadCounts)


def shard_counts(summary: bytes) -> BadCounts:
    """The counts of one shard; its summary does not know the codes."""
    facts = json.loads(summary)
    return BadCounts(facts["stage"], facts["offset"] - facts["ticks"], facts["dead_lettered"], (), facts["clock"])
