"""How the stages of auctions are launched: bounded over recorded topics (folded again and compared), or live between topics of Kafka.

With `--input` a job folds the topics of a run again by partition and compares all that it regenerates, byte for byte; exit status 1 when
anything differs. Without it the job is live (`--snapshots`, a broker), and ends when it is cancelled. Each of the modules `auction_*` names
its stages and calls this one.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import apache_beam as beam

from auctions.live_stages import PATIENT
from payments.live_stages import ACCOUNTS, ADMISSION, WATCHDOG, StageKind
from payments.topics import SETTINGS as PAYMENT_SETTINGS
from pipelines import auction_stages, live_stages, payment_rules
from pipelines.auction_stages import STAGES, Rules, engine_maker, rules_of
from pipelines.common import UsageError
from pipelines.engine import run_job
from pipelines.live_options import LiveOptions, broker_settings, chosen, parse_live
from pipelines.live_topics import CLIENTS, read_ids
from pipelines.preflight import is_safe
from pipelines.replays import run_replay
from transforms.fold_bounded import Engine
from transforms.kafka_settings import KafkaSettings
from transforms.lines import WriteLines
from transforms.replay import CompareReplay
from transforms.topic_files import ReadTopic

PAYMENT_STAGES: Mapping[str, StageKind] = {"Admission": ADMISSION, "Accounts": ACCOUNTS, "Watchdog": WATCHDOG}
NAMES = (*PAYMENT_STAGES, *auction_stages.NAMES)
KEYED = ("House", "Funds")
"""Stages that compute the payment ids behind bids."""

GUESSABLE = (
    "warning: without --backing_key the payment ids behind bids can be guessed, so whoever writes payments.incoming can bid with "
    "another's money: begin a log with --backing_key=file:/PATH or env:NAME (one that began without goes on without)"
)


class StageOptions(LiveOptions):
    """Stages of auctions: over recorded topics with --input, live without it."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--input", default="", help="folder with recorded topics; without it the job is live")
        parser.add_argument(
            "--output",
            default="",
            help="with --input: folder for differences.txt and shards.jsonl; none is kept without it",
        )
        cls.add_live(parser)
        payment_rules.add_rules(parser)
        parser.add_argument("--only", default="", help=f"the stages to launch, by commas, of {', '.join(NAMES)}")
        auction_stages.add_rules(parser)


def kind_of(name: str) -> StageKind:
    return STAGES[name].kind if name in STAGES else PAYMENT_STAGES[name]


def makers_of(names: Sequence[str], options: StageOptions, rules: Rules) -> dict[str, Callable[[], Engine]]:
    """What builds each stage on a worker, live."""
    return {
        name: engine_maker(name, rules) if name in STAGES else live_stages.maker_of(name, options) for name in names
    }


def build_live(
    p: beam.Pipeline, options: StageOptions, rules: Rules, settings: KafkaSettings, names: Sequence[str]
) -> None:
    """A root for each stage; what joins them are the topics."""
    live_stages.fold_roots(p, options, settings, makers_of(names, options, rules), NAMES.index, PATIENT)


def build_replay(p: beam.Pipeline, folder: Path, rules: Rules, names: Sequence[str], output: Path) -> None:
    """`output` gets differences.txt (empty when the replay is exact), compared.txt (records that agree, a line per block), shards.jsonl."""
    ids = read_ids(folder)
    chunks = p | "Read" >> ReadTopic(folder, topics_of(names))
    differences, compared, summaries = [], [], []
    for name in names:
        kind = STAGES[name].kind
        made = chunks | f"Replay{name}" >> CompareReplay(
            engine_maker(name, rules, ids.get(kind.topic.name, "")),
            kind.topic.name,
            # As recorded from a broker, topics that clients write too have no origins, which would prove nothing there.
            [topic.name for topic in kind.writes if not ids or topic.name not in CLIENTS],
            [topic.name for topic in kind.upserts],
        )
        differences.append(made.differences)
        compared.append(made.compared | f"AsText{name}" >> beam.Map(str))
        summaries.append(made.summaries)
    for what, parts in (("differences.txt", differences), ("compared.txt", compared), ("shards.jsonl", summaries)):
        label = what.partition(".")[0].capitalize()
        _ = parts | f"Merge{label}" >> beam.Flatten() | f"Write{label}" >> WriteLines(str(output / what))


def topics_of(names: Sequence[str]) -> list[str]:
    """All topics that these stages read or write, each once."""
    found: dict[str, None] = {}
    for name in names:
        kind = kind_of(name)
        found.update(dict.fromkeys(topic.name for topic in (kind.topic, *kind.writes, *kind.upserts)))
    return list(found)


def run_stages(argv: Sequence[str], names: Sequence[str]) -> int:
    """One of the jobs, with these stages or those of them that `--only` names."""
    bounded = any(word == "--input" or word.startswith("--input=") for word in argv)
    options, flags = parse_live(argv, StageOptions, endless=not bounded)
    wanted = chosen(options.only, names)
    payment_rules.check_rules(options)
    rules = rules_of(options)
    return replay(options, rules, wanted) if bounded else live(options, flags, rules, wanted)


def replay(options: StageOptions, rules: Rules, names: Sequence[str]) -> int:
    """Folds the recorded topics again; 1 when something differs."""
    if any(name in PAYMENT_STAGES for name in names):
        raise UsageError("stages of payments are replayed by payments_replay", "--only")

    def build(p: beam.Pipeline, output: Path) -> None:
        build_replay(p, Path(options.input), rules, names, output)

    return run_replay(options, topics_of(names), build, f" of {', '.join(names)}")


def live(options: StageOptions, flags: Mapping[str, str], rules: Rules, names: Sequence[str]) -> int:
    """Checks, then runs the stages until the job is cancelled; 2 when something is unsafe."""
    settings = broker_settings(options)
    named = set(topics_of(names))
    known = {topic.name: topic for topic in (*auction_stages.SETTINGS, *PAYMENT_SETTINGS)}
    if not is_safe(options, flags, settings, [topic for name, topic in known.items() if name in named]):
        return 2
    if not rules.backing_key and any(name in KEYED for name in names):
        print(GUESSABLE, file=sys.stderr)
    run_job(options, lambda p: build_live(p, options, rules, settings, names))
    return 0
