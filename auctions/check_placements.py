"""Checks of placements (A8): caps, budget and exclusions, told from the records that the placer has read and the placements alone."""

from collections.abc import Iterable

from auctions.placement import Caps
from schemas.auctions import AdLead, AdPlacement, AdRequest, OpenAuction
from transforms.topic_settings import DAY_MS

Read = Iterable[tuple[int, int, OpenAuction | AdLead | AdRequest]]
"""(offset, clock, event) of one partition of auction.ads.requests, in order."""


def check_placements(read: Read, placements: Iterable[AdPlacement], caps: Caps) -> list[str]:
    """What is wrong with the placements that the partition gave, in their order."""
    by_offset: dict[int, list[AdPlacement]] = {}
    for placed in placements:
        by_offset.setdefault(int(placed.cause.rsplit("/", 1)[1]), []).append(placed)
    wrong: list[str] = []
    auctions: dict[str, OpenAuction] = {}
    leads: set[tuple[str, str]] = set()
    shown: dict[str, list[tuple[int, str]]] = {}
    spent: dict[int, int] = {}
    for offset, clock, event in read:
        if isinstance(event, OpenAuction):
            auctions[event.auction_id] = event
        elif isinstance(event, AdLead):
            (leads.add if event.leads else leads.discard)((event.person, event.auction_id))
        given = by_offset.pop(offset, [])
        if given and not isinstance(event, AdRequest):
            wrong.append(f"{offset}: placements without a request")
        elif isinstance(event, AdRequest):
            if len(given) > caps.per_request:
                wrong.append(f"{offset}: {len(given)} placements for one request")
            for placed in given:
                before = shown.setdefault(event.person, [])
                wrong += [
                    f"{offset}: {placed.auction_id} {why}"
                    for why in _wrong(placed, event, clock, auctions, leads, before, caps)
                ]
                before.append((clock, placed.auction_id))
                day = clock // DAY_MS
                spent[day] = spent.get(day, 0) + 1
    wrong += [f"{offset}: placements of a record that was not read" for offset in sorted(by_offset)]
    wrong += [f"day {day}: {n} placements, more than the budget" for day, n in sorted(spent.items()) if n > caps.budget]
    return wrong


def _wrong(
    placed: AdPlacement,
    request: AdRequest,
    clock: int,
    auctions: dict[str, OpenAuction],
    leads: set[tuple[str, str]],
    shown: list[tuple[int, str]],
    caps: Caps,
) -> Iterable[str]:
    """`shown` is what the person has been shown before, as (clock, auction)."""
    auction, person = auctions.get(placed.auction_id), placed.person
    if (person, placed.because_of) != (request.person, request.auction_id):
        yield "is not what was asked for"
    if auction is None or not auction.open or not auction.starts_at <= clock <= auction.ends_at - caps.least_left_ms:
        yield "is not open"
    elif auction.seller_id == person:
        yield "is the person's own"
    if placed.auction_id == request.auction_id:
        yield "is the one that is about to be lost"
    if (person, placed.auction_id) in leads:
        yield "is led by the person"
    if any(auction_id == placed.auction_id and clock - at < caps.again_ms for at, auction_id in shown):
        yield "was shown already"
    if sum(clock - at < caps.window_ms for at, _ in shown) >= caps.most:
        yield "is one too many for the person"
