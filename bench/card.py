"""The card example: a balance per card after each deposit, by Fold and by idiomatic Beam, over the same file in the same run.

Both read the topic from disk (Avro containers of log records), decode each deposit, keep a balance per card, and encode a new balance
for each deposit. Ours is `Fold`. Theirs is ReadFromAvro, fastavro, and a DoFn with a value state per key. Both run on Beam's FnApiRunner
in this process, the start of the pipeline included, and give the same balances. `python -m bench.card` prints the rows.
"""

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import fastavro
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from bench.side_by_side import keep, medians, print_rows
from transforms.chunks import Chunk, unpack_chunk
from transforms.event_types import EventTypes, codec_of, pack_events
from transforms.fold import Context, Processor, Topic
from transforms.fold_bounded import Engine, Fold
from transforms.loop import Stage
from transforms.topic_files import ReadTopic, write_topics

CARDS = 1000
RECORDS = 500_000  # the start of a pipeline, 0.2 s, is then less than a tenth of ours
START = 1_760_000_000_000


class Deposit(NamedTuple):
    card: str
    amount: int


class CardBalance(NamedTuple):
    card: str
    balance: int


EVENTS = EventTypes({100: Deposit, 101: CardBalance})
DEPOSITS, BALANCES = Topic("cards.deposits"), Topic("cards.balances")
SCHEMAS = {kind: codec_of(kind).schema for kind in (Deposit, CardBalance)}


class CardProcessor(Processor):
    """The example of the README."""

    stage, reads, entity_codec = "cards", (Deposit,), codec_of(int)

    def key(self, event: Deposit) -> str:
        return event.card

    def on_event(self, key: str, entity: int | None, event: Deposit, context: Context) -> int:
        balance = (entity or 0) + event.amount
        context.emit(BALANCES, key, CardBalance(key, balance))
        return balance


def make_engine() -> Engine:
    return Engine(Stage(CardProcessor(), DEPOSITS), EVENTS)


def write_deposits(directory: Path, records: int) -> None:
    """The topic on disk; the same bytes for the same number."""
    rng = random.Random(4)
    cards = [f"card-{rng.randrange(CARDS):06d}" for _ in range(records)]
    events = ((START + i, card, Deposit(card, rng.randrange(1, 100_000))) for i, card in enumerate(cards))
    chunks = sorted(pack_events(DEPOSITS, EVENTS, events))
    write_topics(directory, {DEPOSITS.name: DEPOSITS.partitions}, chunks)


def _pipeline() -> beam.Pipeline:
    return beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([]))


def run_ours(directory: Path, results: Path | None = None) -> None:
    with _pipeline() as p:
        folded = p | ReadTopic(directory, DEPOSITS.name) | Fold(make_engine)
        if results is not None:
            keep(folded.outputs | beam.FlatMap(_balances).with_output_types(bytes), results, _line)


def _balances(chunk: Chunk) -> Iterator[bytes]:
    for record in unpack_chunk(chunk):
        yield record.value or b""


class DecodeDeposit(beam.DoFn):
    """A log record as ReadFromAvro gives it → the deposit as fastavro gives it."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMAS[Deposit])

    def process(self, element: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield fastavro.schemaless_reader(io.BytesIO(element["value"][5:]), self._schema, None)


class EncodeBalance(beam.DoFn):
    """(card, balance) → the framed CardBalance."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(SCHEMAS[CardBalance])
        self._frame = EVENTS.frame(CardBalance)

    def process(self, element: tuple[str, int]) -> Iterator[bytes]:
        value = io.BytesIO()
        fastavro.schemaless_writer(value, self._schema, {"card": element[0], "balance": element[1]})
        yield self._frame + value.getvalue()


class AddUp(beam.DoFn):
    """(card, amount) → (card, balance after it)."""

    BALANCE = ReadModifyWriteStateSpec("balance", VarIntCoder())

    def process(
        self, element: tuple[str, int], state: Any = beam.DoFn.StateParam(BALANCE)
    ) -> Iterator[tuple[str, int]]:
        card, amount = element
        balance = (state.read() or 0) + amount
        state.write(balance)
        yield card, balance


def run_idiomatic(directory: Path, results: Path | None = None) -> None:
    with _pipeline() as p:
        balances = (
            p
            | beam.io.ReadFromAvro(str(directory / DEPOSITS.name / "*.avro"))
            | beam.ParDo(DecodeDeposit()).with_output_types(dict[str, Any])
            | beam.Map(lambda deposit: (deposit["card"], deposit["amount"])).with_output_types(tuple[str, int])
            | beam.ParDo(AddUp()).with_output_types(tuple[str, int])
            | beam.ParDo(EncodeBalance()).with_output_types(bytes)
        )
        keep(balances, results, _line)


def _line(value: bytes) -> str:
    return json.dumps(EVENTS.decode(value))


def measure(repeats: int = 5, records: int = RECORDS) -> list[dict[str, Any]]:
    """The row of this benchmark: medians of `repeats` runs, in turns, in µs per record."""
    ours, theirs = medians(write_deposits, run_ours, run_idiomatic, repeats, records)
    value, baseline = (seconds / records * 1e6 for seconds in (ours, theirs))
    return [
        {
            "name": "T4 card example, bounded, DirectRunner",
            "unit": "µs/record",
            "value": round(value, 2),
            "baseline": round(baseline, 2),
            "ratio": round(baseline / value, 1),
            "floor": 10,
            "aim": 15,
            "floor_is": "ratio",
        }
    ]


if __name__ == "__main__":
    print_rows(measure, __doc__, RECORDS)
