"""The shill score, by hand."""

import pytest

from auctions.fraud_shill import Part, ShillTotals, parts_of, shill_scores
from auctions.stories import Offer, Story


def test_parts_by_hand():
    """Start 0, end 1000. Waits: 100, 300, 100, 400 (longest 400); rises: 10, 40, 5, 20 (largest 40); half of four offers is two."""
    offers = (
        Offer("a", 100, 110, 100),
        Offer("b", 400, 150, 110),
        Offer("a", 500, 156, 151),
        Offer("b", 900, 176, 156),
    )
    assert parts_of(Story("x", "s", 0, 1000, 100, offers, "b")) == [
        # a: 2 of 2; waits 100 and 100; rises 10 and 5; first at 100
        Part("a", 2, False, 1.0, 1 - 100 / 400, 1 - 7.5 / 40, 0.9),
        # b: waits 300 and 400; rises 40 and 20; first at 400
        Part("b", 2, True, 1.0, 1 - 350 / 400, 1 - 30 / 40, 0.6),
    ]


def test_a_single_offer_and_offers_that_raise_nothing():
    one = parts_of(Story("x", "s", 0, 1000, 100, (Offer("a", 0, 100, 100),), None))
    assert one == [Part("a", 1, False, 1.0, 1.0, 1.0, 1.0)]
    lower = Offer("a", 50, 90, 100)  # a leader who lowers the maximum
    assert parts_of(Story("x", "s", 0, 1000, 100, (Offer("a", 0, 100, 100), lower), None))[0].epsilon == 1.0
    assert parts_of(Story("x", "s", 0, 1000, 100, (), None)) == []


def test_beta_is_at_most_one_and_rounds_half_down():
    offers = tuple(Offer(name, 10 * n, 100 + n, 99 + n) for n, name in enumerate("aaabbcc"))
    parts = {part.bidder: part.beta for part in parts_of(Story("x", "s", 0, 1000, 99, offers))}
    assert parts == {"a": 1.0, "b": 2 / 3, "c": 2 / 3}


@pytest.mark.parametrize(
    ("wins", "losses", "auctions", "sums", "score"),
    [
        # α 6/6, γ 1 - 5·0.2/6 = 5/6, all others 1: 10 (9 + 2 + 25/6 + 2 + 2 + 2) / 22
        (0, 6, 6, 6.0, 10 * (9 + 2 + 25 / 6 + 6) / 22),
        # α 5/10, γ 1 - 1/5, β = δ = ε = ζ = 0.5: 10 (4.5 + 1 + 4 + 3) / 22
        (0, 5, 10, 2.5, 10 * 12.5 / 22),
        # one win in six: γ 1 - 6/5 is under 0
        (1, 5, 10, 2.5, 10 * 8.5 / 22),
        # a single loss: γ 1 - 1/1
        (0, 1, 10, 0.0, 10 * 0.9 / 22),
        (3, 0, 3, 0.0, 0.0),
        (0, 0, 0, 0.0, 0.0),
    ],
)
def test_scores_by_hand(wins, losses, auctions, sums, score):
    assert ShillTotals(wins, losses, sums, sums, sums, sums).score(auctions) == pytest.approx(score, abs=1e-12)


def test_wins_contribute_nothing_but_to_gamma():
    part = Part("a", 2, False, 0.5, 0.25, 0.75, 1.0)
    lost = ShillTotals().add(part).add(part)
    assert lost == ShillTotals(0, 2, 1.0, 0.5, 1.5, 2.0)
    assert lost.add(part._replace(won=True)) == lost._replace(wins=1)
    assert lost.ratings(4) == (0.5, 0.5, 0.5, 0.25, 0.75, 1.0)


def test_a_shill_stands_out_of_his_sellers_auctions():
    """`h` bids first, fast and low in each auction of s and never wins; the honest win one each."""

    def told(n):
        offers = []
        price = 100
        for turn in range(4):
            at = 10_000 * (turn + 1)
            offers += [Offer(f"honest{n}", at, price + 100, price), Offer("h", at + 50, price + 105, price + 100)]
            price += 105
        offers.append(Offer(f"honest{n}", 90_000, price + 100, price))
        return Story(f"x{n}", "s", 0, 100_000, 100, tuple(offers), f"honest{n}")

    other = Story("y", "t", 0, 100_000, 100, (Offer("h", 99_000, 200, 100),), "h")
    scores = shill_scores([*(told(n) for n in range(8)), other])
    assert scores["h", "s"] > 9
    assert scores["h", "t"] == 0.0
    assert max(score for (bidder, _), score in scores.items() if bidder != "h") == 0.0
