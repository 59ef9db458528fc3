"""The ticker: rounds, a broker that is away for a while, and the command."""

import pytest

from pipelines import payments_ticker
from pipelines.common import UsageError
from pipelines.live_writer import WriteFailed
from pipelines.payments_ticker import tick
from pipelines.registry import REGISTRY
from schemas.rails import Tick


class Writer:
    def __init__(self, failures: int = 0) -> None:
        self.written: list[tuple[str, int, bytes | None, bytes]] = []
        self.failures, self.closed = failures, False

    def write(self, lines: list[tuple[str, int, bytes | None, bytes]]) -> None:
        if self.failures:
            self.failures -= 1
            raise WriteFailed("away")
        self.written += lines

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_each_round_ticks_every_partition_and_waits_for_the_next_full_second() -> None:
    writer, waits, clock = Writer(), list[float](), [100.25]

    def stopped(seconds: float) -> bool:
        waits.append(seconds)
        clock[0] += seconds
        return len(waits) == 3

    assert tick(writer, 1.0, stopped, pytest.fail, lambda: clock[0]) == 3  # type: ignore[arg-type]
    assert waits == [0.75, 1.0, 1.0]
    assert len(writer.written) == 3 * 32 and {key for _, _, key, _ in writer.written} == {None}
    times = [REGISTRY.decode(value) for *_, value in writer.written[::32]]
    assert times == [Tick(100_250), Tick(101_000), Tick(102_000)]


def test_a_broker_that_is_away_is_told_once_and_tried_again() -> None:
    writer, told, rounds = Writer(failures=2), list[str](), iter([False, False, False, True])
    assert tick(writer, 1.0, lambda _: next(rounds), told.append) == 2  # type: ignore[arg-type]
    assert told == ["ticks are not written: away"] and len(writer.written) == 64


def test_the_command_ends_after_its_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer()
    monkeypatch.setattr(payments_ticker, "LiveWriter", lambda settings: writer)
    monkeypatch.setattr(payments_ticker, "check_topics", lambda *_: [])
    assert payments_ticker.run(["--seconds=0.05", "--every_ms=10"]) == 0
    assert writer.closed and len(writer.written) >= 32 and "ticker: " in capsys.readouterr().out
    monkeypatch.setattr(payments_ticker, "check_topics", lambda *_: ["missing"])
    assert payments_ticker.run(["--seconds=0.05"]) == 2


@pytest.mark.parametrize("flag", ["--every_ms=1", "--seconds=-1"])
def test_flags_out_of_range(flag: str) -> None:
    with pytest.raises(UsageError, match="at least"):
        payments_ticker.run([flag])


def test_topics_of_auctions_are_ticked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, checked = Writer(), list[str]()
    monkeypatch.setattr(payments_ticker, "LiveWriter", lambda settings: writer)
    monkeypatch.setattr(payments_ticker, "check_topics", lambda _, wanted: checked.extend(t.name for t in wanted))
    monkeypatch.setattr(payments_ticker, "refused", bool)
    assert payments_ticker.run(["--seconds=0.05", "--every_ms=10", "--auctions"]) == 0
    ticked = {topic for topic, *_ in writer.written}
    assert ticked == {"payments.inflight", "payments.status", "auction.bids", "auction.bids.history"} <= set(checked)
