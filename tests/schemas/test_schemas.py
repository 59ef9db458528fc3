"""The schema files, their ids, and the records generated from them."""

import ast
import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, get_args, get_type_hints

import fastavro
import pytest

import schemas
from schemas import FOLDER, UnknownSchema, generate, load_schema, read_schema, schema_ids

FILES = sorted(FOLDER.glob("*/*.avsc"))
NAMES = [f"{path.parent.name}.{path.stem}" for path in FILES]
RECORDS: dict[str, Any] = {
    name: kind for domain in generate.domains() for name, kind in import_module(f"schemas.{domain}").RECORDS.items()
}

# Ids that records on topics and in files carry: they mean this for ever. New ones are added, none is changed or taken out.
IDS = {
    1: "rails/Tick.avsc",
    2: "rails/Version.avsc",
    3: "rails/Rule.avsc",
    4: "rails/DeadLetter.avsc",
    11: "payments/PaymentInitiated.avsc",
    12: "payments/LedgerLeg.avsc",
    13: "payments/LedgerEntry.avsc",
    14: "payments/PaymentStatus.avsc",
    15: "payments/PaymentConfirmed.avsc",
    16: "payments/AccountBalance.avsc",
    17: "payments/AccountOpened.avsc",
    18: "payments/AccountLimited.avsc",
    19: "payments/AccountFrozen.avsc",
    20: "payments/AccountClosed.avsc",
    21: "payments/PaymentOverdue.avsc",
    31: "auctions/ItemListed.avsc",
    32: "auctions/ItemCancelled.avsc",
    33: "auctions/BidPlaced.avsc",
    34: "auctions/BidRetracted.avsc",
    35: "auctions/BidReceived.avsc",
    36: "auctions/RetractionReceived.avsc",
    37: "auctions/BidsClock.avsc",
    38: "auctions/FundsHeld.avsc",
    39: "auctions/FundsRefused.avsc",
    40: "auctions/BidDecision.avsc",
    41: "auctions/AuctionOutcome.avsc",
    42: "auctions/EndingSoon.avsc",
    43: "auctions/AuctionState.avsc",
    44: "auctions/SaleUnpaid.avsc",
    81: "auctions/Notice.avsc",
    82: "auctions/Sale.avsc",
    83: "auctions/PriceRange.avsc",
    84: "auctions/AuctionSpread.avsc",
    85: "auctions/Alert.avsc",
    86: "auctions/BidderTrace.avsc",
    87: "auctions/SellerTrace.avsc",
    88: "auctions/Sighting.avsc",
    89: "auctions/OpenAuction.avsc",
    90: "auctions/AdLead.avsc",
    91: "auctions/AdRequest.avsc",
    92: "auctions/AdPlacement.avsc",
    94: "auctions/RangeAsked.avsc",
    95: "auctions/RangeServed.avsc",
}


# --- files ---


@pytest.mark.parametrize("name", NAMES)
def test_each_file_holds_the_type_that_its_path_says(name: str) -> None:
    schema = read_schema(name)
    assert f"{schema['namespace']}.{schema['name']}" == name
    assert schema["type"] in ("record", "enum")


@pytest.mark.parametrize("name", NAMES)
def test_every_type_and_field_has_a_doc(name: str) -> None:
    schema = read_schema(name)
    docs = [schema.get("doc", ""), *(field.get("doc", "") for field in schema.get("fields", []))]
    assert all(len(doc) > 2 and doc.endswith(".") for doc in docs), docs


@pytest.mark.parametrize("name", NAMES)
def test_fastavro_parses_each_schema(name: str) -> None:
    fastavro.parse_schema(load_schema(name))


def test_a_schema_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownSchema, match=r"rails\.Nothing"):
        load_schema("rails.Nothing")


def test_loading_inlines_each_type_once_and_leaves_the_files_alone() -> None:
    before = json.dumps(read_schema("payments.LedgerLeg"))
    text = json.dumps(load_schema("payments.LedgerLeg"))
    assert text.count('"name": "Money"') == 1 and "payments.Money" not in text
    assert json.dumps(read_schema("payments.LedgerLeg")) == before


# --- ids ---


def test_ids_mean_what_they_meant() -> None:
    ids = [(version["id"], version["file"]) for versions in schema_ids().values() for version in versions]
    assert len(dict(ids)) == len(ids), "an id was given twice"
    assert all(type(number) is int and 0 < number < 1 << 32 for number, _ in ids)
    for number, file in IDS.items():
        assert dict(ids)[number] == file
    assert set(dict(ids)) == set(IDS), "write new ids into this test: they are for ever"


def test_the_files_of_ids_are_there_and_of_that_type() -> None:
    for name, versions in schema_ids().items():
        for version in versions:
            schema = json.loads((FOLDER / version["file"]).read_text(encoding="utf-8"))
            assert f"{schema['namespace']}.{schema['name']}" == name
        assert versions[-1]["file"] == name.replace(".", "/") + ".avsc", "the newest version is the plain file"


# --- generated records ---


def test_records_are_up_to_date() -> None:
    """The command itself: `python -m schemas.generate --check`."""
    done = subprocess.run(
        [sys.executable, "-m", "schemas.generate", "--check"],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the schemas that the generator works on."""
    shutil.copytree(FOLDER, tmp_path / "schemas", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(schemas, "FOLDER", tmp_path / "schemas")
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "schemas")
    read_schema.cache_clear()
    yield tmp_path / "schemas"
    read_schema.cache_clear()


def test_a_changed_schema_is_noticed_and_written(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--check"]) == 0
    path = copy / "rails" / "Tick.avsc"
    path.write_text(path.read_text().replace('"name": "at"', '"name": "sent_at"'))
    read_schema.cache_clear()
    assert generate.main(["--check"]) == 1
    assert "stale: rails" in capsys.readouterr().err
    assert "sent_at" not in (copy / "rails" / "__init__.py").read_text()
    assert generate.main([]) == 0
    assert "    sent_at: int" in (copy / "rails" / "__init__.py").read_text()
    assert generate.main(["--check"]) == 0


def test_a_new_domain_gets_its_module(copy: Path) -> None:
    for domain in ("fleet", "crew"):
        (copy / domain).mkdir()
    fields = [
        {"name": "color", "type": "fleet.Color", "doc": "Paint."},
        {"name": "load", "type": ["null", "double"], "doc": "Tonnes.", "default": None},
        {"name": "count", "type": "int", "doc": "Wheels."},
        {"name": "trailer", "type": ["null", "fleet.Truck"], "doc": "What it pulls.", "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "doc": "Labels.", "default": []},
        {"name": "miles", "type": {"type": "map", "values": "long"}, "doc": "By driver."},
        {"name": "driver", "type": "crew.Driver", "doc": "Who drives."},
        {"name": "stops", "type": ["long", "string"], "doc": "A number or a name.", "default": 0},
        {"name": "notes", "type": {"type": "array", "items": "string"}, "doc": "Notes.", "default": []},
    ]
    truck = {"type": "record", "namespace": "fleet", "name": "Truck", "doc": "A truck.", "fields": fields}
    color = {"type": "enum", "namespace": "fleet", "name": "Color", "doc": "A color.", "symbols": ["RED", "BLUE"]}
    (copy / "fleet" / "Truck.avsc").write_text(json.dumps(truck))
    (copy / "fleet" / "Color.avsc").write_text(json.dumps(color))
    (copy / "fleet" / "Truck.1.avsc").write_text(json.dumps(truck))  # an older writer's: no class
    ages = [{"name": "ages", "type": {"type": "map", "values": "int"}, "doc": "By name.", "default": {}}]
    driver = {"type": "record", "namespace": "crew", "name": "Driver", "doc": "A driver.", "fields": ages}
    (copy / "crew" / "Driver.avsc").write_text(json.dumps(driver))
    assert generate.main([]) == 0
    assert "crew" in generate.domains()
    source = (copy / "fleet" / "__init__.py").read_text()
    assert "\nfrom schemas import crew\n" in source
    crew: dict[str, Any] = {}
    exec(compile((copy / "crew" / "__init__.py").read_text(), "crew", "exec"), crew)
    assert crew["Driver"]._field_defaults == {}, "a default that could be changed is none"
    made: dict[str, Any] = {"crew": SimpleNamespace(**crew)}
    exec(compile(source.replace("from schemas import crew\n", ""), "fleet", "exec"), made)
    assert list(made["RECORDS"]) == ["fleet.Truck"]
    kind = made["Truck"]
    assert kind._fields == ("color", "load", "count", "trailer", "tags", "miles", "driver", "stops", "notes")
    hints = {
        node.target.id: ast.unparse(node.annotation)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign)
    }
    assert hints["load"] == "float | None" and hints["tags"] == "tuple[str, ...]" and hints["miles"] == "dict[str, int]"
    assert hints["stops"] == "int | str" and hints["driver"] == "crew.Driver"
    assert hints["trailer"] == "'Truck | None'", "a type has no name yet where its own fields are written"
    # A default counts only where no field without one follows.
    assert kind._field_defaults == {"stops": 0, "notes": ()}


@pytest.mark.parametrize("name", [name for name in NAMES if "symbols" not in read_schema(name)])
def test_records_match_their_schemas_field_for_field(name: str) -> None:
    schema, kind = read_schema(name), RECORDS[name]
    assert issubclass(kind, tuple) and kind.__name__ == schema["name"]
    assert list(kind._fields) == [field["name"] for field in schema["fields"]]
    hints = get_type_hints(kind, vars(import_module(kind.__module__)) | {"schemas": schemas})
    for field in schema["fields"]:
        assert fits(hints[field["name"]], field["type"]), field["name"]
        if field["name"] in kind._field_defaults:
            assert kind._field_defaults[field["name"]] == field["default"]
        assert f"{field['name']}: " in kind.__doc__


def fits(hint: Any, schema: Any) -> bool:
    """Whether a Python type is that of a schema."""
    if isinstance(schema, list):
        rest = [branch for branch in schema if branch != "null"]
        found = [part for part in get_args(hint) if part is not type(None)]
        optional = type(None) in get_args(hint)
        return optional == (len(rest) < len(schema)) and all(map(fits, found, rest))
    if isinstance(schema, dict):
        if schema["type"] == "array":
            return fits(get_args(hint)[0], schema["items"])
        if schema["type"] == "map":
            return fits(get_args(hint)[1], schema["values"])
        return fits(hint, schema["type"])
    plain = {"boolean": bool, "int": int, "long": int, "float": float, "double": float, "bytes": bytes, "string": str}
    if schema in plain:
        return hint is plain[schema]
    if schema in RECORDS:
        return hint is RECORDS[schema]
    return list(get_args(hint)) == read_schema(schema)["symbols"]


def test_the_check_of_types_can_fail() -> None:
    class Wrong(NamedTuple):
        minor: str

    assert not fits(get_type_hints(Wrong)["minor"], "long")
    assert not fits(int, ["null", "long"])


# --- the package alone ---


def test_schemas_need_nothing_else_of_the_project() -> None:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for module in modules:
                assert module.split(".")[0] in {"schemas", *sys.stdlib_module_names}, f"{path.name} imports {module}"
