"""A real Flink cluster and Beam's job server, all from one jar."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from stack import artifacts, tools
from stack.ports import Ports
from stack.services import HOST, Service, accepts, wait_until

JOBMANAGER_HEAP = "600m"
TASKMANAGER_HEAP = "800m"
JOBSERVER_HEAP = "400m"

ENDED = ("CANCELED", "FAILED", "FINISHED")
"""States of a job that does not run any more."""

OPENED = (
    *("java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.text", "java.time", "java.util"),
    *("java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch"),
)
"""Packages of the JDK that Flink's and Beam's serializers reach into."""

SETTINGS = {
    # kill -9 of a TaskManager: its connection breaks, the next two heartbeats (0.5 s apart) fail, its tasks restart
    # 1 s later. One that is stopped or cut off says nothing: it is given up after 5 s. Longer than any pause of the
    # collector at these heaps, on two busy cores; the defaults are 10 s and 50 s.
    "heartbeat.interval": "500",
    "heartbeat.timeout": "5000",
    "heartbeat.rpc-failure-threshold": "2",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "2147483647",  # the breaker is the launcher's: it cancels the job
    "restart-strategy.fixed-delay.delay": "1 s",
    # A slot promised to a job that died meanwhile is free again after this; it bounds how long a restart waits.
    "taskmanager.slot.timeout": "5 s",
    "slot.request.timeout": "300000",
    # Blocked in a Python worker that hangs, a task cannot be cancelled: then the process ends, its slots with it.
    "task.cancellation.interval": "5000",
    "task.cancellation.timeout": "20000",
    "taskmanager.load-balance.mode": "SLOTS",  # spread a job over the TaskManagers instead of filling the first
    # Where a job server uploads its own jar with each job (ours does not), Beam's classes would be loaded anew by each
    # job, and the metaspace would fill up; parent first, they are the cluster's own.
    "classloader.resolve-order": "parent-first",
    "classloader.check-leaked-classloader": "false",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "state.backend.type": "hashmap",
    "state.checkpoint-storage": "filesystem",
    "state.checkpoints.num-retained": "2",
    "parallelism.default": "1",
    "rest.flamegraph.enabled": "true",
    "web.refresh-interval": "500",  # how old an answer of REST may be; 3 s hide what tests wait for
    "web.checkpoints.history": "100",
    "web.submit.enable": "false",  # jobs come from the job server; no jar from a web page
    "taskmanager.memory.task.heap.size": "672m",
    "taskmanager.memory.framework.heap.size": "128m",  # with the tasks': the 800 MB of -Xmx
    "taskmanager.memory.task.off-heap.size": "256m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
    "taskmanager.cpu.cores": "2",
    "jobmanager.memory.process.size": "1200m",
}
"""What does not depend on folder and ports."""


def configuration(folder: Path, ports: Ports, slots: int) -> str:
    """The text of config.yaml, one `key: value` per line, for JobManager and TaskManagers alike."""
    storage = (folder / "flink").as_uri()
    settings = {
        **SETTINGS,
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": ports.jobmanager,
        "jobmanager.bind-host": HOST,
        "blob.server.port": ports.blob,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": ports.rest,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.numberOfTaskSlots": slots,
        "state.checkpoints.dir": f"{storage}/checkpoints",
        "state.savepoints.dir": f"{storage}/savepoints",
        "io.tmp.dirs": folder / "flink" / "tmp",
    }
    return "".join(f"{key}: {json.dumps(str(value))}\n" for key, value in settings.items())


class FlinkService(Service):
    """What JobManager, TaskManagers and job server have in common: the jar, and the folder of their files."""

    heap: str
    main: str

    def __init__(self, folder: Path, name: str, port: int, ports: Ports, slots: int, stock: bool = False) -> None:
        super().__init__(folder, name, port)
        self.ports = ports
        self.slots = slots
        self.stock = stock
        self.home = folder / "flink"
        self.rest = Rest(ports.rest)

    def prepare(self) -> None:
        for name in ("conf", "checkpoints", "savepoints", f"tmp/{self.name}"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        text = configuration(self.folder, self.ports, self.slots)
        partial = self.home / "conf" / f"config.yaml.{self.name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.home / "conf" / "config.yaml")

    def command(self) -> list[str]:
        return [
            tools.java(),
            f"-Xmx{self.heap}",
            "-Xms64m",
            *tools.jvm(),
            "-XX:MaxMetaspaceSize=256m",
            "-XX:MaxDirectMemorySize=512m",
            f"-Djava.io.tmpdir={self.home}/tmp/{self.name}",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
            *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
            "-cp",
            str(artifacts.flink_jar(self.stock)),
            self.main,
            *self.arguments(),
        ]

    def arguments(self) -> list[str]:
        """What follows the main class."""
        return ["--configDir", str(self.home / "conf")]


class JobManager(FlinkService):
    heap = JOBMANAGER_HEAP
    main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"

    def arguments(self) -> list[str]:
        metrics = f"-Dmetrics.internal.query-service.port={self.ports.jobmanager_metrics}"
        return [*super().arguments(), metrics]

    def listens_on(self) -> list[int]:
        return [self.ports.rest, self.ports.jobmanager, self.ports.blob, self.ports.jobmanager_metrics]

    def ill(self) -> str:
        return "" if self.rest.get("/overview") else "no answer from REST"


class TaskManager(FlinkService):
    heap = TASKMANAGER_HEAP
    main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"

    def __init__(self, folder: Path, number: int, ports: Ports, slots: int, stock: bool = False) -> None:
        super().__init__(folder, f"taskmanager-{number}", ports.taskmanager + number - 1, ports, slots, stock)
        self.data_port = ports.taskmanager_data + number - 1
        self.metrics_port = ports.taskmanager_metrics + number - 1

    def listens_on(self) -> list[int]:
        return [self.port, self.data_port, self.metrics_port]

    def arguments(self) -> list[str]:
        return [
            *super().arguments(),
            f"-Dtaskmanager.rpc.port={self.port}",
            f"-Dtaskmanager.data.port={self.data_port}",
            f"-Dmetrics.internal.query-service.port={self.metrics_port}",
            f"-Dtaskmanager.resource-id={self.name}",
        ]

    def ill(self) -> str:
        known = {each["id"]: each for each in (self.rest.get("/taskmanagers") or {}).get("taskmanagers", [])}
        found = known.get(self.name)
        # "timeSinceLastHeartbeat" is the time *of* the last heartbeat: an older one is that of its predecessor.
        if found is None or found["timeSinceLastHeartbeat"] / 1000 < self.process.started_at:
            return "not registered at the JobManager"
        return "" if found["slotsNumber"] == self.slots else f"{found['slotsNumber']} slots, not {self.slots}"


class JobServer(FlinkService):
    heap = JOBSERVER_HEAP
    main = "org.apache.beam.runners.flink.LocalJobServer"

    def listens_on(self) -> list[int]:
        return [self.ports.jobserver, self.ports.artifacts]

    def arguments(self) -> list[str]:
        return [
            *("--flink-master", f"http://{HOST}:{self.ports.rest}"),
            *("--flink-conf-dir", str(self.home / "conf")),
            *("--job-host", HOST),
            *("--job-port", str(self.ports.jobserver)),
            *("--artifact-port", str(self.ports.artifacts)),
            *("--expansion-port", "-1"),  # no cross-language transforms: one open port less
            *("--artifacts-dir", str(self.home / "artifacts")),
        ]

    def ill(self) -> str:
        closed = [port for port in self.listens_on() if not accepts(port)]
        return f"nothing accepts on port {closed[0]}" if closed else ""


class Rest:
    """Flink's REST interface, as far as we need it."""

    def __init__(self, port: int) -> None:
        self.base = f"http://{HOST}:{port}"

    def get(self, path: str, method: str = "GET", body: dict | None = None) -> Any:
        """The decoded answer; None when there is none or it is an error."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10.0) as answer:
                return json.loads(answer.read() or b"{}")
        except (OSError, ValueError):
            return None

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs that the JobManager knows: jid, name, state, start-time."""
        return (self.get("/jobs/overview") or {}).get("jobs", [])

    def job(self, name: str) -> dict[str, Any] | None:
        """The newest job of that name."""
        found = [job for job in self.jobs() if job["name"] == name]
        return max(found, key=lambda job: job["start-time"], default=None)

    def cancel(self, job_id: str) -> None:
        """Asks for the end of a job."""
        self.get(f"/jobs/{job_id}?mode=cancel", method="PATCH")

    def end(self, name: str, seconds: float = 30) -> None:
        """Cancels the newest job of that name, if it runs, and waits until it has ended."""
        job = self.job(name)
        if job and job["state"] not in ENDED:
            self.cancel(job["jid"])
            wait_until(lambda: (self.job(name) or {"state": ENDED[0]})["state"] in ENDED, seconds)

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """Counts and the newest checkpoints of a job."""
        return self.get(f"/jobs/{job_id}/checkpoints") or {}

    def checkpoint_bytes(self, job_id: str) -> int:
        """The size of the job's newest completed checkpoint; 0 for none yet."""
        newest = (self.checkpoints(job_id).get("latest") or {}).get("completed")
        return newest["state_size"] if newest else 0
