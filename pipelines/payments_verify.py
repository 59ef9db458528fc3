"""Verify: every invariant of the payment system is checked over the topics that a run left; each violation is a line that says where.

topics on disk → all checkers of payments.checkers. Exit status 1 when one finds something. Flags: docs/pipelines/payments_verify.md.
"""

import argparse
import json
import tempfile
from pathlib import Path

import apache_beam as beam

from payments import topics
from payments.admission import CLOCK_TOLERANCE_MS, DAY_MS
from payments.checkers import check_all, read_logs
from pipelines.common import JobOptions, check_range, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_topics
from pipelines.registry import REGISTRY
from transforms.check_logs import CheckLogs, Partitions
from transforms.lines import WriteLines
from transforms.topic_files import ReadTopic

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


def check_summaries(lines: list[str]) -> list[str]:
    """The counts of each shard add up to its offset: consumed = applied + dead-lettered + duplicate + late + ticks (invariant 3)."""
    found = []
    for line in lines:
        shard = json.loads(line)
        total = sum(shard[name] for name in ("applied", "dead_lettered", "duplicate", "late", "ticks"))
        if total != shard["offset"]:
            found.append(f"{shard['stage']}/{shard['partition']}: consumed {shard['offset']}, accounted for {total}")
    return found


def verify(options: JobOptions, folder: Path, ttl_ms: int) -> list[str]:
    """Runs the checks over the folder of a run; gives the violations."""
    with tempfile.TemporaryDirectory(prefix="payments-verify-") as place:
        output = Path(place) / "violations.txt"
        run_job(options, lambda p: build_pipeline(p, folder, output, ttl_ms), "verify")
        found = output.read_text(encoding="utf-8").splitlines()
    return found + check_summaries((folder / "shards.jsonl").read_text(encoding="utf-8").splitlines())


def run(argv: list[str]) -> int:
    options = parse_options(argv, VerifyOptions)
    check_range(options, ttl_ms=1)
    check_topics(Path(options.input) / "topics", [topic.name for topic in topics.ALL])
    found = verify(options, Path(options.input), options.ttl_ms)
    print(f"verify: {len(found)} violations" if found else "verify: every invariant holds")
    for line in found[:SHOWN]:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    main(run)
