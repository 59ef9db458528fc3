"""Progress: plain lines with rate and remaining, not too often; a bar on a terminal."""

import io
import sys

import pytest

from transforms.progress import Progress, line


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_line_has_records_rate_and_remaining() -> None:
    assert line("payments", 12000, 20000, "records", 4.0) == (
        "payments: 12,000 of 20,000 records (60 %), 3,000/s, 3 s left"
    )


def test_line_without_a_total_or_time() -> None:
    assert line("read", 7, None, "files", 0.0) == "read: 7 files, 0/s"
    assert line("read", 0, 0, "files", 1.0) == "read: 0 files, 0/s"


def test_finished_line_has_nothing_left() -> None:
    assert line("x", 10, 10, "records", 2.0) == "x: 10 of 10 records (100 %), 5/s"


def test_plain_lines_at_most_every_five_seconds_and_one_at_the_end() -> None:
    clock, out = Clock(), io.StringIO()
    with Progress(100, "records", "x", out, clock) as progress:
        for _ in range(11):
            clock.now += 1.0
            progress.update(5)
    assert out.getvalue().splitlines() == [
        "x: 25 of 100 records (25 %), 5/s, 15 s left",
        "x: 50 of 100 records (50 %), 5/s, 10 s left",
        "x: 55 of 100 records (55 %), 5/s, 9 s left",
    ]


def test_a_bar_on_a_terminal() -> None:
    out = Terminal()
    with Progress(10, "records", "x", out) as progress:
        progress.update(10)
    assert "x: 100%" in out.getvalue()
    assert "records" in out.getvalue()


def test_plain_lines_on_a_terminal_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    clock, out = Clock(), Terminal()
    with Progress(None, "records", "x", out, clock) as progress:
        clock.now += 6.0
        progress.update(12)
    assert out.getvalue().splitlines() == ["x: 12 records, 2/s"] * 2


def test_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(None, "records", "x"):
        pass
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("x: 0 records")


def test_a_negative_total_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Progress(-1)
