"""Where a reader stands, what it claims, and where it is cut."""

import pytest
from apache_beam.coders import registry
from hypothesis import given
from hypothesis import strategies as st

from transforms.log_ranges import OPEN, LogRanges, LogRangesCoder, LogTracker, Range

BOTH = LogRanges("id", (Range(0, 5, 10), Range(3, 7)))


def test_done_and_left():
    assert not BOTH.done and BOTH.left == 6
    assert Range(0, 10, 10).done and Range(0, 12, 10).done and not Range(0, 10).done
    assert LogRanges("id", (Range(0, 12, 10),)).left == 0
    assert LogRanges("id", ()).done


def test_claims_move_forwards():
    tracker = LogTracker(BOTH)
    assert tracker.try_claim(Range(0, 8, 10, 50, 9)) and tracker.try_claim(Range(3, 9, OPEN, 60, 1))
    assert tracker.current_restriction() == LogRanges("id", (Range(0, 8, 10, 50, 9), Range(3, 9, OPEN, 60, 1)))
    progress = tracker.current_progress()
    assert (progress.completed_work, progress.remaining_work) == (3, 3)


@pytest.mark.parametrize("wrong", [Range(0, 4, 10), Range(0, 11, 10), Range(0, 6, 9), Range(3, 6)])
def test_claims_that_cannot_be(wrong: Range):
    with pytest.raises(ValueError, match="cannot claim"):
        LogTracker(BOTH).try_claim(wrong)


def test_cut_where_it_stands():
    tracker = LogTracker(BOTH)
    tracker.try_claim(Range(0, 8, 10, 50, 9))
    assert tracker.try_split(0.5) is None  # what lies ahead is not known
    primary, rest = tracker.try_split(0) or pytest.fail("no cut")
    assert rest == LogRanges("id", (Range(0, 8, 10, 50, 9), Range(3, 7)))
    assert primary == LogRanges("id", (Range(0, 8, 8, 50, 9), Range(3, 7, 7)))
    assert tracker.check_done() and tracker.current_restriction() == primary
    assert not tracker.try_claim(Range(0, 9, 10)) and tracker.try_split(0) is None


def test_nothing_to_cut_when_all_is_read():
    tracker = LogTracker(LogRanges("id", (Range(0, 5, 10),)))
    with pytest.raises(ValueError, match="left unread"):
        tracker.check_done()
    tracker.try_claim(Range(0, 10, 10))
    assert tracker.check_done() and tracker.try_split(0) is None


def test_bounded_only_if_every_partition_has_a_stop():
    assert not LogTracker(BOTH).is_bounded()
    assert LogTracker(LogRanges("id", (Range(0, 5, 10),))).is_bounded()


NUMBERS = st.integers(-(1 << 62), 1 << 62)
RANGES = st.builds(Range, st.integers(0, 1 << 30), NUMBERS, NUMBERS, NUMBERS, st.integers(0, (1 << 32) - 1))


@given(st.text(max_size=30), st.lists(RANGES, max_size=5))
def test_coder(name: str, ranges: list[Range]):
    coder, value = LogRangesCoder(), LogRanges(name, tuple(ranges))
    assert coder.decode(coder.encode(value)) == value
    assert coder.is_deterministic() and coder.to_type_hint() is LogRanges


def test_registered():
    assert isinstance(registry.get_coder(LogRanges), LogRangesCoder)
