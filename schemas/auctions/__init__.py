"""Typed records of the domain `auctions`. Generated from the .avsc files by `schemas.generate`."""

from typing import Any, Literal, NamedTuple

from schemas import payments

Signal = Literal["SHILL", "SNIPING", "HAMMER_SNIPE", "SHIELDING", "COLLUSION", "OVERLAP", "IMPOSSIBLE_TRAVEL"]
"""What an alert is about."""

Phase = Literal["NOT_STARTED", "OPEN", "CLOSING", "COMPLETE", "CANCELLED"]
"""Where an auction stands; CLOSING: the end has come, and bids still wait for their money."""

Outcome = Literal["SOLD", "UNSOLD", "RESERVE_NOT_MET", "CANCELLED"]
"""How an auction ended."""

SpreadMark = Literal["REMAINING_50", "REMAINING_10", "REMAINING_1", "CLOSE"]
"""When a spread was looked at: with so much of the time remaining, or at the close."""

BidStatus = Literal[
    "UNKNOWN_ITEM",
    "CANCELLED",
    "FINISHED",
    "NOT_STARTED",
    "DUPLICATE",
    "SELLER_BID",
    "CURRENCY_MISMATCH",
    "INSUFFICIENT_FUNDS",
    "TOO_LOW",
    "ACCEPTED",
    "ACCEPTED_OUTBID",
    "ACCEPTED_BELOW_RESERVE",
    "BUY_NOW",
    "RETRACTED",
    "RETRACTION_REFUSED",
    "LATE",
]
"""What was decided, in the order of the tests; the last three: of retractions, and of bids whose money came too late."""

NoticeKind = Literal[
    "PURCHASED",
    "OUTBID",
    "LOST",
    "SOLD",
    "UNSOLD",
    "ENDING_SOON",
    "CANCELLED",
    "PURCHASE_UNPAID",
    "SALE_UNPAID",
]
"""What a person is told."""

SimilarityLevel = Literal["TAGS", "CATEGORY", "ALL"]
"""How similar the items of a range are, from the narrowest: same tags, same category, same currency alone."""


class AcceptedBid(NamedTuple):
    """State: a valid bid of an open auction.

    bidder_id: Who bid.
    maximum: Minor units.
    received_at: When it was received.
    """

    bidder_id: str
    maximum: int
    received_at: int


class OpenAuction(NamedTuple):
    """An auction that may be shown, or no longer (key `copy`; auction.ads.requests, a copy on every partition).

    copy: Key whose partition this copy is for.
    auction_id: Auction.
    seller_id: Who sells.
    category: Category.
    tags: Tags.
    currency: ISO 4217 code.
    price: Price, minor units; told again when the number of bids has doubled.
    bids: Bids so far.
    starts_at: Start.
    ends_at: End as it stands.
    open: False: it is over.
    """

    copy: str
    auction_id: str
    seller_id: str
    category: str
    tags: tuple[str, ...]
    currency: str
    price: int
    bids: int
    starts_at: int
    ends_at: int
    open: bool


class AdAuction(NamedTuple):
    """State of the requests for ads: one auction.

    auction: As it was told last.
    leader: Who leads.
    bids: Bids so far.
    """

    auction: OpenAuction
    leader: str | None
    bids: int


class AdLead(NamedTuple):
    """A person leads an auction, or no longer (key person; auction.ads.requests).

    person: Who.
    auction_id: Auction.
    leads: Leads.
    """

    person: str
    auction_id: str
    leads: bool


class AdShown(NamedTuple):
    """State: an auction that was shown to a person.

    auction_id: Auction.
    at: When.
    """

    auction_id: str
    at: int


class AdPerson(NamedTuple):
    """State of the placer of ads: one person.

    leads: Auctions led.
    shown: What was shown lately.
    """

    leads: tuple[str, ...]
    shown: tuple[AdShown, ...]


class AdPlacement(NamedTuple):
    """An open auction is shown to a person (key person; auction.ads).

    placement_id: A function of the request and the auction.
    person: Who.
    auction_id: Auction that is shown.
    because_of: Auction that the person is about to lose.
    score: How well it fits, 0 to 1.
    reason: Why, for people.
    cause: Place of the request: topic id/partition/offset.
    at: Clock of the request.
    """

    placement_id: str
    person: str
    auction_id: str
    because_of: str
    score: float
    reason: str
    cause: str
    at: int


class AdRequest(NamedTuple):
    """An auction nears its end, and a person who has bid does not lead (key person; auction.ads.requests).

    person: Who.
    auction_id: Auction that is about to be lost.
    category: Its category.
    tags: Its tags.
    price: Its price.
    """

    person: str
    auction_id: str
    category: str
    tags: tuple[str, ...]
    price: payments.Money


class AdShelf(NamedTuple):
    """State shared by a partition: what may be shown, and what has been spent.

    auctions: By auction_id.
    day: Day that `spent` is of, since 1970, UTC.
    spent: Placements of that day.
    """

    auctions: dict[str, OpenAuction]
    day: int
    spent: int


class Address(NamedTuple):
    """A postal address, as coarse as its owner likes.

    country: ISO 3166-1 alpha-2 code.
    region: Region.
    city: City.
    postcode: Postcode.
    """

    country: str
    region: str | None = None
    city: str | None = None
    postcode: str | None = None


class Evidence(NamedTuple):
    """What an alert rests on: a figure, or an auction.

    what: Name of the figure; or of what happened.
    value: The figure.
    auction_id: Auction where it was seen.
    """

    what: str
    value: float | None = None
    auction_id: str | None = None


class Alert(NamedTuple):
    """A person, or two, behave as a cheat does (key: the first person; auction.alerts).

    alert_id: A function of the record that it follows from, the signal and the persons.
    persons: Who.
    signal: What.
    score: How strong; its range is that of the signal.
    evidence: What it rests on.
    rule_version: Version of the rule that was in force; 0 is the built-in one.
    at: Clock at which it was noticed.
    """

    alert_id: str
    persons: tuple[str, ...]
    signal: Signal
    score: float
    evidence: tuple[Evidence, ...]
    rule_version: int
    at: int


class Increment(NamedTuple):
    """One row of a table of increments.

    below: Prices under this, minor units; null in the last row: all others.
    step: Least raise over such a price, minor units.
    """

    below: int | None
    step: int


class Geo(NamedTuple):
    """A place on the earth.

    lat: Degrees north.
    lon: Degrees east.
    cell: Cell of the grid; the intake writes it.
    """

    lat: float
    lon: float
    cell: str | None = None


class ItemListed(NamedTuple):
    """An item is put up for auction (key auction_id; auction.items; checked and enriched on auction.log, and
    first in its history).

    auction_id: Auction.
    item_id: What is sold.
    seller_id: Who sells; the account of that name is paid.
    title: Title.
    description: Description.
    category: Category.
    tags: What similar items share, sorted by the intake.
    currency: ISO 4217 code of all its prices.
    start_price: Least first bid, minor units.
    reserve: Least price to sell at, minor units.
    buy_now: Price that ends the auction at once, minor units.
    increments: Table of increments; null is the default table.
    starts_at: Bids count from here.
    ends_at: Bids count before this, unless the end moves.
    soft_close_ms: A valid bid this near to the end moves it.
    max_extensions: How often the end may move.
    funds_required: A bid must be backed by a hold of its maximum.
    geo: Where the item is.
    address: Where the item is.
    """

    auction_id: str
    item_id: str
    seller_id: str
    title: str
    description: str
    category: str
    tags: tuple[str, ...]
    currency: str
    start_price: int
    reserve: int | None
    buy_now: int | None
    increments: tuple[Increment, ...] | None
    starts_at: int
    ends_at: int
    soft_close_ms: int | None
    max_extensions: int | None
    funds_required: bool
    geo: Geo | None = None
    address: Address | None = None


class BidReceived(NamedTuple):
    """A bid that was checked and handed on, with the time that decides (key auction_id; auction.log).

    bid_id: Bid.
    auction_id: Auction.
    bidder_id: Who bids.
    account_id: Account that pays.
    maximum: The most that is bid.
    received_at: Append time on auction.bids: moves the auction's clock.
    cell: Cell of the grid that the network address lies in.
    country: Country of the address, else of the network address.
    ip: Address of the client on the network.
    flags: What is odd about it, and no reason to refuse: GEO_MISMATCH ...
    """

    bid_id: str
    auction_id: str
    bidder_id: str
    account_id: str
    maximum: payments.Money
    received_at: int
    cell: str | None
    country: str | None
    ip: str | None
    flags: tuple[str, ...]


class WaitingBid(NamedTuple):
    """State: a bid that waits for its money.

    bid: As it came.
    asked: What is to be held for it, minor units; 0: not asked yet, because a bid of the same bidder waits
    before it.
    """

    bid: BidReceived
    asked: int


class HeldFunds(NamedTuple):
    """State: money that is held for an auction, or was asked for.

    bidder_id: Who bids.
    account_id: Account that pays.
    minor: Minor units.
    """

    bidder_id: str
    account_id: str
    minor: int


class Auction(NamedTuple):
    """State of the auction processor: one auction.

    item: As listed, without the description.
    phase: Where it stands.
    price: Minor units.
    leader: Who leads.
    leading_bid: Bid that names the leader's maximum; empty without a leader.
    top: The leader's maximum, minor units.
    second: Highest maximum of the others, minor units.
    buy_now_offered: A bid may still end it at once.
    effective_end: End as it stands.
    extensions: How often the end has moved.
    bids: By bid_id, in order of decision; null for one that does not stand. Empty after the end.
    bidders: Standing bids by bidder, in order of their first. Empty after the end.
    count: Standing bids.
    waiting: By bid_id, in the order of the log.
    holds: Held money by bid_id, oldest first.
    owed: By bid_id: holds to be voided when their answer comes.
    captures: By bid_id: what was to be captured of a hold. Taken out when that was refused.
    revision: Rises with every change.
    range_asked_at: When the price range was asked for that bidders see, ms; -1 before the first.
    """

    item: ItemListed
    phase: Phase
    price: int
    leader: str | None
    leading_bid: str
    top: int
    second: int | None
    buy_now_offered: bool
    effective_end: int
    extensions: int
    bids: dict[str, AcceptedBid | None]
    bidders: dict[str, int]
    count: int  # type: ignore[assignment]
    waiting: dict[str, WaitingBid]
    holds: dict[str, HeldFunds]
    owed: dict[str, HeldFunds]
    captures: dict[str, HeldFunds]
    revision: int
    range_asked_at: int


class AuctionOutcome(NamedTuple):
    """How an auction ended (key auction_id; auction.outcomes, and at the end of its history).

    auction_id: Auction.
    outcome: How.
    seller_id: Who sold.
    title: Title.
    currency: ISO 4217 code.
    winner: Who bought.
    price: Price paid.
    runner_up: Highest maximum of the others.
    bids: Valid bids.
    bidders: Persons who made them.
    losers: Those who did not win, in order of their first bid.
    extensions: How often the end moved.
    effective_end: End.
    at: Append time on auction.log of the record that it was decided by.
    """

    auction_id: str
    outcome: Outcome
    seller_id: str
    title: str
    currency: str
    winner: str | None
    price: payments.Money | None
    runner_up: str | None
    bids: int
    bidders: int
    losers: tuple[str, ...]
    extensions: int
    effective_end: int
    at: int


class Spread(NamedTuple):
    """The spread at a mark.

    mark: When.
    at: The same as a time.
    ask: Minor units.
    bid: Minor units; null if there was none.
    absolute: ask - bid, minor units; null without a bid.
    basis_points: Of the middle of ask and bid, rounded; null without a bid.
    """

    mark: SpreadMark
    at: int
    ask: int
    bid: int | None = None
    absolute: int | None = None
    basis_points: int | None = None


class AuctionSpread(NamedTuple):
    """The spread of an auction over its whole time (key auction_id; auction.spreads).

    auction_id: Auction.
    seller_id: Who sold.
    category: Category.
    currency: ISO 4217 code.
    outcome: How it ended.
    marks: In the order of time.
    mean_absolute: Time-weighted mean while there was a bid, minor units, rounded; null if there was none.
    mean_basis_points: The same in basis points.
    quoted_ms: How long there was a bid.
    duration_ms: From the start to the effective end.
    quotes: Number of changes of ask or bid.
    at: Clock of the outcome.
    """

    auction_id: str
    seller_id: str
    category: str
    currency: str
    outcome: Outcome
    marks: tuple[Spread, ...]
    mean_absolute: int | None
    mean_basis_points: int | None
    quoted_ms: int
    duration_ms: int
    quotes: int
    at: int


class AuctionState(NamedTuple):
    """An auction as it stands, newest wins (key auction_id; upsert by revision; auction.current).

    auction_id: Auction.
    item_id: What is sold.
    seller_id: Who sells.
    title: Title.
    category: Category.
    tags: Tags.
    currency: ISO 4217 code.
    phase: Where it stands.
    start_price: Minor units.
    price: Minor units.
    next_minimum: Least that another bidder's bid must name, minor units.
    leader: Who leads.
    bids: Valid bids.
    bidders: Persons who made them.
    reserve_met: There is no reserve, or it is met.
    buy_now: Minor units, while it is offered.
    starts_at: Start.
    effective_end: End as it stands.
    extensions: How often the end has moved.
    cell: Cell of the grid where the item is.
    revision: Rises with every change.
    as_of: Append time of the record of the last change.
    """

    auction_id: str
    item_id: str
    seller_id: str
    title: str
    category: str
    tags: tuple[str, ...]
    currency: str
    phase: Phase
    start_price: int
    price: int
    next_minimum: int
    leader: str | None
    bids: int
    bidders: int
    reserve_met: bool
    buy_now: int | None
    starts_at: int
    effective_end: int
    extensions: int
    cell: str | None
    revision: int
    as_of: int


class BidDecision(NamedTuple):
    """What was decided about a bid or a retraction (key auction_id; auction.bids.history).

    auction_id: Auction.
    bid_id: Bid.
    bidder_id: Who bid.
    status: The decision.
    maximum: The most that the bid names; null for a retraction of a bid that is not known.
    price: Price after it; null where the item is not known.
    leader: Who leads after it.
    outbid: Who lost the lead by it.
    automatic: The leader's maximum answered another's bid: `bid_id` is the bid that named it.
    effective_end: End after it.
    extensions: How often the end has moved.
    received_at: When the bid was received.
    cell: Cell of the grid that the bid came from.
    country: Country that the bid came from.
    ip: Network address that the bid came from.
    flags: What is odd about the bid.
    at: Append time on auction.log of the record that was decided by.
    """

    auction_id: str
    bid_id: str
    bidder_id: str
    status: BidStatus
    maximum: payments.Money | None
    price: payments.Money | None
    leader: str | None
    outbid: str | None
    automatic: bool
    effective_end: int | None
    extensions: int
    received_at: int
    cell: str | None
    country: str | None
    ip: str | None
    flags: tuple[str, ...]
    at: int


class BidPlaced(NamedTuple):
    """A bidder names a maximum (key auction_id; auction.bids).

    bid_id: Idempotency key in its auction, chosen by the client.
    auction_id: Auction.
    bidder_id: Who bids.
    account_id: Account that pays; null is the one with the bidder's id.
    maximum: The most that is bid; a plain bid is its own maximum.
    ip: Address of the client on the network.
    address: Where the bidder lives.
    sent_at: The client's claimed time: data.
    """

    bid_id: str
    auction_id: str
    bidder_id: str
    account_id: str | None
    maximum: payments.Money
    ip: str | None
    address: Address | None
    sent_at: int


class BidRetracted(NamedTuple):
    """A bidder takes a bid back (key auction_id; auction.bids).

    bid_id: Bid.
    auction_id: Auction.
    bidder_id: Who placed it.
    reason: Why.
    """

    bid_id: str
    auction_id: str
    bidder_id: str
    reason: str


class Rival(NamedTuple):
    """Another bidder of the same auction.

    bidder_id: Who.
    alternations: How often one of the two followed directly on the other.
    """

    bidder_id: str
    alternations: int


class BidderTrace(NamedTuple):
    """What a bidder did in an auction that is over (key bidder_id; auction.traces).

    bidder_id: Who.
    auction_id: Auction.
    seller_id: Who sold.
    hard_close: The end could not move.
    offers: Accepted bids of this bidder.
    won: Has won.
    first_left_ms: Time left at the first bid.
    reactions: Bids that followed on another bidder's.
    quick: Of these, those within the reaction time of the rule.
    rivals: Those directly before or after.
    """

    bidder_id: str
    auction_id: str
    seller_id: str
    hard_close: bool
    offers: int
    won: bool
    first_left_ms: int
    reactions: int
    quick: int
    rivals: tuple[Rival, ...]


class BidsClock(NamedTuple):
    """A tick of auction.bids, handed on to the same partition of auction.log (no key).

    at: Append time of the tick on auction.bids: every record before it there stands before this one here.
    """

    at: int


class EndingSoon(NamedTuple):
    """An open auction nears its end (key auction_id; auction.outcomes and its history).

    auction_id: Auction.
    seller_id: Who sells.
    title: Title.
    category: Category.
    tags: Tags.
    price: Price now.
    leader: Who leads.
    bidders: Who has bid, in order of their first bid.
    effective_end: End as it stands.
    at: Clock of the auction.
    """

    auction_id: str
    seller_id: str
    title: str
    category: str
    tags: tuple[str, ...]
    price: payments.Money
    leader: str | None
    bidders: tuple[str, ...]
    effective_end: int
    at: int


class SellerShare(NamedTuple):
    """State: what a bidder did in the auctions of one seller.

    auctions: Auctions.
    offers: Bids.
    wins: Auctions won.
    """

    auctions: int
    offers: int
    wins: int


class RivalShare(NamedTuple):
    """State: auctions with another bidder.

    auctions: Auctions in which one followed directly on the other.
    alternations: How often.
    """

    auctions: int
    alternations: int


class Sighted(NamedTuple):
    """State: where a person was.

    at: When.
    cell: Cell.
    auction_id: Auction.
    """

    at: int
    cell: str
    auction_id: str


class ShillShare(NamedTuple):
    """State: a bidder in the auctions of this seller, added up over those that were lost.

    wins: Auctions won.
    losses: Auctions lost.
    beta: Sum.
    delta: Sum.
    epsilon: Sum.
    zeta: Sum.
    recent: Newest auctions lost.
    """

    wins: int
    losses: int
    beta: float
    delta: float
    epsilon: float
    zeta: float
    recent: tuple[str, ...]


class FraudPerson(NamedTuple):
    """State of the second stage of fraud: one person, as a bidder and as a seller.

    auctions: Auctions entered.
    offers: Bids.
    wins: Auctions won.
    hard: Auctions with a hard close.
    snipes: Of these, first bids in the last 60 s.
    late: First bids in the last 5 minutes.
    reactions: Bids that followed on another's.
    quick: Of these, the quick ones.
    sellers: By seller.
    rivals: By bidder.
    sights: Newest ones, by time.
    recent: Newest auctions entered.
    held: Auctions held.
    bidders: By bidder, in auctions held.
    raised: Alerts that stand.
    """

    auctions: int
    offers: int
    wins: int
    hard: int
    snipes: int
    late: int
    reactions: int
    quick: int
    sellers: dict[str, SellerShare]
    rivals: dict[str, RivalShare]
    sights: tuple[Sighted, ...]
    recent: tuple[str, ...]
    held: int
    bidders: dict[str, ShillShare]
    raised: tuple[str, ...]


class FraudRule(NamedTuple):
    """State: a rule in force.

    version: Version.
    active: In force.
    parameters: Thresholds that differ from the built-in ones.
    """

    version: int
    active: bool
    parameters: dict[str, int]


class FraudRules(NamedTuple):
    """State shared by a partition: the rules.

    rules: By name.
    """

    rules: dict[str, FraudRule]


class FundsHeld(NamedTuple):
    """The money behind a bid is held (key auction_id; auction.log).

    auction_id: Auction.
    bid_id: Bid.
    payment_id: The hold.
    amount: What is held.
    """

    auction_id: str
    bid_id: str
    payment_id: str
    amount: payments.Money


class FundsRefused(NamedTuple):
    """A hold or a capture that an auction asked for was refused (key auction_id; auction.log).

    auction_id: Auction.
    bid_id: Bid.
    payment_id: The hold or capture.
    reason: ISO 20022 reason code.
    """

    auction_id: str
    bid_id: str
    payment_id: str
    reason: str


class ItemCancelled(NamedTuple):
    """The seller takes an auction back (key auction_id; auction.items and auction.log).

    auction_id: Auction.
    reason: Why.
    """

    auction_id: str
    reason: str


class PriceRange(NamedTuple):
    """What similar items were sold for lately (key `key`; upsert by revision; auction.prices).

    key: Similarity key.
    level: Level of the key.
    currency: ISO 4217 code.
    n: Sales within the horizon.
    p10: 10 % of the sales were for at most this, minor units.
    p25: 25 % of the sales were for at most this, minor units.
    p50: 50 % of the sales were for at most this, minor units.
    p75: 75 % of the sales were for at most this, minor units.
    p90: 90 % of the sales were for at most this, minor units.
    relative_error: Bound of the error of each, relative to the exact price at its rank.
    horizon_ms: How far the sales reach back, in whole days.
    revision: Rises with every change.
    as_of: Clock of the newest change.
    """

    key: str
    level: SimilarityLevel
    currency: str
    n: int
    p10: int
    p25: int
    p50: int
    p75: int
    p90: int
    relative_error: float
    horizon_ms: int
    revision: int
    as_of: int


class Notice(NamedTuple):
    """A person is to be told something (key person; auction.notices).

    notice_id: A function of cause, kind and person; the mail's Message-ID is made of it.
    person: Who is told.
    kind: What.
    auction_id: Auction.
    title: Its title.
    price: Price of the auction, or that it was sold at, or what of it was not paid; null if nobody has bid.
    leads: The person leads, or has won.
    ends_at: End as it stands.
    cause: Place of the record that it follows from: topic id/partition/offset.
    at: Clock at which the rule fired.
    range: What similar items were sold for, as the auction last knew it; of OUTBID and ENDING_SOON.
    """

    notice_id: str
    person: str
    kind: NoticeKind
    auction_id: str
    title: str
    price: payments.Money | None
    leads: bool
    ends_at: int | None
    cause: str
    at: int
    range: PriceRange | None = None


class Quiet(NamedTuple):
    """State: a person who is not told again for a while.

    until: End of the quiet period.
    cause: Newest record that would have told them again; null if there is none.
    """

    until: int
    cause: str | None = None


class NoticesOfAuction(NamedTuple):
    """State of the notices of one auction.

    title: Title.
    leader: Who leads.
    price: Price.
    ends_at: End as it stands.
    quiet: Persons who have been told lately that they are outbid.
    range: What similar items were sold for, as bidders see it.
    """

    title: str
    leader: str | None
    price: payments.Money | None
    ends_at: int | None
    quiet: dict[str, Quiet]
    range: PriceRange | None = None


class PriceBin(NamedTuple):
    """State: sales in one bin of a sketch.

    number: Number of the bin.
    n: Sales.
    """

    number: int
    n: int


class PriceDay(NamedTuple):
    """State: the sales of one day as a sketch.

    day: Days since 1970, UTC, of the end of the auctions.
    bins: By number.
    """

    day: int
    bins: tuple[PriceBin, ...]


class PriceHistory(NamedTuple):
    """State: the sales of one similarity key within the horizon.

    level: Level of the key.
    currency: ISO 4217 code.
    days: By day.
    newest: Newest day of a sale.
    revision: Number of changes published.
    """

    level: SimilarityLevel
    currency: str
    days: tuple[PriceDay, ...]
    newest: int
    revision: int


class Quote(NamedTuple):
    """Ask and bid as they stood from a time on.

    at: From when.
    ask: What would settle it, minor units: the reserve while it is not met, else the buy-now price while it is
    offered, else the next minimum bid.
    bid: Best bid, minor units; null before the first.
    """

    at: int
    ask: int
    bid: int | None = None


class SimilarKey(NamedTuple):
    """A similarity key of an item, and its level.

    level: Level of the key.
    key: Similarity key.
    """

    level: SimilarityLevel
    key: str


class TriedLevel(NamedTuple):
    """A level that was asked for its price range, and how many sales it had.

    level: Level.
    n: Sales within the horizon.
    """

    level: SimilarityLevel
    n: int


class RangeAsked(NamedTuple):
    """A live auction asks what similar items were sold for (key `key`; auction.sales).

    key: Similarity key that is asked now.
    level: Level of the key.
    auction_id: Auction that asks.
    wider: Keys that are asked after it, the narrowest first, until one has enough sales.
    tried: Levels that had too few sales, in the order in which they were asked.
    asked_at: Clock of the history when the auction asked.
    """

    key: str
    level: SimilarityLevel
    auction_id: str
    wider: tuple[SimilarKey, ...]
    tried: tuple[TriedLevel, ...]
    asked_at: int


class RangeServed(NamedTuple):
    """What similar items were sold for, as bidders of a live auction see it (key auction_id; auction.log; the
    history once they see it, and by upsert of asked_at auction.ranges).

    auction_id: Auction.
    range: The narrowest range with enough sales; null if not even the widest has them.
    tried: Levels that were asked, in order; the last is that of the range, if there is one.
    asked_at: Clock of the history when the auction asked; the newest counts.
    """

    auction_id: str
    range: PriceRange | None
    tried: tuple[TriedLevel, ...]
    asked_at: int


class RetractionReceived(NamedTuple):
    """A retraction, handed on with the time that decides (key auction_id; auction.log).

    bid_id: Bid.
    auction_id: Auction.
    bidder_id: Who placed it.
    reason: Why.
    received_at: Append time on auction.bids: moves the auction's clock.
    """

    bid_id: str
    auction_id: str
    bidder_id: str
    reason: str
    received_at: int


class Sale(NamedTuple):
    """An item was sold, for the price range of one similarity key (key `key`; auction.sales).

    key: Similarity key.
    level: Level of the key.
    auction_id: Auction.
    price: Price paid.
    sold_at: End of the auction.
    """

    key: str
    level: SimilarityLevel
    auction_id: str
    price: payments.Money
    sold_at: int


class SaleItem(NamedTuple):
    """State: what an item that is on auction is like.

    category: Category.
    tags: Tags.
    """

    category: str
    tags: tuple[str, ...]


class SaleUnpaid(NamedTuple):
    """A payment of an auction that was sold was refused (key auction_id; auction.outcomes, and its history). The
    outcome stands.

    auction_id: Auction.
    bid_id: Bid whose hold was to be captured; a price over several holds has a payment for each.
    seller_id: Who has not got it.
    winner: Who has not paid it.
    title: Title.
    amount: What of the price was not paid.
    reason: ISO 20022 reason code; empty if none was given.
    at: Append time on auction.log of the answer that told it.
    """

    auction_id: str
    bid_id: str
    seller_id: str
    winner: str
    title: str
    amount: payments.Money
    reason: str
    at: int


class ShillPart(NamedTuple):
    """A bidder's part in one auction, for the shill score.

    bidder: Who.
    offers: Accepted bids.
    won: Has won.
    beta: Own bids of half of all, at most 1.
    delta: 1 - mean normalised time since the bid before.
    epsilon: 1 - mean normalised increment.
    zeta: Fraction of the duration that remained at the first bid.
    """

    bidder: str
    offers: int
    won: bool
    beta: float
    delta: float
    epsilon: float
    zeta: float


class SellerTrace(NamedTuple):
    """An auction of a seller is over (key seller_id; auction.traces).

    seller_id: Who.
    auction_id: Auction.
    parts: Of each bidder.
    """

    seller_id: str
    auction_id: str
    parts: tuple[ShillPart, ...]


class Sighting(NamedTuple):
    """A person was seen in a cell of the grid (key person; auction.traces).

    person: Who.
    seen_at: When the bid was received.
    cell: Cell.
    auction_id: Auction.
    """

    person: str
    seen_at: int
    cell: str
    auction_id: str


class SpreadState(NamedTuple):
    """State: the quotes of one auction.

    item: As it was taken.
    quotes: In the order of time.
    """

    item: ItemListed
    quotes: tuple[Quote, ...]


class TracedOffer(NamedTuple):
    """State: an accepted bid.

    bidder: Who.
    at: When it was received.
    maximum: Minor units.
    met: Price that it met, minor units.
    """

    bidder: str
    at: int
    maximum: int
    met: int


class TracedRetraction(NamedTuple):
    """State: a bid that was taken back.

    bidder: Who.
    at: When.
    maximum: Minor units.
    before: Price before, minor units.
    after: Price after, minor units.
    """

    bidder: str
    at: int
    maximum: int
    before: int
    after: int


class TracedAuction(NamedTuple):
    """State of the first stage of fraud: one auction.

    seller_id: Who sells.
    starts_at: Start.
    start_price: Minor units.
    hard_close: The end cannot move.
    price: Price, minor units.
    offers: In order.
    retractions: In order.
    """

    seller_id: str
    starts_at: int
    start_price: int
    hard_close: bool
    price: int
    offers: tuple[TracedOffer, ...]
    retractions: tuple[TracedRetraction, ...]


RECORDS: dict[str, type[Any]] = {
    "auctions.AcceptedBid": AcceptedBid,
    "auctions.OpenAuction": OpenAuction,
    "auctions.AdAuction": AdAuction,
    "auctions.AdLead": AdLead,
    "auctions.AdShown": AdShown,
    "auctions.AdPerson": AdPerson,
    "auctions.AdPlacement": AdPlacement,
    "auctions.AdRequest": AdRequest,
    "auctions.AdShelf": AdShelf,
    "auctions.Address": Address,
    "auctions.Evidence": Evidence,
    "auctions.Alert": Alert,
    "auctions.Increment": Increment,
    "auctions.Geo": Geo,
    "auctions.ItemListed": ItemListed,
    "auctions.BidReceived": BidReceived,
    "auctions.WaitingBid": WaitingBid,
    "auctions.HeldFunds": HeldFunds,
    "auctions.Auction": Auction,
    "auctions.AuctionOutcome": AuctionOutcome,
    "auctions.Spread": Spread,
    "auctions.AuctionSpread": AuctionSpread,
    "auctions.AuctionState": AuctionState,
    "auctions.BidDecision": BidDecision,
    "auctions.BidPlaced": BidPlaced,
    "auctions.BidRetracted": BidRetracted,
    "auctions.Rival": Rival,
    "auctions.BidderTrace": BidderTrace,
    "auctions.BidsClock": BidsClock,
    "auctions.EndingSoon": EndingSoon,
    "auctions.SellerShare": SellerShare,
    "auctions.RivalShare": RivalShare,
    "auctions.Sighted": Sighted,
    "auctions.ShillShare": ShillShare,
    "auctions.FraudPerson": FraudPerson,
    "auctions.FraudRule": FraudRule,
    "auctions.FraudRules": FraudRules,
    "auctions.FundsHeld": FundsHeld,
    "auctions.FundsRefused": FundsRefused,
    "auctions.ItemCancelled": ItemCancelled,
    "auctions.PriceRange": PriceRange,
    "auctions.Notice": Notice,
    "auctions.Quiet": Quiet,
    "auctions.NoticesOfAuction": NoticesOfAuction,
    "auctions.PriceBin": PriceBin,
    "auctions.PriceDay": PriceDay,
    "auctions.PriceHistory": PriceHistory,
    "auctions.Quote": Quote,
    "auctions.SimilarKey": SimilarKey,
    "auctions.TriedLevel": TriedLevel,
    "auctions.RangeAsked": RangeAsked,
    "auctions.RangeServed": RangeServed,
    "auctions.RetractionReceived": RetractionReceived,
    "auctions.Sale": Sale,
    "auctions.SaleItem": SaleItem,
    "auctions.SaleUnpaid": SaleUnpaid,
    "auctions.ShillPart": ShillPart,
    "auctions.SellerTrace": SellerTrace,
    "auctions.Sighting": Sighting,
    "auctions.SpreadState": SpreadState,
    "auctions.TracedOffer": TracedOffer,
    "auctions.TracedRetraction": TracedRetraction,
    "auctions.TracedAuction": TracedAuction,
}
