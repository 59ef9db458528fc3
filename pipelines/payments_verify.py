"""Verify: every invariant of the payment system is checked over the topics that a run left; each violation is a line that says where.

topics on disk → all checkers of payments.checkers. Exit status 1 when one finds something. Flags: docs/pipelines/payments_verify.md.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam

from payments import topics
from payments.admission import CLOCK_TOLERANCE_MS, DAY_MS
from payments.checkers import check_all, read_logs
from pipelines.common import JobOptions, UsageError, check_range, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_topics
from pipelines.payments import MAX_MS, stages
from pipelines.registry import REGISTRY
from transforms.check_logs import CheckLogs, Partitions
from transforms.errors import one_line
from transforms.lines import WriteLines
from transforms.partition_files import PartitionReader
from transforms.topic_files import ReadTopic, topic_paths

SHOWN = 10  # violations on the terminal


class VerifyOptions(JobOptions):
    """Checks the invariants of the payment system over recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", required=True, help="folder of a run: its `topics` and its shards.jsonl")
        parser.add_argument(
            "--ttl_ms", type=int, default=DAY_MS, help="how long payment ids were remembered in that run, ms"
        )


def build_pipeline(p: beam.Pipeline, folder: Path, output: Path, ttl_ms: int = DAY_MS) -> None:
    """`output` gets a line for each violation; it is empty when all invariants hold."""

    def check(partitions: Partitions) -> list[str]:
        return check_all(read_logs(partitions, REGISTRY.decode), memory_ms=ttl_ms + CLOCK_TOLERANCE_MS)

    chunks = [p | f"Read {topic.name}" >> ReadTopic(folder / "topics", topic.name) for topic in topics.ALL]
    _ = chunks | "Merge" >> beam.Flatten() | "CheckLogs" >> CheckLogs(check) | "Write" >> WriteLines(str(output))


_COUNTS = ("applied", "dead_lettered", "duplicate", "late", "ticks")
Shards = Mapping[tuple[str, str, int], int]
"""Number of records of what a shard reads, by (stage, topic, partition)."""


def read_summaries(path: Path) -> list[dict[str, Any]]:
    """The lines of shards.jsonl.

    Raises:
        UsageError: it cannot be read, or has a line that is no summary of a shard.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", path) from error
    except UnicodeDecodeError as error:
        raise UsageError("not a text", path) from error
    wanted = {"stage": str, "topic": str} | dict.fromkeys(("partition", "offset", *_COUNTS), int)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            shard = json.loads(line)
        except (ValueError, RecursionError):
            shard = None
        if not isinstance(shard, dict) or any(type(shard.get(name)) is not kind for name, kind in wanted.items()):
            raise UsageError(f"line {number} is not the summary of a shard", path)
        found.append(shard)
    return found


def expected_shards(folder: Path) -> Shards:
    """The shards of a run and what each has to read, by the headers of the topics' files."""
    found = {}
    for stage in stages():
        for path in topic_paths(folder, stage.topic.name):
            with PartitionReader(path) as file:
                found[stage.processor.stage, file.topic, file.partition] = file.offset + file.count
    return found


def check_summaries(summaries: list[dict[str, Any]], expected: Shards) -> list[str]:
    """Each shard has one summary, has read its whole partition, and its counts add up to its offset (invariant 3): consumed =
    applied + dead-lettered + duplicate + late + ticks.
    """
    found = []
    seen = set()
    for shard in summaries:
        key = shard["stage"], shard["topic"], shard["partition"]
        where = one_line(f"{shard['stage']}/{shard['partition']}")
        if key in seen:
            found.append(f"{where}: two summaries of one shard")
        elif key not in expected:
            found.append(f"{where}: a summary, though {one_line(shard['topic'])} has no such shard of it")
        elif shard["offset"] != expected[key]:
            found.append(f"{where}: consumed {shard['offset']}, but {shard['topic']} has {expected[key]} records")
        seen.add(key)
        total = sum(shard[name] for name in _COUNTS)
        if total != shard["offset"]:
            found.append(f"{where}: consumed {shard['offset']}, accounted for {total}")
    return found + [f"{stage}/{partition}: no summary" for stage, _, partition in sorted(expected.keys() - seen)]


def verify(options: JobOptions, folder: Path, ttl_ms: int) -> list[str]:
    """Runs the checks over the folder of a run; gives the violations."""
    summaries = check_summaries(read_summaries(folder / "shards.jsonl"), expected_shards(folder / "topics"))
    with tempfile.TemporaryDirectory(prefix="payments-verify-") as place:
        output = Path(place) / "violations.txt"
        run_job(options, lambda p: build_pipeline(p, folder, output, ttl_ms), "verify")
        found = output.read_text(encoding="utf-8").splitlines()
    return found + summaries


def run(argv: list[str]) -> int:
    options = parse_options(argv, VerifyOptions)
    check_range(options, ttl_ms=(1, MAX_MS))
    check_topics(Path(options.input) / "topics", [topic.name for topic in topics.ALL])
    found = verify(options, Path(options.input), options.ttl_ms)
    print(f"verify: {len(found)} violations" if found else "verify: every invariant holds")
    for line in found[:SHOWN]:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    main(run)
