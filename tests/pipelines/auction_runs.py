"""Runs of the auction pipelines in a folder of a test's own."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from auctions.generator import Generation, Settings
from auctions.geography import write_geo_ip
from pipelines import auctions
from pipelines.auction_stages import rules_of
from pipelines.engine import run_job
from pipelines.registry import REGISTRY
from schemas.rails import Tick
from transforms.chunks import unpack_chunk
from transforms.errors import BadRecord
from transforms.record_files import write_record_file
from transforms.topic_files import read_topic

FAST = ("--tick_ms=3600000",)


def generation(count: int = 12) -> Generation:
    """A small market in which much goes wrong."""
    sizes = {"auctions": count, "sellers": 3, "bidders": 60, "cheats": 1, "seed": 3}
    return Generation(Settings(**sizes, backed=0.6, poor=0.3, bad=0.3, bell=0.2))  # type: ignore[arg-type]


def generate(folder: Path, count: int = 12) -> Path:
    """A small stream as a file of raw records, and where its networks lie."""
    write_record_file(str(folder / "raw.avro"), iter(generation(count)))
    write_geo_ip(folder / "geo.csv")
    return folder / "raw.avro"


def run_auctions(raw: Path | str, folder: Path, *flags: str) -> Path:
    assert auctions.run([f"--input={raw}", f"--output={folder}", *FAST, *flags]) == 0
    return folder


def run_loop(raw: Path | str, folder: Path, *flags: str) -> Path:
    """Topics and shards alone, of the same run."""
    options = auctions.AuctionsOptions([f"--input={raw}", f"--output={folder}", *FAST, *flags])
    folder.mkdir()
    run_job(options, lambda p: auctions.build_pipeline(p, options, rules_of(options), [str(raw)], folder))
    return folder


def events(folder: Path, topic: str, kinds: type | tuple[type, ...] = object) -> list[Any]:
    """The events of these kinds on a topic, by partition and offset, without ticks."""
    chunks: Iterable[Any] = read_topic(folder / "topics", topic)
    found = []
    for record in (record for chunk in chunks for record in unpack_chunk(chunk)):
        with suppress(BadRecord):  # clients write bad ones
            event = REGISTRY.decode(record.value or b"")
            if isinstance(event, kinds) and not isinstance(event, Tick):
                found.append(event)
    return found
