"""Frames: which bytes a value begins with, what is refused, and how a registry travels."""

import pickle

import pytest

import schemas
from schemas.payments import Money, PaymentInitiated
from schemas.rails import DeadLetter, Header, Tick
from transforms.avro import MAX_BYTES
from transforms.errors import BadRecord
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments", "auctions")


def test_values_are_framed_by_their_schema_id() -> None:
    value = REGISTRY.encode(Tick(1))
    number = schemas.schema_ids()["rails.Tick"][-1]["id"]
    assert value == b"\0" + number.to_bytes(4, "big") + b"\x02"
    assert REGISTRY.frame(Tick) == value[:5]
    assert REGISTRY.decode(value) == Tick(1)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "EMPTY_VALUE"),
        (b"\x01\0\0\0\x01\x02", "BAD_MAGIC"),
        (b"{}", "BAD_MAGIC"),
        (b"\0", "TRUNCATED"),
        (b"\0\0\0\0", "TRUNCATED"),
        (b"\0\0\0\0\0", "UNKNOWN_SCHEMA"),
        (b"\0\xff\xff\xff\xff\x02", "UNKNOWN_SCHEMA"),
        (b"\0\0\0\0\x01", "TRUNCATED"),
        (b"\0\0\0\0\x01\x02\x00", "TRAILING_BYTES"),
    ],
)
def test_what_encode_would_not_write_is_refused(value: bytes, code: str) -> None:
    with pytest.raises(BadRecord) as caught:
        REGISTRY.decode(value)
    assert caught.value.code == code


def test_every_type_with_an_id_has_a_frame_of_its_own() -> None:
    kinds = {name: kind for d in ("rails", "payments", "auctions") for name, kind in schemas_of(d).items()}
    frames = {REGISTRY.frame(kinds[name]) for name in schemas.schema_ids()}
    assert len(frames) == len(schemas.schema_ids())


def schemas_of(domain: str) -> dict[str, type]:
    from importlib import import_module

    return import_module(f"schemas.{domain}").RECORDS


def test_types_that_stand_inside_others_have_no_frame() -> None:
    with pytest.raises(KeyError):
        REGISTRY.encode(Money(1, "EUR"))
    with pytest.raises(KeyError):
        REGISTRY.frame(Money)


def test_a_registry_knows_only_its_domains() -> None:
    payment = PaymentInitiated("p", "VOID", "a", None, Money(0, "EUR"), "h", None, None, None, "app", 1)
    value = REGISTRY.encode(payment)
    assert REGISTRY.decode(value) == payment
    with pytest.raises(BadRecord, match="UNKNOWN_SCHEMA"):
        Registry("rails").decode(value)
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        Registry("nothing")


def test_a_registry_travels_by_the_names_of_its_domains() -> None:
    assert pickle.loads(pickle.dumps(REGISTRY)) is REGISTRY
    assert len(pickle.dumps(REGISTRY)) < 200


def test_messages_are_bounded_and_the_dead_letters_of_larger_ones_are_not() -> None:
    letter = DeadLetter("i", "s", "t", 0, 0, 0, "TOO_LARGE", "", 0, b"k", b"v" * (3 * MAX_BYTES), (Header("h", b"x"),))
    assert REGISTRY.decode(REGISTRY.encode(letter)) == letter
    payment = PaymentInitiated("p" * MAX_BYTES, "VOID", "a", None, Money(0, "EUR"), "h", None, None, None, "app", 1)
    with pytest.raises(ValueError, match="too large"):
        REGISTRY.encode(payment)
