import pytest

from transforms.latencies import Latencies


def figures(*steps: tuple[float, list[int]]) -> tuple[int, int, int]:
    latencies = Latencies()
    for now, times in steps:
        latencies.add(now, times)
    return latencies.figures()


def test_none() -> None:
    assert figures() == (0, 0, 0)


def test_few_records_are_all_looked_at() -> None:
    assert figures((1000, list(range(990, 1000)))) == (5, 10, 10)


def test_of_many_the_samples_weigh_as_much_as_all() -> None:
    """900 records of 0 to 900 ms and one of 5 s: the one is the largest, and no quantile."""
    p50, p99, most = figures((10_000, [9_100 + i for i in range(900)]), (10_000, [5_000]))
    assert p50 == pytest.approx(450, abs=60)
    assert p99 == pytest.approx(890, abs=20)
    assert most == 5_000


def test_a_step_counts_by_its_records() -> None:
    assert figures((1000, [900] * 990), (1000, [999] * 10)) == (100, 100, 100)
    assert figures((1000, [900] * 9), (1000, [999] * 991)) == (1, 1, 100)


def test_clocks_that_disagree() -> None:
    assert figures((1000, [1005])) == (0, 0, 0)
