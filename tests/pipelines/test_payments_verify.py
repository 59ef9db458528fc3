"""The pipeline `payments_verify`: a sound run passes, a tampered one does not."""

import json
from pathlib import Path

import pytest

from payments import topics
from pipelines import payments_verify
from pipelines.common import UsageError, launch
from pipelines.payments_verify import check_summaries, expected_shards, read_summaries
from tests.pipelines.runs import generate, run_payments
from tests.pipelines.test_payments_replay import tampered
from transforms.chunks import unpack_chunk
from transforms.topic_files import partition_path, read_topic


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_payments(generate(tmp_path / "raw.avro"), tmp_path / "run")


def test_a_sound_run_passes(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert payments_verify.run([f"--input={run}"]) == 0
    assert capfd.readouterr().out == "verify: every invariant holds\n"


def test_a_tampered_journal_does_not(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    tampered(run, other / "topics", "payments.journal")
    (other / "shards.jsonl").write_bytes((run / "shards.jsonl").read_bytes())
    assert payments_verify.run([f"--input={other}"]) == 1
    assert "payments.journal/" in capfd.readouterr().out


def test_counts_that_do_not_add_up_are_told(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = (run / "shards.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    lines[0] = json.dumps(first | {"applied": first["applied"] + 1})
    (run / "shards.jsonl").write_text("\n".join(lines))
    assert payments_verify.run([f"--input={run}"]) == 1
    assert f"consumed {first['offset']}, accounted for {first['offset'] + 1}" in capfd.readouterr().out


def test_each_shard_is_expected_with_all_that_its_partition_holds(run: Path) -> None:
    expected = expected_shards(run / "topics")
    summaries = read_summaries(run / "shards.jsonl")
    assert len(expected) == 48 and check_summaries(summaries, expected) == []
    held = [0] * 16
    for chunk in read_topic(run / "topics", topics.STATUS.name):
        held[chunk.partition] += chunk.count
    assert [expected["payments.watchdog", topics.STATUS.name, number] for number in range(16)] == held


def test_missing_and_needless_summaries_are_told(run: Path) -> None:
    expected = expected_shards(run / "topics")
    summaries = read_summaries(run / "shards.jsonl")
    assert len(check_summaries([], expected)) == 48
    first, *others = summaries
    name = f"{first['stage']}/{first['partition']}"
    assert check_summaries(others, expected) == [f"{name}: no summary"]
    assert check_summaries([first, *summaries], expected) == [f"{name}: two summaries of one shard"]
    strange = first | {"stage": "x\ny"}
    assert check_summaries([*summaries, strange], expected) == [
        f"x\\ny/{first['partition']}: a summary, though {first['topic']} has no such shard of it"
    ]
    short = first | {"offset": first["offset"] - 1, "applied": first["applied"] - 1}
    assert check_summaries([short, *others], expected) == [
        f"{name}: consumed {short['offset']}, but {first['topic']} has {first['offset']} records"
    ]


def test_an_empty_file_of_summaries_is_no_sound_run(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (run / "shards.jsonl").write_text("")
    assert payments_verify.run([f"--input={run}"]) == 1
    assert capfd.readouterr().out.startswith("verify: 48 violations\n")


@pytest.mark.parametrize(
    "text",
    [
        *("garbage", "[]", "7", "{}", "\n", "[" * 100_000, '{"stage": "a"}'),
        json.dumps(
            {"stage": "a", "topic": "b", "offset": True} | dict.fromkeys(("partition", *payments_verify._COUNTS), 0)
        ),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_summary(text: str, tmp_path: Path) -> None:
    path = tmp_path / "shards.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match="line 1 is not the summary of a shard"):
        read_summaries(path)


def test_summaries_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_summaries(tmp_path / "none")
    with pytest.raises(UsageError, match="Is a directory"):
        read_summaries(tmp_path)
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a text"):
        read_summaries(tmp_path / "x")


def test_a_damaged_topic_is_one_line(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chunk = max(read_topic(run / "topics", topics.JOURNAL.name), key=lambda chunk: chunk.count)
    path = partition_path(run / "topics", topics.JOURNAL.name, chunk.partition)
    raw = path.read_bytes()
    value = unpack_chunk(chunk)[-1].value or b""
    where = raw.index(value) - 1  # its length
    path.write_bytes(raw[:where] + bytes([raw[where] | 0x80]) + raw[where + 1 :])
    capfd.readouterr()
    assert launch(payments_verify.run, [f"--input={run}"], "payments_verify") == 2
    err = capfd.readouterr().err
    assert f"payments_verify: payments.journal/{chunk.partition}: damaged in offsets 0 to {chunk.count - 1} (" in err


def test_a_line_break_in_a_violation_stays_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(payments_verify, "check_all", lambda logs, **_: ["account a\nb: wrong"])
    assert payments_verify.run([f"--input={run}"]) == 1
    assert "verify: 1 violations\n  account a\\nb: wrong\n" in capfd.readouterr().out


def test_a_ttl_out_of_range(run: Path) -> None:
    with pytest.raises(UsageError, match="at most"):
        payments_verify.run([f"--input={run}", "--ttl_ms=9223372036854775807"])
