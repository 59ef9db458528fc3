"""Reading a topic ends where it ended when the reading began."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from bench import broker


class Message:
    def __init__(self, offset: int, error: Any = None) -> None:
        self._offset, self._error = offset, error

    def error(self) -> Any:
        return self._error

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 2, 100 + self._offset

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return str(self._offset).encode()


class Endless:
    """A consumer of a topic to which someone keeps writing, so that its end is never reached; `after`: where it is, if it is."""

    def __init__(self, after: int | None = None) -> None:
        self._after, self._next = after, -1

    def assign(self, places: list[Any]) -> None:
        self._next = places[0].offset if places else -1

    def consume(self, count: int, timeout: float) -> list[Message]:
        assert self._next < 50, "it should have stopped"
        first, self._next = self._next, self._next + 3
        if self._after is not None and self._next > self._after:
            return [
                *map(Message, range(first, self._after)),
                Message(self._after, KafkaError(KafkaError._PARTITION_EOF)),
            ]
        return [Message(offset) for offset in range(first, self._next)]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("after", "last"), [(None, 6), (5, 4)])
def test_up_to_the_ends_at_the_start(after: int | None, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ends", lambda bootstrap, topic, partitions: [7])
    monkeypatch.setattr(broker, "Consumer", lambda settings: Endless(after))
    found = list(broker.read("broker", "topic", 1, [2]))
    assert found == [(100 + n, b"key", str(n).encode()) for n in range(2, last + 1)]


def test_nothing_is_waited_for_where_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ends", lambda bootstrap, topic, partitions: [7])
    monkeypatch.setattr(broker, "Consumer", lambda settings: Endless())
    assert list(broker.read("broker", "topic", 1, [7])) == []
