"""Both sides of the benchmark of auctions decide alike; how fast they are is no test."""

import pytest

from bench import auctions


def test_both_sides_decide_alike() -> None:
    (bids, ratio) = auctions.measure(repeats=1, records=400)  # an AssertionError if they differed
    assert bids["floor"] == 20_000 and ratio["floor"] == 10 and bids["value"] > 0


def test_numbers_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        auctions.measure(repeats=0)
