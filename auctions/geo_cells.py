"""Bids, bidders and spend per cell of the grid and window of time, without showing anyone (A10).

A cell is shown only with at least k distinct bidders. The cells of a window that have fewer are put together in their parent cells, again
and again up to a coarsest resolution, so a row of a coarse cell is what its finer rows leave over; what is then still too few is
suppressed. No two rows of a window count the same bid, so no row can be had from the others by subtraction. Spend is shown only with at
least k distinct buyers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import h3

from auctions.stories import OFFERS
from schemas.auctions import AuctionOutcome, BidDecision

COARSEST = 1  # hexagons of about 480 km an edge


class CellRow(NamedTuple):
    """A row that may be shown."""

    window: int  # ms, its beginning
    cell: str
    bids: int
    bidders: int
    spend: dict[str, int] | None  # minor units by currency; None: fewer than k buyers


class Suppressed(NamedTuple):
    """What a window does not show: bids in cells that had too few bidders even together."""

    window: int
    bids: int


@dataclass
class CellCount:
    """What happened in a cell in a window."""

    bids: int = 0
    bidders: set[str] = field(default_factory=set)
    buyers: set[str] = field(default_factory=set)
    spend: dict[str, int] = field(default_factory=dict)

    def merge(self, other: "CellCount") -> None:
        self.bids += other.bids
        self.bidders |= other.bidders
        self.buyers |= other.buyers
        for currency, minor in other.spend.items():
            self.spend[currency] = self.spend.get(currency, 0) + minor


Counts = dict[tuple[int, str], CellCount]
"""By (window, cell)."""


def count_cells(events: Iterable[BidDecision | AuctionOutcome], window_ms: int) -> Counts:
    """Counts over the histories of whole auctions, each in its order; bids without a cell are left out.

    A bid counts in the window in which it was received; money in that of the end of the auction, in the cell of the buyer's last bid there.
    """
    if window_ms < 1:
        raise ValueError(f"window_ms must be positive, got {window_ms}")
    counts: Counts = {}
    last: dict[tuple[str, str], str] = {}
    for event in events:
        if isinstance(event, BidDecision):
            if event.cell is None or event.automatic or event.status not in OFFERS:
                continue
            last[event.auction_id, event.bidder_id] = event.cell
            key = event.received_at - event.received_at % window_ms, event.cell
            counts.setdefault(key, CellCount()).merge(CellCount(1, {event.bidder_id}))
        elif event.winner is not None and event.price is not None:
            cell = last.get((event.auction_id, event.winner))
            if cell is not None:
                minor, currency = event.price
                key = event.effective_end - event.effective_end % window_ms, cell
                counts.setdefault(key, CellCount()).merge(CellCount(0, set(), {event.winner}, {currency: minor}))
    return counts


def merge_counts(several: Iterable[Counts]) -> Counts:
    """The counts together; the order does not matter."""
    merged: Counts = {}
    for counts in several:
        for key, count in counts.items():
            merged.setdefault(key, CellCount()).merge(count)
    return merged


def rows_of(counts: Counts, k: int, coarsest: int = COARSEST) -> Iterator[CellRow | Suppressed]:
    """The rows of each window, by window and cell, and behind them what was suppressed, if anything was. `k` is at least 2."""
    if k < 2:
        raise ValueError(f"k must be at least 2, or persons would be shown, got {k}")
    for window in sorted({window for window, _ in counts}):
        shown: dict[str, CellCount] = {}
        left = merge_counts([{key: count for key, count in counts.items() if key[0] == window}])
        few = {cell: count for (_, cell), count in left.items()}
        while few:
            shown |= {cell: count for cell, count in few.items() if len(count.bidders) >= k}
            up: dict[str, CellCount] = {}
            for cell, count in sorted(few.items()):
                if cell not in shown:
                    above = cell if h3.get_resolution(cell) <= coarsest else str(h3.cell_to_parent(cell))
                    up.setdefault(above, CellCount()).merge(count)
            if up.keys() == few.keys() - shown.keys():  # all of them are as coarse as may be
                break
            few = up
        for cell, count in sorted(shown.items()):
            spend = dict(sorted(count.spend.items())) if len(count.buyers) >= k else None
            yield CellRow(window, cell, count.bids, len(count.bidders), spend)
        hidden = sum(count.bids for cell, count in few.items() if cell not in shown)
        if hidden:
            yield Suppressed(window, hidden)


def check_cells(
    rows: Iterable[CellRow | Suppressed], events: Iterable[BidDecision | AuctionOutcome], window_ms: int, k: int
) -> list[str]:
    """What is wrong with rows, told from the events alone: each shows at least k persons, and the rows of a window add up to its bids."""
    bids: dict[int, list[tuple[str, str]]] = {}  # window → (cell, bidder) of each bid
    for event in events:
        if isinstance(event, BidDecision) and event.cell and not event.automatic and event.status in OFFERS:
            window = event.received_at - event.received_at % window_ms
            bids.setdefault(window, []).append((event.cell, event.bidder_id))
    wrong, left = [], {window: len(placed) for window, placed in bids.items()}
    rows = list(rows)
    for row in rows:
        left[row.window] = left.get(row.window, 0) - row.bids
        if isinstance(row, Suppressed):
            continue
        finer = {r.cell for r in rows if isinstance(r, CellRow) and r.window == row.window} - {row.cell}
        counted = [who for cell, who in bids.get(row.window, ()) if _nearest(cell, finer | {row.cell}) == row.cell]
        if len(set(counted)) < k:
            wrong.append(f"{row.window}/{row.cell} shows {len(set(counted))} bidders, fewer than {k}")
        if (len(counted), len(set(counted))) != (row.bids, row.bidders):
            wrong.append(
                f"{row.window}/{row.cell} says {row.bids} bids of {row.bidders}, the history {len(counted)} of {len(set(counted))}"
            )
    wrong += [f"{window}: {n} bids are missing or too many" for window, n in sorted(left.items()) if n]
    return wrong


def _nearest(cell: str, shown: set[str]) -> str | None:
    """The finest cell shown that holds `cell`, itself included."""
    for resolution in range(h3.get_resolution(cell), -1, -1):
        above = str(h3.cell_to_parent(cell, resolution))
        if above in shown:
            return above
    return None
