"""The laws of aggregates, each against a plain model of what it means."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.aggregates import Aggregate, Count, Distinct, Max, Mean, Min, Quantiles, Several, Sum, TopN

SMALL = st.integers(-50, 50)
LONGS = SMALL | st.integers(-(2**63), 2**63 - 1)
INTEGERS = LONGS | st.integers(-(10**400), 10**400)
ERROR = 0.02
QUANTILES = Quantiles((0, 0.25, 0.5, 0.99, 1), ERROR)
ALL = [
    Sum(),
    Count(),
    Min(),
    Max(),
    Mean(),
    TopN(3),
    Distinct(),
    QUANTILES,
    Several(total=Sum(), most=TopN(2), mean=Mean(), q=Quantiles((0.5,))),
]
names = pytest.mark.parametrize("aggregate", ALL, ids=lambda a: type(a).__name__)


def result(aggregate: Aggregate, values: Any) -> Any:
    return aggregate.result(aggregate.lift(values))


@names
@settings(max_examples=25)
@given(data=st.data())
def test_any_split_in_any_order_gives_the_same_bytes(aggregate: Aggregate, data: st.DataObject) -> None:
    values = data.draw(st.lists(INTEGERS, max_size=20))
    shuffled = data.draw(st.permutations(values))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    parts = [shuffled[i:j] for i, j in zip([0, *cuts], [*cuts, len(values)], strict=True)]
    merged = aggregate.merge(iter([aggregate.lift(part) for part in parts]))
    nested = aggregate.merge([aggregate.merge(map(aggregate.lift, parts[:2])), *map(aggregate.lift, parts[2:])])
    whole = aggregate.encode(aggregate.lift(values))
    assert aggregate.encode(merged) == whole
    assert aggregate.encode(nested) == whole
    assert aggregate.result(merged) == result(aggregate, values)


@names
@settings(max_examples=25)
@given(values=st.lists(INTEGERS, max_size=10))
def test_accumulators_come_back_from_their_bytes(aggregate: Aggregate, values: list[int]) -> None:
    accumulator = aggregate.lift(values)
    assert aggregate.decode(aggregate.encode(accumulator)) == accumulator


@names
def test_merging_nothing_is_the_identity(aggregate: Aggregate) -> None:
    assert aggregate.encode(aggregate.merge(())) == aggregate.encode(aggregate.lift(()))
    some = aggregate.lift([3, 1])
    assert aggregate.merge([aggregate.lift(()), some]) == some


@names
@settings(max_examples=25)
@given(data=st.data())
def test_runs_of_a_column_are_lifted_as_lists_are(aggregate: Aggregate, data: st.DataObject) -> None:
    values = data.draw(st.lists(LONGS, min_size=1, max_size=20))
    firsts = sorted({0, *data.draw(st.lists(st.integers(0, len(values) - 1), max_size=5))})
    ends = [*firsts[1:], len(values)]
    found = aggregate.lift_runs(np.array(values, np.int64), np.array(firsts, np.int64))
    expected = [aggregate.lift(values[i:j]) for i, j in zip(firsts, ends, strict=True)]
    assert list(map(aggregate.encode, found)) == list(map(aggregate.encode, expected))


def test_sums_beyond_64_bits_are_exact() -> None:
    column = np.array([2**63 - 1] * 4, np.int64)
    assert Sum().lift_runs(column, np.array([0, 1], np.int64)) == [2**63 - 1, 3 * (2**63 - 1)]
    lowest = np.array([-(2**63)] * 2, np.int64)
    assert Sum().lift_runs(lowest, np.array([0], np.int64)) == [-(2**64)]


@given(st.lists(INTEGERS, min_size=1, max_size=20))
def test_results_are_what_the_names_say(values: list[int]) -> None:
    assert result(Sum(), values) == sum(values)
    assert result(Count(), values) == len(values)
    assert result(Min(), values) == min(values)
    assert result(Max(), values) == max(values)
    assert result(TopN(3), values) == tuple(sorted(values, reverse=True)[:3])
    assert result(Distinct(), values) == len(set(values))
    mean = result(Mean(), values)
    if abs(sum(values)) < 10**300 * len(values):
        assert mean == float(Fraction(sum(values), len(values)))


def test_no_values() -> None:
    assert result(Min(), ()) is None
    assert result(Max(), ()) is None
    assert result(Mean(), ()) is None
    assert result(QUANTILES, ()) is None
    assert (result(Sum(), ()), result(Count(), ()), result(Distinct(), ()), result(TopN(2), ())) == (0, 0, 0, ())


def test_a_mean_beyond_the_floats_is_infinite() -> None:
    assert result(Mean(), [10**400]) == float("inf")
    assert result(Mean(), [-(10**400)]) == float("-inf")


@given(st.lists(st.text(max_size=3), min_size=1, max_size=12))
def test_texts_have_an_order_and_are_counted(values: list[str]) -> None:
    assert result(Min(), values) == min(values)
    assert result(Max(), values) == max(values)
    assert result(Distinct(), values) == len(set(values))
    assert result(TopN(2), values) == tuple(sorted(values, reverse=True)[:2])


@given(st.lists(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=1, max_size=60))
def test_quantiles_are_within_the_error_of_the_exact_ones(values: list[float]) -> None:
    exact = [sorted(values)[int(q * (len(values) - 1))] for q in QUANTILES.quantiles]
    for found, true in zip(result(QUANTILES, values), exact, strict=True):
        assert abs(found - true) <= ERROR * abs(true) * (1 + 1e-9)


def test_quantiles_of_numbers_beyond_floats_and_of_zero() -> None:
    low, high = result(Quantiles((0, 1)), [10**400, -(10**400)])
    assert (low < -1e308, high > 1e308) == (True, True)
    assert result(Quantiles((1,), 0.9), [10**400])[0] < float("inf")
    assert result(Quantiles((0.5,)), [0, 0.0, 1e-320]) == (0.0,)


def test_several_give_a_dict_in_the_order_given() -> None:
    both = Several(n=Count(), total=Sum())
    assert list(result(both, [1, 2, 3]).items()) == [("n", 3), ("total", 6)]
    assert (both.integers_only, Several(n=Count()).integers_only) == (True, False)
    assert repr(both) == "Several(n=Count(), total=Sum())"
    assert both == Several(n=Count(), total=Sum())
    assert both != Several(n=Count(), sum=Sum())
    assert both != "Several"
    assert len({both, Several(n=Count(), total=Sum())}) == 1


@pytest.mark.parametrize("aggregate", [Sum(), Mean()])
@pytest.mark.parametrize("wrong", [1.5, True, "1", None])
def test_sums_take_integers_only(aggregate: Aggregate, wrong: Any) -> None:
    assert aggregate.integers_only
    with pytest.raises(TypeError):
        aggregate.lift([1, wrong])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopN(0), "TopN: n must be a whole number of at least 1, got 0"),
        (lambda: TopN(2.5), "got 2.5"),
        (lambda: TopN(True), "got True"),
        (lambda: Quantiles(()), "quantiles must not be empty"),
        (lambda: Quantiles((0.5, 1.5)), "a quantile must lie between 0 and 1, got 1.5"),
        (lambda: Quantiles((float("nan"),)), "got nan"),
        (lambda: Quantiles((0.5,), 0), "relative_error must lie between 0 and 1, got 0"),
        (lambda: Quantiles((0.5,), 1.0), "got 1.0"),
        (lambda: Several(), "at least one aggregate is needed"),
        (lambda: Several(n=5), "n must be an aggregate, got 5"),
    ],
)
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)
