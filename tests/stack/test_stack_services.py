"""The whole stack: up once, up twice, status, kill and restart, a live job through the death of a TaskManager."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack import tools
from stack.cluster import Stack, noted, running
from stack.errors import StackError
from stack.live_jobs import LiveJob, stamp
from stack.processes import find
from stack.services import is_free, wait_until

NAMES = ["postgres", "kafka", "jobmanager", "taskmanager-1", "jobserver", "workers-1"]


def pids(stack: Stack) -> dict[str, int | None]:
    return {name: pid for name, pid, _, _ in stack.status()}


def listening(stack: Stack) -> set[str]:
    """The addresses on which the processes of the stack accept connections."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs Linux' /proc")
    inodes = set()
    for process in noted(stack.folder):
        for known in process.family():
            for entry in Path(f"/proc/{known.pid}/fd").iterdir():
                if found := re.match(r"socket:\[(\d+)\]", os.readlink(entry) if entry.is_symlink() else ""):
                    inodes.add(found[1])
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:  # LISTEN
                addresses.add(fields[1].split(":")[0])
    return addresses


def test_all_is_healthy_and_remembered(stack: Stack) -> None:
    assert [(name, health) for name, _, _, health in stack.status()] == [(name, "healthy") for name in NAMES]
    found = running(stack.folder)
    assert found is not None
    assert found.status() == stack.status()


def test_a_second_up_is_harmless(stack: Stack) -> None:
    before = pids(stack)
    assert stack.up() == []
    assert pids(stack) == before


def test_up_starts_only_what_is_dead(stack: Stack) -> None:
    before = pids(stack)
    stack.kill("jobserver")
    assert wait_until(lambda: pids(stack)["jobserver"] is None, 5)
    assert ("jobserver", None, stack.ports.jobserver, "not running") in stack.status()
    assert stack.up() == ["jobserver"]
    after = pids(stack)
    assert after.pop("jobserver") != before.pop("jobserver")
    assert after == before


def test_other_ports_or_slots_are_refused_while_it_runs(stack: Stack) -> None:
    with pytest.raises(StackError, match="a stack runs there with other ports: end it first"):
        Stack(stack.folder, stack.ports.kafka).up()
    with pytest.raises(StackError, match="with other slots"):
        Stack(stack.folder, stack.ports, slots=2).up()


def test_a_port_that_is_taken_is_named(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=f"kafka: port {stack.ports.kafka} is taken"):
        Stack(tmp_path, stack.ports, only=["kafka"]).up()
    assert noted(tmp_path) == []


def test_postgres_has_the_database_and_does_not_run_as_root(stack: Stack) -> None:
    service = stack.services["postgres"]
    url = f"postgresql://rails@127.0.0.1:{service.port}/rails"
    command = [tools.postgres("psql"), url, "-qtAc", "select current_user, current_database()"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "rails|rails"
    assert os.stat(f"/proc/{service.process.pid}").st_uid != 0


def test_down_in_another_folder_ends_nothing_here(stack: Stack, tmp_path: Path) -> None:
    before = pids(stack)
    assert Stack(tmp_path, stack.ports).down() == []
    assert pids(stack) == before


def test_a_live_job_outlives_its_taskmanager_and_nothing_listens_outside(stack: Stack) -> None:
    flags = ["--environment_type=EXTERNAL", f"--environment_config={stack.worker_endpoint()}"]
    flags += ["--checkpointing_interval=500", "--lanes=2", "--splits=3", "--rate=200"]
    with LiveJob(stack, f"kill-{stamp()}", flags) as job:
        assert wait_until(lambda: len(job.tracks()) == 6, 90)
        assert wait_until(lambda: job.counts().get("completed", 0) > 1, 20)
        assert listening(stack) <= {"0100007F", "0000000000000000FFFF00000100007F"}

        stack.kill("taskmanager-1")
        stack.restart("taskmanager-1")
        restarted = time.time()
        # Every residual woke up again, those that shared a key too, and where it was: none is lost, nor any position.
        assert wait_until(lambda: all(track.seen > restarted for track in job.tracks().values()), 30), job.tracks()
        assert job.counts()["restored"] >= 1
        assert {track.lost for track in job.tracks().values()} == {0}
        # The worker of the dead TaskManager ends by itself: its control stream is gone.
        pool = stack.worker_pool()
        assert wait_until(lambda: len(pool.workers()) == 1, 30), pool.process.family()

        # And of a worker: the TaskManager asks the pool for another one.
        (worker,) = pool.workers()
        os.kill(worker, signal.SIGKILL)
        killed = time.time()
        assert wait_until(lambda: all(track.seen > killed + 0.5 for track in job.tracks().values()), 30), job.tracks()
        assert pool.workers() != [worker]
        assert {track.lost for track in job.tracks().values()} == {0}
    assert wait_until(lambda: not pool.workers(), 30), "a cancelled job leaves its worker"


def test_down_ends_all_and_frees_the_ports(stack_folder: Path, stack: Stack) -> None:
    folder = stack_folder / "short"
    with Stack(folder, stack.ports.jobmanager - 23 + 100, only=["kafka"]) as short:
        pid = pids(short)["kafka"]
        assert pid and find(pid)
        again = [sys.executable, "-m", "stack", "down"]
        environment = {**os.environ, "BEAM_ON_RAILS_STACK": str(folder)}
        done = subprocess.run(again, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "ended: kafka\n"
        assert find(pid) is None
        assert is_free(short.ports.kafka)
        assert running(folder) is None


def test_what_does_not_become_healthy_is_ended_and_said(stack_folder: Path, stack: Stack) -> None:
    folder = stack_folder / "ill"
    broken = Stack(folder, stack.ports.jobmanager - 23 + 100, only=["kafka"])
    (folder / "kafka" / "data").mkdir(parents=True)
    (folder / "kafka" / "data" / "meta.properties").write_text("version=1\nnode.id=7\n", encoding="utf-8")
    with pytest.raises(StackError, match=r"kafka: ended while starting: .*: see .*kafka\.log"):
        broken.up()
    assert not any(process.pid for process in noted(folder))


def test_stopped_services_can_be_woken(stack: Stack) -> None:
    stack.kill("kafka", signal.SIGSTOP)
    try:
        assert stack.services["kafka"].ill().startswith("no metadata")
    finally:
        stack.kill("kafka", signal.SIGCONT)
    assert wait_until(lambda: not stack.services["kafka"].ill(), 15)
