"""A desk writes the same whether records come as a run or one by one."""

import struct
from typing import Any

import pytest

from schemas.rails import Header, Record
from tests.transforms import toys
from tests.transforms.test_fold_run import Sturdy, random_log, with_origins
from tests.transforms.toys import STATES, Do, Toy, make_shard
from transforms import lane_desk
from transforms.fetched import Fetched
from transforms.fold import Context, Run
from transforms.kafka_headers import VERSION, Headings, ReadHeaders
from transforms.lane_desk import Desk
from transforms.snapshots import encode_shard


class FromClients(Sturdy):
    """Origins prove nothing on its topic."""

    from_clients = True


def fetched(log: list[Record], read: list[ReadHeaders]) -> Fetched:
    columns: list[Any] = [list(column) for column in zip(*log, strict=True)]
    return Fetched(0, log[0].offset, columns[1], columns[2], columns[3], read)


@pytest.mark.parametrize("headings", [Headings(trace=True), Headings(trace=False)])
@pytest.mark.parametrize("clients", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_runs_and_single_records_write_the_same(
    monkeypatch: pytest.MonkeyPatch, seed: int, clients: bool, headings: Headings
) -> None:
    log = with_origins(random_log(seed), seed)
    log[20] = log[20]._replace(key=None)
    read: list[ReadHeaders] = [(record.origin, (), b"%032x" % record.offset) for record in log]
    if clients:
        read[7] = (None, (Header("note", b"x"),), None)
        log[7] = log[7]._replace(origin=None)
    runs = []

    def noted(*columns: Any) -> Run:
        runs.append(columns)
        return Run(*columns)

    monkeypatch.setattr(lane_desk, "Run", noted)
    kind = FromClients if clients else Sturdy
    one, other = (Desk(make_shard(processor=kind()), toys.EVENTS, headings) for _ in range(2))
    made = other.fold(fetched(log, read))
    assert bool(runs) is not clients  # headers of clients go into dead letters, so such records are folded one by one
    monkeypatch.setattr(lane_desk, "RUN_RECORDS", len(log) + 1)
    assert one.fold(fetched(log, read)) == made and made
    assert encode_shard(one.shard) == encode_shard(other.shard)


def additions(count: int) -> list[Record]:
    """Records that add to "a" and "b" in turns."""
    keys = ["a", "b"]
    events = [Do(keys[offset % 2], "add", 1) for offset in range(count)]
    return [Record(n, n, event.key.encode(), toys.EVENTS.encode(event), None, ()) for n, event in enumerate(events)]


def states(desk: Desk, log: list[Record]) -> tuple[int, list[tuple[bytes | None, int]]]:
    """How many log outputs a desk makes of the log, and keys and versions of its upserts."""
    made = desk.fold(fetched(log, [(None, (), None)] * len(log)))
    upserts = [(key, headers) for topic, _, key, _, headers in made if topic == STATES.name]
    assert all(headers[0][0] == VERSION for _, headers in upserts)
    return len(made) - len(upserts), [(key, struct.unpack(">q", headers[0][1])[0]) for key, headers in upserts]


@pytest.mark.parametrize("count", [lane_desk.RUN_RECORDS - 2, 3 * lane_desk.RUN_RECORDS])
def test_upserts_that_are_overtaken_are_left_out(count: int) -> None:
    """Of each key the newest is written, and every log output."""
    desk = Desk(make_shard(), toys.EVENTS, Headings(trace=False))
    assert states(desk, additions(count)) == (count, [(b"a", count - 2), (b"b", count - 1)])


def test_an_upsert_that_nothing_overtakes_stays() -> None:
    """Readers keep the highest version, so it is written even where a lower one comes after it."""

    class Falling(Toy):
        def on_event(self, key: str, entity: Any, event: Do, context: Context) -> Any:
            context.upsert(STATES, key, event, -context.offset)
            return entity

    desk = Desk(make_shard(processor=Falling()), toys.EVENTS, Headings(trace=False))
    assert (b"a", 0) in states(desk, additions(5))[1]
