"""Price ranges: against exact quantiles, whatever the order, over a horizon, with a back-off that shows."""

import random
from math import floor

import pytest

from auctions import topics
from auctions.analytics_topics import SALES
from auctions.price_ranges import SHARES, PriceRanges, Sales, similarity_keys
from schemas.auctions import RangeAsked, RangeServed, Sale, SimilarKey, TriedLevel
from schemas.payments import Money
from tests.auctions.analysis import DAY, HOUR, MINUTE, START, Bench, bid, ending, item, outcome


def sale(minor, at=0, key="EUR", level="ALL", currency="EUR"):
    return Sale(key, level, f"x{at}", Money(minor, currency), START + at)


def last_range(bench, sales):
    for each in sales:
        bench.feed(each, 0)
    return bench.outputs[0].event


# --- keys ---


def test_keys_from_the_narrowest():
    assert similarity_keys("watches", ("old", "gold"), "EUR") == (
        SimilarKey("TAGS", "EUR\x1fwatches\x1fgold\x1fold"),
        SimilarKey("CATEGORY", "EUR\x1fwatches"),
        SimilarKey("ALL", "EUR"),
    )
    assert similarity_keys("watches", ("gold", "old", "gold"), "EUR") == similarity_keys(
        "watches", ("old", "gold"), "EUR"
    )
    assert [level for level, _ in similarity_keys("watches", (), "EUR")] == ["CATEGORY", "ALL"]


# --- from the history ---


def test_what_was_sold_goes_to_each_of_its_keys():
    bench = Bench(Sales())
    bench.feed(item(), 0)
    assert bench.feed(bid("a", 1500, 10)) == []
    sales = bench.feed(outcome("a", 1500))
    keys = similarity_keys("watches", ("gold", "old"), "EUR")
    assert sales == [Sale(key, level, "x", Money(1500, "EUR"), START + HOUR) for level, key in keys]
    assert {(output.topic, output.key) for output in bench.outputs} == {(SALES.name, key.encode()) for _, key in keys}
    assert bench.shard.entities == {}


@pytest.mark.parametrize(
    "end", [outcome(), outcome(losers=("a",), outcome="RESERVE_NOT_MET"), outcome(outcome="CANCELLED")]
)
def test_what_was_not_sold_has_no_price(end):
    bench = Bench(Sales())
    bench.feed(item(), 0)
    assert bench.feed(end) == [] and bench.shard.entities == {}


def test_an_outcome_of_an_unknown_item_and_a_free_one():
    bench = Bench(Sales())
    assert bench.feed(outcome("a", 1500)) == []
    bench.feed(item(), 0)
    assert bench.feed(outcome("a", 0)) == []


# --- ranges ---


@pytest.mark.parametrize("error", [0.01, 0.002])
@pytest.mark.parametrize("shape", ["lognormal", "uniform", "few"])
def test_each_quantile_is_within_the_error_of_the_exact_one(error, shape):
    source = random.Random(7)
    draw = {
        "lognormal": lambda: int(source.lognormvariate(8, 2)) + 1,
        "uniform": lambda: source.randint(1, 1_000_000),
        "few": lambda: source.choice((99, 100, 5000)),
    }[shape]
    prices = [draw() for _ in range(400)]
    for n in (1, 2, 3, 10, 400):
        found = last_range(Bench(PriceRanges(relative_error=error), SALES.name), [sale(price) for price in prices[:n]])
        exact = sorted(prices[:n])
        assert found.n == n and found.relative_error == error
        for share, got in zip(SHARES, found[4:9], strict=True):
            wanted = exact[floor(share * (n - 1))]
            assert abs(got - wanted) <= error * wanted + 0.5, (n, share)  # half a unit: rounded to whole ones


def test_the_order_of_sales_does_not_matter():
    source = random.Random(3)
    sales = [sale(source.randint(100, 90_000), source.randint(0, 20) * DAY) for _ in range(60)]
    ranges = set()
    for _ in range(4):
        source.shuffle(sales)
        ranges.add(last_range(Bench(PriceRanges(), SALES.name), sales))
    assert len(ranges) == 1


def test_the_horizon_slides_by_whole_days():
    bench = Bench(PriceRanges(horizon_days=3), SALES.name)
    seen = [bench.feed(sale(100 * (day + 1), day * DAY), 0)[0].n for day in range(6)]
    assert seen == [1, 2, 3, 3, 3, 3]
    newest = bench.outputs[0].event
    assert (newest.p10, newest.p90, newest.horizon_ms) == (pytest.approx(400, 0.01), pytest.approx(500, 0.01), 3 * DAY)
    assert [day.day - START // DAY for day in bench.shard.entities["EUR"].days] == [3, 4, 5]
    assert bench.feed(sale(700, 2 * DAY), 0) == [] and bench.shard.counts.late == 1
    assert bench.feed(sale(700, 3 * DAY), 0)[0].n == 4


def test_a_range_is_an_upsert_by_revision():
    bench = Bench(PriceRanges(), SALES.name)
    for revision in (1, 2, 3):
        (found,) = bench.feed(sale(100), revision)
        (output,) = bench.outputs
        assert (output.topic, output.key, output.version, output.origin) == ("auction.prices", b"EUR", revision, None)
        assert (found.revision, found.as_of, found.currency, found.level) == (revision, START + revision, "EUR", "ALL")


@pytest.mark.parametrize("bad", [sale(0), sale(-5), sale(5, currency="USD")])
def test_bad_sales_are_dead_letters(bad):
    bench = Bench(PriceRanges(), SALES.name)
    bench.feed(sale(100), 0)
    (letter,) = bench.feed(bad)
    assert letter.code == ("BAD_PRICE" if bad.price.minor <= 0 else "CURRENCY_MISMATCH")
    assert bench.shard.entities["EUR"].revision == 1


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="horizon_days and least must be positive, got 0 and 10"):
        PriceRanges(0)
    with pytest.raises(ValueError, match="got 90 and 0"):
        PriceRanges(least=0)
    with pytest.raises(ValueError, match="relative_error"):
        PriceRanges(relative_error=1)


# --- served ---

KEYS = similarity_keys("watches", ("gold", "old"), "EUR")


def asked(at=0, step=0, tried=()):
    (level, key), *wider = KEYS[step:]
    return RangeAsked(key, level, "x", tuple(wider), tuple(tried), START + at)


def test_an_item_is_asked_for_when_it_is_listed_and_when_its_end_is_near():
    bench = Bench(Sales())
    assert bench.feed(item(), 0) == [asked()]
    (output,) = bench.outputs
    assert (output.topic, output.key) == (SALES.name, KEYS[0].key.encode()) and output.origin is not None
    assert bench.feed(item(), 5) == [], "listed before"
    at = HOUR - 10 * MINUTE
    assert bench.feed(ending(("a",), "a")) == [asked(at)]
    untagged = similarity_keys("watches", (), "EUR")
    (found,) = bench.feed(item("y", tags=()), at)
    assert (found.key, found.wider) == (untagged[0].key, untagged[1:])


def sold(counts):
    """Price ranges of the item's keys with so many sales each."""
    bench = Bench(PriceRanges(), SALES.name)
    for (level, key), n in zip(KEYS, counts, strict=True):
        for number in range(n):
            bench.feed(sale(100 * (number + 1), key=key, level=level), 0)
    return bench


@pytest.mark.parametrize(
    ("counts", "wanted", "tried"),
    [
        ((10, 50, 99), "TAGS", 1),
        ((9, 10, 99), "CATEGORY", 2),
        ((0, 9, 10), "ALL", 3),
        ((9, 9, 9), None, 3),
        ((0, 0, 0), None, 3),
    ],
)
def test_back_off_goes_from_tags_to_category_to_all_and_shows(counts, wanted, tried):
    """Each question that is handed on stands on the partition of the next key; the answer on that of the auction."""
    bench = sold(counts)
    levels = [TriedLevel(level, n) for level, n in zip(("TAGS", "CATEGORY", "ALL"), counts, strict=True)]
    question = asked()
    for step in range(1, tried):
        (question,) = bench.feed(question, 0)
        (output,) = bench.outputs
        assert (output.topic, output.key) == (SALES.name, KEYS[step].key.encode())
        assert question == asked(step=step, tried=levels[:step])
    (answer,) = bench.feed(question, 0)
    (output,) = bench.outputs
    assert (output.topic, output.key) == (topics.LOG.name, b"x") and output.origin is not None
    assert (answer.auction_id, answer.asked_at, answer.tried) == ("x", START, tuple(levels[:tried]))
    assert (answer.range and answer.range.level) == wanted
    if wanted:
        assert (answer.range.key, answer.range.n) == (KEYS[tried - 1].key, counts[tried - 1])
        assert answer.range.p50 == pytest.approx(100 * ((counts[tried - 1] + 1) // 2), 0.02)


def test_what_is_served_lies_within_the_horizon_of_the_question():
    """A key that sold well a year ago has nothing to say today; asking changes nothing."""
    bench = Bench(PriceRanges(horizon_days=3, least=2), SALES.name)
    for day in (0, 0, 1, 1, 2):
        bench.feed(sale(100 * (day + 1), day * DAY), 0)
    before = bench.shard.entities["EUR"]

    def served(day):
        (answer,) = bench.feed(RangeAsked("EUR", "ALL", "x", (), (), START + day * DAY), 0)
        return answer.range and (answer.range.n, answer.range.p10, answer.range.p90), answer.tried[0].n

    assert served(2) == ((5, pytest.approx(100, 0.01), pytest.approx(200, 0.01)), 5)
    assert served(3) == ((3, pytest.approx(200, 0.01), pytest.approx(200, 0.01)), 3)
    assert served(4) == (None, 1) and served(99) == (None, 0)
    assert bench.shard.entities["EUR"] == before


def test_a_question_about_what_was_never_sold_keeps_nothing():
    bench = Bench(PriceRanges(), SALES.name)
    question = RangeAsked("EUR", "ALL", "x", (), (), START)
    assert bench.feed(question, 0) == [RangeServed("x", None, (TriedLevel("ALL", 0),), START)]
    assert bench.shard.entities == {}
