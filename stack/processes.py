"""Processes that outlive their starter: started in a session of their own, noted in a file, ended exactly.

A process is known by its id *and* its start time: an id alone may have gone to a stranger since.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from stack.errors import StackError

TERM_SECONDS = 10.0
"""How long a process may take to end after TERM before it is killed."""

_started: dict[int, subprocess.Popen[bytes]] = {}
"""Children of this very process, kept to be reaped: nobody else would."""


class Known(NamedTuple):
    """One line of the process table."""

    pid: int
    parent: int
    group: int
    started: str
    """When, in a form that only equality is asked of."""


def processes() -> Iterator[Known]:
    """All running processes; zombies, which run no more, are left out."""
    if Path("/proc/self/stat").exists():
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (known := _from_proc(int(entry))):
                yield known
        return
    table = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,stat=,lstart="], capture_output=True, text=True, check=True)
    for line in table.stdout.splitlines():
        pid, parent, group, state, started = line.split(None, 4)
        if not state.startswith("Z"):
            yield Known(int(pid), int(parent), int(group), started)


def _from_proc(pid: int) -> Known | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # "pid (command, which may hold blanks and brackets) state ppid pgrp ...": the start time is the 22nd field.
    rest = text[text.rindex(")") + 2 :].split()
    if rest[0] in "ZX":
        # The first thread of a killed JVM is a zombie while the others still hold ports and files.
        try:
            if len(os.listdir(f"/proc/{pid}/task")) < 2:
                return None
        except OSError:
            return None
    return Known(pid, int(rest[1]), int(rest[2]), rest[19])


def find(pid: int) -> Known | None:
    """The running process of this id."""
    if (child := _started.get(pid)) and child.poll() is not None:
        del _started[pid]
    if Path("/proc/self/stat").exists():
        return _from_proc(pid)
    return next((known for known in processes() if known.pid == pid), None)


class Process:
    """One process of the stack: `<folder>/run/<name>.pid` notes it, `<folder>/logs/<name>.log` has what it says."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.pid_file = folder / "run" / f"{name}.pid"
        self.log = folder / "logs" / f"{name}.log"

    def noted(self) -> dict | None:
        """What the pid file says: pid, started (as `Known`), time (of the wall clock, s), stop (signal)."""
        try:
            return json.loads(self.pid_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @property
    def pid(self) -> int | None:
        """The id of the process while it runs."""
        noted = self.noted()
        known = noted and find(noted["pid"])
        return known.pid if noted and known and known.started == noted["started"] else None

    @property
    def started_at(self) -> float:
        """When it was started, seconds of the wall clock; 0 when it never was."""
        return (self.noted() or {"time": 0.0})["time"]

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> int:
        """Starts it in the background and notes it; `stop` is the signal that ends it in good order."""
        for path in (self.pid_file, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        now = time.time()
        try:
            with self.log.open("ab") as log:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={**os.environ, **(environment or {})},
                )
        except OSError as error:
            raise StackError(f"{self.name}: cannot start {command[0]}: {error.strerror}") from error
        _started[child.pid] = child
        known = find(child.pid)
        if known is None:
            raise StackError(f"{self.name}: ended at once: see {self.log}")
        note = {"pid": child.pid, "started": known.started, "time": now, "stop": int(stop)}
        partial = self.pid_file.with_suffix(".partial")
        partial.write_text(json.dumps(note), encoding="utf-8")
        partial.replace(self.pid_file)
        return child.pid

    def family(self) -> list[Known]:
        """The process and what it started: its session's group and all descendants. Also when it is itself dead."""
        noted = self.noted()
        if noted is None:
            return []
        leader = find(noted["pid"])
        if leader and leader.started != noted["started"]:
            return []  # the id belongs to somebody else: no group of that number can be ours
        table = list(processes())
        family = {known.pid: known for known in table if known.pid == noted["pid"] or known.group == noted["pid"]}
        grown = True
        while grown:
            more = {known.pid: known for known in table if known.parent in family and known.pid not in family}
            family |= more
            grown = bool(more)
        return list(family.values())

    def kill(self, number: signal.Signals) -> None:
        """One signal to the process itself, which must run."""
        pid = self.pid
        if pid is None:
            raise StackError(f"{self.name}: does not run, so it cannot get {signal.Signals(number).name}")
        os.kill(pid, number)

    def stop(self, seconds: float = TERM_SECONDS) -> bool:
        """Ends it and its children in good order, after `seconds` by force; False when nothing was running."""
        family = self.family()
        noted = self.noted()
        if noted and self.pid:
            os.kill(noted["pid"], signal.SIGCONT)  # one that was stopped could not obey
            os.kill(noted["pid"], noted["stop"])
            wait_for_end([known for known in family if known.pid == noted["pid"]], seconds)
        left = [known for known in family if _runs(known)]
        for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            for known in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(known.pid, number)
            left = wait_for_end(left, patience)
        if left:
            raise StackError(f"{self.name}: processes {[known.pid for known in left]} survived KILL")
        self.pid_file.unlink(missing_ok=True)
        return bool(family)

    def last_words(self, lines: int = 3) -> str:
        """The end of the log, on one line."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return " | ".join(line.strip() for line in text.splitlines()[-lines:])


def _runs(known: Known) -> bool:
    now = find(known.pid)
    return now is not None and now.started == known.started


def wait_for_end(family: Sequence[Known], seconds: float) -> list[Known]:
    """Waits until all have ended; those that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    left = [known for known in family if _runs(known)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [known for known in left if _runs(known)]
    return left
