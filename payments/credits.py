"""The credits that may still be reversed, of all accounts of a shard: packed, and dropped by the day."""

import struct
from hashlib import blake2b
from typing import NamedTuple

from payments.account import MEMORY_MS
from payments.packed import DIGEST_BYTES, PackedMemory
from transforms.topic_settings import DAY_MS

_ENTRY = struct.Struct("<16s8sqq")  # digest of account and payment; then a Credit
_LEFT = struct.Struct("<q")
_LEFT_AT = DIGEST_BYTES + 8  # where `left` stands in an entry


class Credit(NamedTuple):
    """A credit as it is remembered.

    debtor: Digest of who paid, 8 bytes.
    left: What is left to give back, minor units.
    at: Clock when it was posted, ms.
    """

    debtor: bytes
    left: int
    at: int

    def was_paid_by(self, account_id: str | None) -> bool:
        return account_id is not None and self.debtor == _debtor(account_id)


class Credits(PackedMemory):
    """(account, payment_id) → Credit, for `keep_ms` of the clock and at most a day (a quarter of a shorter time) more: whoever asks
    looks at `at`.

    All accounts of a shard share it, so one with a single credit takes no more for it than one with thousands. Where a payment_id that
    admission has forgotten is credited again, the newest counts. A credit is looked for in one bucket after another, the newest first.

    Two payments have one digest with a chance of 2^-128, two debtors with one of 2^-64. The latter matters only to an account that gives
    back what is its own, and could send it anywhere by a transfer.
    """

    __slots__ = ()

    ENTRY = _ENTRY

    def __init__(self, keep_ms: int = MEMORY_MS) -> None:
        super().__init__(keep_ms, max(1, min(DAY_MS, keep_ms // 4)))

    def remember(self, account_id: str, payment_id: str, debtor: str, minor: int, clock: int) -> None:
        """Keeps a credit of `minor` units, posted at `clock`, for reversals."""
        digest = _digest(account_id, payment_id)
        entry = _ENTRY.pack(digest, _debtor(debtor), minor, clock)
        self.bucket_at(clock).put(entry, int.from_bytes(digest[:8], "little"))

    def get(self, account_id: str, payment_id: str) -> Credit | None:
        """The credit, one that is too old for a reversal included as long as it is there; None if there is none."""
        found = self._find(account_id, payment_id)
        return None if found is None else Credit._make(_ENTRY.unpack_from(*found)[1:])

    def add(self, account_id: str, payment_id: str, minor: int) -> None:
        """Changes what is left of a credit by `minor` units; nothing where there is none (any more)."""
        found = self._find(account_id, payment_id)
        if found is not None:
            entries, place = found
            (left,) = _LEFT.unpack_from(entries, place + _LEFT_AT)
            _LEFT.pack_into(entries, place + _LEFT_AT, left + minor)

    def _find(self, account_id: str, payment_id: str) -> tuple[bytearray, int] | None:
        digest = _digest(account_id, payment_id)
        return self.find(digest, int.from_bytes(digest[:8], "little"))


def _digest(account_id: str, payment_id: str) -> bytes:
    """The length of the first says where the second begins, whatever characters they have."""
    return blake2b(f"{len(account_id)} {account_id}{payment_id}".encode(), digest_size=DIGEST_BYTES).digest()


def _debtor(account_id: str) -> bytes:
    return blake2b(account_id.encode(), digest_size=8).digest()
