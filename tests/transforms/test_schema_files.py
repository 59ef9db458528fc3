"""Schemas of container files: whole, without docs, understood by fastavro."""

import json

import fastavro
import pytest

from schemas.generate import FOLDER
from transforms.schema_files import container_schema

NAMES = sorted(f"{path.parent.name}.{path.stem}" for path in FOLDER.glob("*/*.avsc"))


@pytest.mark.parametrize("name", NAMES)
def test_fastavro_parses_every_schema_with_nothing_else_at_hand(name: str) -> None:
    schema = container_schema(name)
    fastavro.parse_schema(json.loads(json.dumps(schema)))
    assert '"doc"' not in json.dumps(schema)


def test_types_are_written_out_once() -> None:
    text = json.dumps(container_schema("rails.Snapshot"))
    assert text.count('"name": "Position"') == 1 and text.count('"rails.Position"') == 1


def test_what_tells_values_apart_stays() -> None:
    schema = container_schema("rails.Origin")
    assert schema["namespace"] == "rails" and schema["type"] == "record"
    assert schema["fields"][-1]["default"] is None
    at = container_schema("rails.Record")["fields"][1]
    assert at == {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}


@pytest.mark.parametrize("name", ["rails.Nothing", "nothing.Record", "Record"])
def test_a_schema_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        container_schema(name)
