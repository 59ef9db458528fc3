"""The pipeline `auctions`, from files to files."""

import json
from pathlib import Path

import pytest

from auctions import topics
from pipelines import auctions, auctions_verify
from pipelines.common import UsageError
from pipelines.registry import REGISTRY
from schemas.auctions import AuctionOutcome, BidDecision, BidPlaced
from schemas.payments import Money, PaymentInitiated
from schemas.rails import Record, Rule, Tick
from tests.pipelines.auction_runs import FAST, events, generate, generation, run_auctions
from tests.pipelines.runs import files
from transforms.chunks import Chunk, pack_chunk, unpack_chunk
from transforms.record_files import write_record_file
from transforms.topic_files import read_topic, write_topics


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("auctions"))


@pytest.fixture(scope="module")
def geo(raw: Path) -> str:
    return f"--geo={raw.parent}/geo.csv"


@pytest.fixture(scope="module")
def plain_run(raw: Path, geo: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_auctions(raw, tmp_path_factory.mktemp("plain") / "run", geo)


def of_bytes(run: Path) -> dict[str, bytes]:
    """All files that are the same bytes each time: databases, and the page that holds how long it took, are not."""
    parts = ("topics/", "shards.jsonl", "outbox/mails")
    return {name: data for name, data in files(run).items() if name.startswith(parts)}


@pytest.mark.parametrize(
    "flags",
    [("--chunk_records=7",), ("--direct_num_workers=2", "--direct_running_mode=multi_processing")],
    ids=" ".join,
)
def test_the_same_bytes_for_any_chunks_and_workers(
    flags: tuple[str, ...], raw: Path, geo: str, plain_run: Path, tmp_path: Path
) -> None:
    again = of_bytes(run_auctions(raw, tmp_path / "run", geo, *flags))
    assert again == of_bytes(plain_run) and len(again) > 22 * 16


def test_the_same_bytes_for_any_order_and_split_of_the_input(
    raw: Path, geo: str, plain_run: Path, tmp_path: Path
) -> None:
    records = list(generation())
    write_record_file(str(tmp_path / "a.avro"), records[1::2])
    write_record_file(str(tmp_path / "b.avro"), reversed(records[::2]))
    run = run_auctions(f"{tmp_path}/b.avro,{tmp_path}/a.avro", tmp_path / "run", geo)
    assert of_bytes(run) == of_bytes(plain_run)


def test_every_stage_has_something_to_say(plain_run: Path) -> None:
    """Nothing of the platform is idle in a run of some auctions."""
    for topic in topics.ALL:
        if topic not in (topics.ADS, topics.ALERTS):  # of twelve auctions there may be none
            assert events(plain_run, topic.name), topic.name
    outcomes = events(plain_run, topics.OUTCOMES.name, AuctionOutcome)
    assert len(outcomes) == 12 and {"SOLD"} < {outcome.outcome for outcome in outcomes}
    statuses = {decision.status for decision in events(plain_run, topics.HISTORY.name, BidDecision)}
    assert {"ACCEPTED", "ACCEPTED_OUTBID", "TOO_LOW", "INSUFFICIENT_FUNDS"} <= statuses


def test_a_violation_is_exit_status_1(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(auctions, "verify", lambda *_: ["auction.bids.history/3/7: x leads"])
    assert auctions.run([f"--input={raw}", f"--output={tmp_path}/out", *FAST]) == 1
    out = capfd.readouterr().out
    assert "invariants: 1 VIOLATED" in out and "  auction.bids.history/3/7: x leads" in out


def test_generated_auctions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert auctions.run([f"--output={tmp_path}/out", "--auctions=20", "--seed=3", "--tick_ms=3600000"]) == 0
    out = capfd.readouterr().out
    assert "invariants: all hold" in out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"raw.avro", "raw.avro.truth.json", "raw.avro.geo.csv", "topics", "shards.jsonl"} <= names
    assert json.loads((tmp_path / "out" / "raw.avro.truth.json").read_text())["items"] == 20


def test_what_was_planted_and_came_out_otherwise_is_told(plain_run: Path, tmp_path: Path) -> None:
    truth = generation().truth()
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert auctions.against_truth(plain_run, tmp_path / "truth.json") == []
    assert truth["faults"]
    for fault in truth["faults"].values():
        fault["count"] += 1
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert auctions.against_truth(plain_run, tmp_path / "truth.json")


def test_verify_reads_what_a_run_left(plain_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert auctions_verify.run([f"--input={plain_run}"]) == 0
    assert "every invariant holds" in capfd.readouterr().out
    lines = (plain_run / "shards.jsonl").read_text().splitlines()
    (tmp_path / "shards.jsonl").write_text("\n".join(lines[1:]))
    (tmp_path / "topics").symlink_to(plain_run / "topics")
    assert auctions_verify.run([f"--input={tmp_path}"]) == 1
    assert "verify: 1 violations" in capfd.readouterr().out


def test_thresholds_go_to_the_stages_that_have_them() -> None:
    rule = Rule("r", "fraud.travel", 1, True, {})
    of_fraud = Record(0, 0, None, REGISTRY.encode(rule), None, ())
    places = list(auctions.entry(of_fraud))
    assert len(places) == 32 and {topic for topic, _ in places} == {"auction.bids.history", "auction.traces"}
    other = of_fraud._replace(value=REGISTRY.encode(rule._replace(name="velocity")))
    assert {topic for topic, _ in auctions.entry(other)} == {"payments.inflight"}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--hop_ms=-1", "must be at least 0, got -1: --hop_ms"),
        ("--max_bad=2", "must lie between 0 and 1"),
        ("--soon_ms=0", "must be at least 1, got 0: --soon_ms"),
        ("--geo=nosuch.csv", "no such file: nosuch.csv"),
        ("--auctions=0", "auctions must be from 1"),
        ("--input=nosuch.avro", "no such file"),
    ],
)
def test_bad_flags_leave_nothing(flag: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        auctions.run([f"--output={tmp_path}/out", flag])
    assert list(tmp_path.iterdir()) == []


def test_topics_of_a_broker_are_put_on_disk_and_checked(
    plain_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Origins there name topics by their ids."""
    ids = {topic.name: f"id-of-{topic.name}" for topic in auctions.ALL}

    def build_recording(p: object, settings: object, ends: object, folder: Path, wanted: object) -> None:
        assert wanted == auctions_verify.ALL
        chunks = (chunk for name in ids for chunk in read_topic(plain_run / "topics", name))
        write_topics(folder, dict.fromkeys(ids, 16), map(with_ids, chunks))

    def with_ids(chunk: Chunk) -> Chunk:
        records = []
        for record in unpack_chunk(chunk):
            origin = record.origin
            if origin is not None:
                source = origin.source._replace(topic=ids[origin.source.topic])
                record = record._replace(origin=origin._replace(source=source))
            records.append(record)
        return pack_chunk(chunk.topic, chunk.partition, records, chunk.clock)

    monkeypatch.setattr(auctions_verify, "build_recording", build_recording)
    monkeypatch.setattr(auctions_verify, "find_ids", lambda *_: ids)
    monkeypatch.setattr(auctions_verify, "find_ends", lambda *_: {})
    assert auctions_verify.run(["--from_topics", f"--output={tmp_path}/kept"]) == 0
    assert "every invariant holds" in capfd.readouterr().out
    assert json.loads((tmp_path / "kept" / "topics" / "ids.json").read_text()) == ids
    with pytest.raises(UsageError, match="say what to check"):
        auctions_verify.run([])


def test_events_of_files_of_ones_own_have_the_time_and_key_that_stand_in_them() -> None:
    bid = BidPlaced("b", "x", "anna", None, Money(5, "EUR"), None, None, 7)
    paid = PaymentInitiated("p", "DEPOSIT", None, "anna", Money(5, "EUR"), *[None] * 4, "bank", 8)
    assert [auctions.client_time(event) for event in (bid, paid, Tick(9), Rule("r", "fraud.travel", 1, True, {}))] == [
        7,
        8,
        9,
        -1,
    ]
    assert [auctions.client_key(event) for event in (bid, paid, Tick(9))] == ["x", "p", None]
