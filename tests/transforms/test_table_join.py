from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.join_data import Event, chunks_of, counted, live, packed, rows_of
from transforms.join_batches import unpack_batches
from transforms.join_rows import JoinedRow, JoinMode, Keep, SideRow, UnmatchedRow
from transforms.table_join import AsOfJoin, TableJoin

TOMBSTONES = (bytes.decode, bytes.decode)


@st.composite
def changes(draw, topic, tombstones=True, most=12):
    """Chunks of one partition, events with disorder; some are late for a small grace, some delete."""
    clock, events = 0, []
    for i in range(draw(st.integers(0, most))):
        clock += draw(st.integers(0, 6))
        value = None if tombstones and draw(st.integers(0, 3)) == 0 else f"{topic}{i}"
        events.append(Event(draw(st.sampled_from("ab")), clock - draw(st.integers(-3, 8)), value, clock))
    return chunks_of(topic, events, draw(st.integers(1, 5)))


orders = st.lists(st.integers(0, 1), max_size=20)
graces, steps = st.integers(0, 9), st.integers(1, 7)


def whole(join, left, right):
    packs = [*packed(join, 0, left, bytes.decode)[0], *packed(join, 1, right, bytes.decode)[0]]
    results, unmatched = join.whole(*unpack_batches(packs))
    return list(results), list(unmatched)


def rows(stamped):
    return counted(row for _, row in stamped)


@given(st.sampled_from([JoinMode.INNER, JoinMode.LEFT]), graces, changes("l", tombstones=False), changes("r"))
def test_as_of_is_a_search_for_the_newest_version(mode, grace, left, right):
    join = AsOfJoin(mode, grace, 1)
    results, unmatched = [], []
    for key, row in rows_of(join, 0, left):
        versions = [v for other, v in rows_of(join, 1, right) if other == key and v.time <= row.time]
        newest = max(versions, key=lambda v: (v.time, v[:3]), default=None)
        if newest is not None and newest.value is not None:
            results.append(JoinedRow(key, row, newest))
        elif mode is JoinMode.LEFT:
            results.append(JoinedRow(key, row, None))
        else:
            unmatched.append(UnmatchedRow("LEFT", *row[:3], key, row.time, row.value))
    found = whole(join, left, right)
    assert (rows(found[0]), rows(found[1])) == (counted(results), counted(unmatched))


@given(
    st.sampled_from([JoinMode.INNER, JoinMode.LEFT]),
    graces,
    steps,
    changes("l", tombstones=False),
    changes("r"),
    orders,
)
def test_as_of_in_state_and_in_any_order_of_arrival_gives_the_same_once(mode, grace, step, left, right, order):
    join = AsOfJoin(mode, grace, step)
    state = live(join, (left, right), order, TOMBSTONES)
    results, unmatched = whole(join, left, right)
    assert (counted(state.results), counted(state.unmatched)) == (counted(results), counted(unmatched))
    assert not state.late
    assert not state.left


def history(join, left, right):
    """(revisions in order, the state at last) of each key, change by change."""
    every = [(r.time, side, r[:3], key, r) for side in (0, 1) for key, r in rows_of(join, side, (left, right)[side])]
    states, found = {}, {}
    for _, side, _, key, row in sorted(every, key=lambda one: one[:3]):
        state, revisions = states.setdefault(key, [None, None]), found.setdefault(key, [])
        if join.keep is Keep.FIRST and (row.value is None or state[side]):
            continue
        before = shown(join.mode, state)
        old, state[side] = state[side], row if row.value is not None else None
        after = shown(join.mode, state)
        if (after or before) and (old, state[side]) != (None, None):
            revisions.append(JoinedRow(key, *(state if after else (None, None))))
    return found, states


def shown(mode, state):
    left, right = (row is not None for row in state)
    return {JoinMode.INNER: left and right, JoinMode.LEFT: left, JoinMode.OUTER: left or right}[mode]


table_joins = st.builds(
    lambda modes, grace, step: TableJoin(modes[0], grace, step, modes[1]),
    st.sampled_from(list(product(JoinMode, Keep))),
    graces,
    steps,
)


@given(table_joins, changes("l"), changes("r"))
def test_two_tables_are_joined_change_by_change(join, left, right):
    found, states = history(join, left, right)
    if join.keep is Keep.ALL:
        expected = [row for revisions in found.values() for row in revisions]
    else:
        expected = [JoinedRow(key, *state) for key, state in states.items() if shown(join.mode, state)]
    lonely = [
        UnmatchedRow(("LEFT", "RIGHT")[side], *row[:3], key, row.time, row.value)
        for key, state in states.items()
        if not shown(join.mode, state)
        for side, row in enumerate(state)
        if row
    ]
    results, unmatched = whole(join, left, right)
    assert (rows(results), rows(unmatched)) == (counted(expected), counted(lonely))


@given(table_joins, changes("l"), changes("r"), orders)
def test_two_tables_in_state_end_where_the_whole_ends(join, left, right, order):
    state = live(join, (left, right), order, TOMBSTONES)
    results, _ = whole(join, left, right)
    if join.keep is Keep.ALL:
        assert counted(state.results) == counted(results)
    else:
        newest = {row.key: (at, row) for at, row in state.results}
        assert {key: one for key, one in newest.items() if one[1][1:] != (None, None)} == {
            row.key: (at, row) for at, row in results
        }
        moments = [(at, row.key) for at, row in state.results]
        assert len(moments) == len(set(moments))
    assert not state.unmatched
    assert not state.late


def test_state_holds_one_version_of_a_key():
    join = AsOfJoin(JoinMode.INNER, 0, 10)
    versions = chunks_of("r", [Event("a", i, f"v{i}", i) for i in range(100)], 5)
    state = live(join, ([], versions), [])
    left, right = unpack_batches([*state.left, *state.right])
    assert (len(left.times), right.values) == (0, ["v99"])


def test_packs_of_state_are_made_one_now_and_then():
    join = AsOfJoin(JoinMode.INNER, 0, 10)
    versions = chunks_of("r", [Event(f"k{i}", i, f"v{i}", i) for i in range(200)], 1)
    state = live(join, ([], versions), [])
    assert len(state.right) < 100
    assert sorted(unpack_batches(state.right)[1].values) == sorted(f"v{i}" for i in range(200))


def test_a_version_of_the_same_time_stands_and_of_two_the_later_record():
    join = AsOfJoin(JoinMode.INNER, 0, 1)
    right = chunks_of("r", [Event("a", 5, "first", 5), Event("a", 5, "second", 5)])
    results, _ = whole(join, chunks_of("l", [Event("a", 5, "row", 5)]), right)
    assert [row.right for _, row in results] == [SideRow("r", 0, 1, 5, "second")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AsOfJoin(JoinMode.OUTER, 0, 1), "JoinTableAsOf: mode must be INNER or LEFT, got OUTER"),
        (lambda: AsOfJoin(JoinMode.INNER, True, 1), "JoinTableAsOf: grace_ms must be .* got True"),
        (lambda: TableJoin(JoinMode.INNER, 0, 1, None), "JoinTables: keep must be a Keep, got None"),
    ],
)
def test_refuses_bad_arguments_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_state_holds_nothing_of_a_key_that_was_deleted():
    changes = chunks_of("r", [Event("a", 1, "v", 1), Event("a", 0, None, 2), Event("b", 3, "w", 90)], 1)
    for join in (AsOfJoin(JoinMode.INNER, 0, 10), TableJoin(JoinMode.OUTER, 0, 10, Keep.LAST)):
        state = live(join, ([], changes), [], TOMBSTONES)
        assert unpack_batches(state.right)[1].plain_keys() == ["b"]
