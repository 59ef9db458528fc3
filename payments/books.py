"""The books of a running payment system, kept up record by record: what a terminal shows while payments flow.

Takes what a reader sees, repeats dropped. All figures are those of the records so far, so topics that are read at different speeds
make them differ for a moment; when everything is read they are exact.
"""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from payments.admission import Admission
from schemas.payments import LedgerEntry, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter

_RECENT = 10_000  # confirmations that the quantiles are taken from


class Balance(NamedTuple):
    """A line of the trial balance, minor units; the parts add up to zero."""

    currency: str
    accounts: int
    in_transit: int
    outside: int

    @property
    def total(self) -> int:
        return self.accounts + self.in_transit + self.outside


class Books:
    """decided: records of payments.incoming that admission has decided on; ended: payments by how they ended; held: open holds.

    confirmed, rejected and the latencies (ms from the append on payments.incoming to the append on payments.confirmed) are of what was
    appended since `begin`; all else is of everything.
    """

    def __init__(self) -> None:
        self.admitted = self.refused = self.repeated = self.dead_letters = self.refused_records = 0
        self.confirmed = self.rejected = self._since = 0
        self.ended: Counter[str] = Counter()
        self.held: set[tuple[str, int]] = set()
        self._balances: dict[str, int] = {}
        self._sums: dict[tuple[str, str], int] = {}
        self._latencies: deque[int] = deque(maxlen=_RECENT)

    @property
    def decided(self) -> int:
        """Records of clients of which it is known what became of them at admission."""
        return self.admitted + self.refused + self.repeated + self.refused_records

    @property
    def in_flight(self) -> int:
        """Admitted payments that have neither ended nor are open holds."""
        return self.admitted - sum(self.ended.values()) - len(self.held)

    def begin(self, at: int) -> None:
        """Counts confirmations, rejections and latencies anew, of what is appended from then on (ms)."""
        self._since, self.confirmed, self.rejected = at, 0, 0
        self._latencies.clear()

    def add(self, at: int, event: Any) -> None:
        """Takes the event of a record that was appended at `at` (ms); others than those of the books are passed by."""
        kind = type(event)
        if kind is PaymentStatus:
            self._add_status(at, event)
        elif kind is LedgerEntry:
            self._add_entry(event)
        elif kind is PaymentConfirmed:
            if at >= self._since:
                self.confirmed += 1
                self._latencies.append(at - event.admitted_at)
        elif kind is DeadLetter:
            self.dead_letters += 1
            self.refused_records += event.stage == Admission.stage

    def _add_status(self, at: int, status: PaymentStatus) -> None:
        if status.attempt:
            self.repeated += 1
            return
        self.rejected += status.status == "RJCT" and at >= self._since
        if status.stage == Admission.stage:
            if status.terminal:
                self.refused += 1
            else:
                self.admitted += 1
        else:
            key = status.payment_id, status.at - status.elapsed_ms
            if status.terminal:
                self.held.discard(key)
                self.ended[status.status] += 1
            elif status.status == "PDNG":
                self.held.add(key)

    def _add_entry(self, entry: LedgerEntry) -> None:
        self._state(entry.account_id, "accounts", entry.amount.currency, entry.balance)
        if entry.contra is not None:
            side = "in_transit" if entry.contra.startswith("~transit/") else "outside"
            self._state(entry.contra, side, entry.amount.currency, entry.contra_balance)

    def _state(self, account: str, side: str, currency: str, balance: int) -> None:
        place = currency, side
        self._sums[place] = self._sums.get(place, 0) + balance - self._balances.get(account, 0)
        self._balances[account] = balance

    def trial_balance(self) -> list[Balance]:
        """A line per currency."""
        currencies = sorted({currency for currency, _ in self._sums})
        sides = ("accounts", "in_transit", "outside")
        return [Balance(each, *(self._sums.get((each, side), 0) for side in sides)) for each in currencies]

    def quantiles(self, shares: Iterable[float] = (0.5, 0.95, 0.99)) -> list[int]:
        """Of the latest latencies, ms; 0 each where there are none."""
        found = sorted(self._latencies)
        return [found[min(len(found) - 1, int(share * len(found)))] if found else 0 for share in shares]
