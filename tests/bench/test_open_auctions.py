"""The measurement of open auctions counts what it says."""

import json

import pytest

from bench.open_auctions import House, main, measure_ending, measure_open


def test_every_auction_is_open_and_has_its_bids() -> None:
    house = House(60, 3)
    held = [auction for shard in house.shards for auction in shard.entities.values()]
    assert len(held) == 60 and {auction.count for auction in held} == {3}
    assert len([shard for shard in house.shards if shard.entities]) > 8


def test_figures() -> None:
    found = measure_open(60)
    assert found["open"] == 60 and found["snapshots_mib"] > 0 and found["pause_ms"] > 0
    assert measure_ending(60)["outcomes"] == 60


def test_one_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    main(["--open", "20", "40", "--ending", "20"])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line.get("open", line.get("ending")) for line in lines] == [20, 40, 20]
