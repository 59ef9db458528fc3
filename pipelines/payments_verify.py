"""Verify: every invariant of the payment system is checked over the topics that a run left; each violation is a line.

topics on disk → all checkers of payments.checkers. With --from_topics the topics of a broker are put on disk first, and every stage is
folded again: what it regenerates is compared byte for byte. Exit status 1 when something is found. Flags: docs/pipelines/payments_verify.md
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam

from payments import topics
from payments.admission import CLOCK_TOLERANCE_MS
from payments.checkers import check_all, effective, read_logs
from payments.live_stages import ACCOUNTS, ADMISSION, KINDS, WATCHDOG
from pipelines.common import JobOptions, UsageError, main, parse_options
from pipelines.engine import run_job
from pipelines.files import check_topics, keep_folder
from pipelines.live_options import BrokerOptions, broker_settings
from pipelines.live_stages import accounts_engine, admission_engine, watchdog_engine
from pipelines.live_topics import build_recording, find_ends, find_ids, read_ids, write_ids
from pipelines.payment_rules import add_rules, check_rules
from pipelines.payments import stages
from pipelines.registry import REGISTRY
from schemas.rails import Record
from transforms.check_logs import CheckLogs, Partitions
from transforms.chunks import Chunk, by_place, records_in_order
from transforms.errors import one_line
from transforms.kafka_settings import KafkaSettings
from transforms.lines import WriteLines
from transforms.loop import Stage
from transforms.partition_files import PartitionReader
from transforms.replay import CompareReplay
from transforms.topic_files import ReadTopic, topic_paths
from transforms.topic_settings import DAY_MS

SHOWN = 10  # violations on the terminal


def add_source(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is verified: the folder of a run, or the topics of a broker."""
    parser.add_argument("--input", default="", help="folder of a run: its `topics` and its shards.jsonl")
    parser.add_argument(
        "--from_topics",
        "--from-topics",
        action="store_true",
        help="check the topics of a broker, up to their ends now",
    )
    parser.add_argument("--output", default="", help="with --from_topics: keep the topics in this folder")


def check_source(options: Any, names: Sequence[str]) -> None:
    """The flags of `add_source` name one or the other, and the folder of a run has topics of these names; UsageError if not."""
    if options.from_topics == bool(options.input):
        raise UsageError("say what to check: --input FOLDER or --from_topics")
    if options.input:
        check_topics(Path(options.input) / "topics", names)


def tell(violations: Sequence[str]) -> int:
    """Prints how many there are, and the first; the exit status."""
    print(f"verify: {len(violations)} violations" if violations else "verify: every invariant holds")
    for line in violations[:SHOWN]:
        print(f"  {line}")
    return 1 if violations else 0


class VerifyOptions(BrokerOptions):
    """Checks the invariants of the payment system over recorded topics."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        add_source(parser)
        add_rules(parser)
        parser.add_argument("--running", action="store_true", help="payments may still be on their way")
        cls.add_broker(parser)


def build_pipeline(
    p: beam.Pipeline, folder: Path, output: Path, ttl_ms: int = DAY_MS, drained: bool = True
) -> beam.PCollection:
    """`output` gets a line for each violation; it is empty when all invariants hold. Gives the chunks of all topics."""
    names = {topic_id: name for name, topic_id in read_ids(folder / "topics").items()}

    def check(partitions: Partitions) -> list[str]:
        logs = read_logs(by_name(partitions, names) if names else partitions, REGISTRY.decode)
        return check_all(logs, drained=drained, memory_ms=ttl_ms + CLOCK_TOLERANCE_MS)

    chunks = p | "Read" >> ReadTopic(folder / "topics", [topic.name for topic in topics.ALL])
    _ = chunks | "CheckLogs" >> CheckLogs(check) | "Write" >> WriteLines(str(output))
    return chunks


def by_name(partitions: Partitions, names: Mapping[str, str]) -> Iterator[tuple[str, int, Iterable[Record]]]:
    """The records with the names of topics in their origins, where a broker has ids."""
    for topic, partition, records in partitions:
        yield topic, partition, (_with_name(record, names) for record in records)


def _with_name(record: Record, names: Mapping[str, str]) -> Record:
    if record.origin is None:
        return record
    source = record.origin.source
    named = source._replace(topic=names.get(source.topic, source.topic))
    return record._replace(origin=record.origin._replace(source=named))


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


def expected_shards(folder: Path, of_run: Sequence[Stage] | None = None) -> Shards:
    """The shards of a run and what each has to read, by the headers of the topics' files; of payments unless other stages are named."""
    found = {}
    for stage in stages() if of_run is None else of_run:
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


# --- the topics of a broker ---


class Recorded(NamedTuple):
    """What `verify_topics` found: violations; records on all topics, repeats among them by topic, records that were regenerated."""

    violations: list[str]
    records: int
    repeats: dict[str, int]
    regenerated: int


def build_replays(p: beam.Pipeline, merged: beam.PCollection, options: JobOptions, folder: Path, output: Path) -> None:
    """Folds every stage again; `output` gets differences, the numbers of records that agree, summaries of the shards, and repeats."""
    ids = read_ids(folder / "topics")
    engines = {
        ADMISSION.stage: partial(admission_engine, options.ttl_ms, ids.get(topics.INCOMING.name, "")),
        ACCOUNTS.stage: partial(accounts_engine, options.reversal_ms, ids.get(topics.INFLIGHT.name, "")),
        WATCHDOG.stage: partial(watchdog_engine, options.sla_ms, ids.get(topics.STATUS.name, "")),
    }
    differences, compared, summaries = [], [], []
    for kind in KINDS:
        writes, upserts = [topic.name for topic in kind.writes], [topic.name for topic in kind.upserts]
        made = merged | f"Replay {kind.stage}" >> CompareReplay(engines[kind.stage], kind.topic.name, writes, upserts)
        differences.append(made.differences)
        compared.append(made.compared | f"AsText {kind.stage}" >> beam.Map(str))
        summaries.append(made.summaries)
    for name, parts in (("differences", differences), ("compared", compared), ("shards", summaries)):
        _ = parts | f"Merge{name}" >> beam.Flatten() | f"Write{name}" >> WriteLines(str(output / f"{name}.txt"))
    _ = (
        merged
        | "ByTopic" >> beam.Map(by_place).with_output_types(tuple[tuple[str, int], Chunk])
        | "GroupTopic" >> beam.GroupByKey()
        | "CountRepeats" >> beam.Map(_count_repeats).with_output_types(str)
        | "WriteRepeats" >> WriteLines(str(output / "repeats.txt"))
    )


def _count_repeats(group: tuple[tuple[str, int], Iterable[Chunk]]) -> str:
    """`topic records repeats` of a partition; on a topic of clients nothing is a repeat."""
    (topic, _), chunks = group
    records = list(records_in_order(chunks))
    repeats = 0 if topic == topics.INCOMING.name else len(records) - len(effective(records))
    return f"{topic} {len(records)} {repeats}"


def verify_topics(options: JobOptions, settings: KafkaSettings, folder: Path) -> Recorded:
    """Puts the topics of the broker below `folder`, runs every checker over them, and folds every stage again."""
    ids, ends = find_ids(settings), find_ends(settings)
    place = folder / "topics"
    run_job(options, lambda p: build_recording(p, settings, ends, place), "record")
    write_ids(place, ids)
    with tempfile.TemporaryDirectory(prefix="payments-verify-") as temporary:
        output = Path(temporary)

        def build(p: beam.Pipeline) -> None:
            merged = build_pipeline(p, folder, output / "violations.txt", options.ttl_ms, not options.running)
            build_replays(p, merged, options, folder, output)

        run_job(options, build, "verify")
        found, differences, compared, shards, repeats = (
            (output / f"{name}.txt").read_text(encoding="utf-8").splitlines()
            for name in ("violations", "differences", "compared", "shards", "repeats")
        )
    names = {topic_id: name for name, topic_id in ids.items()}
    lines = [json.loads(line) for line in shards]
    lines = [shard | {"topic": names.get(shard["topic"], shard["topic"])} for shard in lines]
    (folder / "shards.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    counts: dict[str, int] = {}
    records = 0
    for line in repeats:
        topic, count, again = line.split()
        records += int(count)
        counts[topic] = counts.get(topic, 0) + int(again)
    found += [f"replay: {line}" for line in differences]
    found += check_summaries(read_summaries(folder / "shards.jsonl"), expected_shards(place))
    return Recorded(found, records, counts, sum(map(int, compared)))


def _verify_broker(options: JobOptions) -> list[str]:
    settings = broker_settings(options)
    with keep_folder(options.output, "payments-topics-") as folder:
        made = verify_topics(options, settings, Path(folder))
    print("\n".join(describe(made)))
    return made.violations


def describe(made: Recorded) -> list[str]:
    """What was looked at, in words."""
    again = ", ".join(f"{topic} {count:,}" for topic, count in sorted(made.repeats.items()) if count)
    return [
        f"verify: {made.records:,} records on {len(topics.ALL)} topics, repeats on the wire: {again or 'none'}",
        f"replay: {made.regenerated:,} records regenerated byte for byte",
    ]


def run(argv: list[str]) -> int:
    options = parse_options(argv, VerifyOptions)
    check_rules(options)
    check_source(options, [topic.name for topic in topics.ALL])
    if options.from_topics:
        return tell(_verify_broker(options))
    return tell(verify(options, Path(options.input), options.ttl_ms))


if __name__ == "__main__":
    main(run)
