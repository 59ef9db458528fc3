from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.join_data import END, Event, InState, chunks_of, counted, live, packed, rows_of
from transforms import interval_join
from transforms.interval_join import IntervalJoin
from transforms.join_batches import unpack_batches
from transforms.join_rows import JoinedRow, JoinMode, Keep, SideRow, UnmatchedRow

MODES = list(product(JoinMode, Keep))


@st.composite
def streams(draw, topic, most=12):
    """Chunks of one partition, events with disorder; some are late for a small grace."""
    clock, events = 0, []
    for i in range(draw(st.integers(0, most))):
        clock += draw(st.integers(0, 6))
        events.append(Event(draw(st.sampled_from("ab")), clock - draw(st.integers(-3, 8)), f"{topic}{i}", clock))
    return chunks_of(topic, events, draw(st.integers(1, 5)))


@st.composite
def joins(draw):
    before = draw(st.integers(-5, 8))
    after = draw(st.integers(-before, 10))
    mode, keep = draw(st.sampled_from(MODES))
    return IntervalJoin(mode, draw(st.integers(0, 9)), draw(st.integers(1, 7)), before, after, keep)


def model(join, left_chunks, right_chunks):
    """The join by two loops: (results, unmatched)."""
    lefts, rights = rows_of(join, 0, left_chunks), rows_of(join, 1, right_chunks)
    results, unmatched, met = [], [], set()
    for key, left in lefts:
        partners = sorted(
            (row for other, row in rights if other == key and -join.before_ms <= row.time - left.time <= join.after_ms),
            key=lambda row: (row.time, row[:3]),
        )
        met.update(row[:3] for row in partners)
        kept = {Keep.ALL: partners, Keep.FIRST: partners[:1], Keep.LAST: partners[-1:]}[join.keep]
        results += [JoinedRow(key, left, right) for right in kept]
        if not partners and join.mode is not JoinMode.INNER:
            results.append(JoinedRow(key, left, None))
        elif not partners:
            unmatched.append(("LEFT", key, left))
    for key, right in rights:
        if right[:3] not in met and join.mode is JoinMode.OUTER:
            results.append(JoinedRow(key, None, right))
        elif right[:3] not in met:
            unmatched.append(("RIGHT", key, right))
    return counted(results), counted(UnmatchedRow(s, *r[:3], k, r.time, r.value) for s, k, r in unmatched)


def whole(join, left_chunks, right_chunks):
    packs = [pack for side, chunks in ((0, left_chunks), (1, right_chunks)) for pack in packed(join, side, chunks)[0]]
    results, unmatched = join.whole(*unpack_batches(packs))
    return counted(results), counted(unmatched)


def rows(stamped):
    return counted(row for _, row in stamped.elements())


@given(joins(), streams("l"), streams("r"))
def test_a_whole_join_is_that_of_two_loops(join, left, right):
    results, unmatched = whole(join, left, right)
    assert (rows(results), rows(unmatched)) == model(join, left, right)


@settings(max_examples=200)
@given(joins(), streams("l"), streams("r"), st.lists(st.integers(0, 1), max_size=20))
def test_in_state_and_in_any_order_of_arrival_it_gives_the_same_once(join, left, right, order):
    state = live(join, (left, right), order)
    assert (counted(state.results), counted(state.unmatched)) == whole(join, left, right)
    assert not state.late
    assert not state.left
    assert not state.right


@given(joins(), streams("l"), streams("r"), st.lists(st.integers(0, 1), max_size=20), st.integers(1, 60))
def test_a_watermark_that_runs_ahead_makes_rows_late_and_nothing_twice(join, left, right, order, ahead):
    state, at, clock = InState(join), [0, 0], -1
    for side in [*order, *[0] * len(left), *[1] * len(right)]:
        chunks = (left, right)[side]
        if at[side] < len(chunks):
            for pack in packed(join, side, chunks[at[side] : at[side] + 1])[0]:
                state.take(pack)
            at[side] += 1
            clock = max(clock, chunks[at[side] - 1].clock + ahead)
            state.move(clock)
    state.move(END)
    paired = {row[:3] for _, joined in state.results for row in joined[1:] if row and all(joined[1:])}
    alone = [row[:3] for _, joined in state.results for row in joined[1:] if row and not all(joined[1:])]
    alone += [row[1:4] for _, row in state.unmatched]
    assert len(alone) == len(set(alone))
    assert not paired & set(alone)
    every = {row[:3] for side in (0, 1) for _, row in rows_of(join, side, (left, right)[side])}
    if join.keep is Keep.ALL:
        assert paired | set(alone) | {row[1:4] for row in state.late} == every


def test_pairs_of_a_hot_key_are_made_in_blocks(monkeypatch):
    monkeypatch.setattr(interval_join, "BLOCK", 7)
    join = IntervalJoin(JoinMode.OUTER, 0, 1, 5, 5, Keep.ALL)
    left = chunks_of("l", [Event("a", i, i, i) for i in range(20)])
    right = chunks_of("r", [Event("a", i, i, i) for i in range(0, 40, 2)])
    results, unmatched = whole(join, left, right)
    assert (rows(results), rows(unmatched)) == model(join, left, right)


def test_what_waits_is_given_when_the_clock_is_past_time_interval_and_grace():
    join = IntervalJoin(JoinMode.LEFT, 100, 1, 1000, 4000, Keep.ALL)
    left = chunks_of("l", [Event("a", 10_000, "order", 10_000)])
    state = InState(join)
    state.take(packed(join, 0, left)[0][0])
    state.move(14_100)
    assert not state.results
    state.move(14_101)
    assert state.results == [(14_101, JoinedRow("a", SideRow("l", 0, 0, 10_000, "order"), None))]


def test_times_at_the_ends_of_the_range():
    far = 9_000_000_000_000_000
    left = chunks_of("l", [Event("a", far, 1, -1), Event("a", -far, 2, -1)])
    right = chunks_of("r", [Event("a", far - 10**12, 3, -1), Event("a", 0, 4, -1)])
    join = IntervalJoin(JoinMode.INNER, 3_000_000_000_000, 1000, 10**12, 10**12, Keep.ALL)
    results, _ = join.whole(*unpack_batches([*packed(join, 0, left)[0], *packed(join, 1, right)[0]]))
    assert [(row.left.value, row.right.value) for _, row in results] == [(1, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("INNER", 0, 1, 0, 0, Keep.ALL), "mode must be a JoinMode, got 'INNER'"),
        ((JoinMode.LEFT, 0, 1, 0, 0, "ALL"), "keep must be a Keep, got 'ALL'"),
        ((JoinMode.LEFT, -1, 1, 0, 0, Keep.ALL), "grace_ms must be whole milliseconds from 0 .* got -1"),
        ((JoinMode.LEFT, 0, 0, 0, 0, Keep.ALL), "step_ms must be whole milliseconds from 1 .* got 0"),
        ((JoinMode.LEFT, 0, 1, 1.5, 0, Keep.ALL), "before_ms must be whole milliseconds from .* got 1.5"),
        ((JoinMode.LEFT, 0, 1, 0, 10**15, Keep.ALL), "after_ms must be whole milliseconds from .* got 10+"),
        ((JoinMode.LEFT, 0, 1, -5, 4, Keep.ALL), "-before_ms 5 must not exceed after_ms 4"),
    ],
)
def test_refuses_bad_arguments_by_name(arguments, message):
    with pytest.raises(ValueError, match=f"JoinByInterval: {message}"):
        IntervalJoin(*arguments)
