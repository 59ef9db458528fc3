"""The sides of `bench.live_peers`: how each is started, and what it promises."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.card import BALANCES, DEPOSITS, EVENTS, SCHEMAS, CardBalance, Deposit

HERE = Path(__file__).parent
WORKERS = 2

# As bench.live_card has them (WriteKnobs, ReadKnobs): the same for all.
PRODUCER = {
    "linger.ms": 5,
    "compression.type": "lz4",
    "batch.size": 1_000_000,
    "queue.buffering.max.messages": 1_000_000,
    "partitioner": "murmur2_random",
}
CONSUMER = {
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 100,
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 65_536,
}


@dataclass(frozen=True)
class Place:
    """Where a side runs: broker, Beam's job server and worker pool, two free ports, a folder of its own, the peers' interpreter."""

    bootstrap: str
    job_endpoint: str
    worker_endpoint: str
    ports: tuple[int, int]
    folder: Path
    python: Path

    @property
    def settings(self) -> Path:
        """The file that the side's program reads."""
        return self.folder / "settings.json"


@dataclass(frozen=True)
class Side:
    """One way to do it. floor and aim: how many times as fast ours shall be; package: what its version is told of;
    job: its name on the cluster, where it runs on one; processing: Quix's own name of the guarantee; usual: whether it
    is measured when no sides are named."""

    name: str
    title: str
    guarantee: str
    package: str
    commands: Callable[[Place], list[list[str]]]
    floor: float | None = None
    aim: float | None = None
    job: str = ""
    processing: str = "at-least-once"
    usual: bool = True

    @property
    def topic(self) -> str:
        """Where it writes."""
        return f"{BALANCES.name}.{self.name}"

    def prepare(self, place: Place) -> list[list[str]]:
        """Makes folder and settings; the commands of its processes."""
        place.folder.mkdir(parents=True)
        settings: dict[str, Any] = {
            "bootstrap": place.bootstrap,
            "source": DEPOSITS.name,
            "target": self.topic,
            "partitions": DEPOSITS.partitions,
            "deposit": SCHEMAS[Deposit],
            "balance": SCHEMAS[CardBalance],
            "frame": EVENTS.frame(CardBalance).hex(),
            "producer": PRODUCER,
            "consumer": CONSUMER,
            "guarantee": self.processing,
            "folder": str(place.folder),
        }
        place.settings.write_text(json.dumps(settings), encoding="utf-8")
        return self.commands(place)


def beam(place: Place, *flags: str) -> list[list[str]]:
    """A job on the cluster, with the flags that a live job cannot do without (`docs/beam-on-flink.md`)."""
    return [
        [
            *(sys.executable, "-m", "bench.peers.beam_cards", str(place.settings)),
            *("--runner=PortableRunner", f"--job_endpoint={place.job_endpoint}", "--job_name=cards-beam"),
            *("--environment_type=EXTERNAL", f"--environment_config={place.worker_endpoint}"),
            *(f"--parallelism={WORKERS}", "--checkpointing_interval=2000", "--finish_bundle_before_checkpointing"),
            *flags,
        ]
    ]


def beam_in_large_bundles(place: Place) -> list[list[str]]:
    """Beam's default is 1,000 elements; the state of a card is fetched and committed once per bundle, so larger ones are cheaper."""
    return beam(place, "--max_bundle_size=20000")


def quix(place: Place) -> list[list[str]]:
    """Two members of one consumer group."""
    return [[str(place.python), str(HERE / "quix_cards.py"), str(place.settings)]] * WORKERS


def bytewax(place: Place, *recovery: str) -> list[list[str]]:
    """A cluster of two processes with a worker each."""
    addresses = ";".join(f"127.0.0.1:{port}" for port in place.ports)
    flow = f"{HERE / 'bytewax_cards.py'}:flow('{place.settings}')"
    command = [str(place.python), "-m", "bytewax.run", flow, *recovery, "-a", addresses]
    return [[*command, "-i", str(number)] for number in range(WORKERS)]


def bytewax_recovering(place: Place) -> list[list[str]]:
    """With a recovery store of two partitions, a snapshot every 10 s, and none kept longer than needed."""
    store = place.folder / "recovery"
    store.mkdir()
    subprocess.run([place.python, "-m", "bytewax.recovery", store, str(WORKERS)], check=True)
    return bytewax(place, "-r", str(store), "-s", "10", "-b", "0")


OURS = "effectively once"

BEAMS = "state exactly once, output at least once"

SIDES = (
    Side("beam", "idiomatic Beam on the same cluster", BEAMS, "apache-beam", beam, 20, 35, job="cards-beam"),
    Side(
        "beam_large_bundles",
        "the same with --max_bundle_size=20000",
        BEAMS,
        "apache-beam",
        beam_in_large_bundles,
        job="cards-beam",
    ),
    Side("quix", "Quix Streams", "at least once (its default)", "quixstreams", quix, 6, 10),
    Side(
        "quix_exactly_once",
        "Quix Streams with processing_guarantee=exactly-once",
        "exactly once, by Kafka transactions",
        "quixstreams",
        quix,
        processing="exactly-once",
        usual=False,
    ),
    Side("bytewax", "Bytewax", "at least once (recovery store)", "bytewax", bytewax_recovering, 2, 3),
    Side("bytewax_bare", "Bytewax without a recovery store", "none: state and place are lost", "bytewax", bytewax),
)
"""Those on the cluster first: it is ended before the others."""
