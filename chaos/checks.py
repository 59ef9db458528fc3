"""What is looked at when a run is over: the controls, and where canaries stand."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chaos.canaries import files, scan
from chaos.reading import read_all
from chaos.results import Control
from chaos.system import System
from chaos.usual_sink import USUAL
from payments import topics
from payments.logs import effective
from pipelines.registry import REGISTRY
from pipelines.topics import METRICS
from schemas.payments import LedgerEntry
from schemas.rails import DeadLetter, Record
from stack.cluster import Stack
from transforms.chunks import unpack_chunk
from transforms.errors import BadRecord
from transforms.fold import DEAD_LETTERS
from transforms.kafka_settings import KafkaSettings
from transforms.topic_files import read_topic

_SECRET = "the secret"
_SIGNS = {"DEBIT": -1, "CAPTURE": -1, "CREDIT": 1, "UNWIND": 1}


def wrong_balances(records: Iterable[Record]) -> int:
    """How many accounts of a journal partition have a balance that is not the sum of the entries' amounts, as this reader sees them."""
    sums: dict[str, int] = defaultdict(int)
    newest: dict[str, tuple[int, int]] = {}
    for record in records:
        try:
            entry = REGISTRY.decode(record.value or b"")
        except BadRecord:
            continue
        if type(entry) is LedgerEntry:
            sums[entry.account_id] += _SIGNS.get(entry.leg, 0) * entry.amount.minor
            newest[entry.account_id] = max(newest.get(entry.account_id, (0, 0)), (entry.version, entry.balance))
    return sum(sums[account] != balance for account, (_, balance) in newest.items())


def control_reader(folder: Path) -> tuple[Control, list[str]]:
    """Readers of the journal with and without the filter, from `folder`; with it all must be right, else a line for each partition."""
    records = doubled = wrong = 0
    violations = []
    partitions: dict[int, list[Record]] = defaultdict(list)
    for chunk in read_topic(folder, topics.JOURNAL.name):
        partitions[chunk.partition] += unpack_chunk(chunk)
    for number, held in sorted(partitions.items()):
        once = effective(held)
        records, doubled = records + len(held), doubled + len(held) - len(once)
        wrong += wrong_balances(held)
        if bad := wrong_balances(once):
            violations.append(f"{topics.JOURNAL.name}/{number}: {bad} accounts are not the sum of their entries")
    return Control("reader without filter", records, doubled, f"{wrong} accounts with a wrong balance"), violations


def control_sink(settings: KafkaSettings) -> Control:
    """Beam's usual sink: how many records it wrote more than once."""
    values = [record.value for record in read_all(settings, USUAL.name, USUAL.partitions)]
    doubled = len(values) - len(set(values))
    return Control(
        "Beam's usual sink", len(values), doubled, "the same payment written again, with nothing to tell it by"
    )


# --- canaries ---


def letters(settings: KafkaSettings) -> Iterator[tuple[str, Iterable[bytes]]]:
    """What dead letters say in words of their own. (The record that was refused they hold as it came.)"""
    for record in read_all(settings, DEAD_LETTERS.name, DEAD_LETTERS.partitions):
        letter = REGISTRY.decode(record.value or b"")
        assert type(letter) is DeadLetter
        words = (letter.id, letter.stage, letter.topic, letter.code, letter.detail)
        yield f"dead letter {letter.id}", ["\n".join(words).encode()]


def pages(stack: Stack) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Flink's pages, as far as they say something of jobs, settings and errors."""
    paths = ["/config", "/jobs/overview", "/jobmanager/config", "/jobmanager/environment", "/taskmanagers"]
    for job in stack.rest.jobs():
        parts = ("", "/config", "/plan", "/exceptions", "/accumulators", "/checkpoints")
        paths += [f"/jobs/{job['jid']}{part}" for part in parts]
    for path in paths:
        yield f"Flink's page {path}", [_text(stack.rest.get(path)).encode()]


def _text(found: Any) -> str:
    return repr(found)


def commands(stack: Stack) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Command lines of the stack's processes."""
    for service in stack.services.values():
        for known in service.process.family():
            try:
                yield f"command line of {service.name}", [Path(f"/proc/{known.pid}/cmdline").read_bytes()]
            except OSError:
                continue


def find_canaries(system: System) -> list[str]:
    """Invariant 11: the secret of the run and a card number of a client, in logs, dead letters, options, checkpoints and pages.

    Not looked at: what the broker holds (its users, the topics as clients wrote them) and snapshots, for the card.
    """
    canaries = {_SECRET: system.secret, "a card number": system.card}
    everywhere = [*files(system.folder, "kafka", "live/snapshots"), *pages(system.stack), *commands(system.stack)]
    metrics = (record.value or b"" for record in read_all(system.direct, METRICS.name, METRICS.partitions))
    places = [*everywhere, (METRICS.name, metrics), *letters(system.direct)]
    secret = {_SECRET: system.secret}
    return scan(places, canaries) + scan(files(system.snapshots), secret)
