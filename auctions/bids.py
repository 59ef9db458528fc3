"""Bid validation (A2): checks each bid by itself and hands it on, with the time that decides. Keyed by auction.

Flow: auction.bids → bid validation → auction.log, partition p to partition p, in order: bids, retractions, *and ticks*. The time handed
on is the clock of the partition of auction.bids, so it never falls, even where another broker comes to lead it whose clock is behind;
the auctions' clock is this one (see `auctions.house`). The client's own time decides nothing.

A bid that cannot be right is a dead letter. An address of the network that lies in another country than the bidder says is a flag, or a
dead letter where `refuse_mismatch` says so.
"""

from ipaddress import ip_address

from auctions import topics
from auctions.addresses import address_error
from auctions.backing import is_id
from auctions.geography import GeoIp, cell_of
from payments.admission import MAX_MINOR, is_account_id
from payments.currencies import EXPONENTS
from schemas.auctions import BidPlaced, BidReceived, BidRetracted, BidsClock, RetractionReceived
from schemas.rails import Tick
from transforms.errors import BadRecord
from transforms.fold import Context, Processor

GEO_MISMATCH = "GEO_MISMATCH"  # flag: the network address lies in another country than the bidder says
NO_GEO = "NO_GEO"  # flag: it lies in no network of the table
MAX_REASON = 500
_NO_FLAGS: tuple[str, ...] = ()

_new = tuple.__new__  # builds the records of the hot path without a call of their own constructors


class BidValidation(Processor):
    """Keeps no state: each bid stands for itself, and its auction judges the rest."""

    stage = "auctions.bids"
    reads = (BidPlaced, BidRetracted, Tick)
    from_clients = True

    def __init__(self, geo: GeoIp | None = None, refuse_mismatch: bool = False) -> None:
        """`geo` is part of the rules: a log is replayed as it was with the same table."""
        self.geo, self.refuse_mismatch = geo, refuse_mismatch

    def key(self, event: BidPlaced | BidRetracted | Tick) -> str | None:
        if isinstance(event, Tick):
            return None
        if not is_id(event.auction_id):
            raise BadRecord("BAD_ID", "auction_id")
        return event.auction_id

    def on_broadcast(self, event: Tick, context: Context) -> None:
        context.emit_beside(topics.LOG, BidsClock(context.clock))

    def on_event(self, key: str, entity: None, event: BidPlaced | BidRetracted, context: Context) -> None:
        if not is_id(event.bid_id):
            raise BadRecord("BAD_ID", "bid_id")
        if not is_account_id(event.bidder_id):
            raise BadRecord("BAD_ID", "bidder_id")
        if isinstance(event, BidRetracted):
            if len(event.reason) > MAX_REASON:
                raise BadRecord("TOO_LONG", "reason")
            retraction = RetractionReceived(event.bid_id, key, event.bidder_id, event.reason, context.clock)
            context.emit(topics.LOG, key, retraction)
            return
        bid_id, _, bidder, account, maximum, ip, address, _ = event
        if account is None:
            account = bidder
        elif not is_account_id(account):
            raise BadRecord("BAD_ID", "account_id")
        if maximum.currency not in EXPONENTS:
            raise BadRecord("BAD_CURRENCY", "maximum.currency")
        if not 0 < maximum.minor <= MAX_MINOR:
            raise BadRecord("BAD_AMOUNT", "maximum")
        country = None
        if address is not None:
            wrong = address_error(address)
            if wrong is not None:
                raise BadRecord("BAD_ADDRESS", wrong)
            country = address.country
        cell, flags = None, _NO_FLAGS
        if ip is not None:
            country, cell, flags = self._locate(ip, country)
        received = (bid_id, key, bidder, account, maximum, context.clock, cell, country, ip, flags)
        context.emit(topics.LOG, key, _new(BidReceived, received))

    def _locate(self, ip: str, country: str | None) -> tuple[str | None, str | None, tuple[str, ...]]:
        """Country, cell and flags of a bid, by its address on the network."""
        try:
            ip_address(ip)
        except ValueError:
            raise BadRecord("BAD_IP", "ip") from None
        if self.geo is None:
            return country, None, _NO_FLAGS
        place = self.geo.find(ip)
        if place is None:
            return country, None, (NO_GEO,)
        cell = cell_of(place.lat, place.lon)
        if country is None or place.country is None or country == place.country:
            return country or place.country, cell, _NO_FLAGS
        if self.refuse_mismatch:
            raise BadRecord(GEO_MISMATCH, "the network address lies in another country than the address")
        return country, cell, (GEO_MISMATCH,)
