"""The credits that may be reversed, against a plain dict per account that forgets by itself."""

import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.account import MEMORY_MS
from payments.credits import Credits
from transforms.topic_settings import DAY_MS

NOON = 20_000 * DAY_MS + DAY_MS // 2


def test_a_credit_is_remembered_with_its_debtor_what_is_left_and_when():
    credits = Credits()
    credits.remember("b", "p", "a", 70, NOON)
    credit = credits.get("b", "p")
    assert (credit.left, credit.at) == (70, NOON)
    assert [name for name in ("a", "b", "", None) if credit.was_paid_by(name)] == ["a"]
    assert credits.get("a", "p") is None
    assert credits.get("b", "q") is None


def test_account_and_payment_are_told_apart_whatever_they_are_called():
    credits = Credits()
    pairs = [("1", "1 x"), ("11", " x"), ("", "11 x"), ("é", "x"), ("1 1", " x"), ("1", "1"), ("11", "")]
    for n, (account, payment) in enumerate(pairs):
        credits.remember(account, payment, "a", n, NOON)
    assert [credits.get(*pair).left for pair in pairs] == list(range(len(pairs)))


@pytest.mark.parametrize("minor", [0, 1, 2**62, 2**63 - 1])
def test_what_is_left_is_changed_in_its_place(minor):
    credits = Credits()
    for name in "pqr":
        credits.remember("b", name, "a", minor, NOON)
    credits.add("b", "q", -minor)
    assert [credits.get("b", name).left for name in "pqr"] == [minor, 0, minor]
    credits.add("b", "q", minor)
    assert credits.get("b", "q").left == minor
    credits.add("b", "unknown", 5)
    assert len(credits) == 3


@pytest.mark.parametrize("later", [0, 1, DAY_MS, MEMORY_MS - 1])
def test_a_payment_id_that_is_used_again_is_a_new_credit(later):
    credits = Credits()
    credits.remember("b", "p", "a", 70, NOON)
    credits.add("b", "p", -30)
    credits.remember("b", "p", "c", 50, NOON + later)
    again = credits.get("b", "p")
    assert (again.left, again.at, again.was_paid_by("c")) == (50, NOON + later, True)


def test_what_is_too_old_goes_by_the_day():
    credits = Credits()
    for day in range(200):
        credits.remember("b", f"p{day}", "a", 1, NOON + day * DAY_MS)
        assert len(credits) == min(day + 1, 91)
        oldest = max(0, day - 90)
        assert credits.get("b", f"p{oldest}") is not None
        assert credits.get("b", f"p{oldest - 1}") is None


@dataclass
class Plain:
    """Credits as one would write them down: account → payment → [debtor, left, at]; nothing is packed, nothing goes by the day."""

    held: dict[tuple[str, str], list] = field(default_factory=dict)

    def answer(self, account: str, payment: str, debtor: str, clock: int) -> tuple[bool, int] | None:
        """(was it this debtor, what is left), or None where it cannot be reversed any more."""
        found = self.held.get((account, payment))
        return None if found is None or found[2] + MEMORY_MS <= clock else (found[0] == debtor, found[1])


def answer(credits: Credits, account: str, payment: str, debtor: str, clock: int) -> tuple[bool, int] | None:
    credit = credits.get(account, payment)
    return None if credit is None or credit.at + MEMORY_MS <= clock else (credit.was_paid_by(debtor), credit.left)


names, payments = st.sampled_from("ab"), st.integers(0, 30).map("p{}".format)
waits = st.sampled_from([0, 0, 0, 1, DAY_MS - 1, DAY_MS, 30 * DAY_MS, MEMORY_MS - DAY_MS, MEMORY_MS - 1, MEMORY_MS])
steps = st.tuples(
    st.sampled_from(["remember", "remember", "reverse", "unwind", "restore"]), names, payments, names, waits
)


@given(st.lists(steps, max_size=120))
def test_they_answer_as_a_plain_dict_does_restored_or_not(sequence):
    credits, restored, plain, clock = Credits(), Credits(), Plain(), NOON
    for what, account, payment, debtor, wait in sequence:
        clock += wait
        both, key = (credits, restored), (account, payment)
        if what == "remember":
            plain.held[key] = [debtor, 100, clock]
            for one in both:
                one.remember(account, payment, debtor, 100, clock)
        elif what == "restore":
            restored = Credits().load(restored.encode())
        else:
            minor = -7 if what == "reverse" else 7
            if plain.answer(account, payment, debtor, clock) is not None:
                plain.held[key][1] += minor
                for one in both:
                    one.add(account, payment, minor)
        assert restored.encode() == credits.encode()
        for known in plain.held:
            expected = plain.answer(*known, debtor, clock)
            assert answer(credits, *known, debtor, clock) == answer(restored, *known, debtor, clock) == expected


@pytest.mark.parametrize("accounts", [1, 100, 20_000])
def test_a_credit_takes_at_most_80_bytes_however_many_an_account_has(accounts):
    credits, count = Credits(), 20_000
    for n in range(count):
        credits.remember(f"account-{n % accounts}", f"payment-{n}", "debtor", 1, NOON + n)
    held = sum(sys.getsizeof(b.entries) + sys.getsizeof(b.index) for b in credits._buckets.values())
    assert held / count <= 80
    assert len(credits.encode()) <= 40 * count + 16
