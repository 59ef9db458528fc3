"""A real broker and a real cluster for tests: one of each for all tests of `tests/stack`.

Tests that use them are marked `xdist_group("stack")` here: with `--dist loadgroup` one worker of pytest-xdist runs them
all, so nothing is started twice. Ports: the first block of 400 that is free, or from BEAM_ON_RAILS_TEST_PORTS on.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack import artifacts
from stack.cluster import Stack
from stack.errors import Missing
from stack.kafka import Broker, running_broker
from stack.services import is_free

BLOCKS = range(20200, 32000, 400)
"""Where test sessions take their ports, each a block: two at once on a machine do not meet."""

SHARED = ("free_ports", "broker", "secure_broker", "stack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a shared server go to one worker."""
    for item in items:
        if set(SHARED) & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    """A folder that others may enter: PostgreSQL runs as a user of its own, and pytest's folders are closed."""
    folder = Path(tempfile.mkdtemp(prefix="beam-on-rails-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def free_ports() -> Iterator[int]:
    """The first of 400 ports that are this session's alone."""
    if named := os.environ.get("BEAM_ON_RAILS_TEST_PORTS"):
        yield int(named)
        return
    for base in BLOCKS:
        with (Path(tempfile.gettempdir()) / f"beam-on-rails-ports-{base}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if all(is_free(port) for port in range(base, base + BLOCKS.step)):
                yield base
                return
    pytest.fail("no 400 free ports in a row: name some in BEAM_ON_RAILS_TEST_PORTS", False)


Engines = Callable[[str], None]
"""Makes sure that the engine of that name (`--runner`) is there, or skips the test."""


@pytest.fixture(scope="session")
def engines() -> Engines:
    """Prism is built at its first use, some minutes of CPU time; where there is no Go its tests do not run, and that is said."""

    def wanted(name: str) -> None:
        if name == "PrismRunner":
            try:
                artifacts.prism()
            except Missing as error:
                pytest.skip(str(error))

    return wanted


@pytest.fixture(scope="session")
def broker(stack_folder: Path, free_ports: int) -> Iterator[Broker]:
    """Kafka alone, plain."""
    with running_broker(stack_folder / "broker", free_ports) as found:
        yield found


@pytest.fixture(scope="session")
def secure_broker(stack_folder: Path, free_ports: int) -> Iterator[Broker]:
    """Kafka with a SASL_SSL listener (SCRAM-SHA-512, PLAIN) for the user rails, password "on rails"."""
    with running_broker(stack_folder / "secure", free_ports + 10, users={"rails": "on rails"}) as found:
        yield found


@pytest.fixture(scope="session")
def stack(stack_folder: Path, free_ports: int) -> Iterator[Stack]:
    """Everything: Kafka, Flink with one TaskManager of four slots, the job server, PostgreSQL, one worker pool."""
    with Stack(stack_folder / "stack", free_ports + 100, workers=1) as found:
        yield found
