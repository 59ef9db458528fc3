"""The payment ids behind bids: nobody without the key knows one before it is asked for; what a client does who guesses them."""

import pickle
from typing import Any

import pytest

from auctions import topics
from auctions.backing import MAX_KEY_BYTES, MIN_KEY_BYTES, Backing
from auctions.check_money import check_money
from auctions.checkers import check_all
from auctions.house import WrongKey
from payments import topics as payment_topics
from payments.logs import events
from schemas.auctions import Address, AuctionOutcome, BidDecision, BidPlaced
from schemas.payments import AccountBalance, AccountOpened, Kind, Money, PaymentInitiated
from schemas.rails import Tick
from tests.auctions.system import record_of, run_auctions
from tests.auctions.world import END, HOUR, START, House, item

KEY, OTHER = b"0123456789abcdef", b"0123456789abcdeg"
KINDS: tuple[Kind, ...] = ("HOLD", "CAPTURE", "VOID")


# --- ids ---


def test_without_a_key_ids_have_the_old_form() -> None:
    assert [Backing().payment_id("x", "b", kind) for kind in KINDS] == ["x/b/hold", "x/b/capture", "x/b/void"]


def test_with_a_key_an_id_is_a_function_of_all_that_it_is_made_of() -> None:
    made = [("x", "b", kind) for kind in KINDS] + [("x", "c", KINDS[0]), ("y", "b", KINDS[0]), ("y", "hold", KINDS[0])]
    ids = [Backing(key).payment_id(*names) for key in (KEY, OTHER) for names in made]
    assert len(set(ids)) == len(ids)
    assert ids == [Backing(key).payment_id(*names) for key in (KEY, OTHER) for names in made]


def test_an_id_is_for_ever_the_same() -> None:
    """Logs are replayed with it: who changes how it is made breaks every one of them."""
    assert [Backing(KEY).payment_id("x", "b", kind) for kind in KINDS] == [
        "hold/o25KANQTXa9kw6UQP70P0A",
        "capture/D2tkYbXYYkObLW9ZmCbLMg",
        "void/z5qV-_0oNMsIgHl7d1tCZQ",
    ]


@pytest.mark.parametrize("key", [b"", KEY])
def test_what_was_asked_for_is_known(key: bytes) -> None:
    backing = Backing(key)
    hold = backing.payment_id("x", "b", "HOLD")
    assert backing.asked(hold, "HOLD", "x/b") == ("x", "b")
    for name, kind, reference in (
        (hold, "CAPTURE", "x/b"),
        (hold, "TRANSFER", "x/b"),
        (hold, "HOLD", "x/c"),
        (hold, "HOLD", "x"),
        (hold, "HOLD", None),
        (hold + "=", "HOLD", "x/b"),
        (Backing(OTHER).payment_id("x", "b", "HOLD"), "HOLD", "x/b"),
    ):
        assert backing.asked(name, kind, reference) is None  # type: ignore[arg-type]


def test_an_id_of_the_old_form_is_nothing_to_a_key() -> None:
    assert Backing(KEY).asked("x/b/hold", "HOLD", "x/b") is None


@pytest.mark.parametrize("length", [1, MIN_KEY_BYTES - 1, MAX_KEY_BYTES + 1])
def test_a_key_that_can_be_guessed_or_is_too_long_is_refused_and_not_shown(length: int) -> None:
    with pytest.raises(ValueError, match=r"^a key has 16 to 64 bytes$"):
        Backing(b"k" * length)


def test_a_key_is_not_shown_and_does_not_travel() -> None:
    backing = Backing(KEY)
    assert KEY.decode() not in f"{backing!r} {backing}"
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(backing)


# --- a house with another key ---


@pytest.mark.parametrize("step", ["held a1 3000", "refused a1", "unpaid a1"])
@pytest.mark.parametrize(("written", "read"), [(KEY, OTHER), (KEY, b""), (b"", KEY)])
def test_another_key_stops_the_house_at_the_first_answer(step: str, written: bytes, read: bytes) -> None:
    house = House(funds_required=True, key=written)
    house.play("a 3000")
    house.backing = Backing(read)
    house.shard = house._new_shard()
    house.feed(house.item)
    house.play("a 3000 #a1")
    house.backing, answers = Backing(written), house.backing
    event, _ = house._event(step.split())
    house.backing = answers
    with pytest.raises(
        WrongKey, match=r"^auctions.house: auction.log/0/\d+: answers a payment of another key"
    ) as stopped:
        house.feed(event)
    assert not any(key and key.decode() in str(stopped.value) for key in (written, read))


# --- a client who guesses ---


def opened(account: str, minor: int) -> list[Any]:
    paid = PaymentInitiated(
        f"d-{account}", "DEPOSIT", None, account, Money(minor, "EUR"), *[None] * 4, "x", START - HOUR
    )
    return [AccountOpened(f"o-{account}", account, 0, "EUR", 0, None, False, START - 2 * HOUR), paid]


def bid(bidder: str, minor: int) -> BidPlaced:
    return BidPlaced(f"{bidder}1", "x", bidder, None, Money(minor, "EUR"), None, Address("DE"), START + HOUR)


def guess(debtor: str, bid_id: str, minor: int) -> PaymentInitiated:
    """The hold that the house will ask for, as everybody knew it."""
    return PaymentInitiated(
        f"x/{bid_id}/hold", "HOLD", debtor, None, Money(minor, "EUR"), *[None] * 3, f"x/{bid_id}", "m", START + HOUR
    )


def market(bidder: str, forged: PaymentInitiated, key: bytes) -> Any:
    """One backed auction with one bid of 50.00, and a client's payment that comes before the house's. mallory has no money, anna has."""
    sent: list[tuple[int, Any]] = [(START - 2 * HOUR, item("x", funds_required=True))]
    for account, minor in (("seller", 1), ("mallory", 1), ("anna", 9000)):
        account_opened, paid = opened(account, minor)
        sent += [(START - 2 * HOUR, account_opened), (START - HOUR, paid)]
    sent += [(START + HOUR, bid(bidder, 5000)), (START + HOUR + 1, forged)]
    sent += [(END + n * HOUR, Tick(END + n * HOUR)) for n in (1, 2)]
    sent.sort(key=lambda one: one[0])
    logs, _ = run_auctions([record_of(at, event) for at, event in sent], tick_ms=HOUR, key=key)
    return logs


def decisions(logs: Any) -> list[str]:
    return [event.status for _, _, event in events(logs, topics.HISTORY.name, BidDecision)]


def outcomes(logs: Any) -> list[str]:
    return [event.outcome for _, _, event in events(logs, topics.HISTORY.name, AuctionOutcome)]


def held_of(logs: Any, account: str) -> int:
    states = [e for _, _, e in events(logs, payment_topics.BALANCES.name, AccountBalance) if e.account_id == account]
    return int(max(states, key=lambda state: state.revision).debits_pending)


def check_all_of(logs: Any, key: bytes) -> list[str]:
    return check_all(logs, Backing(key)) + check_money(logs, Backing(key))


def test_a_guessed_hold_of_another_account_was_taken_for_the_bidders_money() -> None:
    """The control: without a key the attack succeeds. mallory leads with anna's money, and wins; the checkers see what came of it."""
    logs = market("mallory", guess("anna", "mallory1", 5000), b"")
    assert decisions(logs) == ["ACCEPTED"] and outcomes(logs) == ["SOLD"]
    assert held_of(logs, "anna") == 5000
    assert any("never captured nor released" in line for line in check_all_of(logs, b""))


def test_with_a_key_a_guess_is_a_clients_own_hold_and_no_answer() -> None:
    logs = market("mallory", guess("anna", "mallory1", 5000), KEY)
    assert decisions(logs) == ["INSUFFICIENT_FUNDS"] and outcomes(logs) == ["UNSOLD"]
    assert check_all_of(logs, KEY) == []


def test_a_guess_could_lock_a_bidder_out() -> None:
    """The control: the house's own hold is a duplicate, nobody answers it, and the bid is late."""
    assert decisions(market("anna", guess("mallory", "anna1", 1), b"")) != ["ACCEPTED"]


def test_with_a_key_a_guess_locks_nobody_out() -> None:
    logs = market("anna", guess("mallory", "anna1", 1), KEY)
    assert decisions(logs) == ["ACCEPTED"] and outcomes(logs) == ["SOLD"]
    assert held_of(logs, "anna") == 0 and check_all_of(logs, KEY) == []


def test_the_old_form_sent_with_the_id_of_a_key_that_is_not_the_houses() -> None:
    """What a client would send who knows how ids are made, but not the key."""
    forged = guess("anna", "mallory1", 5000)
    forged = forged._replace(payment_id=Backing(OTHER).payment_id("x", "mallory1", "HOLD"))
    assert decisions(market("mallory", forged, KEY)) == ["INSUFFICIENT_FUNDS"]


def test_with_another_key_than_the_houses_the_checkers_find_something() -> None:
    """So a wrong --backing_key of auctions_verify is noticed."""
    logs = market("anna", guess("mallory", "anna1", 1), KEY)
    for key in (OTHER, b""):
        assert any("were paid" in line for line in check_all(logs, Backing(key)))
        assert check_money(logs, Backing(key))
