"""Launches of the auction stages live: what is checked, what is launched."""

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines import auction_fraud, auction_house, auction_jobs, auctions_live, preflight
from pipelines.auction_jobs import NAMES, PAYMENT_STAGES, kind_of, topics_of
from pipelines.auction_stages import NAMES as OF_AUCTIONS
from pipelines.common import UsageError


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The roots of the pipelines that are launched."""
    found: list[list[str]] = []

    def run_job(options: Any, build: Any) -> None:
        pipeline = beam.Pipeline()
        build(pipeline)
        names = {each.unique_name for each in pipeline.to_runner_api().components.transforms.values()}
        found.append(sorted(name for name in names if name.isalpha() and not name.startswith("Report")))

    monkeypatch.setattr(auction_jobs, "run_job", run_job)
    monkeypatch.setattr(preflight, "check_places", lambda flags: [])
    monkeypatch.setattr(preflight, "check_topics", lambda *_: [])
    return found


def test_all_stages_or_some(launched: list[list[str]], tmp_path: Path) -> None:
    place = f"--snapshots={tmp_path / 'snapshots'}"
    assert auctions_live.run([place]) == 0
    assert auctions_live.run([place, "--only=Items, Admission", "--no_metrics"]) == 0
    assert auction_house.run([place]) == 0
    assert auction_fraud.run([place]) == 0
    assert launched == [sorted(NAMES), ["Admission", "Items"], ["House"], ["People", "Traces"]]
    assert len(NAMES) == len(OF_AUCTIONS) + 3 == 15


def test_nothing_unsafe_is_launched(
    launched: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert auction_house.run([]) == 2
    assert "refused: --snapshots is missing" in capsys.readouterr().err
    monkeypatch.setattr(preflight, "check_topics", lambda settings, wanted: [" ".join(t.name for t in wanted)])
    assert auction_house.run([f"--snapshots={tmp_path}", "--no_metrics"]) == 2
    assert sorted(capsys.readouterr().err.split()[1:]) == [
        *("auction.bids.history", "auction.current", "auction.log", "auction.outcomes"),
        *("auction.ranges", "payments.incoming", "rails.deadletters"),
    ]
    with pytest.raises(UsageError, match="which has House: Items: --only"):
        auction_house.run([f"--snapshots={tmp_path}", "--only=Items"])
    assert launched == []


def test_ids_that_can_be_guessed_are_told_of(
    launched: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the stages that compute them, when they are launched; what runs is the same."""
    monkeypatch.setenv("RAILS_TEST_KEY", "a key of sixteen bytes or more")
    place, key = f"--snapshots={tmp_path}", "--backing_key=env:RAILS_TEST_KEY"

    def said(*flags: str) -> list[str]:
        assert auctions_live.run([place, "--no_metrics", *flags]) == 0
        return capsys.readouterr().err.splitlines()

    for only in ("--only=House", "--only=Items,Bids,Funds", "--only="):
        (line,) = said(only)
        assert line.startswith("warning: without --backing_key ") and "--backing_key=file:/PATH" in line
        assert said(only, key) == []
    assert said("--only=Items,Bids,Notices,Admission") == []
    assert len(launched) == 7
    assert auctions_live.run(["--only=House"]) == 2
    assert "warning" not in capsys.readouterr().err, "what is not launched needs no warning"


def test_stages_are_joined_by_their_topics() -> None:
    """What a stage reads is written by another one, or by clients and the ticker; names of stages are those of their processors."""
    written = {topic.name for name in NAMES for topic in (*kind_of(name).writes, *kind_of(name).upserts)}
    read = {kind_of(name).topic.name for name in NAMES}
    assert read - written == {"payments.incoming", "auction.items", "auction.bids"} - written
    assert set(topics_of(["Funds"])) == {"payments.status", "auction.log", "rails.deadletters"}
    for name in OF_AUCTIONS:
        engine = auction_jobs.engine_maker(name, auction_jobs.Rules())()
        assert engine.stage.processor.stage == kind_of(name).stage
    assert set(PAYMENT_STAGES) == {"Admission", "Accounts", "Watchdog"}


def test_stages_of_payments_have_a_replay_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--only"):
        auctions_live.run([f"--input={tmp_path}", "--only=Admission"])
