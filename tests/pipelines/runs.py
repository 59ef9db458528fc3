"""Runs of the payment pipelines in a folder of a test's own, and topics as text."""

from pathlib import Path
from typing import Any

from payments import topics
from payments.generator import Generation, Settings
from pipelines import payments
from pipelines.registry import REGISTRY
from schemas.rails import Tick
from transforms.chunks import unpack_chunk
from transforms.record_files import write_record_file
from transforms.topic_files import read_topic

GOLDEN = Path(__file__).parent / "golden"


def stream(count: int = 300, accounts: int = 40) -> Generation:
    """A small stream of the generator, many of its payments bad."""
    return Generation(Settings(payments=count, accounts=accounts, bad=0.2))


def generate(path: Path) -> Path:
    """The stream as a file of raw records."""
    write_record_file(str(path), stream())
    return path


def run_payments(raw: Path | str, folder: Path, *flags: str) -> Path:
    payments.run([f"--input={raw}", f"--output={folder}", *flags])
    return folder


def events(folder: Path, topic: str) -> list[tuple[str, Any]]:
    """(partition/offset, event) of a topic, without ticks."""
    found = []
    for chunk in read_topic(folder / "topics", topic):
        for record in unpack_chunk(chunk):
            event = REGISTRY.decode(record.value or b"")
            if not isinstance(event, Tick):
                found.append((f"{chunk.partition}/{record.offset}", event))
    return found


def as_text(folder: Path) -> str:
    """What the stages wrote, event by event: the golden form of a run."""
    lines = []
    for topic in topics.ALL:
        if topic is topics.INCOMING:
            continue
        lines.append(f"== {topic.name}")
        lines += [f"{where} {event}" for where, event in events(folder, topic.name)]
    return "\n".join(lines) + "\n"


def files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
