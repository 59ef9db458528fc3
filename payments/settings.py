"""Administration: how accounts are opened, limited, frozen and closed, and how velocity rules come into force.

Administrative events carry an id and the settings version that their sender saw (contract line 11). What cannot be applied is a BadRecord.
"""

from hashlib import blake2b

from payments.account import MAX_COUNTER, Account
from payments.admission import MAX_ID_CHARS, is_account_id
from payments.currencies import EXPONENTS
from schemas.payments import AccountClosed, AccountFrozen, AccountLimited, AccountOpened, VelocityRule
from schemas.rails import Rule
from transforms.errors import BadRecord

AccountEvent = AccountOpened | AccountLimited | AccountFrozen | AccountClosed

VELOCITY = "velocity"  # a Rule of this name, or of a name that begins with it and a colon, is a velocity rule


def change_account(key: str, account: Account | None, event: AccountEvent, value: bytes) -> Account | None:
    """The account after the event, changed in place; None if the event is the last one once more, and changes nothing.

    `value` is the event as it came: the same action is one of the same id and the same bytes, as for payments (contract line 11).
    """
    if not 0 < len(event.admin_id) <= MAX_ID_CHARS:
        raise BadRecord("BAD_ID", "admin_id is empty or too long")
    digest = blake2b(value, digest_size=16).digest()
    if account is not None and event.admin_id == account.admin_id:
        if digest == account.admin_digest:
            return None
        raise BadRecord("ADMIN_ID_REUSED", "the last change of the account has this admin_id, and says something else")
    if event.expected != (0 if account is None else account.settings):
        raise BadRecord("STALE_SETTINGS", "the account has other settings than the sender saw")
    if isinstance(event, AccountOpened):
        if account is not None:
            raise BadRecord("ALREADY_OPEN", "the account is open already")
        if not is_account_id(key) or event.currency not in EXPONENTS:
            raise BadRecord("BAD_ACCOUNT", "account id or currency is not allowed")
        account = Account(event.currency, one_in_flight=event.one_in_flight)
        _limit(account, event)
    elif account is None:
        raise BadRecord("UNKNOWN_ACCOUNT", "the account was never opened")
    elif isinstance(event, AccountLimited):
        _limit(account, event)
    elif isinstance(event, AccountFrozen):
        account.frozen = event.frozen
    else:
        account.closed = True
    account.settings += 1
    account.admin_id, account.admin_digest = event.admin_id, digest
    return account


def _limit(account: Account, event: AccountOpened | AccountLimited) -> None:
    if not (0 <= event.overdraft_limit <= MAX_COUNTER and 0 <= (event.daily_limit or 0) <= MAX_COUNTER):
        raise BadRecord("BAD_LIMIT", "limits must be from 0 to 2^62 - 1")
    account.overdraft_limit, account.daily_limit = event.overdraft_limit, event.daily_limit


def change_rules(rules: dict[str, VelocityRule], event: Rule) -> bool:
    """Puts a velocity rule in force: parameters interval_ms, and max_count or max_minor or both. False: it is not newer than the one held.

    A rule that is taken out of force needs no parameters. Rules of other names belong to other stages.
    """
    if event.name != VELOCITY and not event.name.startswith(VELOCITY + ":"):
        return True
    held = rules.get(event.name)
    if held is not None and event.version <= held.version:
        return False
    interval, most, money = (event.parameters.get(name) for name in ("interval_ms", "max_count", "max_minor"))
    if event.active:
        if interval is None or interval < 1:
            raise BadRecord("BAD_RULE", "interval_ms must be positive")
        if (most is None and money is None) or (most or 0) < 0 or (money or 0) < 0:
            raise BadRecord("BAD_RULE", "max_count or max_minor must be given, and not be negative")
    rules[event.name] = VelocityRule(event.version, event.active, interval or 0, most, money)
    return True
