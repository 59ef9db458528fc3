"""A pool of Python workers for `--environment_type=EXTERNAL`, on loopback: `python -m stack.worker_pool --port=N`.

Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) listens on all interfaces without any authentication,
starts whatever `python` is on PATH (no worker and no error when there is none), and gives its workers a pipe as stdout
that nobody reads: a worker that prints 64 kB stands still. Here: loopback, this very interpreter, our stdout.
"""

import argparse
import logging
import signal
import subprocess
import sys
import threading
import traceback

import grpc  # type: ignore[import-untyped]
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker import worker_pool_main
from apache_beam.utils import thread_pool_executor

from stack.services import HOST

WORKER = """
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2], state_cache_size=0, data_buffer_time_limit_ms=0).run()
"""
"""What Beam's pool runs. A limit of 0 ms: no flusher thread (one per bundle would stay, docs/beam-on-flink.md)."""


class WorkerPool(worker_pool_main.BeamFnExternalWorkerPoolServicer):
    """Starts one process for each worker that a TaskManager asks for; stopping them is Beam's."""

    def __init__(self) -> None:
        super().__init__(use_process=True)

    def StartWorker(self, start_worker_request, unused_context):  # the name is the service's
        for worker_id, process in list(self._worker_processes.items()):
            if process.poll() is not None:  # its TaskManager died, and it with it: nobody will ask to stop it
                del self._worker_processes[worker_id]
        try:
            target = [start_worker_request.control_endpoint.url, start_worker_request.worker_id]
            self._worker_processes[start_worker_request.worker_id] = subprocess.Popen(
                [sys.executable, "-c", WORKER, *target], stdin=subprocess.DEVNULL
            )
            logging.info("worker %s started for %s", target[1], target[0])
            return beam_fn_api_pb2.StartWorkerResponse()
        except OSError:
            return beam_fn_api_pb2.StartWorkerResponse(error=traceback.format_exc())

    def stop_all(self) -> None:
        """Ends all workers."""
        for process in self._worker_processes.values():
            worker_pool_main.kill_process_gracefully(process)


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


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    serve(parser.parse_args().port)
