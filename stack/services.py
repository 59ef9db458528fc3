"""What a service of the stack is, and waiting for its health instead of sleeping."""

import contextlib
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from stack.errors import StackError
from stack.processes import Process

HOST = "127.0.0.1"


class Service(ABC):
    """One process of the stack; subclasses say how it is started and when it is healthy."""

    name: str
    port: int
    """The one that people ask for."""

    seconds = 120.0
    """How long it may take to become healthy: most take 5 s, with busy cores many times that."""

    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.folder = folder
        self.name = name
        self.port = port
        self.process = Process(folder, name)

    def prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Writes configuration, makes folders; called before each start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line."""

    def environment(self) -> dict[str, str]:
        """Variables beside our own."""
        return {}

    @abstractmethod
    def ill(self) -> str:
        """Why it is not healthy, in few words; empty when it is."""

    def listens_on(self) -> Sequence[int]:
        """Ports that must be free before it starts."""
        return [self.port]

    def start(self) -> bool:
        """Starts the process unless it runs; does not wait. True when it was started."""
        if self.process.pid:
            return False
        self.process.stop()  # children that outlived it
        self.prepare()
        for port in self.listens_on():
            if not wait_until(lambda port=port: is_free(port), 2.0):  # type: ignore[misc]
                raise StackError(f"{self.name}: port {port} is taken: stop what listens there or move ours (--help)")
        self.process.start(self.command(), self.environment(), self.stop_signal)
        return True

    def wait(self) -> None:
        """Waits until it is healthy."""
        reason = "not asked yet"

        def healthy() -> bool:
            nonlocal reason
            if not self.process.pid:
                words = self.process.last_words()
                raise StackError(f"{self.name}: ended while starting: {words}: see {self.process.log}")
            reason = self.ill()
            return not reason

        if not wait_until(healthy, self.seconds):
            raise StackError(f"{self.name}: not healthy after {self.seconds:g} s ({reason}): see {self.process.log}")


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> bool:
    """Asks until the condition holds; False when it did not within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def is_free(port: int) -> bool:
    """Whether we could listen on this port of the loopback."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
