from typing import Any, NamedTuple

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows

from schemas.rails import Record
from tests.proto import assert_no_pickled_coders
from transforms.chunks import Chunk, pack_chunks, unpack_chunk
from transforms.plain import PlainTupleCoder
from transforms.routing import (
    KeepRecords,
    MergeAll,
    NoRoute,
    ProjectFields,
    RouteByContent,
    SplitBy,
    keep_records,
    split_records,
)


class Price(NamedTuple):
    minor: int
    currency: str


class Sale(NamedTuple):
    id: str
    price: Price


class Flow(NamedTuple):
    id: str
    minor: int


class Amount(NamedTuple):
    minor: int


class Uncoded(NamedTuple):
    id: str


class SaleCoder(PlainTupleCoder):
    kind = Sale

    def decode(self, encoded: bytes) -> Sale:
        sale = super().decode(encoded)
        return Sale(sale.id, Price(*sale.price))


class FlowCoder(PlainTupleCoder):
    kind = Flow


class AmountCoder(PlainTupleCoder):
    kind = Amount


coders.registry.register_coder(Sale, SaleCoder)
coders.registry.register_coder(Flow, FlowCoder)
coders.registry.register_coder(Amount, AmountCoder)

TIMES = [100, 90, 300, 200, 250, 400]
RECORDS = [Record(i, at, b"k%d" % i, None, None, ()) for i, at in enumerate(TIMES)]
(CHUNK,) = pack_chunks("t", 3, RECORDS)
SALES = [Sale("a", Price(5, "EUR")), Sale("b", Price(7, "USD")), Sale("c", Price(0, "EUR"))]


def is_odd(record: Record) -> bool:
    return record.offset % 2 == 1


def sales(p: beam.Pipeline) -> Any:
    return p | beam.Create(SALES, reshuffle=False).with_output_types(Sale)


def chunks(p: beam.Pipeline, size: int = 4) -> Any:
    return p | "Chunks" >> beam.Create(list(pack_chunks("t", 3, RECORDS, size)), reshuffle=False).with_output_types(
        Chunk
    )


# --- the pure part ---


def test_kept_records_have_the_offsets_of_the_log_and_the_clock_before_the_first() -> None:
    (kept,) = keep_records(CHUNK._replace(clock=50), lambda record: record.at in (200, 400))
    assert unpack_chunk(kept) == [RECORDS[3], RECORDS[5]]
    assert kept[:5] == ("t", 3, 3, 300, 2)  # 300: of a record that is not kept
    (kept,) = keep_records(CHUNK._replace(clock=350), lambda record: record.at == 400)
    assert kept.clock == 350
    assert keep_records(CHUNK, lambda record: False) == []
    assert keep_records(CHUNK, lambda record: True)[0] is CHUNK


def test_split_records_keep_their_order_and_none_is_lost_but_those_without_a_route() -> None:
    parts = split_records(CHUNK, lambda record: {0: "zero", 5: None}.get(record.offset, "rest"))
    assert {name: unpack_chunk(part) for name, part in parts.items()} == {"zero": RECORDS[:1], "rest": RECORDS[1:5]}
    assert [part[:5] for part in parts.values()] == [("t", 3, 0, -1, 1), ("t", 3, 1, 100, 4)]


# --- filter and project ---


def test_keep_records(make_pipeline) -> None:
    with make_pipeline() as p:
        kept = chunks(p) | KeepRecords(lambda record: record.offset in (0, 1))
        assert_no_pickled_coders(p)
        assert_that(kept, equal_to(list(pack_chunks("t", 3, RECORDS[:2]))))


def test_fields_are_projected_by_name_and_path(make_pipeline) -> None:
    with make_pipeline() as p:
        given = sales(p)
        flows = given | ProjectFields(Flow, minor="price.minor")
        amounts = given | "Amounts" >> ProjectFields(Amount, minor="price.minor")
        assert_no_pickled_coders(p)
        assert_that(flows, equal_to([Flow("a", 5), Flow("b", 7), Flow("c", 0)]))
        assert_that(amounts, equal_to([Amount(5), Amount(7), Amount(0)]), "amounts")


def test_a_projection_that_cannot_work_is_refused_when_built(make_pipeline) -> None:
    with pytest.raises(ValueError, match="Flow has no field a, b"):
        ProjectFields(Flow, b="id", a="id")
    with pytest.raises(ValueError, match="int is no NamedTuple class"):
        ProjectFields(int)
    with pytest.raises(ValueError, match="Uncoded has no coder"):
        ProjectFields(Uncoded)
    p = make_pipeline()
    with pytest.raises(ValueError, match=r"Sale has no field amount\.minor"):
        sales(p) | ProjectFields(Flow, minor="amount.minor")
    p | "Untyped" >> beam.Create([1]) | "Unknown fields" >> ProjectFields(Flow)


# --- split and route ---


def test_elements_go_to_the_first_route_that_takes_them(make_pipeline) -> None:
    with make_pipeline() as p:
        routed = sales(p) | RouteByContent(
            {"free": lambda sale: sale.price.minor == 0, "euro": lambda sale: sale.price.currency == "EUR"}
        )
        assert list(routed) == ["free", "euro", "otherwise"]
        assert routed.free is routed["free"]
        assert routed.free.element_type is Sale
        assert_no_pickled_coders(p)
        assert_that(routed.free, equal_to(SALES[2:]), "free")
        assert_that(routed.euro, equal_to(SALES[:1]), "euro")
        assert_that(routed.otherwise, equal_to(SALES[1:2]), "otherwise")
        with pytest.raises(AttributeError, match="no output cheap, only free, euro, otherwise"):
            _ = routed.cheap


def test_records_of_chunks_go_their_own_ways(make_pipeline) -> None:
    with make_pipeline() as p:
        routed = chunks(p, 1000) | RouteByContent({"odd": is_odd}, otherwise="even")
        assert_no_pickled_coders(p)
        assert_that(routed.odd | beam.FlatMap(unpack_chunk), equal_to(RECORDS[1::2]), "odd")
        assert_that(routed.even | "u" >> beam.FlatMap(unpack_chunk), equal_to(RECORDS[0::2]), "even")


def test_elements_are_split_by_what_a_function_says(make_pipeline) -> None:
    with make_pipeline() as p:
        split = sales(p) | SplitBy(lambda sale: sale.price.currency, ["EUR", "USD", "GBP"])
        assert_no_pickled_coders(p)
        assert_that(split.EUR, equal_to(SALES[0::2]), "EUR")
        assert_that(split.USD, equal_to(SALES[1:2]), "USD")
        assert_that(split["GBP"], equal_to([]), "GBP")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (SplitBy(lambda sale: "CHF", ["EUR", "USD"]), "'CHF' is not one of the outputs EUR, USD"),
        (RouteByContent({"none": lambda sale: False}, otherwise=None), "none of the routes none takes a Sale"),
    ],
)
def test_an_element_without_a_route_stops_the_job(make_pipeline, step: Any, message: str) -> None:
    with pytest.raises(NoRoute, match=message), make_pipeline() as p:
        sales(p) | step


def test_a_record_without_a_route_is_named_by_its_offset(make_pipeline) -> None:
    with pytest.raises(NoRoute, match="none of the routes a, b takes the record at offset 2"), make_pipeline() as p:
        chunks(p) | RouteByContent({"a": is_odd, "b": lambda record: record.offset == 0}, otherwise=None)


@pytest.mark.parametrize("name", ["", "a b", "_a", "items", "get", "1a"])
def test_names_that_are_not_fit_for_an_output(name: str) -> None:
    with pytest.raises(ValueError, match=f"not fit for the name of an output: {name!r}"):
        SplitBy(str, ["x", name])
    with pytest.raises(ValueError, match="not fit"):
        RouteByContent({name: bool})


def test_names_of_outputs_must_differ() -> None:
    with pytest.raises(ValueError, match="two outputs of one name among a, a"):
        RouteByContent({"a": bool}, otherwise="a")
    with pytest.raises(ValueError, match="no outputs named"):
        SplitBy(str, [])


# --- merge ---


def test_merging_what_was_split(make_pipeline) -> None:
    with make_pipeline() as p:
        split = sales(p) | SplitBy(lambda sale: sale.price.currency, ["EUR", "USD"])
        merged = split | MergeAll()
        twice = (split.EUR, split.EUR) | "Twice" >> MergeAll()
        # A GroupByKey may follow at once.
        counted = (merged, split.USD) | "Again" >> MergeAll() | beam.Map(lambda sale: (sale.id, 1)) | beam.GroupByKey()
        assert merged.element_type is Sale
        assert_that(merged, equal_to(SALES), "merged")
        assert_that(twice, equal_to([SALES[0], SALES[2]] * 2), "twice")
        assert_that(
            counted | beam.MapTuple(lambda key, ones: (key, sum(ones))), equal_to([("a", 1), ("b", 2), ("c", 1)])
        )


def test_a_step_stands_between_flatten_and_what_follows(make_pipeline) -> None:
    p = make_pipeline()
    merged = (sales(p), p | "More" >> beam.Create(SALES, reshuffle=False).with_output_types(Sale)) | MergeAll()
    assert not isinstance(merged.producer.transform, beam.Flatten)
    assert_no_pickled_coders(p)


def test_merging_what_does_not_fit_together(make_pipeline) -> None:
    p = make_pipeline()
    given = sales(p)
    with pytest.raises(ValueError, match=r"MergeAll: elements of .*Chunk.* among .*Sale"):
        (given, chunks(p)) | MergeAll()
    with pytest.raises(ValueError, match=r"MergeAll: windows .*FixedWindows.* among .*GlobalWindows"):
        (given, given | beam.WindowInto(FixedWindows(1))) | "m2" >> MergeAll()
    with pytest.raises(ValueError, match="MergeAll takes a tuple or mapping of PCollections, got <PColl"):
        given | "m3" >> MergeAll()
