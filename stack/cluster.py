"""The whole stack in one folder: which services there are, up, down, kill, restart."""

import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.errors import StackError
from stack.flink import JobManager, JobServer, Rest, TaskManager
from stack.kafka import Kafka
from stack.ports import MOST, Ports
from stack.postgres import Postgres
from stack.processes import Process
from stack.services import HOST, Service, accepts

TITLE = "beam-worker"
"""The name of a worker of a pool in the process table."""

KINDS = ("kafka", "flink", "jobserver", "postgres")
"""What `--only` chooses from; flink is the JobManager with its TaskManagers."""


@dataclass(frozen=True)
class Shape:
    """What a stack consists of. `stock`: with Beam's own checkpoint handlers (the control of the soak test)."""

    taskmanagers: int = 1
    slots: int = 4
    workers: int = 0
    only: tuple[str, ...] = KINDS
    stock: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.taskmanagers <= MOST:
            raise StackError(f"--taskmanagers {self.taskmanagers}: 1 to {MOST}")
        if not 0 <= self.workers <= MOST:
            raise StackError(f"--workers {self.workers}: 0 to {MOST}")
        if self.slots < 1:
            raise StackError(f"--slots {self.slots}: at least 1")
        if unknown := [kind for kind in self.only if kind not in KINDS]:
            raise StackError(f"--only {','.join(self.only)}: {unknown[0]} is none of {', '.join(KINDS)}")


class WorkerPool(Service):
    """A pool of Python workers (`stack.worker_pool`): jobs name it in --environment_config."""

    def __init__(self, folder: Path, number: int, port: int) -> None:
        super().__init__(folder, f"workers-{number}", port)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "stack.worker_pool", f"--port={self.port}"]

    def environment(self) -> dict[str, str]:
        # Workers inherit it: the checkout's modules, and this environment's python before any other.
        root = str(Path(__file__).resolve().parent.parent)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        modules = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return {"PATH": path, "PYTHONPATH": modules, "PYTHONSAFEPATH": "1"}

    def workers(self) -> list[int]:
        """The processes of the running workers, the oldest first: what to kill when a worker is to die."""
        found = [known for known in self.process.family() if title(known.pid) == TITLE]
        return [known.pid for known in sorted(found, key=lambda known: int(known.started))]

    def ill(self) -> str:
        return "" if accepts(self.port) else f"nothing accepts on port {self.port}"


def title(pid: int) -> str:
    """What a process calls itself; empty when it is gone, or where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


class Stack:
    """Kafka, Flink, Beam's job server, PostgreSQL and worker pools, all files below `folder`.

    `base_port` may also be the ports themselves; None takes them from the environment. Nothing runs until `up()`; as a
    context manager it is `up()` and `down()`.
    """

    def __init__(
        self,
        folder: Path | str,
        base_port: int | Ports | None = None,
        taskmanagers: int = 1,
        slots: int = 4,
        workers: int = 0,
        only: Sequence[str] = KINDS,
        stock: bool = False,
    ) -> None:
        self.folder = Path(folder).absolute()
        if base_port is None:
            self.ports = Ports.from_environment()
        else:
            self.ports = base_port if isinstance(base_port, Ports) else Ports.of(base_port)
        self.shape = Shape(taskmanagers, slots, workers, tuple(only), stock)
        self.rest = Rest(self.ports.rest)
        self.services = {service.name: service for service in self._services()}

    def _services(self) -> Iterator[Service]:
        folder, ports, shape = self.folder, self.ports, self.shape
        if "postgres" in shape.only:
            yield Postgres(folder, ports.postgres)
        if "kafka" in shape.only:
            yield Kafka(folder, ports.kafka, ports.kafka_controller)
        if "flink" in shape.only:
            yield JobManager(folder, "jobmanager", ports.rest, ports, shape.slots, shape.stock)
            for number in range(1, shape.taskmanagers + 1):
                yield TaskManager(folder, number, ports, shape.slots, shape.stock)
        if "jobserver" in shape.only:
            yield JobServer(folder, "jobserver", ports.jobserver, ports, shape.slots, shape.stock)
        for number in range(1, shape.workers + 1):
            yield WorkerPool(folder, number, ports.workers + number - 1)

    @property
    def bootstrap(self) -> str:
        """Kafka's bootstrap.servers."""
        return f"{HOST}:{self.ports.kafka}"

    @property
    def job_endpoint(self) -> str:
        """Beam's --job_endpoint."""
        return f"{HOST}:{self.ports.jobserver}"

    def worker_endpoint(self, number: int = 1) -> str:
        """Beam's --environment_config for --environment_type=EXTERNAL."""
        return f"{HOST}:{self.ports.workers + number - 1}"

    def up(self) -> list[str]:
        """Starts what does not run and waits until all is healthy; the names of what was started.

        What this call started is ended again when something does not become healthy.
        """
        with self._lock():
            self._remember()
            started = []
            try:
                for service in self.services.values():
                    if service.start():
                        started.append(service.name)
                for service in self.services.values():
                    service.wait()
            except BaseException:
                for name in reversed(started):
                    self.services[name].process.stop()
                raise
            return started

    def down(self) -> list[str]:
        """Ends everything that runs in this folder, whatever shape this object has; the names of what ended."""
        with self._lock():
            ended = [process.name for process in reversed(noted(self.folder)) if process.stop()]
            (self.folder / "stack.json").unlink(missing_ok=True)
            return ended

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """One signal to one service (not to what it started): SIGKILL, SIGSTOP, SIGCONT."""
        self.service(name).process.kill(number)

    def restart(self, name: str) -> None:
        """Ends one service if it runs, starts it and waits until it is healthy."""
        service = self.service(name)
        service.process.stop()
        service.start()
        service.wait()

    def service(self, name: str) -> Service:
        """The service of that name."""
        try:
            return self.services[name]
        except KeyError:
            raise StackError(f"{name}: no such service: there are {', '.join(self.services)}") from None

    def worker_pool(self, number: int = 1) -> WorkerPool:
        """One of the pools of Python workers."""
        service = self.service(f"workers-{number}")
        assert isinstance(service, WorkerPool)
        return service

    def status(self) -> list[tuple[str, int | None, int, str]]:
        """Of each service its name, pid (None when it does not run), port, and "healthy" or what it lacks."""
        rows = []
        for service in self.services.values():
            pid = service.process.pid
            health = (service.ill() or "healthy") if pid else "not running"
            rows.append((service.name, pid, service.port, health))
        return rows

    def __enter__(self) -> "Stack":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise StackError(f"{self.folder}: {error.strerror}: name a folder in BEAM_ON_RAILS_STACK") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remember(self) -> None:
        """Notes ports and shape beside the processes; refuses a folder in which a stack runs on other ports."""
        running = remembered(self.folder)
        mine = {"ports": asdict(self.ports), "slots": self.shape.slots, "stock": self.shape.stock}
        if running and any(process.pid for process in noted(self.folder)):
            for key, value in mine.items():
                if running[key] != value:
                    raise StackError(f"{self.folder}: a stack runs there with other {key}: end it first (stack down)")
            running["taskmanagers"] = max(running["taskmanagers"], self.shape.taskmanagers)
            running["workers"] = max(running["workers"], self.shape.workers)
            running["only"] = [kind for kind in KINDS if kind in {*running["only"], *self.shape.only}]
            mine = running
        else:
            mine |= {"taskmanagers": self.shape.taskmanagers, "workers": self.shape.workers, "only": self.shape.only}
        partial = self.folder / "stack.json.partial"
        partial.write_text(json.dumps(mine), encoding="utf-8")
        partial.replace(self.folder / "stack.json")


def remembered(folder: Path) -> dict | None:
    """What the last `up` in this folder noted."""
    try:
        return json.loads((folder / "stack.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def noted(folder: Path) -> list[Process]:
    """Every process that has a pid file in this folder, the oldest first."""
    found = [Process(folder, path.stem) for path in (folder / "run").glob("*.pid")]
    return sorted(found, key=lambda process: process.started_at)


def running(folder: Path) -> Stack | None:
    """The stack as it was brought up in this folder; None when there is none."""
    found = remembered(folder)
    if found is None:
        return None
    shape = (found["taskmanagers"], found["slots"], found["workers"], found["only"], found["stock"])
    return Stack(folder, Ports(**found["ports"]), *shape)
