"""A real broker and a real cluster for tests: one of each for all tests of `tests/stack`.

Tests that use them are marked `xdist_group("stack")` here: with `--dist loadgroup` one worker of pytest-xdist runs them
all, so nothing is started twice. Ports: 20600 to 20799, or from BEAM_ON_RAILS_TEST_PORTS on.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.cluster import Stack
from stack.kafka import Broker, running_broker

BASE = int(os.environ.get("BEAM_ON_RAILS_TEST_PORTS", "20600"))
SHARED = ("broker", "secure_broker", "stack")


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
def broker(stack_folder: Path) -> Iterator[Broker]:
    """Kafka alone, plain."""
    with running_broker(stack_folder / "broker", BASE) as found:
        yield found


@pytest.fixture(scope="session")
def secure_broker(stack_folder: Path) -> Iterator[Broker]:
    """Kafka with a SASL_SSL listener (SCRAM-SHA-512, PLAIN) for the user rails, password "on rails"."""
    with running_broker(stack_folder / "secure", BASE + 10, users={"rails": "on rails"}) as found:
        yield found


@pytest.fixture(scope="session")
def stack(stack_folder: Path) -> Iterator[Stack]:
    """Everything: Kafka, Flink with one TaskManager of four slots, the job server, PostgreSQL, one worker pool."""
    with Stack(stack_folder / "stack", BASE + 100, workers=1) as found:
        yield found
