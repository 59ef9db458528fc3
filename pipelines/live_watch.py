"""Watching a live system from outside: the books, latencies and lag, read from the topics as any reader of theirs would."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TextIO

from payments import topics
from payments.books import Balance, Books
from payments.currencies import format_minor
from pipelines.registry import REGISTRY
from pipelines.topics import METRICS
from schemas.rails import Record, Tick
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS, Topic
from transforms.kafka_settings import KafkaSettings
from transforms.log_reader import LogReader, ReadFailed
from transforms.origin_filter import OriginFilter

FOLLOWED = (topics.STATUS, topics.JOURNAL, topics.CONFIRMED, DEAD_LETTERS)
_METRICS = Topic(METRICS.name, METRICS.partitions)
_PATIENCE_S = 60.0  # with a broker that is away
_MOST = 5_000  # records in one read


class Watch:
    """Reads the followed topics from their start, in a thread of its own, until `close`; an error there is raised by `check`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.books = Books()
        self.repeats = 0
        self.turns: dict[tuple[str, int], dict[str, Any]] = {}  # the newest summary of each lane
        self._settings = settings
        self._lock, self._stop, self._failed = threading.Lock(), threading.Event(), list[BaseException]()
        self._filters: dict[tuple[str, int], OriginFilter] = {}
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what has stopped the reading."""
        if self._failed:
            raise self._failed[0]

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    @property
    def lag(self) -> int:
        """Records that the lanes had not folded when they last reported."""
        with self._lock:
            return sum(turn["lag"] for turn in self.turns.values())

    def stages(self) -> set[str]:
        """The stages that have reported since this watch began."""
        with self._lock:
            return {stage for stage, _ in self.turns}

    def begin(self, at_ms: int) -> None:
        """Shows what is appended from now on; balances are of everything."""
        with self._lock:
            self.books.begin(at_ms)

    def _follow(self) -> None:
        readers: list[tuple[Topic, LogReader]] = []
        try:
            for topic in (*FOLLOWED, _METRICS):
                reader = LogReader(self._settings.resolved(), topic.name, "payments.watch")
                readers.append((topic, reader))
                bounds = self._patiently(partial(reader.bounds, range(topic.partitions)))
                # Metrics of earlier runs say nothing of this one.
                reader.seek({n: bound.end if topic is _METRICS else bound.low for n, bound in bounds.items()})
            while not self._stop.is_set():
                for topic, reader in readers:
                    for fetched in self._patiently(partial(reader.read, _MOST, 0.02)):
                        self._take(topic, fetched.partition, fetched.records())
        except BaseException as error:
            self._failed.append(error)
        finally:
            for _, reader in readers:
                reader.close()

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        """Asks again while the broker is away."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return ask()
            except ReadFailed:
                if time.monotonic() > end:
                    raise
                self._stop.wait(0.5)

    def _take(self, topic: Topic, partition: int, records: Sequence[Record]) -> None:
        with self._lock:
            if topic is _METRICS:
                for record in records:
                    turn = json.loads(record.value or b"")
                    self.turns[turn["stage"], turn["lane"]] = turn
                return
            place = topic.name, partition
            if place not in self._filters:
                self._filters[place] = OriginFilter(*place)
            for record in records:
                if self._filters[place].is_new(record):
                    self._book(record)
                else:
                    self.repeats += 1

    def _book(self, record: Record) -> None:
        try:
            event = REGISTRY.decode(record.value or b"")
        except BadRecord:
            return
        if type(event) is not Tick:
            self.books.add(record.at, event)

    def shown(self, seconds: float, sent: int) -> list[str]:
        """The summary, a line each: the first says it all, the others are the trial balance."""
        with self._lock:
            books, lag = self.books, sum(turn["lag"] for turn in self.turns.values())
            p50, p95, p99 = books.quantiles()
            line = (
                f"{seconds:5.0f} s  in {sent:,}  confirmed {books.confirmed:,}  rejected {books.rejected:,}  "
                f"in flight {books.in_flight:,}  holds {len(books.held):,}  p50/p95/p99 {p50}/{p95}/{p99} ms  lag {lag:,}"
            )
            return [line, *(balance_line(balance) for balance in books.trial_balance())]

    def settled(self) -> bool:
        """Whether every admitted payment has ended or is an open hold, as far as the topics have been read."""
        with self._lock:
            return self.books.in_flight == 0


def balance_line(balance: Balance) -> str:
    """A line of the trial balance, amounts with their decimals."""
    sides = (("accounts", balance.accounts), ("in transit", balance.in_transit), ("outside", balance.outside))
    parts = [f"{name} {format_minor(minor, balance.currency)}" for name, minor in (*sides, ("total", balance.total))]
    return f"  {balance.currency}: {', '.join(parts)}"


class Terminal:
    """Shows the newest lines: in place where it is a terminal, and the first line alone, each time a new one, where it is not."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._refreshes = out, out.isatty()
        self._height = 0

    def show(self, lines: Sequence[str], whole: bool = False) -> None:
        """`whole`: all lines, to stay."""
        if self._refreshes:
            up = f"\x1b[{self._height}A" if self._height else ""
            self._out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
            self._height = 0 if whole else len(lines)
        else:
            self._out.write("".join(f"{line}\n" for line in (lines if whole else lines[:1])))
        self._out.flush()
