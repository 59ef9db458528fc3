"""Which port each service listens on: offsets from one base, so that several stacks stand side by side."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from stack.errors import StackError

BASE = 19000
"""Below the ports that Linux gives to outgoing connections (32768 and up)."""

MOST = 10
"""TaskManagers, or worker pools, of one stack: each has a port of its own in three rows of ten."""

BASE_VARIABLE = "BEAM_ON_RAILS_PORTS"


@dataclass(frozen=True)
class Ports:
    """The ports of one stack. `Ports.of(base)` takes offsets 23 to 99 from the base, so bases lie 100 apart.

    Each field can be moved alone by a variable: `kafka` by BEAM_ON_RAILS_PORT_KAFKA, and so on. The last four are
    the first of ten ports each: one for each TaskManager or worker pool.
    """

    jobmanager: int
    blob: int
    jobmanager_metrics: int
    postgres: int
    rest: int
    kafka: int
    kafka_controller: int
    kafka_sasl: int
    artifacts: int
    jobserver: int
    taskmanager: int
    taskmanager_data: int
    taskmanager_metrics: int
    workers: int

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for name, port in self.all().items():
            if not 1024 <= port <= 65535:
                raise StackError(f"port {port} ({name}): take one from 1024 to 65535")
            if port in seen:
                raise StackError(f"port {port} is both {seen[port]} and {name}: move one of them")
            seen[port] = name

    def all(self) -> dict[str, int]:
        """Every port by name, the rows of ten by name and number."""
        found: dict[str, int] = {}
        for field in fields(self):
            port = getattr(self, field.name)
            if field.name in ROWS:
                found |= {f"{field.name}-{number}": port + number - 1 for number in range(1, MOST + 1)}
            else:
                found[field.name] = port
        return found

    @classmethod
    def of(cls, base: int) -> "Ports":
        """The ports of the stack at `base`."""
        return cls(**{name: base + offset for name, offset in OFFSETS.items()})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """The base from BEAM_ON_RAILS_PORTS, single ports from BEAM_ON_RAILS_PORT_<NAME>."""
        base = _number(environment, BASE_VARIABLE, BASE)
        return cls(**{name: _number(environment, variable(name), base + offset) for name, offset in OFFSETS.items()})


ROWS = ("taskmanager", "taskmanager_data", "taskmanager_metrics", "workers")

OFFSETS = {
    "jobmanager": 23,
    "blob": 24,
    "jobmanager_metrics": 25,
    "postgres": 32,
    "taskmanager": 40,
    "taskmanager_data": 50,
    "taskmanager_metrics": 60,
    "workers": 70,
    "rest": 81,
    "kafka": 92,
    "kafka_controller": 93,
    "kafka_sasl": 94,
    "artifacts": 98,
    "jobserver": 99,
}


def variable(name: str) -> str:
    """The environment variable that moves one port."""
    return f"BEAM_ON_RAILS_PORT_{name.upper()}"


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise StackError(f"{name}={text}: not a port number") from None
