"""A desk writes the same whether records come as a run or one by one."""

from typing import Any

import pytest

from schemas.rails import Header, Record
from tests.transforms import toys
from tests.transforms.test_fold_run import Sturdy, random_log, with_origins
from tests.transforms.toys import make_shard
from transforms import lane_desk
from transforms.fetched import Fetched
from transforms.fold import Run
from transforms.kafka_headers import Headings, ReadHeaders
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
