import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.window_model import ROWS, Payment, chunk_of, chunks_of, model, random_payments, windows_of
from transforms.aggregates import Aggregate, Count, Distinct, Mean, Sum, TopN
from transforms.chunks import Chunk, pack_chunk, unpack_chunk
from transforms.partials import (
    MAX_SIZE_MS,
    Fixed,
    Partial,
    Partials,
    Session,
    Sliding,
    Window,
    _order_of_numbers,
    as_sliding,
    merge_partials,
    new_partials,
    pack_partials,
    stamped,
    unpack_partials,
)
from transforms.rows import MAX_TIME, MIN_TIME, Bad, RowsOf

WINDOWS: list[Window] = [
    Fixed(100),
    Fixed(700, 33),
    Sliding(300, 100),
    Sliding(250, 100, 40),
    Sliding(100, 100),
    Sliding(7, 3, 1),
    Session(60),
    Session(1),
    Session(400),
]
windows = pytest.mark.parametrize("window", WINDOWS, ids=str)


def merged(window: Window, aggregate: Aggregate, takes: list[Partials]) -> list[tuple[Any, int, int, Any]]:
    """All that was handed over, merged, by way of bytes."""
    by_key: dict[Any, list[bytes]] = {}
    for partials in takes:
        for key, some in partials.take():
            by_key.setdefault(key, []).append(pack_partials(aggregate, some))
    return sorted(
        (key, start, end, aggregate.result(accumulator))
        for key, batches in by_key.items()
        for start, end, accumulator in merge_partials(
            window, aggregate, [p for batch in batches for p in unpack_partials(aggregate, batch)]
        )
    )


@windows
@pytest.mark.parametrize("lateness", [0, 90])
@given(st.integers(0, 2**32), st.integers(1, 90))
@settings(max_examples=8)
def test_windows_and_late_rows_are_those_of_the_model(window: Window, lateness: int, seed: int, size: int) -> None:
    """For any chunk size, order of the chunks and bundles."""
    payments = random_payments(seed, 150)
    expected = model([payments], window, lateness)
    chunks, rng = chunks_of(payments, size), random.Random(seed)
    rng.shuffle(chunks)
    bundles = [new_partials(ROWS, window, Sum(), lateness) for _ in range(3)]
    late = [row for chunk in chunks for row in rng.choice(bundles).add(chunk)[0]]
    assert sorted(late) == sorted(expected.late)
    assert merged(window, Sum(), bundles) == expected.results(sum)


@given(st.integers(-(10**6), 10**6), st.integers(1, 300), st.integers(1, 300), st.integers(0, 300), st.integers(1, 50))
def test_ends_and_slices_of_sliding_windows(time: int, a: int, b: int, offset: int, step: int) -> None:
    size, period = max(a, b) * step, min(a, b) * step
    window = Sliding(size, period, offset % period)
    assert [(end - size, end) for end in window.ends(time)] == windows_of(window, time)
    start = time - (time - window.offset_ms) % window.slice_ms
    assert set(window.ends(start)) == set(window.ends(time)) == set(window.ends(start + window.slice_ms - 1))


@pytest.mark.parametrize("aggregate", [Count(), Mean(), TopN(2), Distinct()], ids=str)
@windows
def test_any_aggregate_gets_the_values_of_its_window(aggregate: Aggregate, window: Window) -> None:
    payments = random_payments(7, 120)
    partials = new_partials(ROWS, window, aggregate, 50)
    for chunk in chunks_of(payments, 50):  # the last chunk is too small for the scan: one block of values is a list
        partials.add(chunk)
    expected = model([payments], window, 50).results(lambda values: aggregate.result(aggregate.lift(values)))
    assert merged(window, aggregate, [partials]) == expected


@windows
def test_bytes_of_partials_do_not_depend_on_the_order_of_chunks(window: Window) -> None:
    def taken(chunks: list[Chunk]) -> dict[Any, bytes]:
        partials = new_partials(ROWS, window, Sum())
        for chunk in chunks:
            partials.add(chunk)
        return {key: pack_partials(Sum(), merge_partials(window, Sum(), some)) for key, some in partials.take()}

    payments = random_payments(3, 200)
    assert taken(chunks_of(payments, 70)) == taken(chunks_of(payments, 1)[::-1])


def test_late_for_some_windows_only() -> None:
    """The clock stands at 300 when a payment of 150 arrives: of (0, 200), (100, 300) and ... only what ends behind 300 - 50 takes it."""
    window = Sliding(200, 100)
    partials = new_partials(ROWS, window, Sum(), 50)
    late, bad = partials.add(chunk_of([Payment("a", 150, 7, 300)], clock=300))
    assert late == [(0, "a", 150, 300, 7, 1, 2)]
    assert not bad
    assert merged(window, Sum(), [partials]) == [("a", 100, 300, 7)]


@pytest.mark.parametrize(("clock", "late"), [(299, 0), (300, 1)])
@pytest.mark.parametrize("window", [Fixed(100), Session(50)], ids=str)
def test_a_row_is_late_from_the_millisecond_on_at_which_its_window_ends_plus_the_lateness(
    window: Window, clock: int, late: int
) -> None:
    partials = new_partials(ROWS, window, Sum(), 100)
    assert len(partials.add(chunk_of([Payment("a", 150, 7, 0)], clock=clock))[0]) == late
    assert len(merged(window, Sum(), [partials])) == 1 - late


def test_a_record_is_not_judged_by_its_own_append_time() -> None:
    partials = new_partials(ROWS, Fixed(100), Sum())
    late, _ = partials.add(chunk_of([Payment("a", 50, 1, 10**6), Payment("a", 60, 2, 10**6)]))
    assert [(row.time, row.clock) for row in late] == [(60, 10**6)]


def test_hostile_times_stay_in_range() -> None:
    window = Sliding(MAX_SIZE_MS, MAX_SIZE_MS // 10)
    payments = [Payment("a", time, 1, -1) for time in (-(2**63), 2**63 - 1, MIN_TIME, MAX_TIME, 0)] * 10
    for of in (chunk_of(payments), *chunks_of(payments, 5)):
        partials = new_partials(ROWS, window, Sum(), MAX_SIZE_MS)
        partials.add(of)
        found = merged(window, Sum(), [partials])
        assert sum(value for *_, value in found) == 10 * of.count  # without a clock nothing is late
        assert min(start for _, start, _, _ in found) > -(2**63) // 1000
        assert max(end for _, _, end, _ in found) < 2**63 // 1000


def test_integers_only() -> None:
    values: list[Any] = [1, "2", 3.0, 4, True, 2**70]
    rows = RowsOf(lambda r: ("k", 10, values[r.offset]))
    chunk = chunk_of([Payment("", 0, 0, 0)] * 6)
    partials = new_partials(rows, Fixed(100), Sum())
    late, bad = partials.add(chunk)
    assert bad == [Bad(i, "NOT_AN_INTEGER", "value") for i in (1, 2, 4)]
    assert (late, partials.pending) == ([], 3)
    assert merged(Fixed(100), Sum(), [partials]) == [("k", 0, 100, 5 + 2**70)]
    partials = new_partials(rows, Fixed(100), Count())
    assert partials.add(chunk) == ([], [])
    assert merged(Fixed(100), Count(), [partials]) == [("k", 0, 100, 6)]


def test_integers_only_keeps_the_order_of_bad_records_and_a_chunk_without_rows_is_fine() -> None:
    chunk = chunk_of([Payment("a", 1, 1, 1)] * 3)
    records = [record._replace(value=b"junk") for record in unpack_chunk(chunk)]
    partials = new_partials(ROWS, Fixed(100), Sum())
    _, bad = partials.add(pack_chunk("t", 0, records))
    assert [b.offset for b in bad] == [0, 1, 2]
    assert (partials.pending, list(partials.take())) == (0, [])


def test_what_was_taken_is_forgotten() -> None:
    partials = new_partials(ROWS, Fixed(100), Sum())
    partials.add(chunk_of([Payment("a", 1, 5, 1), Payment("b", 2, 6, 2)]))
    assert partials.pending == 2
    assert list(partials.take()) == [("a", [Partial(0, 100, 5)]), ("b", [Partial(0, 100, 6)])]
    assert partials.pending == 0
    assert list(partials.take()) == []


@pytest.mark.parametrize("most", [1, 2**16 - 1, 2**16, 2**20])
def test_numbers_are_sorted_however_many_there_are(most: int) -> None:
    numbers = np.array([most, 0, most, 1, 0, most // 2], np.int64)
    assert _order_of_numbers(numbers).tolist() == sorted(range(6), key=numbers.tolist().__getitem__)


def test_stamps_of_a_session_hold_it_together() -> None:
    """Beam's session of an element is [time, time + gap): the stamps must overlap and span the partial exactly."""
    for gap in (2, 3, 10):
        for length in range(40):
            stamps = list(stamped(Partial(100, 100 + length + gap, b"acc"), Session(gap)))
            times = [time for time, _ in stamps]
            assert (times[0], times[-1]) == (100, 100 + length)
            assert all(0 < b - a < gap for a, b in pairwise(times))
            assert [accumulator for _, accumulator in stamps] == [b"acc"] + [None] * (len(stamps) - 1)
    assert list(stamped(Partial(5, 6, b"x"), Session(1))) == [(5, b"x")]
    assert list(stamped(Partial(0, 100, b"x"), Fixed(100))) == [(99, b"x")]


def test_sessions_merge_when_they_overlap_and_not_when_they_touch() -> None:
    partials = [
        Partial(100, 150, 1),
        Partial(0, 50, 2),
        Partial(40, 90, 4),
        Partial(150, 160, 8),
        Partial(110, 120, 16),
    ]
    assert list(merge_partials(Session(50), Sum(), partials)) == [(0, 90, 6), (100, 150, 17), (150, 160, 8)]
    assert list(merge_partials(Session(50), Sum(), [])) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(0), "Fixed: size_ms must be whole milliseconds from 1"),
        (lambda: Fixed(1.5), "got 1.5"),
        (lambda: Fixed(True), "got True"),
        (lambda: Fixed(MAX_SIZE_MS + 1), f"got {MAX_SIZE_MS + 1}"),
        (lambda: Fixed(10, 10), "Fixed: offset_ms must be from 0 to below size_ms, got 10"),
        (lambda: Fixed(10, -1), "got -1"),
        (lambda: Sliding(0, 1), "Sliding: size_ms must"),
        (lambda: Sliding(10, 0), "Sliding: period_ms must"),
        (lambda: Sliding(10, 5, 5), "offset_ms must be from 0 to below period_ms, got 5"),
        (lambda: Sliding(10, 11), "period_ms 11 must not exceed size_ms 10"),
        (lambda: Sliding(100_001, 1), "period_ms 1 puts a time into more than 100000 windows"),
        (lambda: Session(-5), "Session: gap_ms must be whole milliseconds from 1"),
    ],
)
def test_wrong_windows_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_fixed_windows_as_sliding_ones() -> None:
    assert as_sliding(Fixed(10, 3)) == Sliding(10, 10, 3)
    assert as_sliding(Sliding(10, 5)) == Sliding(10, 5)
