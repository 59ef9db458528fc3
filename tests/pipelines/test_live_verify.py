"""Topics as a broker leaves them, with ids in place of names and repeats on the wire: what verify and replay make of them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest

from payments import topics
from pipelines import live_topics, payments, payments_replay, payments_verify
from pipelines.common import UsageError
from pipelines.live_stages import with_id
from pipelines.live_topics import find_ends, find_ids, read_ids, write_ids
from tests.pipelines.runs import generate, run_payments
from tests.proto import assert_no_pickled_coders
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.loop import Stage
from transforms.topic_files import read_topic, write_topics

IDS = {topic.name: f"id-{n}" for n, topic in enumerate(topics.ALL)}
SETTINGS: Any = SimpleNamespace()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The topics of a run whose stages know the topics by their ids."""
    folder = tmp_path_factory.mktemp("live")
    stages = payments.stages

    def with_ids(*arguments: int) -> list[Stage]:
        return [Stage(each.processor, with_id(each.topic, IDS[each.topic.name])) for each in stages(*arguments)]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(payments, "stages", with_ids)
        run_payments(generate(folder / "raw.avro"), folder / "run")
    return folder / "run" / "topics"


def written_again(source: Path, place: Path, again: str = "", lost: str = "") -> None:
    """The topics, the first records of each partition of `again` twice, and one record of `lost` missing."""

    def chunks() -> Iterator[Chunk]:
        for topic in topics.ALL:
            parts: dict[int, list[Any]] = {}
            for chunk in read_topic(source, topic.name):
                parts.setdefault(chunk.partition, []).extend(unpack_chunk(chunk))
            for number, records in parts.items():
                if topic.name == again:
                    records = records + records[:3]
                if topic.name == lost and number == min(parts):
                    records = records[:-1]
                yield from pack_chunks(topic.name, number, [r._replace(offset=n) for n, r in enumerate(records)])

    write_topics(place, {topic.name: topic.partitions for topic in topics.ALL}, chunks())


@pytest.fixture
def recorded(live: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Instead of a broker: `again` and `lost` of `written_again`."""
    change: dict[str, str] = {}

    def build_recording(p: beam.Pipeline, settings: object, ends: object, folder: Path) -> None:
        _ = p | beam.Create([b""], reshuffle=False)
        written_again(live, folder, **change)

    monkeypatch.setattr(payments_verify, "build_recording", build_recording)
    monkeypatch.setattr(payments_verify, "find_ids", lambda settings: IDS)
    monkeypatch.setattr(payments_verify, "find_ends", lambda settings: {})
    return change


def test_a_sound_system_with_repeats_on_the_wire(
    recorded: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recorded["again"] = topics.JOURNAL.name
    assert payments_verify.run(["--from-topics", f"--output={tmp_path / 'kept'}"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "repeats on the wire: payments.journal 3" in lines[0] and lines[-1] == "verify: every invariant holds"
    assert int(lines[1].split()[1].replace(",", "")) > 500
    kept = tmp_path / "kept"
    assert read_ids(kept / "topics") == IDS
    assert len((kept / "shards.jsonl").read_text().splitlines()) == 48
    assert payments_replay.run([f"--input={kept / 'topics'}"]) == 0


@pytest.mark.parametrize("topic", [topics.JOURNAL, topics.STATUS, topics.INFLIGHT, topics.CONFIRMED, topics.BALANCES])
def test_a_record_that_is_missing(recorded: dict[str, str], topic: Any, capfd: pytest.CaptureFixture[str]) -> None:
    recorded["lost"] = topic.name
    assert payments_verify.run(["--from-topics"]) == 1
    assert f"replay: {topic.name}/" in capfd.readouterr().out or topic is topics.STATUS


def test_in_the_running_system_payments_may_be_on_their_way(
    recorded: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(payments_verify, "check_all", lambda logs, drained, memory_ms: [f"drained: {drained}"])
    assert payments_verify.run(["--from-topics", "--running"]) == 1
    assert "drained: False" in capfd.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--input=x", "--from_topics"]])
def test_one_thing_is_checked(flags: list[str]) -> None:
    with pytest.raises(UsageError, match="say what to check"):
        payments_verify.run(flags)


def test_no_element_is_pickled(live: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written_again(live, folder / "topics")
    write_ids(folder / "topics", IDS)
    options = payments_verify.VerifyOptions(["--from_topics"])
    pipeline = beam.Pipeline()
    merged = payments_verify.build_pipeline(pipeline, folder, tmp_path / "out")
    payments_verify.build_replays(pipeline, merged, options, folder, tmp_path)
    assert_no_pickled_coders(pipeline)


@pytest.mark.parametrize("text", ["x", "[]", '{"a": 1}'])
def test_ids_that_are_none(text: str, tmp_path: Path) -> None:
    assert read_ids(tmp_path) == {}
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(UsageError, match=r"ids\.json"):
        read_ids(tmp_path)


class FakeTopics:
    closed = 0

    def __init__(self, settings: object) -> None:
        pass

    def watermarks(self, name: str) -> list[tuple[int, int]]:
        return [(0, 5), (2 if name in ("payments.balances", "payments.status") else 0, 7)]

    def find(self, names: list[str]) -> dict[str, Any]:
        return {name: SimpleNamespace(id=f"id of {name}") for name in names}

    def close(self) -> None:
        FakeTopics.closed += 1


def test_ends_and_ids_are_those_of_now_and_a_log_that_was_cut_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_topics, "KafkaTopics", FakeTopics)
    wanted = [topics.BALANCES, topics.JOURNAL]
    assert find_ends(SETTINGS, wanted) == {"payments.balances": [5, 7], "payments.journal": [5, 7]}
    with pytest.raises(UsageError, match=r"begins at 2: retention has taken what the checks need: payments\.status/1"):
        find_ends(SETTINGS, [topics.STATUS])
    assert find_ids(SETTINGS, wanted)["payments.journal"] == "id of payments.journal"
    assert FakeTopics.closed == 3
