"""Garbage is looked for seldom inside, and as before afterwards."""

import gc
from collections.abc import Iterator

import pytest

from transforms.garbage import collect_rarely, collect_rarely_from_now_on


@pytest.fixture(autouse=True)
def threshold() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 5)
    yield
    gc.set_threshold(*before)


def test_as_before_afterwards_whatever_happens() -> None:
    with pytest.raises(RuntimeError), collect_rarely():
        assert gc.get_threshold() == (200_000, 10, 5)
        raise RuntimeError
    assert gc.get_threshold() == (700, 10, 5)


def test_from_now_on() -> None:
    collect_rarely_from_now_on()
    assert gc.get_threshold() == (200_000, 10, 5)
