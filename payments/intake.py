"""How events of clients come in when there is no broker yet: the key and the time that stand in the event itself."""

from typing import Any

from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened, PaymentInitiated

ACCOUNT_EVENTS = (AccountOpened, AccountLimited, AccountFrozen, AccountClosed)


def client_key(event: Any) -> str | None:
    """The key that the event has on its topic; None for a broadcast, such as a Rule."""
    if isinstance(event, PaymentInitiated):
        return event.payment_id
    if isinstance(event, ACCOUNT_EVENTS):
        return event.account_id
    return None


def client_time(event: Any) -> int:
    """The claimed time (ms), which serves as append time where nothing else is known; -1 for an event without one, such as a Rule."""
    if isinstance(event, (PaymentInitiated, *ACCOUNT_EVENTS)):
        return event.requested_at
    return -1
