"""The soak test: what it calls flat, and in short that our checkpoint handlers are and Beam's are not."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stack import cli
from stack.cluster import Stack
from stack.errors import StackError
from stack.soak import Sample, growths, samples, soak

CALM = Sample(0, 19_000, 90, 60.0, 22, 130.0)


def series(count: int, **steps: float) -> list[Sample]:
    """`count` samples; the named columns grow by that much each."""
    return [
        CALM._replace(**{name: getattr(CALM, name) + step * n for name, step in steps.items()}) for n in range(count)
    ]


def grown(taken: list[Sample]) -> list[str]:
    return [growth.name for growth in growths(taken) if not growth.flat]


def test_what_stays_is_flat() -> None:
    assert grown(series(50)) == []


@pytest.mark.parametrize(
    ("name", "step"),
    [("state_bytes", 200), ("taskmanager_threads", 1), ("taskmanager_mb", 0.2), ("worker_threads", 1), ("worker_mb", 1.0)],
)
def test_what_grows_is_found(name: str, step: float) -> None:
    assert grown(series(50, **{name: step})) == [name]


def test_a_jump_during_the_warm_up_does_not_count() -> None:
    assert grown([CALM._replace(state_bytes=1000), CALM._replace(state_bytes=900_000), CALM, *series(30)]) == []


def test_too_few_samples_are_no_verdict() -> None:
    with pytest.raises(StackError, match="5 checkpoints are too few to judge"):
        growths(series(5))


GROWS = ["idle state_bytes", "loaded state_bytes", "loaded worker_mb"]


@pytest.mark.parametrize(
    ("argv", "ours", "beams", "status", "said"),
    [
        ([], [], None, 0, "flat\n"),
        ([], GROWS[:1], None, 1, "NOT flat: idle state_bytes\n"),
        (["--control"], [], GROWS, 0, "flat\nthe control grows: idle state_bytes, loaded state_bytes, loaded worker_mb\n"),
        (["--control"], GROWS[2:], GROWS, 1, "NOT flat: loaded worker_mb\nthe control grows: "),
        (["--control"], [], GROWS[1:], 1, "flat\nthe control does NOT grow, so that flat proves nothing: "),
    ],
)
def test_flat_and_the_control(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    ours: list[str],
    beams: list[str] | None,
    status: int,
    said: str,
) -> None:
    found = {False: ours, True: beams}
    monkeypatch.setattr(cli, "_apart", lambda name, stock, **shape: nullcontext(stock))
    monkeypatch.setattr(cli, "soak", lambda stock, checkpoints, interval_ms, say, lanes, record: found[stock])
    assert cli.main(["soak", *argv]) == status
    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize("flag", ["--checkpoints=19", "--lanes=0"])
def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main(["soak", flag]) == 1 and flag.split("=")[0] in capsys.readouterr().err


def test_both_phases_are_told_and_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def taken(stack: Any, rate: float, checkpoints: int, interval_ms: int, lanes: int) -> list[Sample]:
        return series(checkpoints, taskmanager_mb=0.5 if rate else 0)

    monkeypatch.setattr("stack.soak.samples", taken)
    told: list[str] = []
    stack: Any = SimpleNamespace(shape=SimpleNamespace(stock=False))
    assert soak(stack, 40, 100, told.append, 3, tmp_path / "all.jsonl") == ["loaded taskmanager_mb"]
    assert any("3 lanes" in line for line in told) and any("+0.500 a checkpoint  GROWS" in line for line in told)
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 80


def test_our_handlers_are_flat(stack: Stack) -> None:
    taken = list(samples(stack, 500.0, 30, 200))
    assert [sample.checkpoint for sample in taken][-1] == 30
    assert grown(taken) == []
    assert max(sample.state_bytes for sample in taken) < 30_000
    assert min(sample.taskmanager_mb for sample in taken) > 20 and max(sample.taskmanager_mb for sample in taken) < 200


def test_beams_own_handlers_grow(stack_folder: Path, free_ports: int) -> None:
    with Stack(stack_folder / "stock", free_ports + 300, workers=1, only=["flink", "jobserver"], stock=True) as stock:
        taken = list(samples(stock, 500.0, 30, 200))
    assert "state_bytes" in grown(taken)
    assert taken[-1].state_bytes > 3 * taken[0].state_bytes
