"""The faults: each does its damage, holds it for a time, and takes its cause away. What heals the system then is its own business.

A fault gives back what it did, and since when what lanes say counts: what was said earlier may have been on its way.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from chaos import hostile, retention
from chaos.clock import Clock
from chaos.system import System, no_ticks
from stack.services import wait_until

_ON_ITS_WAY_MS = 1500
"""After a kill: what a killed process had given to the broker may still be read for so long."""


_NEAR_S = 8
"""Confirmations are appended so near to now, by the right clock."""


class Done(NamedTuple):
    """What was done, in words. since_ms: what lanes say after that is new. touches: whether the job has to recover."""

    what: str
    since_ms: int
    touches: bool = True


Fault = Callable[[System, float], Done]
"""(system, dice from 0 to 1) → what was done."""


def _now(later_ms: int = 0) -> int:
    return int(time.time() * 1000) + later_ms


def _between(dice: float, least: float, most: float) -> float:
    return round(least + dice * (most - least), 1)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in any case."""
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def freeze(system: System, name: str, seconds: float) -> Done:
    """SIGSTOP of a service for so long."""
    pid = system.stack.service(name).process.pid
    with stopped([pid] if pid else []):
        time.sleep(seconds)
    return Done(f"{name} stopped for {seconds} s", _now())


# --- processes ---


def kill_worker(system: System, dice: float) -> Done:
    """kill -9 of every Python worker, the control job's among them."""
    pids = system.stack.worker_pool().workers()
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return Done(f"kill -9 of {len(pids)} workers", _now(_ON_ITS_WAY_MS))


def stop_worker(system: System, dice: float) -> Done:
    """SIGSTOP of the lanes' workers; nobody replaces them, for their TaskManager lives."""
    seconds, pids = _between(dice, 5, 15), system.workers()
    with stopped(pids):
        time.sleep(seconds)
    return Done(f"{len(pids)} workers stopped for {seconds} s", _now())


def zombie_worker(system: System, dice: float) -> Done:
    """SIGSTOP of the lanes' workers, kill -9 of their TaskManagers; woken when others do their work."""
    pids, hosts = system.workers(), system.hosts()
    with stopped(pids):
        for host in hosts:
            system.kill(host)
        since = _now(_ON_ITS_WAY_MS)
        system.start_dead()
        system.wait_fresh(since)
    return Done(f"{len(pids)} workers woke after others had replaced them", _now())


def _host(system: System, dice: float) -> str:
    """A TaskManager that has lanes."""
    hosts = system.hosts() or ["taskmanager-1"]
    return hosts[int(dice * len(hosts))]


def kill_taskmanager(system: System, dice: float) -> Done:
    """kill -9 of a TaskManager that has lanes; a supervisor starts it again."""
    host = _host(system, dice)
    system.kill(host)
    since = _now(_ON_ITS_WAY_MS)
    system.start_dead()
    return Done(f"kill -9 of {host}", since)


def zombie_taskmanager(system: System, dice: float) -> Done:
    """SIGSTOP of a TaskManager that has lanes, for so long that Flink gives it up (5 s) and replaces it; then it wakes."""
    return freeze(system, _host(system, dice), _between(dice, 15, 30))


def long_zombie(system: System, dice: float) -> Done:
    """The same for two minutes: when it wakes, everything that waited for it was given up long ago, on both sides."""
    return freeze(system, _host(system, dice), 120.0)


def kill_jobmanager(system: System, dice: float) -> Done:
    """kill -9 of the JobManager: it forgets its jobs, which are launched again."""
    system.kill("jobmanager")
    system.mend()
    system.relaunch_all()
    return Done("kill -9 of the JobManager, jobs launched again", _now())


def stop_jobmanager(system: System, dice: float) -> Done:
    """SIGSTOP of the JobManager; afterwards it believes that all TaskManagers are gone, or they that it is."""
    return freeze(system, "jobmanager", _between(dice, 6, 15))


def kill_broker(system: System, dice: float) -> Done:
    """kill -9 of the broker, which is started again some seconds later."""
    system.kill("kafka")
    time.sleep(_between(dice, 0, 5))
    system.mend()
    return Done(f"kill -9 of the broker, {_between(dice, 0, 5)} s away", _now())


def stop_broker(system: System, dice: float) -> Done:
    """SIGSTOP of the broker."""
    return freeze(system, "kafka", _between(dice, 5, 20))


def restart_broker(system: System, dice: float) -> Done:
    """The broker is ended in good order and started again."""
    system.stack.restart("kafka")
    return Done("broker ended and started", _now())


# --- launches ---


def jump_clock(system: System, dice: float) -> Done:
    """The broker's clock, of which all append times are, jumps ahead, in every second case behind, and after a while back."""
    off = int(_between(2 * dice, 20, 90)) if dice < 0.5 else -int(_between(2 * dice - 1, 20, 40))
    assert system.clock is not None
    system.clock.move(off)
    try:
        _await_clock(system, system.clock)
        time.sleep(_between(dice, 5, 10))
    finally:
        system.clock.move(0)
    _await_clock(system, system.clock)
    return Done(f"the broker's clock {abs(off)} s {'ahead' if off > 0 else 'behind'}, then right again", _now())


def _await_clock(system: System, clock: Clock) -> None:
    """Returns when payments are confirmed by that clock; a violation where they are not."""

    def shows() -> bool:
        system.check()
        return abs(system.watch.confirmed_at - _now(1000 * clock.off)) < 1000 * _NEAR_S

    if not wait_until(shows, 30.0):
        system.violations.append(f"clock-jump: nothing is appended {clock.off} s off the right time")


def launch_twice(system: System, dice: float) -> Done:
    """The same job a second time; both run for a while, then one of them is cancelled."""
    other = system.second()
    try:
        both = wait_until(lambda: (other.found() or {"state": ""})["state"] == "RUNNING", 90)
        time.sleep(8)
    finally:
        if dice < 0.5:
            other, system.job = system.job, other
        other.close()
    which = "the first" if dice < 0.5 else "the second"
    return Done(f"launched twice{'' if both else ' (the second never ran)'}; {which} was cancelled", _now())


def rescale(system: System, dice: float) -> Done:
    """The job again with another number of lanes."""
    before = system.lanes

    def other() -> None:
        system.lanes = 2 if before == 1 else 1

    system.relaunch(other)
    return Done(f"{before} to {system.lanes} lanes", _now())


# --- the network ---


def slow_connections(system: System, dice: float) -> Done:
    """Everything between job and broker comes late, and little at once."""
    delay, seconds = _between(dice, 0.05, 0.4), 10
    system.proxy.slow(delay, 100_000)
    time.sleep(seconds)
    system.proxy.heal()
    return Done(f"{delay * 1000:.0f} ms later and 100 kB/s for {seconds} s", _now())


def cut_connections(system: System, dice: float) -> Done:
    """All connections between job and broker are reset, and new ones too."""
    seconds = _between(dice, 0.5, 10)
    system.proxy.cut()
    time.sleep(seconds)
    system.proxy.heal()
    return Done(f"no connection for {seconds} s", _now())


def half_open_connections(system: System, dice: float) -> Done:
    """All connections between job and broker are dead, and nobody is told; new ones work."""
    count = system.proxy.connections
    system.proxy.half_open()
    return Done(f"{count} connections dead", _now(_ON_ITS_WAY_MS))


def lost_acknowledgements(system: System, dice: float) -> Done:
    """What the job writes is appended, but it is never told; then the connections are reset."""
    seconds = _between(dice, 1, 5)
    system.proxy.lose_answers()
    time.sleep(seconds)
    system.proxy.heal()
    return Done(f"no answers for {seconds} s", _now())


# --- files ---


def full_disk(system: System, dice: float) -> Done:
    """Snapshots and checkpoints find no room for a while; in every second case the workers die meanwhile."""
    seconds = _between(dice, 10, 15)
    before, since = system.watch.unsaved, _now()
    for disk in system.disks:
        disk.fill()
    try:
        time.sleep(seconds)
        restarts = system.restarts(since)
        if dice < 0.5:
            kill_worker(system, dice)
            time.sleep(3)
        unsaved = max(0, system.watch.unsaved - before)
    finally:
        for disk in system.disks:
            disk.free()
    how = "full" if system.disks[0].mounted else "not writable"
    killed = ", workers killed meanwhile" if dice < 0.5 else ""
    told = f"{unsaved} snapshots told as unsaved, {restarts} restarts until then"
    return Done(f"{how} for {seconds} s ({told}){killed}", _now(_ON_ITS_WAY_MS))


def torn_snapshot(system: System, dice: float) -> Done:
    """The newest snapshot of each shard is cut in half, or has a byte flipped, before the job restores them."""
    torn = 0

    def tear() -> None:
        nonlocal torn
        for number, folder in enumerate(sorted(system.snapshots.glob("*/*"))):
            newest = max(folder.glob("*.snapshot"), default=None)
            if newest is not None:
                damage(newest, cut=number % 2 == 0)
                torn += 1

    system.relaunch(tear)
    return Done(f"the newest snapshot of {torn} shards torn", _now())


def damage(path: Path, cut: bool) -> None:
    """Cuts a file in half, or flips the byte in its middle."""
    data = bytearray(path.read_bytes())
    if cut:
        del data[len(data) // 2 :]
    else:
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def lost_checkpoints(system: System, dice: float) -> Done:
    """Every checkpoint of Flink is deleted, and the job launched."""
    system.relaunch(lambda: _empty(system.checkpoints))
    return Done("every checkpoint deleted", _now())


def lost_snapshots(system: System, dice: float) -> Done:
    """Every snapshot is deleted: a cold start from offset 0."""
    system.relaunch(lambda: _empty(system.snapshots))
    return Done("every snapshot deleted", _now())


def retention_overtakes(system: System, dice: float) -> Done:
    """On a topic of its own: a reader that was stopped for longer than records are kept refuses to go on."""
    said = retention.overtake(system.direct, system.folder / "retention")
    if retention.WORDS not in said:
        system.violations.append(f"retention: not refused clearly: {said}")
    return Done(f"refused: {said}", _now(), touches=False)


# --- input ---


def poison(system: System, dice: float) -> Done:
    """Hostile messages among the payments; each becomes a dead letter or a refusal."""
    lines = hostile.lines(f"chaos-{_now()}", system.card)
    hostile.append(system.direct, lines)
    return Done(f"{len(lines)} hostile messages", _now())


def hot_key(system: System, dice: float) -> Done:
    """Payments of one account to one other, as many at once as otherwise come in twenty seconds."""
    count = 20 * system.rate
    system.load.write(hostile.payments(f"hot-{_now()}", count, "acc-0000001", "acc-0000002"))
    return Done(f"{count} payments between two accounts at once", _now())


def repeated_input(system: System, dice: float) -> Done:
    """A client sends the same payments three times, also in another order."""
    lines = hostile.payments(f"again-{_now()}", 2 * system.rate, "acc-0000003", "acc-0000004")
    for again in (lines, lines[::-1], lines):
        system.load.write(again)
    return Done(f"{len(lines)} payments three times", _now())


def idle_partitions(system: System, dice: float) -> Done:
    """No payments and no ticks, every third time for more than 30 s (`stall_s`); then on one partition alone."""
    seconds = 35.0 if dice < 0.33 else _between(dice, 5, 15)
    system.load.pause()
    with no_ticks(system):
        time.sleep(seconds)
        system.load.write(
            hostile.payments(f"alone-{_now()}", 10, "acc-0000005", "acc-0000006", partition=int(16 * dice))
        )
        time.sleep(2)
    system.load.start()
    return Done(f"nothing for {seconds} s, then on one partition", _now())


FAULTS: dict[str, Fault] = {
    "worker-kill": kill_worker,
    "worker-stop": stop_worker,
    "worker-zombie": zombie_worker,
    "taskmanager-kill": kill_taskmanager,
    "taskmanager-zombie": zombie_taskmanager,
    "taskmanager-long-zombie": long_zombie,
    "jobmanager-kill": kill_jobmanager,
    "jobmanager-stop": stop_jobmanager,
    "broker-kill": kill_broker,
    "broker-stop": stop_broker,
    "broker-restart": restart_broker,
    "clock-jump": jump_clock,
    "twice": launch_twice,
    "rescale": rescale,
    "slow": slow_connections,
    "cut": cut_connections,
    "half-open": half_open_connections,
    "lost-acks": lost_acknowledgements,
    "full-disk": full_disk,
    "torn-snapshot": torn_snapshot,
    "lost-checkpoints": lost_checkpoints,
    "lost-snapshots": lost_snapshots,
    "retention": retention_overtakes,
    "poison": poison,
    "hot-key": hot_key,
    "repeated-input": repeated_input,
    "idle": idle_partitions,
}
"""By the names that --kinds takes."""
