"""What was planted and came out otherwise is told."""

from typing import Any

import pytest

from auctions.truth import differences
from schemas.auctions import BidDecision
from schemas.rails import DeadLetter
from tests.auctions.analysis import bid


def letter(code: str) -> DeadLetter:
    return DeadLetter(**{**dict.fromkeys(DeadLetter._fields), "code": code})  # type: ignore[arg-type]


TRUTH = {
    "faults": {
        "unknown": {"expected": "UNKNOWN_ITEM", "count": 2},
        "again": {"expected": "DUPLICATE", "count": 1},
        "cut": {"expected": "TRUNCATED", "count": 1},
    },
    "bell": {"in_time": 1, "too_late": 2},
}


def said(name: str, status: str, **fields: Any) -> BidDecision:
    return bid("anna", 1000, 0, bid_id=name, status=status, **fields)


RIGHT = [
    *(said("bad-unknown-0", "UNKNOWN_ITEM"), said("bad-unknown-3", "UNKNOWN_ITEM"), said("b-7", "DUPLICATE")),
    *(said("bell-1-0", "ACCEPTED"), said("bell-1-1", "FINISHED"), said("bell-1-2", "FINISHED")),
    *(said("b-8", "ACCEPTED"), said("bell-1-0", "ACCEPTED", automatic=True), letter("TRUNCATED")),
]


def test_all_is_as_it_should_be() -> None:
    assert differences(TRUTH, RIGHT) == []


@pytest.mark.parametrize(
    ("without", "more", "found"),
    [
        (0, [], ["unknown: 2 planted, 1 are UNKNOWN_ITEM"]),
        (0, [said("bad-unknown-0", "TOO_LOW")], ["unknown: 2 planted, 1 are UNKNOWN_ITEM"]),
        (8, [], ["dead letters TRUNCATED: 1 planted, 0 found"]),
        (
            8,
            [letter("BAD_ID")],
            ["dead letters BAD_ID: 0 planted, 1 found", "dead letters TRUNCATED: 1 planted, 0 found"],
        ),
        (3, [], [f"bids at the bell: {TRUTH['bell']}, but 0 were accepted and 2 too late"]),
        (5, [], [f"bids at the bell: {TRUTH['bell']}, but 1 were accepted and 1 too late"]),
    ],
)
def test_what_came_out_otherwise(without: int, more: list[Any], found: list[str]) -> None:
    assert differences(TRUTH, [*RIGHT[:without], *RIGHT[without + 1 :], *more]) == found
