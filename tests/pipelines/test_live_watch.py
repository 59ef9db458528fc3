"""What `live` sees and shows: repeats dropped, books kept, lines in place on a terminal and one after another elsewhere."""

import json
import signal
import threading
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest

from payments import topics
from payments.books import Balance
from pipelines import live, live_watch
from pipelines.common import UsageError
from pipelines.live import Sending, drain, interrupts, take_runner, wait_for_start
from pipelines.live_payments import Sent
from pipelines.live_watch import Terminal, Watch, balance_line
from pipelines.registry import REGISTRY
from schemas.payments import Money, PaymentConfirmed, PaymentStatus
from schemas.rails import Origin, Record, Source, Tick
from transforms.fold import DEAD_LETTERS, Topic
from transforms.log_reader import Bounds, ReadFailed

SOURCE = Source("payments.admission", "id", 0)


def status(said: str) -> PaymentStatus:
    values = dict.fromkeys(PaymentStatus._fields)
    values |= {"payment_id": "p", "kind": "DEPOSIT", "status": said, "amount": Money(5, "EUR"), "attempt": False}
    values |= {"stage": "payments.admission", "terminal": False, "at": 3, "elapsed_ms": 0, "hop": 0}
    return PaymentStatus(**values)  # type: ignore[arg-type]


def confirmed() -> PaymentConfirmed:
    values = dict.fromkeys(PaymentConfirmed._fields)
    values |= {"payment_id": "p", "kind": "DEPOSIT", "creditor_account": "a", "amount": Money(5, "EUR")}
    return PaymentConfirmed(**{**values, "admitted_at": 70, "confirmed_at": 95, "hop_ms": (25,)})  # type: ignore[arg-type]


def record(offset: int, value: bytes | None, cause: int | None = None, prev: Any = None) -> Record:
    origin = None if cause is None else Origin(SOURCE, cause, 0, prev)
    return Record(offset, 100, b"p", value, origin, ())


class Fetched(SimpleNamespace):
    def records(self) -> list[Record]:
        return self.held  # type: ignore[no-any-return]


class Reader:
    """Gives what `logs` has for its topic, once."""

    logs: dict[str, list[Record]] = {}  # noqa: RUF012
    seeks: dict[str, dict[int, int]] = {}  # noqa: RUF012
    closed = 0

    def __init__(self, settings: object, topic: str, group: str) -> None:
        self.topic = topic

    def bounds(self, partitions: Any) -> dict[int, Bounds]:
        return {number: Bounds(0, 50) for number in partitions}

    def seek(self, offsets: dict[int, int]) -> None:
        Reader.seeks[self.topic] = offsets

    def read(self, most: int, timeout: float) -> list[Fetched]:
        held = Reader.logs.pop(self.topic, None)
        if held is None:
            Reader.done.wait(0.001)
        return [] if held is None else [Fetched(partition=0, held=held)]

    done = threading.Event()

    def close(self) -> None:
        Reader.closed += 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(live_watch, "LogReader", Reader)
    monkeypatch.setattr(Reader, "logs", {})
    monkeypatch.setattr(Reader, "seeks", {})

    def make(**logs: list[Record]) -> Watch:
        Reader.logs.update({name.replace("_", "."): records for name, records in logs.items()})
        made = Watch(SimpleNamespace(resolved=dict))  # type: ignore[arg-type]
        while Reader.logs and made._thread.is_alive():
            made._stop.wait(0.01)
        made._stop.wait(0.05)
        return made

    return make


def turn(stage: str, lag: int) -> Record:
    return record(0, json.dumps({"stage": stage, "lane": 0, "lag": lag}).encode())


def test_repeats_are_dropped_and_counted_and_the_books_kept(watch: Any) -> None:
    acsp = REGISTRY.encode(status("ACTC"))
    made = watch(
        payments_status=[record(0, acsp, 4), record(1, acsp, 4), record(2, REGISTRY.encode(Tick(1))), record(3, b"x")],
        payments_confirmed=[record(0, REGISTRY.encode(confirmed()), 4)],
        rails_metrics=[turn("payments.accounts", 3), turn("payments.admission", 4), turn("payments.accounts", 1)],
    )
    made.check()
    made.close()
    assert (made.books.admitted, made.repeats, made.lag, made.settled()) == (1, 1, 5, False)
    assert made.stages() == {"payments.accounts", "payments.admission"}
    (line,) = made.shown(12.4, 1_000)
    assert line == ("   12 s  in 1,000  confirmed 1  rejected 0  in flight 1  holds 0  p50/p95/p99 30/30/30 ms  lag 5")
    assert Reader.seeks["payments.status"][3] == 0 and Reader.seeks["rails.metrics"] == {0: 50}
    assert set(Reader.seeks) == {*(topic.name for topic in live_watch.FOLLOWED), "rails.metrics"}
    assert DEAD_LETTERS in live_watch.FOLLOWED


def test_what_stops_the_reading_is_raised_to_who_asks(watch: Any) -> None:
    made = watch(payments_status=[record(0, REGISTRY.encode(status("ACTC")), 4, prev=(2, 0))])
    with pytest.raises(Exception, match="never arrived"):
        made.check()


def test_a_broker_that_is_away_for_a_while_is_asked_again(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    away = [True]
    read = Reader.read

    def fail_first(self: Reader, most: int, timeout: float) -> list[Fetched]:
        if away:
            away.pop()
            raise ReadFailed("away")
        return read(self, most, timeout)

    monkeypatch.setattr(Reader, "read", fail_first)
    made = watch(payments_status=[record(0, REGISTRY.encode(status("ACTC")), 4)])
    made._stop.wait(0.7)
    made.check()
    assert made.books.admitted == 1
    made.close()
    monkeypatch.setattr(live_watch, "_PATIENCE_S", -1.0)
    away.append(True)
    made = watch()
    with pytest.raises(ReadFailed):
        made.check()


def test_balances_have_their_decimals() -> None:
    assert balance_line(Balance("KWD", 1_234_567, 0, -1_234_567)) == (
        "  KWD: accounts 1234.567, in transit 0.000, outside -1234.567, total 0.000"
    )


def test_lines_one_after_another_where_there_is_no_terminal() -> None:
    out = StringIO()
    terminal = Terminal(out)
    terminal.show(["1 s", "  EUR"])
    terminal.show(["2 s", "  EUR"], whole=True)
    assert out.getvalue() == "1 s\n2 s\n  EUR\n"


def test_lines_in_place_on_a_terminal() -> None:
    out = StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    terminal = Terminal(out)
    terminal.show(["1 s", "  EUR"])
    terminal.show(["2 s", "  EUR"], whole=True)
    terminal.show(["3 s"])
    assert out.getvalue() == ("\x1b[2K1 s\n\x1b[2K  EUR\n\x1b[2A\x1b[2K2 s\n\x1b[2K  EUR\n\x1b[2K3 s\n")


# --- the parts of `live` ---


class System(SimpleNamespace):
    """A watch, a job and topics in one, as `drain` and `wait_for_start` ask them."""

    def check(self) -> None:
        self.asked = getattr(self, "asked", 0) + 1

    def stages(self) -> set[str]:
        return set(list(self.known)[: getattr(self, "asked", 0)])

    def settled(self) -> bool:
        return True

    def lag(self, topic: str, group: str) -> list[int]:
        left = self.lags.get(topic, [])
        return [left.pop(0) if left else 0]

    def close(self) -> None:
        self.closed = True


STAGES = ["payments.admission", "payments.accounts", "payments.watchdog"]


def test_it_waits_for_a_word_of_every_stage() -> None:
    system = System(known=STAGES, log="job.log")
    wait_for_start(system, system, threading.Event())  # type: ignore[arg-type]
    assert system.asked >= 2
    stop = threading.Event()
    stop.set()
    wait_for_start(system, System(known=[]), stop)  # type: ignore[arg-type]


def test_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_START_S", -1.0)
    system = System(known=STAGES[:1], log="job.log")
    with pytest.raises(
        UsageError, match=r"^no word of payments\.accounts, payments\.watchdog within -1 s: see job\.log$"
    ):
        wait_for_start(system, system, threading.Event())  # type: ignore[arg-type]


def test_ticks_end_when_payments_have_arrived_and_the_rest_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live.time, "sleep", lambda _: None)
    system = System(known=STAGES, lags={topics.INCOMING.name: [2, 1, 0], topics.STATUS.name: [9, 9, 9, 9, 0, 3]})
    monkeypatch.setattr(live, "KafkaTopics", lambda settings: system)
    ticks = threading.Event()
    assert drain(None, system, system, ticks)  # type: ignore[arg-type]
    assert ticks.is_set() and system.closed and system.lags == {topics.INCOMING.name: [], topics.STATUS.name: []}
    system = System(known=STAGES, lags={topics.INCOMING.name: [5] * 10**6})
    assert not drain(None, system, system, ticks, patience_s=0.01)  # type: ignore[arg-type]


def test_the_runner_is_that_of_the_job() -> None:
    assert take_runner(["--runner=PrismRunner", "--rate=5"]) == ["--engine=PrismRunner", "--rate=5"]


def test_the_first_interrupt_is_a_wish_and_the_second_is_as_always() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupts() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set() and signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_sending_ends_with_its_records_and_raises_what_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SimpleNamespace(write=lambda lines: None, flush=lambda: None, close=lambda: None)
    monkeypatch.setattr(live, "LiveWriter", lambda settings, linger_ms: writer)
    sending = Sending(None, iter([record(0, b"x")._replace(at=0)]), threading.Event())  # type: ignore[arg-type]
    sending.close()
    assert sending.sent == Sent(1, 0) and not sending.running

    def fail(lines: object) -> None:
        raise RuntimeError("broker")

    writer.write = fail
    sending = Sending(None, iter([record(0, b"x")._replace(at=0)]), threading.Event())  # type: ignore[arg-type]
    sending.close()
    with pytest.raises(RuntimeError, match="broker"):
        _ = sending.running


@pytest.mark.parametrize(
    "flag", ["--rate=0", "--lanes=99", "--seconds=-1", "--accounts=1", "--seed=-1", "--runner=SparkRunner"]
)
def test_flags_out_of_range(flag: str) -> None:
    with pytest.raises(UsageError):
        live.run([flag])


def test_partitions_of_what_is_followed() -> None:
    assert all(isinstance(topic, Topic) and topic.partitions == 16 for topic in live_watch.FOLLOWED)
