"""A chaos run: faults one after another under load, then everything is let through and every checker looks at what is left."""

import time
from collections.abc import Sequence
from pathlib import Path

from chaos.checks import control_reader, control_sink, find_canaries
from chaos.faults import FAULTS
from chaos.market import judge, rest
from chaos.results import Control, Outcome, Result
from chaos.schedule import Planned
from chaos.sizes import Look, grown, growths_of, look
from chaos.system import System
from pipelines.common import UsageError, parse_options
from pipelines.live import drain
from pipelines.payments_verify import VerifyOptions, verify_topics

_DRAIN_S = 180.0


def calm(system: System, wait_s: float) -> Look:
    """The load goes on for so long without a fault; then what the system is like."""
    time.sleep(wait_s)
    return look(system, time.monotonic() - system.began)


def suffer(system: System, planned: Planned) -> Outcome:
    """One fault, and the recovery after it."""
    repeats, began = system.watch.repeats, time.monotonic()
    done = FAULTS[planned.kind](system, planned.dice)
    lasted = time.monotonic() - began
    started = system.start_dead()
    fresh: float | None = None
    what = done.what + (f"; {', '.join(started)} had ended" if started else "")
    if done.touches:
        since = done.since_ms
        while not system.wait_fresh(since):
            # Go on: later faults are of no use on a job that stands still.
            system.relaunch_all()
            since = int(time.time() * 1000)
            if time.monotonic() - began > 900:
                raise UsageError(f"fault {planned.number} ({planned.kind}): the job does not come back")
        fresh = time.monotonic() - began
    system.mend()  # the next fault finds everything running
    try:
        system.job.check()
    except UsageError as error:
        system.violations.append(f"fault {planned.number} ({planned.kind}): {error}")
    again = max(0, system.watch.repeats - repeats)
    at = began - system.began
    return Outcome(planned.number, planned.kind, what, round(at, 1), round(lasted, 1), fresh and round(fresh, 1), again)


def provoke(system: System, pause_s: float = 5.0) -> int:
    """Kills all workers under load, a few times at most, until Beam's usual sink has doubled; how often.

    Few faults may each have come right after a checkpoint of the control's, and a control that did not fail proves nothing.
    """
    for kills in range(5):
        if control_sink(system.direct).doubled:
            return kills
        time.sleep(pause_s)
        system.wait_fresh(FAULTS["worker-kill"](system, 0.0).since_ms)
    return 5


def finish(system: System, seed: int, outcomes: Sequence[Outcome], looks: Sequence[Look], keep: Path) -> Result:
    """Lets everything arrive, ends the job, and runs every checker; the topics are put into `keep`."""
    if outcomes:
        provoke(system)
    violations = list(system.violations)
    system.load.pause()
    if system.market and (late := system.market.finish()):
        violations.append(late)
    arrived = drain(system.direct, system.job, system.watch, system.ticker.stopped, _DRAIN_S)
    seconds = time.monotonic() - system.began
    if not arrived:
        violations.append(f"not drained within {_DRAIN_S:g} s: {system.watch.shown(seconds, system.load.payments)[0]}")
    if system.market and not rest(system.direct):
        violations.append("something is appended without end")
    violations += find_canaries(system)
    system.job.close()
    system.control.close()
    options = parse_options(["--from_topics"], VerifyOptions)
    found = verify_topics(options, system.direct, keep)
    reader, wrong = control_reader(keep / "topics")
    if system.market:
        wrong += judge(system.direct, keep / "auctions")
    controls = (reader, control_sink(system.direct))
    growths = growths_of(looks)
    return Result(
        seed=seed,
        rate=system.rate,
        lanes=system.lanes,
        seconds=round(seconds, 1),
        payments=system.load.payments,
        records=found.records,
        regenerated=found.regenerated,
        repeats=found.repeats,
        outcomes=tuple(outcomes),
        controls=controls,
        looks=tuple(looks),
        growths=tuple(growths),
        violations=tuple(violations + found.violations + wrong + grown(growths)),
    )


def silent(controls: tuple[Control, ...]) -> list[str]:
    """Controls that did not double: then the run proves nothing."""
    return [f"control {each.name}: nothing was doubled" for each in controls if not each.doubled]


__all__ = ["calm", "finish", "provoke", "silent", "suffer"]
