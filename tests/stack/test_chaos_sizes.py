"""Invariant 9 in a chaos run: what stays is flat, and a planted leak of each kind is seen."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaos import sizes
from chaos.results import Result, as_json, flatness, summary, write_results
from chaos.run import calm
from chaos.sizes import COLUMNS, LEAST, TASKMANAGER, WORKER, Held, Look, grown, growths_of, look
from stack.flink import Rest

CALM = Look(
    0.0,
    1,
    1,
    0,
    31_000,
    2,
    (Held(WORKER, 30, 40, 190), Held(WORKER, 25, 30, 120), Held(TASKMANAGER, 60, 90, 75), Held(TASKMANAGER, 9, 70, 60)),
)
Leak = Callable[[Look, int], Look]


def changed(which: int, **steps: float) -> Leak:
    """One process grows by so much from look to look."""

    def leak(look: Look, number: int) -> Look:
        held = list(look.processes)
        held[which] = held[which]._replace(**{name: getattr(held[which], name) + n * number for name, n in steps.items()})
        return look._replace(processes=tuple(held))

    return leak


def series(count: int, leak: Leak = lambda look, number: look, payments: int = 100) -> list[Look]:
    return [leak(CALM._replace(at_s=25.0 * n, payments=payments * n), n) for n in range(count)]


def names(looks: list[Look]) -> list[str]:
    return [each.name for each in growths_of(looks) if not each.flat]


class TestJudging:
    def test_what_stays_is_flat(self) -> None:
        assert len(growths_of(series(12))) == len(COLUMNS) and names(series(12)) == [] and grown(growths_of(series(12))) == []

    @pytest.mark.parametrize(
        ("leak", "name"),
        [
            (lambda look, n: look._replace(checkpoint_bytes=look.checkpoint_bytes + 1_000 * n), "checkpoint, bytes"),
            (lambda look, n: look._replace(workers=look.workers + n // 3), "workers"),
            (changed(1, threads=5), "threads of a worker"),
            (changed(0, mb=8), "memory of a worker, MB"),
            (changed(3, threads=6), "threads of a TaskManager"),
            (changed(2, mb=4), "memory of a TaskManager, MB"),
        ],
    )
    def test_a_planted_leak_is_seen(self, leak: Leak, name: str) -> None:
        assert names(series(12, leak)) == [name]
        assert grown(growths_of(series(12, leak)))[0].startswith(f"{name}: ")

    def test_a_leak_that_every_restart_passes_on(self) -> None:
        """No process gets old, but each begins a little larger than the one before it."""
        assert names(series(12, changed(0, mb=8, age_s=-1))) == ["memory of a worker, MB"]

    def test_what_payments_leave_in_memory_is_no_leak(self) -> None:
        assert names(series(12, changed(0, mb=8), payments=10_000)) == []

    def test_one_high_moment_is_none_either(self) -> None:
        def once(look: Look, number: int) -> Look:
            return changed(0, mb=100)(look, number == 10)

        assert names(series(12, once)) == []

    def test_young_workers_do_not_count(self) -> None:
        def young(look: Look, number: int) -> Look:
            held = Held(WORKER, sizes.SETTLED_S - 1, 40, 20.0 if number < 6 else 900.0)
            return look._replace(processes=(held, *look.processes[1:]))

        assert names(series(12, young)) == []

    def test_moments_with_another_number_of_lanes_do_not_count(self) -> None:
        def more(look: Look, number: int) -> Look:
            return changed(0, mb=300)(look, 1)._replace(lanes=2) if number > 3 and number % 2 else look

        assert names(series(20, more)) == []

    def test_the_number_of_lanes_that_most_moments_have_is_the_one_that_counts(self) -> None:
        def rescaled(look: Look, number: int) -> Look:
            leaking = changed(0, mb=5.0 * number)(look, number)
            return changed(0, mb=300)(look, number) if number < 5 else leaking._replace(lanes=2)

        assert names(series(20, rescaled)) == ["memory of a worker, MB"]

    def test_moments_with_the_job_on_other_task_managers_do_not_count(self) -> None:
        def spread(look: Look, number: int) -> Look:
            return changed(2, threads=40)(look, 1)._replace(hosts=2, workers=5) if number > 11 else look

        assert names(series(20, spread)) == []
        assert names([each._replace(hosts=1) for each in series(20, spread)]) == ["workers", "threads of a TaskManager"]

    def test_too_few_moments_are_no_verdict(self) -> None:
        assert growths_of(series(LEAST - 1)) == [] and growths_of([]) == [] and len(growths_of(series(LEAST))) == len(COLUMNS)

        def silent(look: Look, number: int) -> Look:
            return look._replace(checkpoint_bytes=0)

        assert "checkpoint, bytes" not in {each.name for each in growths_of(series(LEAST, silent))}


HOARDER = """
import sys, time
print("ready", flush=True)
hoard = bytearray(0)
for line in sys.stdin:
    hoard += bytearray(30 << 20)
    print("grown", flush=True)
"""


class Answers(Rest):
    """What Flink says: of the job "j" that it has a checkpoint, of all others nothing."""

    def __init__(self) -> None:
        super().__init__(0)

    def get(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        return {"latest": {"completed": {"state_size": 5}}} if path == "/jobs/j/checkpoints" else None


class Watched:
    """A system of one process that we can make larger, and nothing else."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.lanes, self.began, self.process = 1, 0.0, process
        self.load = SimpleNamespace(payments=7)
        self.stack: Any = SimpleNamespace(
            worker_pool=lambda: SimpleNamespace(workers=lambda: [process.pid, 0, 0]),
            services={"kafka": None, "taskmanager-1": SimpleNamespace(process=SimpleNamespace(pid=os.getpid()))},
            rest=Answers(),
        )
        self.job = SimpleNamespace(found=lambda: {"jid": "j"})

    def workers(self) -> list[int]:
        return [self.process.pid, 2**22 + 1]

    def hosts(self) -> list[str]:
        return ["taskmanager-1"] if self.job.found() else []

    def grow(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("more\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "grown\n"


class TestLooking:
    def test_a_leak_in_a_real_process_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sizes, "SETTLED_S", 0)
        monkeypatch.setattr(sizes, "held_mb", lambda pid: 60.0)
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", HOARDER], stdin=pipe, stdout=pipe, text=True) as process:
            system: Any = Watched(process)
            assert process.stdout and process.stdout.readline() == "ready\n"
            still = [calm(system, 0.0) for _ in range(LEAST)]
            leaking = []
            for _ in range(LEAST):
                system.grow()
                leaking.append(look(system, 1.0))
            process.kill()
        assert names(still) == [] and names(leaking) == ["memory of a worker, MB"]
        assert still[0].checkpoint_bytes == 5 and still[0].workers == 3 and still[0].payments == 7 and still[0].at_s > 0
        assert [each.kind for each in still[0].processes] == [WORKER, TASKMANAGER]
        assert still[0].of(TASKMANAGER)[0].mb == 60

    def test_while_no_job_runs(self) -> None:
        with subprocess.Popen(["sleep", "60"], text=True) as process:
            system: Any = Watched(process)
            process.kill()
        system.job = SimpleNamespace(found=lambda: None)
        system.stack.services = {"taskmanager-1": SimpleNamespace(process=SimpleNamespace(pid=None))}
        assert look(system, 2.0) == Look(2.0, 1, 0, 7, 0, 3, ())
        system.job = SimpleNamespace(found=lambda: {"jid": "another"})
        assert look(system, 2.0).checkpoint_bytes == 0


class TestTelling:
    def result(self, looks: list[Look]) -> Result:
        return Result(7, 100, 1, 60.0, 6000, 50_000, 40_000, {}, (), (), tuple(looks), tuple(growths_of(looks)), ())

    def test_flat(self, tmp_path: Path) -> None:
        write_results(self.result(series(12)), tmp_path / "found.json")
        page = (tmp_path / "found.md").read_text()
        assert "| checkpoint, bytes | 31,000 | 31,000 | 34,550 | flat |\n" in page
        assert "- checkpoints and memory in 12 calm moments: flat\n" in page

    def test_grown(self) -> None:
        found = self.result(series(12, changed(0, mb=8)))
        assert summary(found)[-2] == "checkpoints and memory in 12 calm moments: memory of a worker, MB: GROWN"
        figures = {each["name"]: each for each in as_json(found)["growths"]}
        assert figures["memory of a worker, MB"]["flat"] is False and figures["workers"]["flat"] is True
        assert as_json(found)["looks"][3]["processes"][0]["mb"] == 214

    def test_what_was_seen_too_rarely_is_told(self) -> None:
        looks = [each._replace(checkpoint_bytes=0) for each in series(12)]
        assert flatness(looks, growths_of(looks)) == (
            "checkpoints and memory in 12 calm moments: flat; not judged, seen too rarely: checkpoint, bytes"
        )

    def test_not_judged(self) -> None:
        assert flatness(series(3), []) == (
            "checkpoints and memory: not judged, 3 calm moments are too few (9 or more: --faults 8)"
        )
