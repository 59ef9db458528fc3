"""The ticker: each second a tick onto every partition of payments.inflight and payments.status, so that deadlines fire.

With --auctions it ticks auction.bids and auction.bids.history too.

Restarts, gaps and a second ticker are harmless: a tick only moves the clock to its append time. Flags: docs/pipelines/payments_ticker.md.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence

from auctions import topics as auction_topics
from payments.live_stages import TICKED, tick_values
from payments.topics import SETTINGS
from pipelines.auction_stages import TICKED as OF_AUCTIONS
from pipelines.common import UsageError, check_range, main, parse_options
from pipelines.live_options import BrokerOptions, broker_settings
from pipelines.live_writer import LiveWriter, WriteFailed
from pipelines.preflight import check_topics, refused
from pipelines.registry import REGISTRY
from transforms.fold import Topic
from transforms.kafka_settings import KafkaSettings


class TickerOptions(BrokerOptions):
    """Writes ticks."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        cls.add_broker(parser)
        parser.add_argument("--every_ms", type=int, default=1000, help="between two rounds, ms")
        parser.add_argument("--auctions", action="store_true", help="tick the topics of auctions too")
        parser.add_argument("--seconds", type=float, default=0.0, help="stop after so long; 0: never")


def tick(
    writer: LiveWriter,
    every_s: float,
    stopped: Callable[[float], bool],
    tell: Callable[[str], None],
    now: Callable[[], float] = time.time,
    ticked: Sequence[Topic] = TICKED,
) -> int:
    """Writes rounds until `stopped`, which waits so many seconds; the number of rounds. A round that fails is told, the next one tried."""
    rounds, failed = 0, False
    while True:
        try:
            writer.write(
                [(topic, n, None, value) for topic, n, value in tick_values(int(now() * 1000), REGISTRY.encode, ticked)]
            )
            writer.flush()
            rounds, failed = rounds + 1, False
        except WriteFailed as error:
            if not failed:
                tell(f"ticks are not written: {error}")
            failed = True
        if stopped(every_s - now() % every_s):
            return rounds


def run_ticker(
    settings: KafkaSettings,
    every_s: float,
    stop: threading.Event,
    tell: Callable[[str], None],
    ticked: Sequence[Topic] = TICKED,
) -> int:
    """Writes rounds until `stop`."""
    writer = LiveWriter(settings)
    try:
        return tick(writer, every_s, stop.wait, tell, ticked=ticked)
    finally:
        writer.close()


def run(argv: list[str]) -> int:
    options = parse_options(argv, TickerOptions)
    check_range(options, every_ms=(10, 60_000))
    if options.seconds < 0:
        raise UsageError(f"must be at least 0, got {options.seconds:g}", "--seconds")
    settings = broker_settings(options)
    wanted = [*SETTINGS, *(auction_topics.SETTINGS[:-1] if options.auctions else ())]
    if refused(check_topics(settings, wanted)):
        return 2
    stop = threading.Event()
    if options.seconds:
        threading.Timer(options.seconds, stop.set).start()
    ticked = [*TICKED, *(OF_AUCTIONS if options.auctions else ())]
    rounds = run_ticker(settings, options.every_ms / 1000, stop, lambda line: print(line, file=sys.stderr), ticked)
    print(f"ticker: {rounds:,} rounds")
    return 0


if __name__ == "__main__":
    main(run)
