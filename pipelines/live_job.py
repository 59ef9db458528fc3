"""The live job as `live` runs it: a process of its own, on the local stack, and its end."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.common import UsageError
from pipelines.live_options import broker_flags, with_defaults
from stack import artifacts
from stack.cli import folder
from stack.cluster import KINDS, Stack, running

_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_S = 10.0  # for the launcher to end by itself
_KINDS = ("kafka", "flink", "jobserver")


def local_stack(engine: str, lanes: int) -> Stack:
    """The stack of this machine, with what this engine needs; not started yet. One that runs keeps its shape."""
    only = _KINDS if engine.startswith("Flink") else _KINDS[:1]
    found = running(folder())
    if found is None:
        return Stack(folder(), workers=1 if len(only) > 1 else 0, only=only, slots=max(4, lanes))
    shape = found.shape
    both = [kind for kind in KINDS if kind in {*shape.only, *only}]
    return Stack(folder(), found.ports, shape.taskmanagers, shape.slots, max(1, shape.workers), both, shape.stock)


@dataclass(frozen=True)
class Launching:
    """Where and how a live job is launched: its broker, the lanes of each stage, the operating point, and the engine that runs it."""

    bootstrap: str = ""
    kafka_config: str = ""
    lanes: int = 1
    point: str = "latency"
    engine: str = "FlinkRunner"


class LiveJob:
    """One launch of a live job, of `payments_live` if no other module is named."""

    def __init__(
        self, stack: Stack | None, how: Launching, module: str = "pipelines.payments_live", *flags: str
    ) -> None:
        self.name = f"payments-live-{int(time.time() * 1000)}"
        self.stack = stack
        place = (stack.folder if stack else folder()) / "live"
        place.mkdir(parents=True, exist_ok=True)
        self.log = place / f"{self.name}.log"
        command = [sys.executable, "-m", module, *job_flags(stack, how, self.name, place), *flags]
        paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: the job goes on until it is drained
                env={**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"},
            )

    def found(self) -> dict[str, Any] | None:
        """Flink's entry of the job."""
        return self.stack.rest.job(self.name) if self.stack else None

    def check(self) -> None:
        """UsageError when the launcher has ended."""
        status = self._process.poll()
        if status is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() or ["no word"]
            raise UsageError(f"the job ended ({status}): {lines[-1]}: see {self.log}")

    def close(self) -> None:
        """Cancels the job: no savepoint, for what it needs stands in snapshots and on the log (docs/operations.md)."""
        if self.stack:
            self.stack.rest.end(self.name)
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def job_flags(stack: Stack | None, how: Launching, name: str, place: Path) -> list[str]:
    """The flags of a live job that is launched so; the place of snapshots stays the same from launch to launch."""
    flags = [
        *broker_flags(how),
        f"--snapshots={place / 'snapshots'}",
        f"--lanes={how.lanes}",
        f"--point={how.point}",
    ]
    flags += [f"--job_name={name}", "--snapshot_s=10"]  # a run is short, and the next one begins at its snapshots
    if how.engine == "PrismRunner":
        return [*flags, "--runner=PrismRunner", f"--prism_location={artifacts.prism()}", "--streaming"]
    if how.engine == "DirectRunner":
        return [*flags, "--runner=DirectRunner", "--streaming"]
    return with_defaults(flags, stack.ports) if stack else flags
