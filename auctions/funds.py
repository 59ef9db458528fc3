"""The answers about money (A11): what a payment's status means to the auction that asked for it.

Flow: payments.status → funds → FundsHeld or FundsRefused on auction.log, keyed by auction. A HOLD that is open (PDNG) is held; a HOLD or
a CAPTURE that is refused (RJCT) is refused. All else, and whatever no auction has asked for, is passed by: a payment of a client that
names a bid has not the id that the key gives it. A status of an attempt says nothing of the payment itself, and is passed by too.
"""

from auctions import topics
from auctions.backing import Backing
from schemas.auctions import FundsHeld, FundsRefused
from schemas.payments import PaymentStatus
from transforms.fold import Context, Processor


class Funds(Processor):
    """Keeps no state: each status stands for itself."""

    stage = "auctions.funds"
    reads = (PaymentStatus,)

    def __init__(self, backing: Backing | None = None) -> None:
        """`backing`: that of the auction house, or nothing is handed on; ids of the old form without one."""
        self._backing = backing or Backing()

    def key(self, event: PaymentStatus) -> str:
        return event.payment_id

    def on_event(self, key: str, entity: None, event: PaymentStatus, context: Context) -> None:
        if event.attempt or event.kind not in ("HOLD", "CAPTURE") or event.status not in ("PDNG", "RJCT"):
            return
        asked = self._backing.asked(key, event.kind, event.reference)
        if asked is None:
            return
        auction, bid = asked
        if event.status == "RJCT":
            context.emit(topics.LOG, auction, FundsRefused(auction, bid, key, event.reason or ""))
        elif event.kind == "HOLD":
            context.emit(topics.LOG, auction, FundsHeld(auction, bid, key, event.amount))
