"""Invariant 9: checkpoints and memory stay flat, whatever happens; looked at in the calm moments before each fault.

Faults replace processes all the time, so none is followed from its begin to its end. What is compared is what a calm moment of the first
third of the run looked like with one of the last third: a leak makes old processes larger, or leaves some behind, or its own to successors.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chaos.system import System
from stack.footprint import footprint, held_mb
from stack.growth import Growth, ends

WORKER, TASKMANAGER = "worker", "taskmanager"

SETTLED_S = 5.0
"""A worker that is younger may still be loading and restoring."""

LEAST = 9
"""Looks that a verdict needs: three in each third."""


class Held(NamedTuple):
    """One process. kind: WORKER or TASKMANAGER; mb: resident memory of a worker, what a TaskManager holds after a full collection.

    Workers are those of the lanes. The control's is not looked at: it has a producer for each DoFn, and Beam makes one for each bundle
    between two checkpoints.
    """

    kind: str
    age_s: float
    threads: int
    mb: float


class Look(NamedTuple):
    """A calm moment. at_s: since the run began; hosts: TaskManagers that the job is on; payments: sent until then; checkpoint_bytes: of the
    newest checkpoint, 0 for none yet.

    workers: that run, the control's and any that were left behind among them.
    """

    at_s: float
    lanes: int
    hosts: int
    payments: int
    checkpoint_bytes: int
    workers: int
    processes: tuple[Held, ...]

    def of(self, kind: str) -> list[Held]:
        return [each for each in self.processes if each.kind == kind]


def look(system: System, at_s: float) -> Look:
    """What the system is like now."""
    stack, held = system.stack, list[Held]()
    for pid in system.workers():
        if found := footprint(pid):
            held.append(Held(WORKER, round(found.age_s, 1), found.threads, round(found.mb, 1)))
    for name, service in stack.services.items():
        manager = service.process.pid if name.startswith(TASKMANAGER) else None
        if manager and (found := footprint(manager)) and (mb := held_mb(manager)) is not None:
            held.append(Held(TASKMANAGER, round(found.age_s, 1), found.threads, round(mb, 1)))
    job = system.job.found()
    size = stack.rest.checkpoint_bytes(job["jid"]) if job else 0
    workers = len(stack.worker_pool().workers())
    return Look(round(at_s, 1), system.lanes, len(system.hosts()), system.load.payments, size, workers, tuple(held))


class Column(NamedTuple):
    """A figure of a look, None where it says nothing; and how much more of it is still flat, by its value at first and payments since."""

    figure: Callable[[Look], float | None]
    allowed: Callable[[float, int], float]


def _most(values: Sequence[float]) -> float | None:
    return max(values, default=None)


COLUMNS = {
    # Offsets are written in more digits as they grow.
    "checkpoint, bytes": Column(lambda look: look.checkpoint_bytes or None, lambda first, _: 0.05 * first + 2_000),
    # One that was given up may need a moment to end.
    "workers": Column(lambda look: look.workers, lambda first, _: 1),
    # Clients of Kafka and gRPC keep some threads of connections that were replaced, for a while.
    "threads of a worker": Column(lambda look: _most([each.threads for each in look.of(WORKER)]), lambda first, _: 16),
    # Shards remember payments: ids for a day, what can be reversed for 90 days (docs/performance.md). The rest is malloc's.
    "memory of a worker, MB": Column(
        lambda look: _most([each.mb for each in look.of(WORKER) if each.age_s >= SETTLED_S]),
        lambda first, payments: 0.1 * first + 10 + payments * 1_000 / 2**20,
    ),
    "threads of a TaskManager": Column(
        lambda look: _most([each.threads for each in look.of(TASKMANAGER)]), lambda first, _: 16
    ),
    # Classes are loaded when they are first needed, and Flink keeps the last failures.
    "memory of a TaskManager, MB": Column(
        lambda look: _most([each.mb for each in look.of(TASKMANAGER)]), lambda first, _: 0.1 * first + 10
    ),
}
"""What is looked at. Per process the largest counts, so that a small one beside it hides nothing."""


def _shape(look: Look) -> tuple[int, int]:
    return look.lanes, look.hosts


def growths_of(looks: Sequence[Look]) -> list[Growth]:
    """How each column developed from the first to the last third of the run; those that too few looks have are left out.

    Only looks with as many lanes, on as many TaskManagers, as most of them: with others, workers and checkpoints are of another size.
    """
    found = []
    usual = Counter(map(_shape, looks)).most_common(1)
    alike = [each for each in looks if _shape(each) == usual[0][0]]
    for name, column in COLUMNS.items():
        rows = [(value, each.payments) for each in alike if (value := column.figure(each)) is not None]
        if len(rows) < LEAST:
            continue
        first, last = ends([value for value, _ in rows], 3)
        before, after = ends([payments for _, payments in rows], 3)
        found.append(Growth(name, first, last, column.allowed(first, int(after - before))))
    return found


def grown(growths: Sequence[Growth]) -> list[str]:
    """Violations of invariant 9, a line each."""
    return [
        f"{each.name}: {each.first:,.0f} in the first third of the run, {each.last:,.0f} in the last; "
        f"at most {each.first + each.allowed:,.0f} would be flat"
        for each in growths
        if not each.flat
    ]
