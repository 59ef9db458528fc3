"""The card example in Bytewax: `python -m bytewax.run "bytewax_cards:flow('SETTINGS.json')"`, with -i and -a for several processes.

`stateful_map` over Kafka's connectors, as its documentation has it. State is in memory; with a recovery folder (-r) it is saved with the
offsets at each snapshot, and what was written since then is written again after a crash (at-least-once).

Imports nothing of the project: it runs in the peers' environment.
"""

# mypy: disable-error-code="import-not-found"

import json
from io import BytesIO
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from fastavro import parse_schema, schemaless_reader, schemaless_writer

HEAD = 5


def flow(path: str) -> Dataflow:
    """The dataflow over the topics that the settings name."""
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    deposit, balance = parse_schema(settings["deposit"]), parse_schema(settings["balance"])
    frame = bytes.fromhex(settings["frame"])
    brokers = [settings["bootstrap"]]

    def decode(message: KafkaSourceMessage) -> tuple[str, int]:
        found = schemaless_reader(BytesIO(message.value[HEAD:]), deposit, None)
        return found["card"], found["amount"]

    def add_up(before: int | None, amount: int) -> tuple[int, int]:
        after = (before or 0) + amount
        return after, after

    def encode(card_and_balance: tuple[str, int]) -> KafkaSinkMessage:
        card, after = card_and_balance
        value = BytesIO()
        value.write(frame)
        schemaless_writer(value, balance, {"card": card, "balance": after})
        return KafkaSinkMessage(card.encode(), value.getvalue())

    cards = Dataflow("cards")
    source = KafkaSource(brokers, [settings["source"]], add_config=settings["consumer"])
    deposits = op.map("decode", op.input("deposits", cards, source), decode)
    balances = op.stateful_map("add_up", deposits, add_up)
    written = op.map("encode", balances, encode)
    op.output("balances", written, KafkaSink(brokers, settings["target"], settings["producer"]))
    return cards
