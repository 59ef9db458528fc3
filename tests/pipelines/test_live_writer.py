"""The writer of ticks, commands and payments: one producer until it fails, then another one."""

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import live_writer
from pipelines.live_writer import LiveWriter, WriteFailed

LINE = ("t", 3, b"k", b"v")


class Producer:
    made: list["Producer"] = []  # noqa: RUF012

    def __init__(self, settings: dict[str, str], knobs: Any) -> None:
        self.settings, self.knobs, self.written, self.fails, self.closed = settings, knobs, list[Any](), "", False
        Producer.made.append(self)

    def write(self, outputs: list[Any]) -> None:
        self.written += outputs

    def poll(self) -> None:
        if self.fails == "poll":
            raise WriteFailed("away")

    def flush(self) -> None:
        if self.fails == "flush":
            raise WriteFailed("away")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> LiveWriter:
    monkeypatch.setattr(live_writer, "LogWriter", Producer)
    monkeypatch.setattr(Producer, "made", [])
    settings: Any = SimpleNamespace(resolved=lambda: {"bootstrap.servers": "b"})
    return LiveWriter(settings, linger_ms=2)


def test_records_go_through_one_producer_without_headers(writer: LiveWriter) -> None:
    writer.flush()
    writer.close()
    assert Producer.made == []
    writer.write([LINE, LINE])
    writer.write([LINE])
    writer.flush()
    (producer,) = Producer.made
    assert producer.written == [(*LINE, [])] * 3
    assert producer.settings == {"bootstrap.servers": "b"} and producer.knobs.linger_ms == 2
    writer.close()
    assert producer.closed


@pytest.mark.parametrize("where", ["poll", "flush"])
def test_a_producer_that_failed_is_not_used_again(writer: LiveWriter, where: str) -> None:
    writer.write([LINE])
    Producer.made[0].fails = where
    with pytest.raises(WriteFailed):
        writer.write([LINE]) if where == "poll" else writer.flush()
    writer.write([LINE])
    writer.flush()
    assert len(Producer.made) == 2 and Producer.made[1].written == [(*LINE, [])]
