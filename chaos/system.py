"""A payment system of its own for a chaos run: stack, topics, job through the proxy, ticker, load, and whether all of it is fresh.

The broker asks for a password and TLS; clients come through the proxy and find themselves sent there again by its metadata. Snapshots and
checkpoints lie on small file systems in memory where we may mount some, so that they can be full.
"""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from chaos import market
from chaos.canaries import SECRET, card_number
from chaos.clock import Clock
from chaos.load import Load
from chaos.market import Market
from chaos.proxy import HOST, Proxy
from chaos.usual_sink import USUAL
from payments.live_stages import KINDS
from pipelines.auction_stages import TICKED as OF_AUCTIONS
from pipelines.common import UsageError
from pipelines.live_job import Launching, LiveJob
from pipelines.live_watch import Watch
from pipelines.payments_ticker import TICKED, run_ticker
from pipelines.topics import ALL, METRICS, PLATFORM, make_topics
from schemas.rails import Record
from stack.cluster import Stack
from stack.errors import StackError
from stack.kafka import Kafka, Sasl
from stack.services import wait_until
from stack.tls import Files
from transforms.fold import ContractError, Topic
from transforms.kafka_settings import KafkaSettings, kafka_settings
from transforms.kafka_topics import KafkaTopics

DISK_MB = 64
FRESH_S = 300.0
_PROXY, _SECURE = 11, 12  # ports, from the base of the stack
_LATEST_S = 1.5  # a confirmation that is older than that is none of now


class ProxiedKafka(Kafka):
    """The broker; whoever comes to its secure listener is told to come to `advertised`."""

    def __init__(self, kafka: Kafka, port: int, advertised: int, secret: str, clock: Clock | None) -> None:
        super().__init__(kafka.folder, kafka.port, kafka.controller_port, Sasl(port, {"rails": secret}))
        self.advertised, self.clock = advertised, clock

    def environment(self) -> dict[str, str]:
        return super().environment() | (self.clock.environment() if self.clock else {})

    def properties(self) -> str:
        assert self.sasl is not None
        lines = super().properties().splitlines(keepends=True)
        there, here = f"SECURE://{HOST}:{self.sasl.port}", f"SECURE://{HOST}:{self.advertised}"
        return "".join(
            line.replace(there, here) if line.startswith("advertised.listeners=") else line for line in lines
        )


class FreshWatch(Watch):
    """Also knows when the newest confirmation was appended (ms), and how many snapshots found no room."""

    confirmed_at = unsaved = 0

    def _take(self, topic: Topic, partition: int, records: Sequence[Record]) -> None:
        super()._take(topic, partition, records)
        if topic.name == METRICS.name:
            self.unsaved += sum(json.loads(record.value or b"")["unsaved"] for record in records)

    def _book(self, record: Record) -> None:
        before = self.books.confirmed
        super()._book(record)
        if self.books.confirmed > before:
            self.confirmed_at = record.at


class Disk:
    """A folder that can be full: a file system of its own in memory where we may mount one, else made unwritable."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tmpfs", str(place)]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0

    def fill(self) -> None:
        if not self.mounted:
            self._modes(0o555)
            return
        with contextlib.suppress(OSError), (self.place / ".ballast").open("ab", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    def free(self) -> None:
        if not self.mounted:
            self._modes(0o755)
        (self.place / ".ballast").unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.place)], capture_output=True)
            self.mounted = False

    def _modes(self, mode: int) -> None:
        for path in [self.place, *self.place.rglob("*")]:
            if path.is_dir():
                path.chmod(mode)


class System:
    """`base`: of the ports. A context manager: everything is up inside, and down again afterwards; the logs stay in `folder`."""

    def __init__(
        self,
        folder: Path,
        base: int,
        rate: int,
        lanes: int,
        seed: int,
        tell: Callable[[str], None],
        accounts: int = 120,
        auctions: bool = False,
        own_clock: bool = False,
    ) -> None:
        """`auctions`: their stages run in the same job, and there is a market beside the payments. `own_clock`: the broker has one that can
        be moved."""
        self.folder, self.rate, self.lanes, self.tell = folder, rate, lanes, tell
        self.stack = Stack(folder, base, taskmanagers=2, slots=4, workers=1, only=("kafka", "flink", "jobserver"))
        self.secret, self.card = f"Secret{time.time_ns():x}Canary", card_number(Random(time.time_ns()))
        plain = self.stack.services["kafka"]
        assert isinstance(plain, Kafka)
        self.clock = Clock(folder) if own_clock else None
        self.stack.services["kafka"] = ProxiedKafka(plain, base + _SECURE, base + _PROXY, self.secret, self.clock)
        self.proxy = Proxy(base + _PROXY, base + _SECURE)
        self.direct: KafkaSettings = kafka_settings(self.stack.bootstrap, environment={})
        self.violations: list[str] = []
        self.began = 0.0
        self._seed, self._accounts = seed, accounts
        self.market = Market(self.direct, seed) if auctions else None
        self._job = ("pipelines.auctions_live", *market.FLAGS) if auctions else ("pipelines.payments_live",)
        self._how = Launching(f"{HOST}:{base + _PROXY}", lanes=lanes)

    def __enter__(self) -> "System":
        with contextlib.ExitStack() as closing:
            self.stack.down()  # of a run that was killed
            self._unmount()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            os.environ[SECRET] = self.secret  # workers resolve the reference
            closing.callback(os.environ.pop, SECRET)
            self.disks = [Disk(self.snapshots), Disk(self.checkpoints)]
            for disk in self.disks:
                closing.callback(disk.close)
            closing.callback(self.stack.down)
            self.stack.up()
            closing.enter_context(self.proxy)
            self._prepare()
            self.watch = FreshWatch(self.direct)
            closing.callback(lambda: self.watch.close())
            self.ticker = Ticker(self.direct, self.tell, (*TICKED, *OF_AUCTIONS) if self.market else TICKED)
            closing.callback(self.ticker.stop)
            self.load = Load(self.direct, self.rate, self._accounts, self._seed)
            closing.callback(self.load.pause)
            if self.market:
                closing.callback(self.market.close)
            self.job = self._start()
            closing.callback(lambda: self.job.close())
            self.control = self._start("chaos.usual_sink", 1)
            closing.callback(lambda: self.control.close())
            self._closing = closing.pop_all()
        return self

    def begin(self) -> None:
        """Returns when the job is at its full rate for the first time; the load begins."""
        since = int(time.time() * 1000)
        self.load.start()
        if not self.wait_fresh(since, 2 * FRESH_S):
            raise UsageError(f"the job did not start: {self.violations[-1]}: see {self.job.log}")
        if not wait_until(self._control_runs, FRESH_S):
            raise UsageError(f"the control job did not start: see {self.control.log}")
        if self.market:
            self.market.start()
        self.began = time.monotonic()

    def _control_runs(self) -> bool:
        self.control.check()
        return (self.control.found() or {"state": ""})["state"] == "RUNNING"

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def snapshots(self) -> Path:
        return self.folder / "live" / "snapshots"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "flink" / "checkpoints"

    def _unmount(self) -> None:
        for place in (self.snapshots, self.checkpoints):
            while (
                place.is_mount() and subprocess.run(["umount", "-l", str(place)], capture_output=True).returncode == 0
            ):
                pass

    def _prepare(self) -> None:
        files = Files(self.stack.services["kafka"].home / "tls")  # type: ignore[attr-defined]
        config = self.folder / "clients.properties"
        lines = ("security.protocol=sasl_ssl", "sasl.mechanism=SCRAM-SHA-512", "sasl.username=rails")
        config.write_text("\n".join([*lines, f"sasl.password=env:{SECRET}", f"ssl.ca.location={files.ca}", ""]))
        self._how = replace(self._how, kafka_config=str(config))
        _, differences = make_topics(self.direct, table=PLATFORM if self.market else ALL)
        if differences:
            raise UsageError(str(differences[0]))
        kafka = KafkaTopics(self.direct)
        kafka.create([USUAL])
        kafka.close()

    # --- jobs ---

    def _start(self, module: str = "", lanes: int = 0) -> LiveJob:
        """The job whose faults these are, or another one beside it."""
        how = replace(self._how, lanes=lanes or self.lanes)
        name, *flags = (module,) if module else self._job
        return LiveJob(self.stack, how, name, "--snapshot_s=5", *flags)

    def second(self) -> LiveJob:
        """The same job once more."""
        return self._start()

    def launch(self) -> None:
        """Another launch in the place of the one that was closed or lost."""
        self.job = self._start()

    def relaunch(self, between: Callable[[], None] = lambda: None) -> None:
        """Ends the job, does something, and launches it."""
        self.job.close()
        between()
        self.launch()

    def relaunch_all(self) -> None:
        """After a JobManager that has forgotten its jobs."""
        for job in (self.job, self.control):
            job.close()
        self.launch()
        self.control = self._start("chaos.usual_sink", 1)

    def hosts(self) -> list[str]:
        """The TaskManagers that the tasks of the job are on."""
        job = self.job.found()
        rest = self.stack.rest
        vertices = (rest.get(f"/jobs/{job['jid']}") or {}).get("vertices", []) if job else []
        found = set()
        for vertex in vertices:
            about = rest.get(f"/jobs/{job['jid']}/vertices/{vertex['id']}/taskmanagers") or {}  # type: ignore[index]
            found |= {each["taskmanager-id"] for each in about.get("taskmanagers", [])}
        return sorted(found & self.stack.services.keys())

    def restarts(self, since_ms: int) -> int:
        """How often the job has failed since then, and Flink has restarted it; it remembers the last 16."""
        job = self.job.found()
        told = self.stack.rest.get(f"/jobs/{job['jid']}/exceptions") if job else None
        history = (told or {}).get("exceptionHistory", {}).get("entries", [])
        return sum(each["timestamp"] >= since_ms for each in history)

    def workers(self) -> list[int]:
        """The processes of the lanes that reported last."""
        return sorted({int(turn["worker"].rpartition(":")[2]) for turn in self._turns()})

    def _turns(self) -> list[dict[str, Any]]:
        with self.watch._lock:
            return [turn for (_, lane), turn in self.watch.turns.items() if lane < self.lanes]

    # --- fresh? ---

    def stale(self, since_ms: int) -> str:
        """Why the system is not at its full rate, in few words; empty when it is. What was said before `since_ms` does not count."""
        job = self.job.found()
        if job is None or job["state"] != "RUNNING":
            return f"the job is {job['state'] if job else 'unknown'}"
        with self.watch._lock:
            turns, confirmed = dict(self.watch.turns), self.watch.confirmed_at
        for kind in KINDS:
            for lane in range(self.lanes):
                turn = turns.get((kind.stage, lane))
                if turn is None or turn["at"] < since_ms:
                    return f"{kind.stage}/{lane} has not reported"
                if turn["lag"] > max(50, self.rate):
                    return f"{kind.stage}/{lane} lags by {turn['lag']}"
        now = time.time() * 1000
        if confirmed < max(since_ms, now - 1000 * _LATEST_S - 20_000 / self.rate):
            return "nothing is confirmed"
        return ""

    def wait_fresh(self, since_ms: int, seconds: float = FRESH_S) -> bool:
        """Waits until the system is at its full rate; a violation when it is not in time, or the log has a hole."""
        why = ""

        def fresh() -> bool:
            nonlocal why
            self.check()
            why = self.stale(since_ms)
            return not why

        if wait_until(fresh, seconds):
            return True
        self.violations.append(f"not fresh within {seconds:g} s: {why}")
        return False

    def check(self) -> None:
        """Watches on when the broker was away for too long; a broken contract is a violation."""
        try:
            self.watch.check()
        except ContractError as error:
            self.violations.append(f"watch: {error}")
        except Exception as error:
            self.tell(f"chaos: the watch begins anew: {error}")
        else:
            return
        self.watch.close()
        repeats = self.watch.repeats
        self.watch = FreshWatch(self.direct)
        self.tell(f"chaos: {repeats} repeats had been seen until then")

    def kill(self, name: str) -> None:
        """kill -9 of a service; returns when it is gone, which takes a moment, so that nobody takes it for running."""
        self.stack.kill(name)
        wait_until(lambda: self.stack.service(name).process.pid is None, 10, 0.01)

    def start_dead(self) -> list[str]:
        """Starts what does not run, as a supervisor would, without waiting for it; what was started."""
        return [service.name for service in self.stack.services.values() if service.start()]

    def mend(self) -> list[str]:
        """The same, and waits until all is healthy."""
        started = self.start_dead()
        for service in self.stack.services.values():
            with contextlib.suppress(StackError):  # a TaskManager that ended while it was looked at
                service.wait()
        return started


class Ticker:
    """A round of ticks each second on `topics`, until `stop`; `start` goes on."""

    def __init__(self, settings: KafkaSettings, tell: Callable[[str], None], topics: Sequence[Topic]) -> None:
        self._settings, self._tell, self._topics = settings, tell, topics
        self._thread: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        self.stopped = threading.Event()
        self._thread = threading.Thread(
            target=run_ticker,
            args=(self._settings, 1.0, self.stopped, self._tell, self._topics),
            name="ticker",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        self.stopped.set()
        if self._thread is not None:
            self._thread.join(90)
            self._thread = None


@contextlib.contextmanager
def no_ticks(system: System) -> Iterator[None]:
    """Without ticks inside."""
    system.ticker.stop()
    try:
        yield
    finally:
        system.ticker.start()
