"""Mapping files: what they may say, and the one-line reason for what they may not."""

import json
from pathlib import Path
from typing import Any

import pytest

from payments.mapping import BadMapping, parse_mapping, parse_template, read_mapping

PLAIN: dict[str, Any] = {
    "payment_id": "{id}",
    "kind": "DEPOSIT",
    "account": "{account}",
    "amount": "{amount}",
    "currency": "EUR",
    "time": {"from": "{date}", "format": "%Y-%m-%d"},
}


def test_templates_are_constants_with_columns_in_them() -> None:
    template = parse_template("a-{one}/{two words}{{}}")
    assert template.columns == ("one", "two words")
    assert template.fill({"one": " 1 ", "two words": "2", "three": "x"}) == "a-1/2{}"
    assert parse_template("EUR").fill({}) == "EUR" and parse_template("").columns == ()
    for bad in ("{}", "{a!r}", "{a:>3}", "{a", "a}"):
        with pytest.raises(ValueError):
            parse_template(bad)


def test_the_smallest_mapping() -> None:
    mapping = parse_mapping(PLAIN)
    assert mapping.columns == ("account", "amount", "date", "id")
    assert mapping.kinds == {"": "DEPOSIT"} and mapping.open_accounts and mapping.overdraft_limit == "0"
    assert (mapping.decimal_mark, mapping.group_mark, mapping.csv, mapping.order_by_line) == (".", "", {}, False)


def test_all_that_a_mapping_can_say() -> None:
    mapping = parse_mapping(
        PLAIN
        | {
            "doc": "…",
            "csv": {"delimiter": ";", "quote": "'", "encoding": "cp1250", "columns": ["id", "x"]},
            "kind": {"from": "{what}", "values": {"c": "TRANSFER", "h": "HOLD", "v": "VOID", "r": "REVERSAL"}},
            "debtor_account": "{from}",
            "creditor_account": "{to}",
            "pending_id": "{hold}",
            "original_payment_id": "{original}",
            "hold_timeout_ms": "60000",
            "reference": "{ref}",
            "source": "s",
            "amount": {"from": "{amount}", "decimal": ",", "group": "."},
            "time": {"from": "{date}", "format": "%d.%m.%Y", "order": "line"},
            "accounts": {"open": False, "overdraft_limit": "unlimited", "daily_limit": "10.50", "one_in_flight": True},
        }
    )
    assert mapping.csv == {"delimiter": ";", "quote": "'", "encoding": "cp1250", "columns": ["id", "x"]}
    assert set(mapping.kinds.values()) == {"TRANSFER", "HOLD", "VOID", "REVERSAL"} and mapping.order_by_line
    assert mapping.columns == (*("account", "amount", "date", "from", "hold", "id", "original", "ref", "to", "what"),)
    assert (mapping.open_accounts, mapping.overdraft_limit, mapping.daily_limit, mapping.one_in_flight) == (
        *(False, "unlimited", "10.50", True),
    )


def test_kinds_by_sign() -> None:
    mapping = parse_mapping(PLAIN | {"kind": {"positive": "DEPOSIT", "negative": "WITHDRAWAL"}})
    assert mapping.kind is None and mapping.kinds == {"positive": "DEPOSIT", "negative": "WITHDRAWAL"}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PLAIN.items() if key != name}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the mapping must be an object"),
        (PLAIN | {"acount": "x"}, "'acount' is not a field of the mapping; there are account, accounts"),
        (without("payment_id"), "payment_id is missing"),
        (without("kind"), "kind is missing"),
        (without("amount"), "amount is missing"),
        (without("currency"), "currency is missing"),
        (without("time"), "time is missing"),
        (PLAIN | {"payment_id": 1}, "payment_id must be a text, got 1"),
        (PLAIN | {"reference": "{"}, "reference: "),
        (PLAIN | {"source": "{}"}, "source: not a template"),
        (PLAIN | {"kind": "PAY"}, "'PAY' is not a kind of payment; there are DEPOSIT"),
        (PLAIN | {"kind": {}}, "kind is one of the kinds, or has from and values, or positive and negative"),
        (PLAIN | {"kind": {"from": "{a}"}}, "kind.values must be an object"),
        (PLAIN | {"kind": {"from": "{a}", "values": []}}, "kind.values must be an object"),
        (PLAIN | {"kind": {"from": "{a}", "values": [["a", "DEPOSIT"]]}}, "kind.values must be an object"),
        (PLAIN | {"kind": {"from": "{a}", "values": 7}}, "kind.values must be an object"),
        (PLAIN | {"kind": {"from": "{a}", "values": {}}}, "kind is one of the kinds"),
        (PLAIN | {"kind": {"from": "{a}", "values": {"x": ["DEPOSIT"]}}}, "is not a kind of payment"),
        (PLAIN | {"kind": {"from": "{a}", "positive": "DEPOSIT", "values": {"a": "DEPOSIT"}}}, "kind is one of"),
        (PLAIN | {"kind": {"positive": "DEPOSIT", "values": {}}}, "kind is one of"),
        (PLAIN | {"kind": {"plus": "DEPOSIT"}}, "'plus' is not a field of kind"),
        (PLAIN | {"amount": 3}, "amount must be an object"),
        (PLAIN | {"amount": {"decimal": "."}}, "amount.from must be a text"),
        (PLAIN | {"amount": {"from": "{a}", "decimal": ";"}}, "amount: decimal is . or ,"),
        (PLAIN | {"amount": {"from": "{a}", "group": "."}}, "amount: decimal is . or ,"),
        (PLAIN | {"time": "{date}"}, "time must be an object"),
        (PLAIN | {"time": {"from": "{date}"}}, "time.format is one of strptime, epoch_ms or epoch_s; got None"),
        (PLAIN | {"time": {"from": "{date}", "format": "iso"}}, "time.format is one of"),
        (PLAIN | {"time": {"from": "{date}", "format": "%Y", "order": "file"}}, "time.order is line"),
        (PLAIN | {"time": {"from": "{date}", "format": "%H", "order": "line"}}, "time.order is for dates"),
        (PLAIN | {"time": {"from": "{date}", "format": "epoch_s", "order": "line"}}, "time.order is for dates"),
        (PLAIN | {"time": {"from": "{date}", "format": "%Q"}}, "time.format: 'Q' is a bad directive"),
        (PLAIN | {"time": {"from": "{date}", "format": "%Y-%"}}, "time.format: stray %"),
        (PLAIN | {"time": {"from": "{date}", "format": "%Y%m%Y"}}, "time.format has a directive twice: '%Y%m%Y'"),
        (PLAIN | {"accounts": {"open": "yes"}}, "accounts: open must be true or false"),
        (PLAIN | {"accounts": {"overdraft_limit": 5}}, "accounts: overdraft_limit must be a text"),
        (PLAIN | {"accounts": {"overdraft_limit": "-5"}}, "a limit is a decimal number such as 100.00, or unlimited"),
        (PLAIN | {"accounts": {"daily_limit": "1" * 15}}, "a limit is a decimal number"),
        (without("account"), "creditor_account is missing, which DEPOSIT needs"),
        (PLAIN | {"kind": "TRANSFER"}, "debtor_account is missing, which TRANSFER needs"),
        (PLAIN | {"kind": "VOID"}, "pending_id is missing, which VOID needs"),
        (
            PLAIN | {"kind": "REVERSAL", "debtor_account": "{a}", "creditor_account": "{b}"},
            "original_payment_id is missing, which REVERSAL needs",
        ),
        (PLAIN | {"csv": {"separator": ";"}}, "'separator' is not a field of csv"),
        (PLAIN | {"csv": {"delimiter": 1}}, "csv.delimiter must be a text"),
        (PLAIN | {"csv": {"columns": "a,b"}}, "csv.columns must be a list of names"),
        (PLAIN | {"csv": {"columns": [1]}}, "csv.columns must be a list of names"),
    ],
)
def test_what_is_no_mapping(data: Any, message: str) -> None:
    with pytest.raises(BadMapping) as caught:
        parse_mapping(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "form", ["%Y-%m-%dT%H:%M:%S.%f%z", "%d. %B %y", "(%c)", "%x %X", "%G-W%V-%u", "100%% %j %Y", "epoch_ms"]
)
def test_formats_of_times(form: str) -> None:
    assert parse_mapping(PLAIN | {"time": {"from": "{date}", "format": form}}).time_format == form


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value"),
        ('{"a": 1, "a": 2}', "'a' stands twice in an object"),
        ('{"kind": {"values": {"x": "HOLD", "y": 1, "x": "VOID"}}}', "'x' stands twice in an object"),
        ("[" * 200_000, "nested too deep"),
        ("[" * 200_000 + "]" * 200_000, "nested too deep"),
        ('{"a":' * 200_000 + "1" + "}" * 200_000, "nested too deep"),
        ("9" * 10_000, "not JSON: Exceeds the limit"),
        (r'{"payment_id": "\ud800{id}"}', "a text holds half of a surrogate pair"),
        (r'{"kind": {"values": {"\udc00": "HOLD"}}}', "a text holds half of a surrogate pair"),
        (r'{"csv": {"columns": ["a", "\udc00"]}}', "a text holds half of a surrogate pair"),
        ("[]", "the mapping must be an object"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_file_of_a_mapping(text: str, message: str) -> None:
    with pytest.raises(BadMapping) as caught:
        read_mapping(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_a_mapping() -> None:
    assert read_mapping(json.dumps(PLAIN | {"reference": "\U0001f4b6 {a}"})) == parse_mapping(
        PLAIN | {"reference": "\U0001f4b6 {a}"}
    )


def test_all_shipped_mappings_are_mappings(root: Path) -> None:
    paths = sorted((root / "pipelines" / "mappings").glob("*.json"))
    assert [path.stem for path in paths] == ["bank-transactions"]
    for path in paths:
        data = json.loads(path.read_text(encoding="utf-8"))
        assert parse_mapping(data).columns and data["doc"]
