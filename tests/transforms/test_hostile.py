"""Hostile messages on payments.incoming: each ends as one dead letter, or as a refusal where its bytes are a payment; nothing else happens.

They are folded by a real shard of admission, each between two good payments that must be admitted. The registry also knows two schemas that
no topic of ours has, a recursive one and an array of nulls, because those are the shapes that can take a process down.
"""

import gzip
import io
import tracemalloc
from collections import Counter, namedtuple
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import apache_beam as beam
import fastavro
import pytest
from apache_beam.testing.util import assert_that

from payments import codes, topics
from payments.admission import MAX_MINOR, Admission
from schemas import load_schema
from schemas.payments import AccountOpened, LedgerLeg, Money, PaymentInitiated, PaymentStatus
from schemas.rails import DeadLetter, Header, Origin, Record, Rule, Source, Version
from tests.conftest import MakePipeline
from transforms.avro import MAX_BYTES, MAX_ITEMS, compile_codec
from transforms.avro_runtime import enc_long, enc_str
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.errors import BadRecord
from transforms.fold import Output, Shard
from transforms.fold_bounded import Engine, Fold
from transforms.loop import Stage
from transforms.murmur2 import partition_of
from transforms.registry import Registry

PARTITION = 3
NOW = 1_760_000_000_000  # append time of the first record, ms
REGISTRY = Registry.of("rails", "payments")

TREE_ID, NULLS_ID = 900, 901
TREE = {"type": "record", "name": "Tree", "fields": [{"name": "next", "type": ["null", "Tree"]}]}
NULLS = {
    "type": "record",
    "name": "Nulls",
    "fields": [{"name": "all", "type": {"type": "array", "items": {"type": "array", "items": "null"}}}],
}
_SHAPES = {
    TREE_ID: compile_codec(TREE, {"Tree": namedtuple("Tree", "next")}),
    NULLS_ID: compile_codec(NULLS, {"Nulls": namedtuple("Nulls", "all")}),
}


class Everything:
    """The registry of payments, and the two shapes."""

    encode, frame, schema, codec, kinds = (
        REGISTRY.encode,
        REGISTRY.frame,
        REGISTRY.schema,
        REGISTRY.codec,
        REGISTRY.kinds,
    )

    @staticmethod
    def decode(value: bytes) -> Any:
        codec = _SHAPES.get(int.from_bytes(value[1:5], "big")) if len(value) >= 5 and not value[0] else None
        return codec.decode(value, 5) if codec else REGISTRY.decode(value)


# --- messages ---


@cache
def an_id(name: str) -> str:
    """An id that belongs to the partition."""
    return next(i for i in (f"{name}.{n}" for n in range(10_000)) if partition_of(i.encode(), 16) == PARTITION)


def payment(name: str, **changes: Any) -> PaymentInitiated:
    """A good payment, but for the changes."""
    good = PaymentInitiated(
        an_id(name), "TRANSFER", "ACC-1", "ACC-2", Money(100, "EUR"), None, None, None, "ref", "app", NOW
    )
    return good._replace(**changes)


FIELDS = {
    "payment_id": b"",
    "kind": b"\x04",
    "debtor_account": b"\x02" + enc_str("ACC-1"),
    "creditor_account": b"\x02" + enc_str("ACC-2"),
    "minor": enc_long(100),
    "currency": enc_str("EUR"),
    "pending_id": b"\x02" + enc_str("hold"),
    "hold_timeout_ms": b"\x02" + enc_long(3_600_000),
    "original_payment_id": b"\x02" + enc_str("orig"),
    "reference": b"\x02" + enc_str("ref"),
    "source": enc_str("app"),
    "requested_at": enc_long(NOW),
}


def raw(name: str, **parts: bytes) -> bytes:
    """The framed bytes of a payment, field by field, some replaced."""
    whole = FIELDS | {"payment_id": enc_str(an_id(name))} | parts
    return REGISTRY.frame(PaymentInitiated) + b"".join(whole.values())


def cut(name: str, field: str) -> bytes:
    """A payment that ends in the midst of a field, or before it if it is one byte."""
    head = b""
    for part, data in (FIELDS | {"payment_id": enc_str(an_id(name))}).items():
        if part == field:
            head += data[: len(data) // 2]
            break
        head += data
    return REGISTRY.frame(PaymentInitiated) + head


def framed(number: int, body: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + body


class Hostile(NamedTuple):
    """One message. code: of the dead letter; or status and reason, where the bytes are a payment."""

    name: str
    code: str
    value: bytes | None
    key: bytes | None = b"="  # "=": the id that the name gives
    headers: tuple[Header, ...] = ()
    origin: Origin | None = None


LEG = LedgerLeg(
    "p", "DEPOSIT", "CREDIT", "a", None, Money(1, "EUR"), None, None, None, None, None, False, NOW, NOW, (7,), 1
)
STATUS = PaymentStatus("p", "VOID", "ACTC", None, None, None, None, Money(1, "EUR"), "s", False, False, 0, 1, 0)
RULE = REGISTRY.frame(Rule) + b"\x02i\x02n\x02"  # id, name, version; then active, parameters
LEG_HEAD = REGISTRY.encode(LEG)[: -len(b"\x02\x0e\x00\x02")]  # up to hops


def corpus() -> Iterator[Hostile]:
    yield from _frames()
    yield from _truncated()
    yield from _numbers()
    yield from _texts_and_indexes()
    yield from _containers()
    yield from _sizes()
    yield from _keys()
    yield from _payments_with_hostile_values()


def _frames() -> Iterator[Hostile]:
    good = raw("frames")
    yield Hostile("tombstone", "EMPTY_VALUE", None)
    yield Hostile("empty value", "EMPTY_VALUE", b"")
    yield Hostile("wrong magic byte", "BAD_MAGIC", b"\x01" + good[1:])
    yield Hostile("JSON", "BAD_MAGIC", b'{"payment_id": "p"}')
    yield Hostile("compressed", "BAD_MAGIC", gzip.compress(good, mtime=0))
    yield Hostile("Avro container", "BAD_MAGIC", b"Obj\x01" + good)
    yield Hostile("Avro without frame", "BAD_MAGIC", good[5:])
    yield Hostile("one zero byte", "TRUNCATED", b"\0")
    yield Hostile("half a frame", "TRUNCATED", good[:4])
    yield Hostile("frame without body", "TRUNCATED", good[:5])
    yield Hostile("unknown schema id", "UNKNOWN_SCHEMA", framed(7_777, good[5:]))
    yield Hostile("largest schema id", "UNKNOWN_SCHEMA", framed(0xFFFFFFFF, good[5:]))
    yield Hostile("schema id in the other byte order", "UNKNOWN_SCHEMA", b"\0" + good[1:5][::-1] + good[5:])
    yield Hostile("framed twice", "BAD_INDEX", good[:5] + good)
    yield Hostile("a leg on the payments' topic", "UNEXPECTED_TYPE", REGISTRY.encode(LEG))
    yield Hostile("a status", "UNEXPECTED_TYPE", REGISTRY.encode(STATUS))
    opened = AccountOpened("admin", "a", 0, "EUR", 0, None, False, NOW)
    yield Hostile("an account", "UNEXPECTED_TYPE", REGISTRY.encode(opened))
    letter = DeadLetter("i", "s", "t", 0, 0, 0, "C", "", 0, None, good, ())
    yield Hostile("a dead letter", "UNEXPECTED_TYPE", REGISTRY.encode(letter))
    yield Hostile("a payment said to be a leg", "BAD_INDEX", REGISTRY.frame(LedgerLeg) + good[5:])
    yield Hostile("zeros", "UNKNOWN_SCHEMA", bytes(1000))
    yield Hostile("ones", "BAD_MAGIC", b"\xff" * 1000)


def _truncated() -> Iterator[Hostile]:
    for field in FIELDS:
        name = f"cut in {field}"
        yield Hostile(name, "TRUNCATED", cut(name, field))
    name = "last byte missing"
    yield Hostile(name, "TRUNCATED", raw(name)[:-1])
    for extra, data in (("one byte", b"\0"), ("a second payment", raw("frames")), ("a megabyte", bytes(1_000_000))):
        name = f"{extra} too many"
        yield Hostile(name, "TRAILING_BYTES", raw(name) + data)


def _numbers() -> Iterator[Hostile]:
    for name, field, data in (
        ("amount of zero in two bytes", "minor", b"\x80\x00"),
        ("amount in three bytes for two", "minor", b"\xc8\x81\x00"),
        ("amount of 65 bits", "minor", b"\xff" * 9 + b"\x02"),
        ("amount of 70 bits", "minor", b"\xff" * 9 + b"\x7f"),
        ("amount of eleven bytes", "minor", b"\x80" * 10 + b"\x01"),
        ("amount without end", "minor", b"\xff" * 5000),
        ("time with an empty sixth byte", "requested_at", b"\x80\x89\xf7\xd9\xb8\x00"),
        ("time of 65 bits", "requested_at", b"\xff" * 9 + b"\x03"),
        ("timeout in two bytes for one", "hold_timeout_ms", b"\x02\x82\x00"),
        ("length of the source in two bytes for one", "source", b"\x86\x00app"),
    ):
        yield Hostile(name, "BAD_VARINT", raw(name, **{field: data}))
    wide = REGISTRY.frame(Version) + enc_str("payments.admission") + enc_long(1 << 31) + enc_str("id")
    yield Hostile("an int of 33 bits", "BAD_VARINT", wide)


def _texts_and_indexes() -> Iterator[Hostile]:
    for name, code, field, data in (
        ("negative length", "BAD_LENGTH", "payment_id", b"\x01"),
        ("smallest length", "BAD_LENGTH", "source", b"\xff" * 9 + b"\x01"),
        ("length of two gigabytes", "TRUNCATED", "payment_id", b"\xfe\xff\xff\xff\x0fp"),
        ("largest length", "TRUNCATED", "source", b"\xfe" + b"\xff" * 8 + b"\x01"),
        ("length that takes in the next fields", "TRUNCATED", "source", b"\x7eapp"),
        ("bad UTF-8 in the id", "BAD_UTF8", "payment_id", b"\x04\xff\xfe"),
        ("bad UTF-8 in the currency", "BAD_UTF8", "currency", b"\x06EU\x80"),
        ("bad UTF-8 in the reference", "BAD_UTF8", "reference", b"\x02\x04\xc3\x28"),
        ("overlong UTF-8", "BAD_UTF8", "reference", b"\x02\x04\xc0\x80"),
        ("a surrogate", "BAD_UTF8", "source", b"\x06\xed\xa0\x80"),
        ("UTF-16", "BAD_UTF8", "source", b"\x0c\xff\xfea\x00p\x00"),
        ("negative kind", "BAD_INDEX", "kind", b"\x01"),
        ("kind too large", "BAD_INDEX", "kind", b"\x0e"),
        ("kind of two bytes", "BAD_INDEX", "kind", b"\x84\x00"),
        ("kind of 64 bits", "BAD_INDEX", "kind", b"\xff" * 9 + b"\x01"),
        ("negative union index", "BAD_INDEX", "debtor_account", b"\x01" + enc_str("ACC-1")),
        ("union index too large", "BAD_INDEX", "reference", b"\x04"),
        ("union index of two bytes", "BAD_INDEX", "pending_id", b"\x80\x00"),
        ("union index of 64 bits", "BAD_INDEX", "hold_timeout_ms", b"\xff" * 9 + b"\x01"),
    ):
        yield Hostile(name, code, raw(name, **{field: data}))
    yield Hostile("a boolean of two", "BAD_BOOLEAN", RULE + b"\x02\x00")
    yield Hostile("a boolean of 255", "BAD_BOOLEAN", RULE + b"\xff\x00")


def _containers() -> Iterator[Hostile]:
    deep = b"\x02" * 100_000 + b"\x00"
    yield Hostile("a record 100,000 deep", "TOO_DEEP", framed(TREE_ID, deep))
    yield Hostile("a record deeper than it has bytes", "TOO_DEEP", framed(TREE_ID, b"\x02" * 500_000))
    bomb = enc_long(1) + enc_long((1 << 31) - 1) + b"\0\0"
    yield Hostile("two billion nulls in ten bytes", "TOO_MANY_ITEMS", framed(NULLS_ID, bomb))
    many = enc_long(9_000) + (enc_long(9_000) + b"\0") * 9_000 + b"\0"
    yield Hostile("81 million nulls in many arrays", "TOO_MANY_ITEMS", framed(NULLS_ID, many))
    most = enc_long((1 << 63) - 1)
    yield Hostile("largest count", "TOO_MANY_ITEMS", LEG_HEAD + most)
    yield Hostile("one item too many", "TOO_MANY_ITEMS", LEG_HEAD + enc_long(MAX_ITEMS + 1) + bytes(MAX_ITEMS + 3))
    yield Hostile("negative count with its size", "BAD_LENGTH", LEG_HEAD + b"\x01\x02\x0e\x00\x02")
    yield Hostile("smallest count", "BAD_LENGTH", LEG_HEAD + b"\xff" * 9 + b"\x01")
    yield Hostile("items in two blocks", "SECOND_BLOCK", LEG_HEAD + b"\x02\x0e\x02\x0e\x00\x02")
    yield Hostile("items without end", "TRUNCATED", LEG_HEAD + b"\x04\x0e")
    yield Hostile("a map key twice", "DUPLICATE_KEY", RULE + b"\x01\x04\x02a\x02\x02a\x04\x00")
    yield Hostile("bad UTF-8 in a map key", "BAD_UTF8", RULE + b"\x01\x02\x02\xff\x02\x00")
    yield Hostile("a map of a million", "TOO_MANY_ITEMS", RULE + b"\x01" + enc_long(1_000_000))


def _sizes() -> Iterator[Hostile]:
    name = "over a mebibyte"
    yield Hostile(name, "TOO_LARGE", raw(name, source=enc_str("x" * MAX_BYTES)))
    name = "over four mebibytes"
    yield Hostile(name, "TOO_LARGE", raw(name) + bytes(4 << 20))
    name = "a reference of a megabyte"
    yield Hostile(name, "TOO_LONG", raw(name, reference=b"\x02" + enc_str("r" * 1_000_000)))
    headers = tuple(Header(f"h{n}", b"x") for n in range(20_000))
    yield Hostile("20,000 headers", "EMPTY_VALUE", None, headers=headers)
    yield Hostile("a header of a megabyte", "BAD_MAGIC", b"?", headers=(Header("h" * 1000, bytes(1 << 20)),))


def _keys() -> Iterator[Hostile]:
    for name, key in (
        ("no key", None),
        ("empty key", b""),
        ("another key", b"other"),
        ("key of a megabyte", b"k" * (1 << 20)),
    ):
        yield Hostile(name, "WRONG_KEY", raw(name, **NO_EXTRAS), key=key)
    yield Hostile("key with a zero byte more", "WRONG_KEY", raw("zero"), key=an_id("zero").encode() + b"\0")
    other = next(i for i in (f"elsewhere-{n}" for n in range(100)) if partition_of(i.encode(), 16) != PARTITION)
    yield Hostile("wrong partition", "WRONG_PARTITION", raw("x", payment_id=enc_str(other)), key=other.encode())
    yield Hostile("empty id", "BAD_ID", raw("x", payment_id=b"\0"), key=b"")
    name = "id of 200 letters"
    yield Hostile(name, "BAD_ID", raw(name, payment_id=enc_str("i" * 200)), key=b"i" * 200)
    forged = Origin(Source("payments.account", "payments.inflight", 0), 1 << 62, 0, None)
    yield Hostile("forged origin on bad bytes", "BAD_MAGIC", b"?", origin=forged)


NO_EXTRAS = {"pending_id": b"\0", "hold_timeout_ms": b"\0", "original_payment_id": b"\0"}
_LONG = (1 << 63) - 1


def _payments_with_hostile_values() -> Iterator[Hostile]:
    for name, reason, changes in (
        ("largest amount", codes.AMOUNT_NOT_ALLOWED, {"amount": Money(_LONG, "EUR")}),
        ("smallest amount", codes.AMOUNT_NOT_ALLOWED, {"amount": Money(-_LONG - 1, "EUR")}),
        ("a minor unit above the most", codes.AMOUNT_NOT_ALLOWED, {"amount": Money(MAX_MINOR + 1, "EUR")}),
        ("negative amount", codes.AMOUNT_NOT_ALLOWED, {"amount": Money(-1, "EUR")}),
        ("no amount", codes.ZERO_AMOUNT, {"amount": Money(0, "EUR")}),
        ("unknown currency", codes.CURRENCY_NOT_ALLOWED, {"amount": Money(1, "XXX")}),
        ("currency in small letters", codes.CURRENCY_NOT_ALLOWED, {"amount": Money(1, "eur")}),
        ("currency in other letters", codes.CURRENCY_NOT_ALLOWED, {"amount": Money(1, "ЕUR")}),
        ("the end of time", codes.FUTURE_DATE, {"requested_at": _LONG}),
        ("an hour ahead", codes.FUTURE_DATE, {"requested_at": NOW + 3_600_000}),
        ("the beginning of time", codes.TOO_OLD, {"requested_at": -_LONG - 1}),
        ("1970", codes.TOO_OLD, {"requested_at": 0}),
        ("seconds for milliseconds", codes.TOO_OLD, {"requested_at": NOW // 1000}),
        ("no debtor", codes.UNKNOWN_DEBTOR, {"debtor_account": None}),
        ("empty debtor", codes.UNKNOWN_DEBTOR, {"debtor_account": ""}),
        ("the ledger's own account", codes.UNKNOWN_CREDITOR, {"creditor_account": "~outside"}),
        ("debtor of 100,000 letters", codes.UNKNOWN_DEBTOR, {"debtor_account": "a" * 100_000}),
        ("to itself", codes.FORBIDDEN, {"creditor_account": "ACC-1"}),
    ):
        yield Hostile(name, f"RJCT {reason}", REGISTRY.encode(payment(name, **changes)))
    hold = {"kind": "HOLD", "creditor_account": None}
    for name, timeout in (
        ("timeout of nothing", 0),
        ("timeout to the end of time", _LONG),
        ("timeout in the past", -1),
    ):
        value = REGISTRY.encode(payment(name, **hold, hold_timeout_ms=timeout))
        yield Hostile(name, f"RJCT {codes.INCORRECT_FIELD}", value)
    again = an_id("good 0")
    yield Hostile("a good payment again", "DUPL None", REGISTRY.encode(good(0)), again.encode())
    other = REGISTRY.encode(good(0)._replace(amount=Money(101, "EUR")))
    yield Hostile("its id with another amount", f"RJCT {codes.DUPLICATE}", other, again.encode())
    name = "forged origin on a payment"
    forged = Origin(Source("payments.admission", "payments.incoming", PARTITION), 0, 0, None)
    yield Hostile(name, "ACTC None", REGISTRY.encode(payment(name)), origin=forged)
    name = "zero bytes and signs in texts"
    yield Hostile(name, "ACTC None", REGISTRY.encode(payment(name, reference="\0\u202e\U0010ffff", source="'; --")))


def good(n: int) -> PaymentInitiated:
    return payment(f"good {n}", requested_at=NOW + n)


CORPUS = tuple(corpus())


@cache
def log() -> list[Record]:
    """A good payment before each hostile message, and one at the end."""
    records: list[Record] = []

    def append(key: bytes | None, value: bytes | None, origin: Origin | None, headers: tuple[Header, ...]) -> None:
        records.append(Record(len(records), NOW + len(records), key, value, origin, headers))

    for n, case in enumerate(CORPUS):
        append(an_id(f"good {n}").encode(), REGISTRY.encode(good(n)), None, ())
        append(an_id(case.name).encode() if case.key == b"=" else case.key, case.value, case.origin, case.headers)
    append(an_id(f"good {len(CORPUS)}").encode(), REGISTRY.encode(good(len(CORPUS))), None, ())
    return records


def shard() -> Shard:
    topic = topics.INCOMING
    return Shard(Admission(), topic.topic_id, PARTITION, topic.partitions, Everything.decode)


@pytest.fixture(scope="module")
def folded() -> tuple[Shard, list[list[Output]]]:
    """The whole log through one shard: the shard, and the outputs of each record."""
    state = shard()
    return state, [state.step(record) for record in log()]


# --- what becomes of them ---


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 100
    assert sum(" " not in case.code for case in CORPUS) >= 60, "dead letters"


@pytest.mark.parametrize("n", range(len(CORPUS)), ids=[case.name for case in CORPUS])
def test_a_hostile_message_has_one_consequence(n: int, folded: tuple[Shard, list[list[Output]]]) -> None:
    case, outputs = CORPUS[n], folded[1][2 * n + 1]
    if " " in case.code:
        statuses = [o.event for o in outputs if o.topic == topics.STATUS.name]
        assert [f"{s.status} {s.reason}" for s in statuses] == [case.code]
        assert len(outputs) == (2 if case.code.startswith("ACTC") else 1)
        return
    (output,) = outputs
    record, letter = log()[2 * n + 1], output.event
    assert output.topic == "rails.deadletters"
    assert letter.code == case.code
    assert (letter.key, letter.value, letter.headers) == (record.key, record.value, record.headers)
    assert letter.id == f"payments.admission/payments.incoming/{PARTITION}/{record.offset}"
    assert REGISTRY.decode(REGISTRY.encode(letter)) == letter, "who looks at dead letters can read it"
    if case.value and len(case.value) > 5:
        assert an_id(case.name) not in letter.detail, "details hold no values"


def test_the_good_payments_between_them_are_admitted(folded: tuple[Shard, list[list[Output]]]) -> None:
    for outputs in folded[1][::2]:
        assert [(o.topic, getattr(o.event, "status", None)) for o in outputs] == [
            (topics.INFLIGHT.name, None),
            (topics.STATUS.name, "ACTC"),
        ]


def test_every_message_is_counted_once(folded: tuple[Shard, list[list[Output]]]) -> None:
    counts = folded[0].counts.as_dict()
    letters = sum(" " not in case.code for case in CORPUS)
    late = sum(case.code.endswith(codes.TOO_OLD) for case in CORPUS)
    assert counts == {
        "applied": len(log()) - letters - late - 2,
        "dead_lettered": letters,
        "duplicate": 2,
        "late": late,
        "ticks": 0,
    }
    assert folded[0].offset == len(log())


def test_no_message_takes_much_memory_or_time() -> None:
    """A bomb would take gigabytes. The bound is some times the largest message that is read at all."""
    for case in CORPUS:
        if not case.value or len(case.value) > 5 * MAX_BYTES:
            continue
        tracemalloc.start()
        try:
            Everything.decode(case.value)
        except BadRecord:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 8 << 20, case.name


def test_the_plain_reader_takes_some_of_them_for_payments() -> None:
    """The control: what fastavro accepts without a word, so that a reader of its own is worth its lines."""
    schema = fastavro.parse_schema(load_schema("payments.PaymentInitiated"))
    frame = REGISTRY.frame(PaymentInitiated)
    taken = set()
    for case in CORPUS:
        if case.value and case.value.startswith(frame) and " " not in case.code:
            try:
                fastavro.schemaless_reader(io.BytesIO(case.value[5:]), schema, None)
                taken.add(case.name)
            except Exception:  # it has no error of its own
                continue
    assert {"one byte too many", "negative kind", "negative union index", "amount of zero in two bytes"} <= taken


# --- the same through Beam ---


def engine() -> Engine:
    return Engine(Stage(Admission(), topics.INCOMING), Everything())  # type: ignore[arg-type]


def test_a_pipeline_buries_them_and_lives(
    make_pipeline: MakePipeline, folded: tuple[Shard, list[list[Output]]]
) -> None:
    chunks = list(pack_chunks(topics.INCOMING.topic_id, PARTITION, log(), size=7))
    expected = Counter((o.topic, o.partition) for outputs in folded[1] for o in outputs)
    letters = sorted(o.event.id for outputs in folded[1] for o in outputs if type(o.event) is DeadLetter)

    def check(found: list[Chunk]) -> None:
        counts: Counter[tuple[str, int]] = Counter()
        ids = []
        for chunk in found:
            counts[chunk.topic, chunk.partition] += chunk.count
            if chunk.topic == "rails.deadletters":
                ids += [REGISTRY.decode(record.value).id for record in unpack_chunk(chunk)]
        assert counts == expected
        assert sorted(ids) == letters

    with make_pipeline() as p:
        outputs = p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk) | Fold(engine)
        assert_that(outputs.outputs, check)
