import json

import pytest

from schemas.payments import LedgerLeg, Money, PaymentInitiated
from schemas.rails import DeadLetter, Header, Rule, Tick
from transforms.errors import BadRecord
from transforms.event_objects import LAST_TIME, EventObjects, _builder, append_time
from transforms.registry import Registry

OBJECTS = EventObjects.of(Registry.of("rails", "payments"))
PAYMENT = PaymentInitiated(
    "p1", "DEPOSIT", None, "acc", Money(500, "EUR"), None, None, None, None, "web", 1_700_000_000_123
)
LETTER = DeadLetter("i", "s", "t", 0, 1, 2, "C", "d", 0, b"\x00\xff", None, (Header("h", b"\x80"), Header("i", b"")))
LEG = LedgerLeg(
    "p", "TRANSFER", "DEBIT", "a", "b", Money(1, "EUR"), None, None, None, None, None, False, 1, 2, (1, 2), 1
)


def refusal(line: str | bytes) -> str:
    with pytest.raises(BadRecord) as caught:
        OBJECTS.read_line(line if isinstance(line, bytes) else line.encode())
    assert caught.value.code == "NOT_AN_EVENT"
    return caught.value.detail


def payment(**changes: object) -> str:
    fields = {
        "type": "payments.PaymentInitiated",
        "payment_id": "p1",
        "kind": "DEPOSIT",
        "creditor_account": "acc",
        "amount": {"minor": 500, "currency": "EUR"},
        "source": "web",
        "requested_at": 1_700_000_000_123,
    }
    return json.dumps({name: value for name, value in (fields | changes).items() if value is not ...})


def test_a_line_is_an_event_and_missing_nullable_fields_are_null() -> None:
    assert OBJECTS.read_line(payment().encode()) == (PAYMENT, None)
    assert OBJECTS.read_line(payment(debtor_account=None, at=77).encode()) == (PAYMENT, 77)


@pytest.mark.parametrize("event", [PAYMENT, LETTER, LEG, Tick(5), Rule("i", "n", 1, True, {"limit": 5, "é": -1})])
def test_writing_and_reading_a_line_gives_the_event_again(event: object) -> None:
    line = OBJECTS.write_line(event)
    assert b"\n" not in line
    at = getattr(event, "at", None)
    assert OBJECTS.read_line(line) == (event, at)
    assert OBJECTS.read_line(OBJECTS.write_line(event, 99)) == (event, 99 if at is None else at)


def test_times_are_milliseconds_or_iso_8601() -> None:
    for text in ("2023-11-14T22:13:20.123Z", "2023-11-14T23:13:20.123+01:00", "2023-11-14T22:13:20.123999"):
        assert append_time(text) == 1_700_000_000_123
        assert OBJECTS.read_line(payment(requested_at=text).encode()) == (PAYMENT, None)
    assert append_time("1970-01-01") == 0
    assert append_time(LAST_TIME) == append_time("9999-12-31T23:59:59.999Z") == LAST_TIME
    for bad in (-1, LAST_TIME + 1, True, 1.5, None, "soon", "1969-12-31", [1]):
        with pytest.raises(BadRecord):
            append_time(bad)
    # A claimed time is data: it may be any.
    event, _ = OBJECTS.read_line(payment(requested_at=-(1 << 62)).encode())
    assert event.requested_at == -(1 << 62)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"type": "payments.Money"}, "type"),  # has no id: it stands inside others
        ({"type": "payments.Nothing"}, "type"),
        ({"type": 7}, "type"),
        ({"type": ...}, "type"),
        ({"payment_id": ...}, "payment_id: missing"),
        ({"payment_id": None}, "payment_id: not a string"),
        ({"payment_id": 5}, "payment_id: not a string"),
        ({"kind": "GIFT"}, "kind: not one of its values"),
        ({"kind": 1}, "kind: not one of its values"),
        ({"creditor_account": 5}, "creditor_account: not a string"),
        ({"amount": 5}, "amount: not an object"),
        ({"amount": {"minor": 5}}, "amount.currency: missing"),
        ({"amount": {"minor": 5.0, "currency": "EUR"}}, "amount.minor: not a long"),
        ({"amount": {"minor": True, "currency": "EUR"}}, "amount.minor: not a long"),
        ({"amount": {"minor": 1 << 63, "currency": "EUR"}}, "amount.minor: not a long"),
        ({"amount": {"minor": 1, "currency": "EUR", "x": 1}}, "amount: has a field that is not one of its type"),
        ({"tip": 1}, "event: has a field that is not one of its type"),
        ({"requested_at": "soon"}, "requested_at: not a time"),
        ({"requested_at": 1 << 63}, "requested_at: not a time"),
        ({"at": "soon"}, "at: not a time"),
        ({"at": -5}, "at: not within the years 1970 to 9999"),
    ],
)
def test_what_is_wrong_is_named_and_values_are_not(changes: dict, detail: str) -> None:
    assert refusal(payment(**changes)) == detail


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff{}",
        b'{"type": "rails.Tick", "at": 1',
        b'{"type": "rails.Tick", "at": NaN}',
        b'{"type": "rails.Tick", "at": 1, "at": 2}',
        b"[" * 100_000,
        '{"type": "rails.Tick", "at": 1}'.encode("utf-16"),
        b'{"at": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json(line: bytes) -> None:
    assert refusal(line) == "not JSON"


def test_json_that_is_no_object() -> None:
    assert refusal(b"[1]") == refusal(b"null") == "not an object"


def test_parts_of_other_events_are_checked_too() -> None:
    fields = json.loads(OBJECTS.write_line(LEG))
    assert refusal(json.dumps(fields | {"gated": 1})) == "gated: not a boolean"
    assert refusal(json.dumps(fields | {"hops": {}})) == "hops: not a list"
    assert refusal(json.dumps(fields | {"hops": ["1"]})) == "hops[]: not a long"
    assert refusal(json.dumps(fields | {"hop": 1 << 31})) == "hop: not an int"
    fields = json.loads(OBJECTS.write_line(Rule("i", "n", 1, True, {})))
    assert refusal(json.dumps(fields | {"parameters": []})) == "parameters: not an object"
    assert refusal(json.dumps(fields | {"parameters": {"a": None}})) == "parameters[]: not a long"
    fields = json.loads(OBJECTS.write_line(LETTER))
    assert refusal(json.dumps(fields | {"key": "€"})) == "key: not bytes"
    assert refusal(json.dumps(fields | {"value": 5})) == "value: not bytes"


def test_unions_of_several_types_and_numbers() -> None:
    build = _builder(["null", "string", "long", "double"], {}, {}, "x")
    assert [build(value) for value in (None, "a", 5, 0.5)] == [None, "a", 5, 0.5]
    with pytest.raises(BadRecord, match="x: not a number"):
        build(True)
    assert _builder("double", {}, {}, "x")(2) == 2.0
    with pytest.raises(BadRecord, match="x: not a string"):
        _builder(["string"], {}, {}, "x")(None)
    assert _builder({"type": "long"}, {}, {}, "x")(3) == 3


def test_the_time_of_a_line_that_is_no_event() -> None:
    assert OBJECTS.line_time(b'{"at": 5, "type": "x"}') == 5
    assert OBJECTS.line_time(b'{"at": "x"}') is OBJECTS.line_time(b"{}") is OBJECTS.line_time(b"x") is None
