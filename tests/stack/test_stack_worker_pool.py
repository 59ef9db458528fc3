"""The pool of workers: which process a request to stop one is about."""

import multiprocessing
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from stack import worker_pool
from stack.services import wait_until
from stack.worker_pool import WorkerPool


def sleep(control: str, worker_id: str) -> None:
    time.sleep(60)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """One whose workers do nothing."""
    monkeypatch.setattr(worker_pool, "work", sleep)
    monkeypatch.setattr(worker_pool, "LEAVING", 0.3)
    monkeypatch.setattr(worker_pool.forkserver, "ensure_running", lambda: None)
    found = WorkerPool()
    found._context = multiprocessing.get_context("fork")
    yield found
    found.stop_all()


def start(pool: WorkerPool, port: int, worker_id: str = "3-1") -> Any:
    """A worker for the TaskManager with this control port."""
    request = SimpleNamespace(worker_id=worker_id, control_endpoint=SimpleNamespace(url=f"127.0.0.1:{port}"))
    assert not pool.StartWorker(request, None).error
    return pool._workers[worker_id][-1]


def stop(pool: WorkerPool, worker_id: str = "3-1") -> None:
    pool.StopWorker(SimpleNamespace(worker_id=worker_id), None)


def test_a_worker_that_is_alone_with_its_id_is_ended(pool: WorkerPool) -> None:
    one, other = start(pool, 1, "1-1"), start(pool, 1, "2-1")
    stop(pool, "1-1")
    assert not one.is_alive() and other.is_alive()
    stop(pool, "1-1")
    stop(pool, "9-1")
    assert other.is_alive()


@pytest.mark.parametrize("first", [0, 1])
def test_the_worker_of_another_taskmanager_with_the_same_id_lives(pool: WorkerPool, first: int) -> None:
    """Both count from 1. It was killed, and its job stood still for the 3 minutes that Flink waits for its connection."""
    workers = [start(pool, 1), start(pool, 2)]
    workers[first].terminate()  # its runner has closed the connection
    workers[first].join(30)
    stop(pool)
    assert not workers[first].is_alive() and workers[1 - first].is_alive()
    stop(pool)
    assert not workers[1 - first].is_alive()


def test_none_is_ended_where_it_is_not_known_whose_it_is(pool: WorkerPool) -> None:
    workers = [start(pool, 1), start(pool, 2)]
    stop(pool)
    assert all(worker.is_alive() for worker in workers)


def test_workers_of_a_taskmanager_that_died_are_in_nobodys_way(pool: WorkerPool) -> None:
    dead = start(pool, 1)
    dead.kill()
    assert wait_until(lambda: not dead.is_alive(), 5, 0.01)
    living = start(pool, 2)
    stop(pool)  # takes the dead one for it; the living one ends by itself
    assert living.is_alive()
    stop(pool)
    assert not living.is_alive() and pool._workers == {"3-1": []}
