"""Verify: every invariant of auctions and of the payments behind them is checked over the topics that a run left, one line each.

topics on disk → checkers of auctions, of payments, of money per person, of placements. Exit status 1 when something is found. With
--from_topics the topics of a broker are put on disk first.
Flags: docs/pipelines/auctions_verify.md
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam

from auctions import topics
from auctions.analytics_topics import REQUESTS
from auctions.backing import Backing
from auctions.check_money import check_money
from auctions.check_placements import check_placements
from auctions.checkers import check_all
from auctions.placement import AdPlacer, Caps
from payments import topics as payment_topics
from payments.checkers import check_all as check_payments
from payments.logs import Logs, partitions, read_logs
from pipelines import payments
from pipelines.auction_stages import ALL as AUCTION_TOPICS
from pipelines.auction_stages import (
    CLIENT_TOPICS,
    Rules,
    add_backing_key,
    backing_of,
    check_backing_key,
    loop_stages,
)
from pipelines.common import main, parse_options
from pipelines.engine import run_job
from pipelines.files import keep_folder
from pipelines.live_options import BrokerOptions, broker_settings
from pipelines.live_topics import build_recording, find_ends, find_ids, read_ids, write_ids
from pipelines.payments_verify import (
    add_source,
    by_name,
    check_source,
    check_summaries,
    expected_shards,
    read_summaries,
    tell,
)
from pipelines.registry import REGISTRY
from schemas.auctions import AdPlacement
from transforms.check_logs import CheckLogs, Partitions
from transforms.fold import DEAD_LETTERS
from transforms.kafka_settings import KafkaSettings
from transforms.lines import WriteLines
from transforms.topic_files import ReadTopic

ALL = tuple(dict.fromkeys((*payment_topics.ALL, *AUCTION_TOPICS)))
CLIENTS = (payment_topics.INCOMING.name, *(topic.name for topic in CLIENT_TOPICS))


class VerifyOptions(BrokerOptions):
    """Checks the invariants of auctions and payments over recorded topics, or over those of a broker."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_source(parser)
        add_backing_key(parser)
        cls.add_broker(parser)


def check_logs(pieces: Partitions, backing: Backing) -> list[str]:
    """All that the logs of a drained run show to be wrong."""
    logs = read_logs(pieces, REGISTRY.decode, CLIENTS)
    of_payments = {name: held for name, held in logs.items() if not name.startswith("auction.")}
    letters = logs.get(DEAD_LETTERS.name, {})
    of_payments[DEAD_LETTERS.name] = {
        number: [item for item in items if item[1] is None or item[1].stage.startswith("payments.")]
        for number, items in letters.items()
    }
    return [*check_all(logs, backing), *check_payments(of_payments), *check_money(logs, backing), *_check_ads(logs)]


def _check_ads(logs: Logs) -> Iterator[str]:
    """Caps, budget and exclusions of each partition of the placer."""
    placed: dict[int, list[AdPlacement]] = {}
    for _, items in partitions(logs, topics.ADS.name):
        for record, event in items:
            if record.origin is not None and record.origin.source.stage == AdPlacer.stage:
                placed.setdefault(record.origin.source.partition, []).append(event)
    for number, items in partitions(logs, REQUESTS.name):
        clock, read = -1, []
        for record, event in items:
            clock = max(clock, record.at)
            read.append((record.offset, clock, event))
        given = sorted(placed.get(number, []), key=lambda one: int(one.cause.rsplit("/", 1)[1]))
        yield from (f"{REQUESTS.name}/{number}: {what}" for what in check_placements(read, given, Caps()))


def build_pipeline(p: beam.Pipeline, folder: Path, output: Path, key: str = "") -> None:
    """`output` gets a line for each violation; it is empty when all invariants hold. `key`: reference to that of the house."""
    names = {topic_id: name for name, topic_id in read_ids(folder / "topics").items()}

    def check(pieces: Partitions) -> list[str]:
        return check_logs(by_name(pieces, names) if names else pieces, backing_of(key))

    chunks = p | "Read" >> ReadTopic(folder / "topics", [topic.name for topic in ALL])
    _ = chunks | "CheckLogs" >> CheckLogs(check) | "Write" >> WriteLines(str(output))


def verify(options: Any, folder: Path) -> list[str]:
    """Runs the checks over the folder of a run; gives the violations. `options`: of a job with `backing_key`."""
    stages = [*payments.stages(), *loop_stages(Rules())]
    found = check_summaries(read_summaries(folder / "shards.jsonl"), expected_shards(folder / "topics", stages))
    return _violations(options, folder) + found


def _violations(options: Any, folder: Path) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="auctions-verify-") as place:
        output = Path(place) / "violations.txt"
        run_job(options, lambda p: build_pipeline(p, folder, output, options.backing_key), "verify")
        return output.read_text(encoding="utf-8").splitlines()


def verify_topics(options: VerifyOptions, settings: KafkaSettings, folder: Path) -> list[str]:
    """Puts the topics of the broker below `folder`, and checks them; the stages are folded again by `auctions_live --input`."""
    ids, ends = find_ids(settings, ALL), find_ends(settings, ALL)
    run_job(options, lambda p: build_recording(p, settings, ends, folder / "topics", ALL), "record")
    write_ids(folder / "topics", ids)
    return _violations(options, folder)


def run(argv: list[str]) -> int:
    options = parse_options(argv, VerifyOptions)
    check_backing_key(options)
    check_source(options, [topic.name for topic in ALL])
    if not options.from_topics:
        return tell(verify(options, Path(options.input)))
    settings = broker_settings(options)
    with keep_folder(options.output, "auctions-topics-") as folder:
        found = verify_topics(options, settings, Path(folder))
    return tell(found)


if __name__ == "__main__":
    main(run)
