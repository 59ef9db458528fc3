from typing import NamedTuple

import apache_beam as beam

from transforms.errors import BadRecord
from transforms.event_types import EventTypes, codec_of, pack_events, unpack_events
from transforms.fold import Processor, Topic
from transforms.fold_bounded import Engine, Fold
from transforms.loop import Stage


class Deposit(NamedTuple):
    card: str
    amount: int


class CardBalance(NamedTuple):
    card: str
    balance: int


EVENTS = EventTypes({100: Deposit, 101: CardBalance})  # schema ids; the Avro schemas follow from the fields
DEPOSITS, BALANCES = Topic("cards.deposits"), Topic("cards.balances")


class Cards(Processor):
    stage, reads, entity_codec = "cards", (Deposit,), codec_of(int)

    def key(self, event):
        return event.card

    def on_event(self, card, balance, deposit, context):
        if deposit.amount <= 0:
            raise BadRecord("BAD_AMOUNT")  # makes it a dead letter
        balance = (balance or 0) + deposit.amount
        context.emit(BALANCES, card, CardBalance(card, balance))
        return balance  # what the card's state is from now on


def engine():
    return Engine(Stage(Cards(), DEPOSITS), EVENTS)


if __name__ == "__main__":
    deposits = [(1, "123", Deposit("123", 456)), (2, "7", Deposit("7", 10)), (3, "123", Deposit("123", 44))]
    with beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner") as p:
        folded = p | beam.Create(pack_events(DEPOSITS, EVENTS, deposits)) | Fold(engine)
        _ = folded.outputs | beam.FlatMap(unpack_events, EVENTS) | beam.Map(print)
