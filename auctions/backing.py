"""Money behind bids (A11): what an auction asks of the payment side, and how its questions are named.

Money moves only by payments. A bid has at most one hold, one capture and one void; their ids are made of auction, bid and kind, so asking
twice is asking once. Holds do not expire. The reference is `auction_id/bid_id`, which every status of the payment echoes.

Whoever knows the id of a payment before it is asked for can send a payment of their own under it: the house's is then a duplicate, and
theirs, whoever's money it holds, would be the answer. So the ids are a keyed hash of auction, bid and kind. The key is a secret and part
of the rules: the ids are as much a function of the partition as with any other rule.

An account is believed to be its bidder's: whoever lets bids in has to know that.
"""

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import NoReturn

from auctions.bidding import Auction
from payments import topics
from schemas.auctions import HeldFunds
from schemas.payments import Kind, Money, PaymentInitiated
from transforms.fold import Context

MAX_ID_CHARS = 56  # of auction and bid ids: both, and the kind, fit into a payment's id and reference
KINDS: tuple[Kind, ...] = ("HOLD", "CAPTURE", "VOID")
MIN_KEY_BYTES, MAX_KEY_BYTES = 16, 64  # the most is that of BLAKE2b
_DIGEST_BYTES = 16  # as few as nobody guesses
_PURPOSE = b"auctions.backing"  # so another use of the same key gives other digests
_SOURCE = "auctions"


def is_id(text: str) -> bool:
    """Whether an auction or a bid may have this id."""
    return 0 < len(text) <= MAX_ID_CHARS and "/" not in text


def held_of(auction: Auction, bidder: str) -> int:
    """What is held of a bidder, minor units."""
    return sum(hold.minor for hold in auction.holds.values() if hold.bidder_id == bidder)


class Backing:
    """What auctions ask for, under ids of one key, and which answers are theirs."""

    def __init__(self, key: bytes = b"") -> None:
        """`key`: 16 to 64 bytes, or none: then ids are `auction/bid/step`, as in logs from before there were keys, and can be guessed."""
        if key and not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
        self._key = key

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not travel: each worker makes its own Backing")

    def payment_id(self, auction_id: str, bid_id: str, kind: Kind) -> str:
        step = kind.lower()
        name = f"{auction_id}/{bid_id}/{step}"  # no id has a slash, so no other payment has this name
        if not self._key:
            return name
        digest = blake2b(name.encode(), digest_size=_DIGEST_BYTES, key=self._key, person=_PURPOSE).digest()
        return f"{step}/{urlsafe_b64encode(digest).decode().rstrip('=')}"

    def asked(self, payment_id: str, kind: Kind, reference: str | None) -> tuple[str, str] | None:
        """(auction_id, bid_id) of a payment that an auction asked for; None for any other, whatever it calls itself."""
        auction_id, _, bid_id = (reference or "").partition("/")
        if kind not in KINDS or not (is_id(auction_id) and is_id(bid_id)):
            return None
        return (auction_id, bid_id) if payment_id == self.payment_id(auction_id, bid_id, kind) else None

    def ask_hold(self, auction: Auction, bid_id: str, account: str, minor: int, context: Context) -> None:
        self._ask(auction, bid_id, "HOLD", account, None, minor, False, context)

    def void(self, auction: Auction, bid_id: str, hold: HeldFunds, context: Context) -> None:
        self._ask(auction, bid_id, "VOID", hold.account_id, None, hold.minor, True, context)

    def release(self, auction: Auction, bidder: str | None, context: Context) -> None:
        """Voids all that is held of a bidder who neither leads nor has a bid waiting."""
        if (
            bidder is None
            or bidder == auction.leader
            or any(one.bid.bidder_id == bidder for one in auction.waiting.values())
        ):
            return
        for bid_id in [bid_id for bid_id, hold in auction.holds.items() if hold.bidder_id == bidder]:
            self.void(auction, bid_id, auction.holds.pop(bid_id), context)

    def settle(self, auction: Auction, winner: str | None, context: Context) -> None:
        """At the end: the winner's holds pay the price to the seller, oldest first; what is left, and all others' holds, are let go."""
        left = auction.price if winner is not None else 0
        for bid_id, hold in auction.holds.items():
            minor = min(left, hold.minor) if hold.bidder_id == winner else 0
            if not minor:
                self.void(auction, bid_id, hold, context)
                continue
            left -= minor
            auction.captures[bid_id] = hold._replace(minor=minor)
            seller = auction.item.seller_id
            self._ask(auction, bid_id, "CAPTURE", hold.account_id, seller, minor, True, context)
        auction.holds = {}

    def _ask(
        self,
        auction: Auction,
        bid_id: str,
        kind: Kind,
        debtor: str,
        creditor: str | None,
        minor: int,
        of_hold: bool,
        context: Context,
    ) -> None:
        name, currency = auction.item.auction_id, auction.item.currency
        key = self.payment_id(name, bid_id, kind)
        context.emit(
            topics.INCOMING,
            key,
            PaymentInitiated(
                key,
                kind,
                debtor,
                creditor,
                Money(minor, currency),
                self.payment_id(name, bid_id, "HOLD") if of_hold else None,
                None,
                None,
                f"{name}/{bid_id}",
                _SOURCE,
                context.at,  # admission holds it against its own clock, which is that of the broker too
            ),
        )
