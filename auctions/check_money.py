"""Money at the end equals money at the start, in total and per person: told from what clients paid in and out and from how auctions ended.

No posting of an auction's own is trusted: what a person should have is what came in and went out by payments that no auction asked for,
what their sales brought, and what they bought. A capture that was refused has brought nothing.
"""

from collections import Counter

from auctions import topics
from auctions.backing import Backing
from payments import topics as payment_topics
from payments.logs import Logs, events
from schemas.auctions import AuctionOutcome, BidReceived, ItemListed
from schemas.payments import AccountBalance, LedgerEntry, PaymentConfirmed, PaymentStatus

Purse = tuple[str, str]
"""A person and a currency."""


def check_money(logs: Logs, backing: Backing | None = None) -> list[str]:
    """What differs: persons whose money is not what it should be, money that is still held for auctions, and totals. For a drained log.

    `backing` tells what auctions asked for: that of the house.
    """
    backing = backing or Backing()
    person_of: dict[str, str] = {}
    for _, _, bid in events(logs, topics.LOG.name, BidReceived):
        person_of.setdefault(bid.account_id, bid.bidder_id)
    found: list[str] = []
    have: Counter[Purse] = Counter()
    newest: dict[str, AccountBalance] = {}
    for _, _, state in events(logs, payment_topics.BALANCES.name, AccountBalance):
        held = newest.get(state.account_id)
        if held is None or held.revision < state.revision:
            newest[state.account_id] = state
    own = _holds_of_clients(logs, backing)
    for account, state in newest.items():
        have[person_of.get(account, account), state.currency] += state.balance
        if state.debits_pending and account not in own:
            found.append(f"{account}: {state.debits_pending} {state.currency} are still held")
    should, outside = _clients(logs, person_of, backing)
    for person, minor, currency in _auctions(logs, backing):
        should[person_of.get(person, person), currency] += minor
    for purse in sorted({*have, *should}):
        if have[purse] != should[purse]:
            found.append(f"{purse[0]}: has {have[purse]} {purse[1]}, should have {should[purse]}")
    for currency in sorted({currency for _, currency in have} | set(outside)):
        total = sum(minor for (_, known), minor in have.items() if known == currency)
        if total != outside[currency]:
            found.append(f"{currency}: {total} in all accounts, {outside[currency]} came in")
    return found


def _holds_of_clients(logs: Logs, backing: Backing) -> set[str]:
    """Accounts with holds that no auction asked for, which may stay; of those of auctions `checkers.check_settlement` tells each one."""
    ids = {
        status.payment_id
        for _, _, status in events(logs, payment_topics.STATUS.name, PaymentStatus)
        if status.kind == "HOLD" and backing.asked(status.payment_id, status.kind, status.reference) is None
    }
    entries = events(logs, payment_topics.JOURNAL.name, LedgerEntry)
    return {entry.account_id for _, _, entry in entries if entry.leg == "HOLD" and entry.payment_id in ids}


def _clients(logs: Logs, person_of: dict[str, str], backing: Backing) -> tuple[Counter[Purse], Counter[str]]:
    """What payments of clients moved, per person; and what came in from outside, by currency."""
    moved: Counter[Purse] = Counter()
    outside: Counter[str] = Counter()
    for _, _, done in events(logs, payment_topics.CONFIRMED.name, PaymentConfirmed):
        if backing.asked(done.payment_id, done.kind, done.reference) is not None:
            continue
        minor, currency = done.amount
        for account, sign in ((done.debtor_account, -1), (done.creditor_account, 1)):
            if account is not None:
                moved[person_of.get(account, account), currency] += sign * minor
        outside[currency] += minor * ((done.debtor_account is None) - (done.creditor_account is None))
    return moved, outside


def _auctions(logs: Logs, backing: Backing) -> list[tuple[str, int, str]]:
    """(person, minor units, currency) that auctions with money behind their bids have moved, by their outcomes."""
    backed = {item.auction_id for _, _, item in events(logs, topics.HISTORY.name, ItemListed) if item.funds_required}
    back: Counter[str] = Counter()
    for _, _, status in events(logs, payment_topics.STATUS.name, PaymentStatus):
        asked = backing.asked(status.payment_id, status.kind, status.reference)
        if asked and status.kind == "CAPTURE" and status.status == "RJCT" and not status.attempt:
            back[asked[0]] += status.amount.minor
    found = []
    for _, _, end in events(logs, topics.HISTORY.name, AuctionOutcome):
        if end.auction_id in backed and end.winner is not None and end.price is not None:
            minor = end.price.minor - back[end.auction_id]
            found += [(end.winner, -minor, end.price.currency), (end.seller_id, minor, end.price.currency)]
    return found
