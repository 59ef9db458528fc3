"""Verify: every invariant of auctions and of the payments behind them is checked over the topics that a run left, a line per violation.

topics on disk → checkers of auctions, of payments, of money per person, of placements. Exit status 1 when something is found.
Flags: docs/pipelines/auctions_verify.md
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam

from auctions import topics
from auctions.analytics_topics import REQUESTS
from auctions.check_money import check_money
from auctions.check_placements import check_placements
from auctions.checkers import check_all
from auctions.placement import AdPlacer, Caps
from payments import topics as payment_topics
from payments.checkers import check_all as check_payments
from payments.logs import Logs, partitions, read_logs
from pipelines import payments
from pipelines.auction_stages import ALL as AUCTION_TOPICS
from pipelines.auction_stages import CLIENT_TOPICS, Rules, loop_stages
from pipelines.common import JobOptions, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_topics
from pipelines.payments_verify import check_summaries, expected_shards, read_summaries
from pipelines.registry import REGISTRY
from schemas.auctions import AdPlacement
from transforms.check_logs import CheckLogs, Partitions
from transforms.fold import DEAD_LETTERS
from transforms.lines import WriteLines
from transforms.topic_files import ReadTopic

ALL = tuple(dict.fromkeys((*payment_topics.ALL, *AUCTION_TOPICS)))
CLIENTS = (payment_topics.INCOMING.name, *(topic.name for topic in CLIENT_TOPICS))
SHOWN = 10  # violations on the terminal


class VerifyOptions(JobOptions):
    """Checks the invariants of auctions and payments over recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", required=True, help="folder of a run: its `topics` and its shards.jsonl")


def check_logs(pieces: Partitions) -> list[str]:
    """All that the logs of a drained run show to be wrong."""
    logs = read_logs(pieces, REGISTRY.decode, CLIENTS)
    of_payments = {name: held for name, held in logs.items() if not name.startswith("auction.")}
    letters = logs.get(DEAD_LETTERS.name, {})
    of_payments[DEAD_LETTERS.name] = {
        number: [item for item in items if item[1] is None or item[1].stage.startswith("payments.")]
        for number, items in letters.items()
    }
    return [*check_all(logs), *check_payments(of_payments), *check_money(logs), *_check_ads(logs)]


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


def build_pipeline(p: beam.Pipeline, folder: Path, output: Path) -> None:
    """`output` gets a line for each violation; it is empty when all invariants hold."""
    chunks = p | "Read" >> ReadTopic(folder / "topics", [topic.name for topic in ALL])
    _ = chunks | "CheckLogs" >> CheckLogs(check_logs) | "Write" >> WriteLines(str(output))


def verify(options: JobOptions, folder: Path) -> list[str]:
    """Runs the checks over the folder of a run; gives the violations."""
    stages = [*payments.stages(), *loop_stages(Rules())]
    found = check_summaries(read_summaries(folder / "shards.jsonl"), expected_shards(folder / "topics", stages))
    with tempfile.TemporaryDirectory(prefix="auctions-verify-") as place:
        output = Path(place) / "violations.txt"
        run_job(options, lambda p: build_pipeline(p, folder, output), "verify")
        return output.read_text(encoding="utf-8").splitlines() + found


def run(argv: list[str]) -> int:
    options = parse_options(argv, VerifyOptions)
    folder = Path(options.input)
    check_topics(folder / "topics", [topic.name for topic in ALL])
    found = verify(options, folder)
    print(f"verify: {len(found)} violations" if found else "verify: every invariant holds")
    for line in found[:SHOWN]:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    main(run)
