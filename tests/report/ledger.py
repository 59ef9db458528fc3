"""A small bank for the tests of the report: it says what stages would have said, and the views of `payments.views` make tables of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from payments import topics
from payments.view_tables import DERIVED, TABLES
from payments.views import VIEWS
from schemas.payments import AccountBalance, LedgerEntry, Money, PaymentConfirmed, PaymentStatus
from schemas.rails import DeadLetter
from transforms.fold import DEAD_LETTERS
from transforms.row_batches import RowBatch, pack_rows
from transforms.sql_views import upsert_rows

START = 1_767_225_600_000  # 2026-01-01, midnight UTC
HOP = 5


Payment = tuple[str, Any, Money]
"""Id, kind and amount."""


class Ledger:
    """All on one partition. Times are ms after START; each hop takes HOP ms."""

    def __init__(self) -> None:
        self.said: dict[str, list[Any]] = {topic.name: [] for topic in topics.ALL}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.contra: dict[str, int] = {}
        self.payments = 0

    def open(self, account: str, currency: str = "EUR", overdraft: int = 0) -> None:
        self.accounts[account] = {
            "currency": currency,
            "overdraft": overdraft,
            "balance": 0,
            "pending": 0,
            "version": 0,
        }

    def deposit(self, account: str, minor: int, at: int) -> None:
        self._run("DEPOSIT", None, account, minor, at)

    def withdraw(self, account: str, minor: int, at: int) -> None:
        self._run("WITHDRAWAL", account, None, minor, at)

    def transfer(self, debtor: str, creditor: str, minor: int, at: int, arrives: bool = True) -> None:
        self._run("TRANSFER", debtor, creditor, minor, at, arrives)

    def hold(self, account: str, minor: int, at: int) -> None:
        payment = self._admit("HOLD", self.accounts[account]["currency"], minor, at)
        self.accounts[account]["pending"] += minor
        self._post(payment, account, "HOLD", None, minor, at + HOP)
        self._status(payment, "PDNG", at, 1)

    def reject(
        self, reason: str, at: int, currency: str = "EUR", detail: str | None = None, early: bool = True
    ) -> None:
        payment = self._new("TRANSFER", currency, 100) if early else self._admit("TRANSFER", currency, 100, at)
        self._status(payment, "RJCT", at, 0 if early else 1, reason, detail)

    def repeat(self, at: int, status: str = "DUPL", reason: str | None = None) -> None:
        payment = self._new("TRANSFER", "EUR", 100)
        self._status(payment, status, at, 0, reason, attempt=True)

    def bury(
        self,
        code: str,
        value: bytes | None,
        key: bytes | None = b"k",
        detail: str = "",
        stage: str = "payments.admission",
    ) -> None:
        letters = self.said[DEAD_LETTERS.name]
        if stage == "payments.admission":
            self.said[topics.INCOMING.name].append(None)
        place = len(letters)
        letter = DeadLetter(
            f"{stage}/t/0/{place}", stage, "t", 0, place, START + place, code, detail, 0, key, value, ()
        )
        letters.append(letter)

    def batches(self) -> Iterator[RowBatch]:
        for name, account in self.accounts.items():
            self.said[topics.BALANCES.name].append(_state(name, account))
        for make in VIEWS:
            view = make(0)
            made = [rows for topic in view.topics for rows in view.add(topic, list(enumerate(self.said[topic])))]
            for table, rows in (*made, *view.finish()):
                if rows:
                    yield pack_rows(table, rows)

    def write(self, path: Path) -> Path:
        """The views database, by the ending of `path`."""
        upsert_rows(path, TABLES, self.batches(), DERIVED)
        return path

    # --- what stages say ---

    def _run(
        self, kind: Any, debtor: str | None, creditor: str | None, minor: int, at: int, arrives: bool = True
    ) -> None:
        currency = self.accounts[debtor or creditor or ""]["currency"]
        payment = self._admit(kind, currency, minor, at)
        hops, where = 0, f"~transit/0/{currency}" if kind == "TRANSFER" else f"~outside/0/{currency}"
        if debtor is not None:
            hops += 1
            self._post(payment, debtor, "DEBIT", where, minor, at + HOP * hops)
            if kind == "TRANSFER":
                self._status(payment, "ACSP", at, hops)
        if not arrives:
            return
        if creditor is not None:
            hops += 1
            self._post(payment, creditor, "CREDIT", where, minor, at + HOP * hops)
        self._status(payment, "ACCC", at, hops)
        end = START + at + HOP * hops
        confirmed = PaymentConfirmed(
            payment[0], kind, debtor, creditor, payment[2], None, START + at, end, (HOP,) * hops
        )
        self.said[topics.CONFIRMED.name].append(confirmed)

    def _new(self, kind: str, currency: str, minor: int) -> Payment:
        self.payments += 1
        self.said[topics.INCOMING.name].append(None)
        return f"pay-{self.payments:06d}", kind, Money(minor, currency)

    def _admit(self, kind: str, currency: str, minor: int, at: int) -> Payment:
        payment = self._new(kind, currency, minor)
        self._status(payment, "ACTC", at, 0)
        return payment

    def _status(
        self,
        payment: Payment,
        status: Any,
        at: int,
        hop: int,
        reason: str | None = None,
        detail: str | None = None,
        attempt: bool = False,
    ) -> None:
        name, kind, amount = payment
        said = PaymentStatus(
            payment_id=name,
            kind=kind,
            status=status,
            reason=reason,
            detail=detail,
            reference=None,
            original=None,
            amount=amount,
            stage="payments.accounts" if hop else "payments.admission",
            attempt=attempt,
            terminal=status in ("ACCC", "RJCT", "CANC"),
            hop=hop,
            at=START + at + HOP * hop,
            elapsed_ms=HOP * hop,
        )
        self.said[topics.STATUS.name].append(said)

    def _post(self, payment: Payment, name: str, leg: Any, contra: str | None, minor: int, at: int) -> None:
        account = self.accounts[name]
        sign = {"CREDIT": 1, "DEBIT": -1}.get(leg, 0)
        account["balance"] += sign * minor
        account["version"] += 1
        account["payment"], account["at"] = payment[0], START + at
        if contra is not None:
            self.contra[contra] = self.contra.get(contra, 0) - sign * minor
        available = account["balance"] - account["pending"] + account["overdraft"]
        entry = LedgerEntry(
            account_id=name,
            version=account["version"],
            payment_id=payment[0],
            leg=leg,
            contra=contra,
            amount=payment[2],
            balance=account["balance"],
            available=available,
            pending=account["pending"],
            contra_balance=self.contra.get(contra or "", 0),
            at=START + at,
        )
        self.said[topics.JOURNAL.name].append(entry)


def _state(name: str, account: dict[str, Any]) -> AccountBalance:
    balance, pending, overdraft = account["balance"], account["pending"], account["overdraft"]
    return AccountBalance(
        account_id=name,
        currency=account["currency"],
        debits_pending=pending,
        debits_posted=max(-balance, 0),
        credits_posted=max(balance, 0),
        overdraft_limit=overdraft,
        daily_limit=None,
        one_in_flight=False,
        closed=False,
        frozen=False,
        balance=balance,
        available=balance - pending + overdraft,
        version=account["version"],
        revision=account["version"] + 1,
        last_payment_id=account.get("payment", ""),
        as_of=account.get("at", START),
    )


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u202etxt"
CARD = "4111111111111111"


def small_bank() -> Ledger:
    """Some of everything, in two currencies, with names and bytes that would like to be markup."""
    bank = Ledger()
    for name in ("alice", "bob", HOSTILE, f"card {CARD}"):
        bank.open(name)
    bank.open("taro", "JPY")
    bank.deposit("alice", 1_000_000, 0)
    bank.deposit(HOSTILE, 50_000, 3)
    bank.deposit("taro", 7_000, 1_000)
    for i in range(40):
        bank.transfer("alice", "bob" if i % 2 else HOSTILE, 1_000 + 17 * i, 2_000 + 700 * i)
    bank.transfer("alice", f"card {CARD}", 2_500, 31_000)
    bank.withdraw("taro", 500, 32_000)
    bank.hold("alice", 5_000, 33_000)
    bank.reject("AM04", 12_000, early=False)
    bank.reject("AC03", 14_000, early=False)
    bank.reject("AM03", 15_000, currency="<b>")
    bank.reject("NARR", 16_000, detail="already_captured", early=False)
    bank.repeat(20_000)
    bank.repeat(21_000, "RJCT", "AM05")
    bank.bury("BAD_MAGIC", f"</script><script>alert(3)</script> card {CARD}".encode(), detail="first byte is not zero")
    bank.bury("BAD_MAGIC", b"another")
    bank.bury("EMPTY_VALUE", None, None)
    bank.bury("TRUNCATED", bytes(range(256)), b"\xff\x00", "ends early", "payments.accounts")
    return bank
