"""Commands of an administrator of auctions: what they write, what is refused before anything is written, and what a rule does to a run."""

from pathlib import Path
from typing import Any

import pytest

from auctions import topics
from pipelines import administration, auction_admin, auction_fraud
from pipelines.auction_admin import ACTIONS, command_of
from pipelines.common import UsageError, parse_options
from pipelines.registry import REGISTRY
from schemas.auctions import Alert, ItemCancelled
from schemas.rails import Record, Rule, Version
from tests.pipelines.auction_runs import events, generate, generation, run_loop
from transforms.record_files import write_record_file


def lines_of(action: str, *flags: str) -> list[Any]:
    return command_of(action, parse_options(list(flags), ACTIONS[action]), 7).lines


def test_each_action_is_its_event() -> None:
    rule = lines_of("rule", "--name=fraud.shill", "--number=3", "--set=min_score=8000", "--set", "min_losses=2")
    assert len(rule) == 32
    assert REGISTRY.decode(rule[0][3]) == Rule(
        "rule-7", "fraud.shill", 3, True, {"min_score": 8000, "min_losses": 2}
    )
    (off, *_) = lines_of("rule", "--name=fraud.travel", "--number=4", "--off", "--admin_id=x")
    assert REGISTRY.decode(off[3]) == Rule("x", "fraud.travel", 4, False, {})
    version = lines_of("version", "--stage=auctions.funds", "--number=2")
    assert {topic for topic, *_ in version} == {"payments.status"} and len(version) == 16
    assert REGISTRY.decode(version[0][3]) == Version("auctions.funds", 2, "version-7")
    (cancel,) = lines_of("cancel", "--auction=x", "--reason=forged")
    assert REGISTRY.decode(cancel[3]) == ItemCancelled("x", "forged")


@pytest.mark.parametrize(
    ("action", "flags", "told"),
    [
        ("rule", ["--name=fraud.shill", "--number=0"], "at least 1, got 0: --number"),
        ("rule", ["--name=fraud.shill", "--number=2147483648"], "at most 2147483647"),
        ("rule", ["--name=velocity", "--number=1"], "must be one of fraud.shill, .*: --name"),
        ("rule", ["--name=fraud.shill", "--number=1", "--set=min_share=5"], "has min_score, min_losses.*: --set"),
        ("rule", ["--name=fraud.shill", "--number=1", "--set=min_score"], "'min_score' is not NAME=VALUE"),
        ("rule", ["--name=fraud.shill", "--number=1", "--set=min_score=0.5"], "a whole number from 0: --set"),
        ("rule", ["--name=fraud.shill", "--number=1", "--set=min_score=-1"], "a whole number from 0: --set"),
        ("rule", ["--name=fraud.shill", "--number=1", f"--set=min_score={1 << 63}"], "a whole number from 0"),
        ("rule", ["--name=fraud.sniping", "--number=1", "--set=min_share=4000"], "min_share must be at most 100: --set"),
        ("rule", ["--name=fraud.shill", "--number=1", "--off", "--set=min_score=1"], "has no thresholds: --set"),
        ("rule", ["--name=fraud.shill", "--number=1", f"--admin_id={'x' * 200}"], "at most 128"),
        ("version", ["--number=2", "--stage=auctions.bids"], "one of auction.ads, .*, auctions.house, got .auctions.bids.: --stage"),
        ("version", ["--number=0", "--stage=auctions.house"], "at least 1"),
        ("cancel", ["--auction=a/b", "--reason=x"], "no id of an auction: 'a/b'"),
        ("cancel", ["--auction=x", f"--reason={'x' * 501}"], "at most 500 characters of reason, got 501"),
        ("cancel", ["--auction=x"], "required: --reason"),
    ],
)
def test_what_is_refused(action: str, flags: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        lines_of(action, *flags)


def test_an_action_comes_first() -> None:
    with pytest.raises(UsageError, match="say first what to do: rule, cancel, version"):
        auction_admin.run(["freeze"])


class FakeWriter:
    def __init__(self, written: list[Any]) -> None:
        self.write = written.extend

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_a_command_is_written_and_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written: list[Any] = []
    asked: list[str] = []
    monkeypatch.setattr(administration, "LiveWriter", lambda _: FakeWriter(written))
    monkeypatch.setattr(administration, "check_topics", lambda _, wanted: asked.extend(t.name for t in wanted))
    monkeypatch.setattr(administration, "refused", bool)
    rule = ["rule", "--name=fraud.shill", "--number=1", "--at=5"]
    assert auction_admin.run(rule) == 0
    assert (len(written), asked) == (32, ["auction.bids.history", "auction.traces"])
    assert capsys.readouterr().out == (
        "written: rule to 32 partitions of auction.bids.history and auction.traces\n"
        "the same once more: add --admin_id=rule-5 --at=5\n"
    )
    assert auction_admin.run(["cancel", "--auction=x", "--reason=forged"]) == 0
    assert capsys.readouterr().out == "written: cancel to 1 partition of auction.items\n"
    monkeypatch.setattr(administration, "check_topics", lambda *_: ["auction.traces: missing"])
    assert auction_admin.run(rule) == 2 and len(written) == 33


def test_a_rule_counts_from_its_place_in_a_run_and_in_its_replay(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a rule that asks for nothing, whoever bids is told, from where it stands; a fold of the recorded topics says the same."""
    generate(tmp_path)
    times = sorted(record.at for record in generation())
    at = times[len(times) * 2 // 3]
    loose = ["--name=fraud.sniping", "--number=1", "--set=min_auctions=0", "--set=min_share=0"]
    value = lines_of("rule", *loose)[0][3]
    write_record_file(str(tmp_path / "ruled.avro"), [*generation(), Record(0, at, None, value, None, ())])
    geo = f"--geo={tmp_path}/geo.csv"

    def sniping(run: Path) -> list[Alert]:
        return [alert for alert in events(run, topics.ALERTS.name, Alert) if alert.signal == "SNIPING"]

    assert sniping(run_loop(tmp_path / "raw.avro", tmp_path / "plain", geo)) == []
    run = run_loop(tmp_path / "ruled.avro", tmp_path / "ruled", geo)
    told = sniping(run)
    assert len(told) > 10 and {alert.rule_version for alert in told} == {1} and min(alert.at for alert in told) >= at
    assert auction_fraud.run([f"--input={run}/topics", geo]) == 0
    assert ", 0 differences" in capfd.readouterr().out
