"""Live: the whole payment system on this machine: stack, topics, job, ticker, a paced stream of payments, and what it shows.

Ctrl-C, or the end of --seconds or --input, lets the payments on their way arrive; then the final books are shown and verified, and the
job ends. The stack stays (`./run_local.sh stack down`). Exit status 1 when an invariant does not hold. docs/pipelines/live.md.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from payments import topics
from payments.live_stages import KINDS
from pipelines import payments_verify
from pipelines.common import UsageError, check_range, main, parse_options
from pipelines.files import check_inputs
from pipelines.live_job import Launching, LiveJob, local_stack
from pipelines.live_options import MAX_LANES, BrokerOptions, broker_flags, broker_settings
from pipelines.live_payments import Sent, from_files, generated, send
from pipelines.live_watch import Terminal, Watch
from pipelines.live_writer import LiveWriter, WriteFailed
from pipelines.payments_ticker import run_ticker
from pipelines.preflight import refused
from pipelines.topics import make_topics
from schemas.rails import Record
from stack.errors import StackError
from transforms.kafka_settings import KafkaSettings
from transforms.kafka_topics import KafkaTopics
from transforms.log_reader import ReadFailed

RUNNERS = ("FlinkRunner", "PrismRunner", "DirectRunner")
_START_S = 180.0  # for the first turn of every lane
_DRAIN_S = 120.0


class LiveOptions(BrokerOptions):
    """The payment system live on this machine."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument("--rate", type=int, default=1000, help="payments per second")
        parser.add_argument("--accounts", type=int, default=1000, help="accounts of the generator")
        parser.add_argument("--seed", type=int, default=0, help="of the generator; another one each time by default")
        parser.add_argument("--input", default="", help="play these files (raw payments) instead of generated ones")
        parser.add_argument("--seconds", type=float, default=0.0, help="stop sending after so long; 0: at Ctrl-C")
        cls.add_shape(parser)
        parser.add_argument("--engine", choices=RUNNERS, default=RUNNERS[0], help="what runs the job; also --runner=")
        parser.add_argument("--no_verify", action="store_true", help="do not check the topics in the end")


def take_runner(argv: Sequence[str]) -> list[str]:
    """`--runner=NAME` is the engine of the job, and not of what is checked in the end."""
    return [f"--engine{word.removeprefix('--runner')}" if word.startswith("--runner=") else word for word in argv]


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C or plain kill; the second is as always."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def on_signal(number: int, frame: object) -> None:
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in numbers:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Sending:
    """The stream, sent by a thread of its own until `close`."""

    def __init__(self, settings: KafkaSettings, records: Iterator[Record], stop: threading.Event) -> None:
        self.sent = Sent(0, 0)
        self._writer, self._failed = LiveWriter(settings, linger_ms=2), list[BaseException]()
        self._thread = threading.Thread(target=self._send, args=(records, stop), name="send", daemon=True)
        self._thread.start()

    def _send(self, records: Iterator[Record], stop: threading.Event) -> None:
        try:
            self.sent = send(records, self._writer, stop.wait, self._tell)
        except BaseException as error:
            self._failed.append(error)
        finally:
            self._writer.close()

    def _tell(self, sent: Sent) -> None:
        self.sent = sent

    @property
    def running(self) -> bool:
        if self._failed:
            raise self._failed[0]
        return self._thread.is_alive()

    def close(self) -> None:
        self._thread.join(30)


def wait_for_start(job: LiveJob, watch: Watch, stop: threading.Event) -> None:
    """Returns when every stage has reported; UsageError when the job ends or stays silent."""
    wanted, end = {kind.stage for kind in KINDS}, time.monotonic() + _START_S
    while not wanted <= watch.stages():
        watch.check()
        job.check()
        if stop.wait(0.2):
            return
        if time.monotonic() > end:
            missing = ", ".join(sorted(wanted - watch.stages()))
            raise UsageError(f"no word of {missing} within {_START_S:g} s: see {job.log}")


def drain(
    settings: KafkaSettings, job: LiveJob, watch: Watch, stop_ticks: threading.Event, patience_s: float = _DRAIN_S
) -> bool:
    """Lets everything that was sent arrive, then ends the ticks and lets the stages read the last; False if it takes too long.

    A stage commits what it has folded and flushed, so there is nothing on its way when all have read everything twice in a row.
    """
    kafka, end, quiet = KafkaTopics(settings), time.monotonic() + patience_s, 0
    try:
        while time.monotonic() < end:
            watch.check()
            job.check()
            waiting = sum(sum(kafka.lag(kind.topic.name, kind.stage)) for kind in KINDS)
            if not stop_ticks.is_set():
                if not sum(kafka.lag(topics.INCOMING.name, KINDS[0].stage)) and watch.settled():
                    stop_ticks.set()
            else:
                quiet = quiet + 1 if waiting == 0 and watch.settled() else 0
                if quiet >= 2:
                    return True
            time.sleep(0.5)
        return False
    finally:
        stop_ticks.set()
        kafka.close()


def run(argv: list[str]) -> int:
    options = parse_options(take_runner(argv), LiveOptions)
    check_range(options, rate=(1, 1_000_000), lanes=(1, MAX_LANES), seed=(0, 10**9))
    if options.seconds < 0:
        raise UsageError(f"must be at least 0, got {options.seconds:g}", "--seconds")
    inputs = check_inputs(options.input) if options.input else []
    try:
        generated(options.rate, options.accounts, options.seed, int(time.time() * 1000))
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    with interrupts() as stop:
        try:
            return _run(options, inputs, stop)
        except (StackError, ReadFailed, WriteFailed) as error:
            raise UsageError(str(error)) from error


def _run(options: LiveOptions, inputs: list[str], stop: threading.Event) -> int:
    tell = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    stack = None
    if not options.bootstrap and not options.kafka_config:
        stack = local_stack(options.engine, options.lanes)
        tell("live: starting what does not run of the stack")
        stack.up()
        options.bootstrap = stack.bootstrap
    settings = broker_settings(options)
    made, differences = make_topics(settings)
    if refused(map(str, differences)):
        return 2
    if made:
        tell(f"live: made {len(made)} topics")
    with ExitStack() as closing:
        watch = Watch(settings)
        closing.callback(watch.close)
        ticks = threading.Event()
        ticker = threading.Thread(target=run_ticker, args=(settings, 1.0, ticks, tell), name="ticker", daemon=True)
        ticker.start()
        closing.callback(ticks.set)
        how = Launching(options.bootstrap, options.kafka_config, options.lanes, options.point, options.engine)
        job = LiveJob(stack, how)
        closing.callback(job.close)
        tell(f"live: starting the job {job.name} on {options.engine}")
        wait_for_start(job, watch, stop)
        terminal, began = Terminal(sys.stdout), time.monotonic()
        watch.begin(int(time.time() * 1000))
        sending = _sending(options, inputs, settings, stop)
        while sending.running and not stop.is_set():
            watch.check()
            job.check()
            terminal.show(watch.shown(time.monotonic() - began, sending.sent.payments))
            if options.seconds and time.monotonic() - began >= options.seconds:
                break
            stop.wait(1.0)
        stop.set()
        sending.close()
        sent = sending.sent
        drained = drain(settings, job, watch, ticks)
        terminal.show(watch.shown(time.monotonic() - began, sent.payments), whole=True)
        tell("live: drained" if drained else f"live: NOT drained within {_DRAIN_S:g} s")
        repeats = watch.repeats
    print(
        f"sent {sent.payments:,} payments, {sent.others:,} account changes and rules; {repeats:,} repeats on the wire dropped"
    )
    if options.no_verify:
        return 0 if drained else 1
    return max(_verify(options), 0 if drained else 1)


def _sending(options: LiveOptions, inputs: list[str], settings: KafkaSettings, stop: threading.Event) -> Sending:
    if inputs:
        return Sending(settings, from_files(inputs, options.rate), stop)
    seed = options.seed or int(time.time()) % 10**9
    return Sending(settings, generated(options.rate, options.accounts, seed, int(time.time() * 1000)), stop)


def _verify(options: LiveOptions) -> int:
    return payments_verify.run(["--from_topics", *broker_flags(options)])


if __name__ == "__main__":
    main(run)
