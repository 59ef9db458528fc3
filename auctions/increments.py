"""Tables of increments: how far a bid must be above the price (auctions.md, Bidding)."""

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from payments.currencies import EXPONENTS
from schemas.auctions import Increment

MAX_ROWS = 64
_DEFAULT = ((2_000, 50), (20_000, 100), (100_000, 500), (500_000, 1_000), (2_500_000, 5_000), (None, 10_000))
"""(below, step) in minor units of a currency with two decimals."""


class Increments:
    """A table: `of(price)` is the least raise over a price. Minor units of one currency."""

    __slots__ = ("_bounds", "_steps")

    def __init__(self, rows: Iterable[Increment]) -> None:
        """ValueError for what is no table: see `table_error`."""
        rows = tuple(rows)
        wrong = table_error(rows)
        if wrong:
            raise ValueError(f"increments: {wrong}")
        self._bounds = [row.below for row in rows if row.below is not None]
        self._steps = [row.step for row in rows]

    def of(self, price: int) -> int:
        return self._steps[bisect_right(self._bounds, price)]


def table_error(rows: tuple[Increment, ...]) -> str | None:
    """What is wrong with a table, or None: bounds rise, only the last row has none, every step is positive."""
    if not 0 < len(rows) <= MAX_ROWS:
        return f"a table has 1 to {MAX_ROWS} rows"
    if rows[-1].below is not None or any(row.below is None for row in rows[:-1]):
        return "the last row, and no other, is for all other prices"
    bounds = [0, *(row.below for row in rows[:-1] if row.below is not None)]
    if any(low >= high for low, high in pairwise(bounds)):
        return "the bounds must rise"
    return None if all(row.step > 0 for row in rows) else "every step must be positive"


@lru_cache(256)
def default_table(currency: str) -> tuple[Increment, ...]:
    """The default table in minor units of `currency`; a step is at least one unit. KeyError for what is no currency of ISO 4217."""
    exponent = EXPONENTS[currency]
    return tuple(
        Increment(None if below is None else _scale(below, exponent), max(1, _scale(step, exponent)))
        for below, step in _DEFAULT
    )


def _scale(minor: int, exponent: int) -> int:
    scale: int = 10 ** abs(exponent - 2)
    return minor * scale if exponent >= 2 else minor // scale


@lru_cache(1024)
def increments_of(rows: tuple[Increment, ...] | None, currency: str) -> Increments:
    """The table of an item; None is the default one."""
    return Increments(default_table(currency) if rows is None else rows)
