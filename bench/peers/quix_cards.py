"""The card example in Quix Streams: `python quix_cards.py SETTINGS.json`, one process; run it as often as there shall be workers.

State is Quix's own (RocksDB, with a changelog topic), as its documentation has it. The guarantee is the one of its default, at-least-once,
or exactly-once by Kafka transactions, by `guarantee` in the settings. Values carry the frame of five bytes that Confluent's clients write;
Quix reads it with a schema registry, which would be slower than taking it off.

Imports nothing of the project: it runs in the peers' environment.
"""

# mypy: disable-error-code="import-not-found"

import json
import sys
from pathlib import Path
from typing import Any

from quixstreams import Application, State
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer

HEAD = 5


class Unframed(AvroDeserializer):
    """A framed value → a dict."""

    def __call__(self, value: bytes, ctx: Any) -> Any:
        return super().__call__(value[HEAD:], ctx)


class Framed(AvroSerializer):
    """A dict → a framed value."""

    def __init__(self, schema: Any, frame: bytes) -> None:
        super().__init__(schema)
        self._frame = frame

    def __call__(self, value: Any, ctx: Any) -> bytes:
        return self._frame + super().__call__(value, ctx)


def add_up(deposit: dict[str, Any], state: State) -> dict[str, Any]:
    """The card's new balance."""
    balance = state.get("balance", 0) + deposit["amount"]
    state.set("balance", balance)
    return {"card": deposit["card"], "balance": balance}


def main(settings: dict[str, Any]) -> None:
    app = Application(
        broker_address=settings["bootstrap"],
        consumer_group=settings["target"],
        auto_offset_reset="earliest",
        processing_guarantee=settings["guarantee"],
        state_dir=settings["folder"] + "/state",
        producer_extra_config=settings["producer"],
        consumer_extra_config=settings["consumer"],
    )
    deposits = app.topic(settings["source"], key_deserializer="str", value_deserializer=Unframed(settings["deposit"]))
    frame = bytes.fromhex(settings["frame"])
    balances = app.topic(settings["target"], key_serializer="str", value_serializer=Framed(settings["balance"], frame))
    sdf = app.dataframe(deposits)
    sdf = sdf.apply(add_up, stateful=True)
    sdf = sdf.to_topic(balances)
    app.run()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
