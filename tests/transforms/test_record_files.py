import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas import load_schema
from schemas.payments import Money, PaymentInitiated
from schemas.rails import Header, Record, Tick
from tests.proto import assert_no_pickled_coders
from transforms import record_files
from transforms.avro import MAX_BYTES
from transforms.chunks import CHUNK_RECORDS, Chunk, pack_chunks, unpack_chunk
from transforms.errors import BadRecord
from transforms.event_objects import LAST_TIME, EventObjects
from transforms.record_files import (
    Reading,
    ReadRecords,
    RecordFileError,
    WriteRecords,
    check_record_file,
    read_record_file,
    write_event_file,
    write_record_file,
)
from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments")
OBJECTS = EventObjects.of(REGISTRY)
START = 1_700_000_000_000


def time_of(event: Any) -> int:
    return event.requested_at if isinstance(event, PaymentInitiated) else event.at


def key_of(event: Any) -> str | None:
    if isinstance(event, PaymentInitiated) and event.source == "nobody":
        raise BadRecord("NO_KEY", "source")
    return event.payment_id if isinstance(event, PaymentInitiated) else None


def reading(chunk_records: int = CHUNK_RECORDS) -> Reading:
    return Reading(REGISTRY, time_of, key_of, chunk_records)


def payment(i: int, **changes: Any) -> PaymentInitiated:
    amount = Money(i * 100, "EUR")
    event = PaymentInitiated(f"p{i}", "DEPOSIT", None, "acc", amount, None, None, None, None, "web", START + i)
    return event._replace(**changes)


PAYMENTS = [payment(i) for i in range(2 * CHUNK_RECORDS + 5)]
RECORDS = [Record(n, time_of(e), key_of(e).encode(), REGISTRY.encode(e), None, ()) for n, e in enumerate(PAYMENTS)]  # type: ignore[union-attr]


def lines_of(events: list[Any]) -> bytes:
    return b"".join(OBJECTS.write_line(event) + b"\n" for event in events)


def write_avro(path: Path) -> None:
    write_event_file(path, REGISTRY, PAYMENTS)


def write_raw(path: Path) -> None:
    write_record_file(path, RECORDS)


def write_jsonl(path: Path) -> None:
    path.write_bytes(lines_of(PAYMENTS))


def write_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(lines_of(PAYMENTS), 1))


def records_of(path: Path, chunk_records: int = CHUNK_RECORDS) -> list[Record]:
    return [record for chunk in read_record_file(str(path), reading(chunk_records)) for record in unpack_chunk(chunk)]


FORMS = [("raw.avro", write_raw), ("events.avro", write_avro), ("e.jsonl", write_jsonl), ("e.jsonl.gz", write_gzip)]


@pytest.mark.parametrize(("name", "write"), FORMS)
@pytest.mark.parametrize("size", [CHUNK_RECORDS, 700])
def test_every_form_gives_the_same_chunks(tmp_path: Path, name: str, write: Callable[[Path], None], size: int) -> None:
    write(tmp_path / name)
    chunks = list(read_record_file(str(tmp_path / name), reading(size)))
    assert chunks == list(pack_chunks("input", 0, RECORDS, size))


@pytest.mark.parametrize(("name", "write"), FORMS)
def test_the_header_is_checked_without_reading_the_file(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path / name)
    check_record_file(str(tmp_path / name), REGISTRY)


# --- raw records ---


def test_raw_records_are_kept_whatever_their_values_and_numbered_anew(tmp_path: Path) -> None:
    raw = [
        Record(7, 500, None, b"\x00rubbish", None, (Header("h", b"1"),)),
        Record(7, 3, b"key", None, None, ()),
        Record(0, LAST_TIME, b"", b"", None, ()),
    ]
    assert write_record_file(tmp_path / "r.avro", raw, "deflate") == 3
    chunks = list(read_record_file(str(tmp_path / "r.avro"), reading(2)))
    assert [record for chunk in chunks for record in unpack_chunk(chunk)] == [
        record._replace(offset=n) for n, record in enumerate(raw)
    ]
    assert [(chunk.offset, chunk.clock, chunk.count) for chunk in chunks] == [(0, -1, 2), (2, 500, 1)]


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    write_raw(tmp_path / "a.avro")
    write_record_file(tmp_path / "b.avro", iter(RECORDS))
    assert (tmp_path / "a.avro").read_bytes() == (tmp_path / "b.avro").read_bytes()
    golden = hashlib.sha256((tmp_path / "a.avro").read_bytes()).hexdigest()
    assert golden == "a11154cb3538efa1f157b5a0bf346451ef4a3e65746e6593a103c39e55a8b59d"
    with open(tmp_path / "a.avro", "rb") as file:
        assert [block.num_records for block in fastavro.block_reader(file)] == [CHUNK_RECORDS, CHUNK_RECORDS, 5]


def test_no_records_make_a_container_too(tmp_path: Path) -> None:
    assert write_record_file(tmp_path / "r.avro", []) == 0
    check_record_file(str(tmp_path / "r.avro"), REGISTRY)
    assert records_of(tmp_path / "r.avro") == []


def test_a_chunk_ends_early_when_its_records_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raw(tmp_path / "r.avro")
    monkeypatch.setattr(record_files, "CHUNK_BYTES", 1000)
    chunks = list(read_record_file(str(tmp_path / "r.avro"), reading()))
    assert all(1000 <= len(chunk.payload) < 1100 for chunk in chunks[:-1])
    assert [record for chunk in chunks for record in unpack_chunk(chunk)] == RECORDS


def test_a_raw_time_that_no_log_can_have_becomes_that_of_the_record_before(tmp_path: Path) -> None:
    last = LAST_TIME
    times = [-2, 5, -1, (1 << 63) - 1, -(1 << 63), 0, last + 1, last, 3]
    write_record_file(tmp_path / "r.avro", [Record(0, at, b"k", b"v", None, ()) for at in times])
    records = records_of(tmp_path / "r.avro")
    assert [record.at for record in records] == [5, 5, 5, 5, 5, 0, 0, last, 3]
    assert {record._replace(offset=0, at=0) for record in records} == {Record(0, 0, b"k", b"v", None, ())}


# --- events ---


def test_any_avro_reader_reads_an_event_file(tmp_path: Path) -> None:
    assert write_event_file(tmp_path / "e.avro", REGISTRY, iter(PAYMENTS), "deflate") == len(PAYMENTS)
    with open(tmp_path / "e.avro", "rb") as file:
        rows = list(fastavro.reader(file))
    assert (rows[3]["payment_id"], rows[3]["amount"]) == ("p3", {"minor": 300, "currency": "EUR"})
    assert records_of(tmp_path / "e.avro") == RECORDS


def test_events_of_an_older_schema_are_resolved(tmp_path: Path) -> None:
    schema = json.loads(json.dumps(load_schema("payments.PaymentInitiated")))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "reference"]
    rows = [{"payment_id": "p", "kind": "DEPOSIT", "debtor_account": None, "creditor_account": "acc",
             "amount": {"minor": 5, "currency": "EUR"}, "pending_id": None, "hold_timeout_ms": None,
             "original_payment_id": None, "source": "web", "requested_at": at} for at in (START, 1 << 62)]  # fmt: skip
    with open(tmp_path / "e.avro", "wb") as file:
        fastavro.writer(file, schema, rows)
    records = records_of(tmp_path / "e.avro")
    assert [REGISTRY.decode(r.value).requested_at for r in records] == [START, 1 << 62]  # no calendar has the second
    assert [r.at for r in records] == [START, START]
    assert REGISTRY.decode(records[0].value).reference is None


def test_bytes_and_times_of_a_resolved_event(tmp_path: Path) -> None:
    schema = json.loads(json.dumps(load_schema("rails.DeadLetter")))
    schema["fields"] = [field | ({"default": ""} if field["name"] == "detail" else {}) for field in schema["fields"]]
    schema["fields"].append({"name": "more", "type": "int"})
    row = {"id": "i", "stage": "s", "topic": "t", "partition": 0, "offset": 1, "at": START, "code": "C", "detail": "",
           "attempt": 0, "key": b"\xff", "value": None, "headers": [], "more": 1}  # fmt: skip
    with open(tmp_path / "d.avro", "wb") as file:
        fastavro.writer(file, schema, [row])
    (record,) = records_of(tmp_path / "d.avro")
    assert (REGISTRY.decode(record.value).key, record.at, record.key) == (b"\xff", START, None)


def test_an_event_that_has_no_place_in_the_pipeline_loses_its_key_but_no_byte(tmp_path: Path) -> None:
    odd = payment(2, source="nobody")
    write_event_file(tmp_path / "e.avro", REGISTRY, [payment(1), odd, payment(3)])
    (tmp_path / "e.jsonl").write_bytes(lines_of([payment(1), odd, payment(3)]))
    reason = (Header("reader.error", b"NO_KEY source"),)
    avro = records_of(tmp_path / "e.avro")
    assert avro[1] == Record(1, START + 1, None, REGISTRY.encode(odd), None, reason)
    assert avro == records_of(tmp_path / "e.jsonl")


def test_a_claimed_time_that_no_log_can_have_becomes_that_of_the_record_before(tmp_path: Path) -> None:
    events = [payment(0, requested_at=-1), payment(1), payment(2, requested_at=1 << 62), payment(3)]
    write_event_file(tmp_path / "e.avro", REGISTRY, events)
    records = records_of(tmp_path / "e.avro")
    assert [record.at - START for record in records] == [1, 1, 1, 3]
    assert [REGISTRY.decode(record.value) for record in records] == events


def test_an_event_file_has_one_type(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no events"):
        write_event_file(tmp_path / "e.avro", REGISTRY, [])
    with pytest.raises(ValueError, match="given a Tick among PaymentInitiated"):
        write_event_file(tmp_path / "e.avro", REGISTRY, [payment(1), Tick(1)])
    assert list(tmp_path.iterdir()) == []


# --- JSONL ---


def test_lines_that_are_no_events_keep_their_bytes_and_the_time_of_the_line_before(tmp_path: Path) -> None:
    tick = OBJECTS.write_line(Tick(START + 5))
    bad = [b"rubbish", b"\xff\x00", b'{"type": "x"}', b'{"type": "rails.Tick", "at": "\\ud800"}']
    content = [bad[0], tick, bad[1], b"", b"  ", b'{"at": %d}' % (START + 9), bad[2], bad[3]]
    (tmp_path / "e.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(content))
    records = records_of(tmp_path / "e.jsonl")
    assert [record.value for record in records] == [
        bad[0], REGISTRY.encode(Tick(START + 5)), bad[1], b'{"at": %d}' % (START + 9), bad[2], bad[3],
    ]  # fmt: skip
    assert [record.at - START for record in records] == [5, 5, 5, 9, 9, 9]
    assert [record.key for record in records] == [None] * 6
    assert [record.headers and record.headers[0].value for record in records] == [
        b"NOT_AN_EVENT not JSON", (), b"NOT_AN_EVENT not JSON", b"NOT_AN_EVENT type", b"NOT_AN_EVENT type",
        b"NOT_AN_EVENT at: not a time",
    ]  # fmt: skip


def test_half_a_character_is_no_event(tmp_path: Path) -> None:
    line = OBJECTS.write_line(payment(1)).replace(b"web", b"\\udc00")
    (tmp_path / "e.jsonl").write_bytes(line)
    (record,) = records_of(tmp_path / "e.jsonl")
    assert (record.value, record.at, record.headers[0].value) == (line, 0, b"NOT_AN_EVENT not Unicode")


def test_the_time_of_a_line_comes_before_that_of_its_event(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(OBJECTS.write_line(payment(1), 77))
    assert records_of(tmp_path / "e.jsonl")[0].at == 77


def test_a_file_of_nothing_but_rubbish_has_a_time_too(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"a\nb")
    assert [(record.value, record.at) for record in records_of(tmp_path / "e.jsonl")] == [(b"a", 0), (b"b", 0)]
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert records_of(tmp_path / "empty.jsonl") == []


def test_the_longest_line_and_one_longer(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"x" * MAX_BYTES + b"\r\n" + b"y" * MAX_BYTES)
    assert [len(record.value or b"") for record in records_of(tmp_path / "e.jsonl")] == [MAX_BYTES, MAX_BYTES]
    (tmp_path / "e.jsonl").write_bytes(b"a\n" + b"x" * (MAX_BYTES + 1))
    assert failure(tmp_path / "e.jsonl") == f"line 2 is longer than {MAX_BYTES} bytes"


# --- files that are not what their names say ---


def failure(path: Path) -> str:
    with pytest.raises(RecordFileError) as caught:
        records_of(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def header_failure(path: Path) -> str:
    with pytest.raises(RecordFileError) as caught:
        ReadRecords([str(path)], REGISTRY, time_of, key_of)
    return str(caught.value).removeprefix(f"{path}: ")


def test_missing_files_and_unknown_endings(tmp_path: Path) -> None:
    assert header_failure(tmp_path / "e.avro") == "No such file or directory"
    (tmp_path / "e.csv").write_bytes(b"a,b\n")
    assert header_failure(tmp_path / "e.csv") == "unknown kind of file, not one of .avro, .jsonl, .jsonl.gz"
    assert "Is a directory" in header_failure(tmp_path.parent / tmp_path.name)


def test_files_with_the_ending_of_another(tmp_path: Path) -> None:
    for name, write in FORMS:
        for other in ("x.avro", "x.jsonl", "x.jsonl.gz"):
            if not name.endswith(other[1:]):
                write(tmp_path / other)
                message = header_failure(tmp_path / other)
                assert message in (
                    "not an Avro container file of records",
                    "not JSONL but Avro: wrong ending",
                    "not JSONL but gzip: wrong ending",
                    "not a whole gzip file",
                )
    (tmp_path / "x.avro").write_bytes(b"")
    assert header_failure(tmp_path / "x.avro") == "not an Avro container file of records"


def container(path: Path, schema: Any, rows: list[Any]) -> Path:
    with open(path, "wb") as file:
        fastavro.writer(file, schema, rows)
    return path


def test_containers_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "x.avro"
    assert header_failure(container(path, "int", [1])) == "not an Avro container file of records"
    other = {"type": "record", "namespace": "x", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
    assert header_failure(container(path, other, [])) == "holds x.Other, which is no event of rails, payments"
    inside = load_schema("payments.Money")
    assert header_failure(container(path, inside, [])) == "holds payments.Money, which is no event of rails, payments"
    record = {"type": "record", "name": "rails.Record", "fields": [{"name": "offset", "type": "long"}]}
    assert header_failure(container(path, record, [])) == "its schema is not the rails.Record of this version"
    with pytest.raises(RecordFileError, match=r"no event of rails$"):
        write_avro(path)
        check_record_file(str(path), Registry.of("rails"))


def test_a_schema_that_cannot_be_resolved(tmp_path: Path) -> None:
    other = {"type": "record", "name": "rails.Tick", "fields": [{"name": "at", "type": "string"}]}
    assert "damaged in block 0, record 0: SchemaResolutionError" in header_failure(
        container(tmp_path / "x.avro", other, [{"at": "soon"}])
    )
    lost = {"type": "record", "name": "rails.Tick", "fields": [{"name": "time", "type": "long"}]}
    assert "record 0: SchemaResolutionError" in header_failure(container(tmp_path / "x.avro", lost, [{"time": 1}]))


@pytest.mark.parametrize(("name", "write"), FORMS[:2])
def test_a_container_cut_anywhere_is_an_error(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    with open(tmp_path / name, "rb") as file:
        blocks = [(block.offset, block.size) for block in fastavro.block_reader(file)]
    for cut in (blocks[0][0] + 1, blocks[0][0] + 2000, blocks[2][0] - 1, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:cut])
        assert failure(tmp_path / name).startswith("truncated or damaged in block")


def test_damage_inside_a_block_names_the_place(tmp_path: Path) -> None:
    write_raw(tmp_path / "r.avro")
    whole = (tmp_path / "r.avro").read_bytes()
    (tmp_path / "r.avro").write_bytes(whole.replace(b"\x08p100", b"\x7fp100", 1))
    assert failure(tmp_path / "r.avro").startswith("damaged in block 0: ")
    write_event_file(tmp_path / "e.avro", REGISTRY, PAYMENTS[:3])
    whole = (tmp_path / "e.avro").read_bytes()
    (tmp_path / "e.avro").write_bytes(whole.replace(b"\x04p2\x00", b"\x04p2\x01", 1))  # an index that is negative
    assert failure(tmp_path / "e.avro") == "damaged in block 0, record 2: BAD_INDEX"
    (tmp_path / "e.avro").write_bytes(whole.replace(b"\x04p2\x00", b"\x04\xff2\x00", 1))
    assert failure(tmp_path / "e.avro").startswith("damaged in block 0, record 2: UnicodeDecodeError")


def test_bytes_behind_the_records_of_a_block(tmp_path: Path) -> None:
    write_event_file(tmp_path / "e.avro", REGISTRY, [Tick(START)])
    whole = (tmp_path / "e.avro").read_bytes()
    sync = hashlib.md5(b"rails.Tick").digest()
    head, block, _ = whole.split(sync)
    assert block[:2] == b"\x02\x0c"
    (tmp_path / "e.avro").write_bytes(head + sync + b"\x02\x0e" + block[2:] + b"\x00" + sync)
    assert failure(tmp_path / "e.avro") == "damaged in block 0: bytes behind its records"


def test_gzip_cut_or_damaged(tmp_path: Path) -> None:
    write_gzip(tmp_path / "e.jsonl.gz")
    whole = (tmp_path / "e.jsonl.gz").read_bytes()
    for damaged in (whole[:-1], whole[:5000], whole[:20], whole[:3000] + b"\xff" * 50 + whole[3050:]):
        (tmp_path / "e.jsonl.gz").write_bytes(damaged)
        assert failure(tmp_path / "e.jsonl.gz") == "not a whole gzip file"


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="chunk_records must be at least 1, got 0"):
        ReadRecords([], REGISTRY, time_of, key_of, chunk_records=0)
    for make in (write_record_file, WriteRecords):
        with pytest.raises(ValueError, match="got 'snappy'"):
            make(tmp_path / "x.avro", **({"records": []} if make is write_record_file else {}), codec="snappy")  # type: ignore[operator]


# --- pipelines ---


def test_the_result_does_not_depend_on_the_order_of_the_files(tmp_path: Path, make_pipeline) -> None:
    for name, write in FORMS:
        write(tmp_path / name)
    paths = [str(tmp_path / name) for name, _ in FORMS]
    expected = [
        chunk._replace(partition=number)
        for number, path in enumerate(sorted(paths))
        for chunk in read_record_file(path, reading())
    ]
    for order in (paths, [*reversed(paths), paths[0]]):
        with make_pipeline() as p:
            chunks = p | ReadRecords(order, REGISTRY, time_of, key_of)
            assert_no_pickled_coders(p)
            assert_that(chunks, equal_to(expected))


def test_copying_with_two_worker_processes(tmp_path: Path, make_pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    write_raw(tmp_path / "r.avro")
    shutil.copy(tmp_path / "r.avro", tmp_path / "s.avro")
    with make_pipeline("--direct_num_workers=2", "--direct_running_mode=multi_processing") as p:
        chunks = p | ReadRecords([str(tmp_path / name) for name in ("r.avro", "s.avro")], REGISTRY, time_of, key_of)
        chunks | WriteRecords(tmp_path / "out.avro")
    assert records_of(tmp_path / "out.avro") == [r._replace(offset=n) for n, r in enumerate(RECORDS + RECORDS)]


@pytest.mark.parametrize("size", [10, 1000])
def test_writing_a_container_gives_the_same_bytes_for_any_chunks(tmp_path: Path, make_pipeline, size: int) -> None:
    write_raw(tmp_path / "golden.avro")
    chunks = list(reversed(list(pack_chunks("input", 0, RECORDS, size))))
    with make_pipeline() as p:
        given = p | beam.Create(chunks, reshuffle=False).with_output_types(Chunk)
        written = given | WriteRecords(tmp_path / "out.avro")
        assert_no_pickled_coders(p)
        assert_that(written, equal_to([(str(tmp_path / "out.avro"), len(RECORDS))]))
    assert (tmp_path / "out.avro").read_bytes() == (tmp_path / "golden.avro").read_bytes()


def test_writing_no_chunks_makes_an_empty_container(tmp_path: Path, make_pipeline) -> None:
    with make_pipeline() as p:
        p | beam.Create([]).with_output_types(Chunk) | WriteRecords(tmp_path / "out.avro")
    assert records_of(tmp_path / "out.avro") == []


def test_files_of_another_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gzip(tmp_path / "e.jsonl.gz")
    opened = []

    def opens(path: str, **options: Any) -> Any:
        opened.append((path, options["compression_type"]))
        return open(tmp_path / path.removeprefix("far://"), "rb")

    monkeypatch.setattr("transforms.record_readers.FileSystems.open", opens)
    chunks = list(read_record_file("far://e.jsonl.gz", reading()))
    assert sum(chunk.count for chunk in chunks) == len(RECORDS)
    assert opened == [("far://e.jsonl.gz", "uncompressed")]
