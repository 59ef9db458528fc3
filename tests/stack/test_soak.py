"""The soak test: what it calls flat, and in short that our checkpoint handlers are and Beam's are not."""

from pathlib import Path

import pytest

from stack.cluster import Stack
from stack.errors import StackError
from stack.soak import Sample, growths, samples

CALM = Sample(0, 19_000, 90, 440.0, 22, 130.0)


def series(count: int, **steps: float) -> list[Sample]:
    """`count` samples; the named columns grow by that much each."""
    return [
        CALM._replace(**{name: getattr(CALM, name) + step * n for name, step in steps.items()}) for n in range(count)
    ]


def grown(taken: list[Sample]) -> list[str]:
    return [growth.name for growth in growths(taken) if not growth.flat]


def test_what_stays_is_flat() -> None:
    assert grown(series(50)) == []


@pytest.mark.parametrize(("name", "step"), [("state_bytes", 200), ("taskmanager_threads", 1), ("worker_mb", 1.0)])
def test_what_grows_is_found(name: str, step: float) -> None:
    assert grown(series(50, **{name: step})) == [name]


def test_a_jump_during_the_warm_up_does_not_count() -> None:
    assert grown([CALM._replace(state_bytes=1000), CALM._replace(state_bytes=900_000), CALM, *series(30)]) == []


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(StackError, match="5 checkpoints are too few to judge"):
        growths(series(5))


def test_our_handlers_are_flat(stack: Stack) -> None:
    taken = list(samples(stack, 500.0, 30, 200))
    assert [sample.checkpoint for sample in taken][-1] == 30
    assert grown(taken) == []
    assert max(sample.state_bytes for sample in taken) < 30_000


def test_beams_own_handlers_grow(stack_folder: Path, free_ports: int) -> None:
    with Stack(stack_folder / "stock", free_ports + 300, workers=1, only=["flink", "jobserver"], stock=True) as stock:
        taken = list(samples(stock, 500.0, 30, 200))
    assert "state_bytes" in grown(taken)
    assert taken[-1].state_bytes > 3 * taken[0].state_bytes
