"""Commands of an administrator: what they write, and what is refused before anything is written."""

import pytest

from pipelines import administration, payments_admin
from pipelines.common import UsageError, parse_options
from pipelines.payments_admin import ACTIONS, command_of
from pipelines.registry import REGISTRY
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened
from schemas.rails import Rule, Version


def event(action: str, *flags: str) -> object:
    _, _, lines = command_of(action, parse_options(list(flags), ACTIONS[action]), 7)
    return REGISTRY.decode(lines[0][3])


def test_each_action_is_its_event() -> None:
    account = ("--account=a", "--admin_id=x")
    assert event("open", *account, "--currency=JPY", "--overdraft=5", "--daily=9", "--one_in_flight") == AccountOpened(
        "x", "a", 0, "JPY", 5, 9, True, 7
    )
    assert event("open", *account, "--currency=EUR") == AccountOpened("x", "a", 0, "EUR", 0, None, False, 7)
    seen = (*account, "--expected=3")
    assert event("limit", *seen, "--overdraft=5", "--at=8") == AccountLimited("x", "a", 3, 5, None, 8)
    assert event("freeze", *seen) == AccountFrozen("x", "a", 3, True, 7)
    assert event("unfreeze", *seen) == AccountFrozen("x", "a", 3, False, 7)
    assert event("close", *seen) == AccountClosed("x", "a", 3, 7)
    rule = event("rule", "--admin_id=x", "--number=2", "--interval_ms=10", "--max_minor=0", "--name=n")
    assert rule == Rule("x", "velocity:n", 2, True, {"interval_ms": 10, "max_minor": 0})
    assert event("rule", "--number=2", "--off") == Rule("rule-7", "velocity", 2, False, {})
    version = event("version", "--stage=payments.accounts", "--number=2")
    assert version == Version("payments.accounts", 2, "version-7")


def test_the_same_command_with_the_ids_that_it_printed_gives_the_same_bytes() -> None:
    first = command_of("open", parse_options(["--account=a", "--currency=EUR"], ACTIONS["open"]), 7)
    again = ["--account=a", "--currency=EUR", f"--admin_id={first[0]}", f"--at={first[1]}"]
    assert command_of("open", parse_options(again, ACTIONS["open"]), 99_999) == first


@pytest.mark.parametrize(
    ("action", "flags", "told"),
    [
        ("open", ["--account=~x", "--currency=EUR"], "not ~ first"),
        ("open", ["--account=a", "--currency=XXX"], "no currency"),
        ("open", ["--account=a", "--currency=EUR", "--overdraft=-1"], "overdraft"),
        ("open", ["--account=a", "--currency=EUR", f"--admin_id={'x' * 200}"], "at most 128"),
        ("open", ["--account=a", "--currency=EUR", "--at=-1"], "at least 0"),
        ("close", ["--account=a"], "expected"),
        ("close", ["--account=a", "--expected=0"], "at least 1"),
        ("rule", ["--number=1"], "interval"),
        ("rule", ["--number=1", "--interval_ms=5"], "a limit"),
        ("rule", ["--number=0", "--off"], "at least 1"),
        ("rule", ["--number=2147483648", "--off"], "at most 2147483647"),
        ("rule", ["--number=1", "--interval_ms=5", f"--max_minor={1 << 63}"], "at most 46116"),
        ("version", ["--number=2", "--stage=payments.admission"], "must be one of"),
        ("version", ["--number=0", "--stage=payments.accounts"], "at least 1"),
        ("version", ["--number=2147483648", "--stage=payments.accounts"], "at most 2147483647"),
    ],
)
def test_what_is_refused(action: str, flags: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        command_of(action, parse_options(flags, ACTIONS[action]), 7)


@pytest.mark.parametrize("argv", [[], ["explode"], ["--account=a"]])
def test_an_action_comes_first(argv: list[str]) -> None:
    with pytest.raises(UsageError, match="say first what to do: open, limit"):
        payments_admin.run(argv)


class FakeWriter:
    written: list[object] = []  # noqa: RUF012
    flushed = closed = 0

    def __init__(self, settings: object) -> None:
        pass

    def write(self, lines: list[object]) -> None:
        FakeWriter.written += lines

    def flush(self) -> None:
        FakeWriter.flushed += 1

    def close(self) -> None:
        FakeWriter.closed += 1


def test_a_command_is_written_and_acknowledged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(administration, "LiveWriter", FakeWriter)
    monkeypatch.setattr(administration, "check_topics", lambda *_: [])
    rule = ["rule", "--number=1", "--off", "--admin_id=x", "--at=5"]
    assert payments_admin.run(rule) == 0
    assert (len(FakeWriter.written), FakeWriter.flushed, FakeWriter.closed) == (16, 1, 1)
    assert capsys.readouterr().out == (
        "written: rule to 16 partitions of payments.inflight\nthe same once more: add --admin_id=x --at=5\n"
    )
    monkeypatch.setattr(administration, "check_topics", lambda *_: ["payments.inflight: missing"])
    assert payments_admin.run(rule) == 2 and len(FakeWriter.written) == 16
