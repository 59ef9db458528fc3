"""Launching `stack.poll_job` on a stack and following it; what `launches` and `soak` have in common."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stack.cluster import Stack
from stack.errors import StackError
from stack.services import wait_until


class Track(NamedTuple):
    """One split at the end of the job: when it was last seen (s), its last position, how many positions are missing."""

    seen: float
    last: int
    lost: int


class LiveJob:
    """One launch, in a process of its own as a user would start it. A context manager: leaving it ends the job."""

    def __init__(self, stack: Stack, name: str, flags: Sequence[str]) -> None:
        self.stack = stack
        self.name = name
        folder = stack.folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        self.mark = folder / f"{name}.mark"
        self.mark.unlink(missing_ok=True)
        self.log = folder / f"{name}.log"
        target = [f"--job_endpoint={stack.job_endpoint}", f"--job_name={name}", f"--mark={self.mark}"]
        self._command = [sys.executable, "-m", "stack", "poll", *target, *flags]
        self._launcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LiveJob":
        root = str(Path(__file__).resolve().parent.parent)
        with self.log.open("wb") as log:
            self._launcher = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": root, "PYTHONSAFEPATH": "1"},
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.rest.end(self.name)
        if self._launcher:
            self._launcher.kill()
            self._launcher.wait()

    def found(self) -> dict[str, Any] | None:
        """Flink's entry of the job: jid, state, start-time."""
        return self.stack.rest.job(self.name)

    def _lines(self) -> list[list[str]]:
        try:
            text = self.mark.read_text(encoding="utf-8")
        except OSError:
            return []
        return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]

    def marks(self) -> list[float]:
        """The times (s) at which elements arrived at the end of the job, one per bundle."""
        return [float(line[0]) for line in self._lines()]

    def tracks(self) -> dict[str, "Track"]:
        """What arrived, by "lane.split". Exact when one subtask marks (--parallelism=1)."""
        found: dict[str, Track] = {}
        for at, *ranges in self._lines():
            for text in ranges:
                name, bounds = text.split(":")
                low, high = map(int, bounds.split("-"))
                before = found.get(name, Track(0.0, -1, 0))
                lost = max(0, low - before.last - 1)
                found[name] = Track(float(at), max(before.last, high), before.lost + lost)
        return found

    def wait_for_elements(self, count: int, seconds: float) -> bool:
        """Waits until `count` marks are there; an error when the launcher ended."""

        def arrived() -> bool:
            if self._launcher and self._launcher.poll() is not None:
                raise StackError(f"{self.name}: the launcher ended with {self._launcher.returncode}: see {self.log}")
            return len(self.marks()) >= count

        return wait_until(arrived, seconds)

    def checkpoints(self) -> dict[int, int]:
        """Sizes (bytes) of the newest completed checkpoints, by number."""
        job = self.found()
        history = self.stack.rest.checkpoints(job["jid"]).get("history", []) if job else []
        return {each["id"]: each["state_size"] for each in history if each["status"] == "COMPLETED"}

    def counts(self) -> dict[str, int]:
        """How many checkpoints were completed, failed and are in progress."""
        job = self.found()
        return self.stack.rest.checkpoints(job["jid"]).get("counts", {}) if job else {}


def stamp() -> str:
    """Something that tells job names of one run from those of another."""
    return f"{int(time.time() * 1000) % 10**9:09d}"
