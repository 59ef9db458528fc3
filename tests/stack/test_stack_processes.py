"""Processes: noted, found again, ended with their children, never a stranger's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.processes import Process, find, processes
from stack.services import wait_until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
apart = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, apart.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, "sleeper")
    yield made
    made.stop(1.0)


def said(process: Process) -> str:
    assert wait_until(lambda: process.log.read_text(encoding="utf-8").endswith("\n"), 10)
    return process.log.read_text(encoding="utf-8").strip()


def test_a_process_is_noted_and_found_by_another_object(process: Process, tmp_path: Path) -> None:
    before = time.time()
    pid = process.start(SLEEPS)
    again = Process(tmp_path, "sleeper")
    assert again.pid == process.pid == pid
    assert before <= again.started_at <= time.time()


def test_it_is_in_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(process: Process) -> None:
    assert os.getsid(process.start(SLEEPS)) != os.getsid(0)


def test_stop_ends_it_and_forgets_it(process: Process) -> None:
    pid = process.start(SLEEPS)
    assert process.stop()
    assert find(pid) is None
    assert process.noted() is None
    assert process.pid is None
    assert not process.stop(), "a second stop is harmless"


def test_stop_sends_the_signal_that_it_was_started_with(process: Process) -> None:
    script = "import signal, sys, time; signal.signal(2, lambda *_: print('interrupted')); print('ready', flush=True)"
    process.start([sys.executable, "-c", script + "; time.sleep(60)"], stop=signal.SIGINT)
    assert said(process) == "ready"
    process.stop(0.5)
    assert "interrupted" in process.log.read_text(encoding="utf-8")


def test_one_that_ignores_term_is_killed(process: Process) -> None:
    pid = process.start([sys.executable, "-c", STUBBORN])
    assert said(process) == "ready"
    started = time.monotonic()
    process.stop(0.3)
    assert find(pid) is None
    assert time.monotonic() - started < 5


def test_one_that_was_stopped_by_a_signal_can_be_ended(process: Process) -> None:
    pid = process.start(SLEEPS)
    process.kill(signal.SIGSTOP)
    process.stop(5.0)
    assert find(pid) is None


def test_children_end_too_even_in_sessions_of_their_own(process: Process) -> None:
    process.start([sys.executable, "-c", PARENT])
    children = [int(word) for word in said(process).split()]
    assert all(find(child) for child in children)
    process.stop()
    assert not any(find(child) for child in children)


def test_children_that_outlived_their_parent_end_too(process: Process) -> None:
    process.start([sys.executable, "-c", PARENT])
    child, apart = (int(word) for word in said(process).split())
    process.kill(signal.SIGKILL)
    assert wait_until(lambda: process.pid is None, 5)
    assert find(child)
    assert process.stop()
    assert find(child) is None
    os.kill(apart, signal.SIGKILL)  # out of its session and without its parent: no longer to be told from a stranger


def test_a_stranger_with_the_same_id_is_left_alone(process: Process) -> None:
    stranger = subprocess.Popen(SLEEPS, start_new_session=True)
    try:
        note = {"pid": stranger.pid, "started": "1", "time": 0.0, "stop": int(signal.SIGTERM)}
        process.pid_file.parent.mkdir(parents=True)
        process.pid_file.write_text(json.dumps(note), encoding="utf-8")
        assert process.pid is None
        assert process.family() == []
        assert not process.stop()
        assert stranger.poll() is None
        assert not process.pid_file.exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_kill_of_one_that_does_not_run_is_an_error(process: Process) -> None:
    with pytest.raises(StackError, match="sleeper: does not run, so it cannot get SIGSTOP"):
        process.kill(signal.SIGSTOP)


def test_a_command_that_does_not_exist_is_an_error(process: Process) -> None:
    with pytest.raises(StackError, match="sleeper: cannot start /no/such: No such file"):
        process.start(["/no/such"])


def test_a_torn_pid_file_counts_as_none(process: Process) -> None:
    process.pid_file.parent.mkdir(parents=True)
    process.pid_file.write_text('{"pid": 1', encoding="utf-8")
    assert process.pid is None
    assert process.started_at == 0.0


def test_the_last_words_are_the_end_of_the_log(process: Process) -> None:
    assert process.last_words() == ""
    process.start([sys.executable, "-c", "print('a'); print('b'); print('c')"])
    assert wait_until(lambda: process.pid is None, 10)
    assert process.last_words(2) == "b | c"


def test_the_table_has_ourselves() -> None:
    mine = {known.pid: known for known in processes()}[os.getpid()]
    assert (mine.parent, mine.group) == (os.getppid(), os.getpgrp())
