"""A pool of Python workers for `--environment_type=EXTERNAL`, on loopback: `python -m stack.worker_pool --port=N`.

Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) listens on all interfaces without any authentication,
starts whatever `python` is on PATH (no worker and no error when there is none), and gives its workers a pipe as stdout
that nobody reads: a worker that prints 64 kB stands still. Here: loopback, this very interpreter, our stdout, and a
worker is forked from a server that has loaded Beam already: a restart does not wait seconds for imports.
"""

import argparse
import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.utils import thread_pool_executor

from stack.cluster import TITLE
from stack.services import HOST

LOADED = ["apache_beam", "apache_beam.runners.worker.sdk_worker", "confluent_kafka", "fastavro"]
"""Libraries only: modules of the project are read anew by each worker."""

GRACE = 10.0
"""Seconds that a worker has to end after TERM."""

LEAVING = 2.0
"""Seconds that a worker has to end by itself when its runner has closed the connection."""

KNOWN = 20
"""Workers of one id that are remembered: of each TaskManager one at most runs, and those of dead ones are never asked for."""


def work(control: str, worker_id: str) -> None:
    """The life of a worker, in its own process."""
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    comm = Path("/proc/self/comm")
    if comm.exists():
        comm.write_text(TITLE, encoding="ascii")
    logging.basicConfig(force=True, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # A limit of 0 ms: no flusher thread (one per bundle would stay, docs/beam-on-flink.md).
    SdkHarness(control, worker_id=worker_id, state_cache_size=0, data_buffer_time_limit_ms=0).run()
    os._exit(0)  # what other threads still do, nobody waits for


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts one process for each worker that a TaskManager asks for, and ends it when it asks again."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(LOADED)
        forkserver.ensure_running()  # it loads while nobody waits
        self._lock = threading.Lock()
        self._workers: dict[str, list[ForkServerProcess]] = {}

    def StartWorker(self, request, context):  # the names are the service's
        """Answers when the process runs; it then connects by itself."""
        with self._lock:
            try:
                arguments = (request.control_endpoint.url, request.worker_id)
                worker = self._context.Process(target=work, args=arguments)
                worker.start()
            except OSError as error:
                return beam_fn_api_pb2.StartWorkerResponse(error=f"cannot start a worker: {error.strerror}")
            known = self._workers.setdefault(request.worker_id, [])
            known.append(worker)
            del known[:-KNOWN]
        logging.info("worker %s is process %d, for %s", request.worker_id, worker.pid, request.control_endpoint.url)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request, context):
        """Ends the worker of that id, if it still runs.

        Each TaskManager counts its workers from 1, so several that share a pool use the same ids, and the request does not say whose it is.
        A runner closes the connection of a worker before it asks, and the worker then ends by itself: so where one has ended it was that
        one, and where none has, and there are several, none is ended by force. (The wrong one would take its job down for 3 minutes.)
        """
        with self._lock:
            known = list(self._workers.get(request.worker_id, ()))
        worker = known[0] if len(known) == 1 else ended_first(known)
        with self._lock:
            if worker and worker in self._workers.get(request.worker_id, ()):
                self._workers[request.worker_id].remove(worker)
        if worker:
            end(worker)
        return beam_fn_api_pb2.StopWorkerResponse()

    def stop_all(self) -> None:
        """Ends all workers."""
        for workers in self._workers.values():
            for worker in workers:
                end(worker)


def ended_first(workers: list[ForkServerProcess]) -> ForkServerProcess | None:
    """Waits a moment for one of them to end by itself."""
    wait([worker.sentinel for worker in workers], LEAVING if workers else 0)
    return next((worker for worker in workers if not worker.is_alive()), None)


def end(worker: ForkServerProcess) -> None:
    """TERM, and KILL when that was not enough."""
    worker.terminate()
    worker.join(GRACE)
    worker.kill()
    worker.join()


def serve(port: int) -> None:
    """Serves until TERM or INT, then ends the workers."""
    pool = WorkerPool()
    options = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]
    server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    logging.info("workers are started at %s:%d", HOST, port)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.stop(0)
    pool.stop_all()
    os._exit(0)


if __name__ == "__main__":
    logging.basicConfig(force=True, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
