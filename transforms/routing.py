"""Filter, project, split, merge and route, with outputs that have names.

Two kinds of input. Elements of any type: functions are given the element. Chunks (`PCollection[Chunk]`): functions are given the
records inside, and the outputs are chunks again, so a record costs no Beam element of its own. A chunk of some of a partition's records
has holes in its offsets: windows, joins and views take it, a fold or a topic on disk does not (`AppendOutputs` numbers it anew).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, get_type_hints

import apache_beam as beam
from apache_beam import coders
from apache_beam.pvalue import TaggedOutput

from schemas.rails import Record
from transforms.chunks import Chunk, encode_record, unpack_chunk

Predicate = Callable[[Any], bool]


class NoRoute(Exception):
    """An element belongs to no output."""


class Outputs(dict[str, Any]):
    """The outputs of a step by name, as attributes too: `routed.settled` is `routed["settled"]`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no output {name}, only {', '.join(self)}") from None


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError("no outputs named")
    for name in names:
        if not name.isidentifier() or name.startswith("_") or hasattr(dict, name):
            raise ValueError(f"not fit for the name of an output: {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"two outputs of one name among {', '.join(names)}")


# --- filter ---


class KeepRecords(beam.PTransform):
    """PCollection[Chunk] → PCollection[Chunk]: the records for which `predicate(record)` holds. For elements there is `beam.Filter`.

    Offsets stay those of the log, and the `clock` of a chunk is still that of the partition before its first record. A chunk of which
    nothing is kept disappears.
    """

    def __init__(self, predicate: Callable[[Record], bool]) -> None:
        super().__init__()
        self.predicate = predicate

    def expand(self, chunks: Any) -> Any:
        return chunks | "Keep" >> beam.FlatMap(keep_records, self.predicate).with_output_types(Chunk)


def keep_records(chunk: Chunk, predicate: Callable[[Record], bool]) -> list[Chunk]:
    """The chunk of the records that are kept, if there are any."""
    return list(split_records(chunk, lambda record: "kept" if predicate(record) else None).values())


def split_records(chunk: Chunk, route: Callable[[Record], str | None]) -> dict[str, Chunk]:
    """The chunk's records by what `route` says; None drops one. A chunk that goes one way whole is handed on as it is."""
    parts: dict[str, list[Any]] = {}  # offset of the first, clock before it, encoded records
    records = unpack_chunk(chunk)
    clock = chunk.clock
    for record in records:
        name = route(record)
        if name is not None:
            part = parts.get(name)
            if part is None:
                part = parts[name] = [record.offset, clock, []]
            part[2].append(record)
        if record.at > clock:
            clock = record.at
    return {
        name: chunk
        if len(part) == len(records)
        else Chunk(chunk.topic, chunk.partition, offset, before, len(part), b"".join(map(encode_record, part)))
        for name, (offset, before, part) in parts.items()
    }


# --- project ---


class ProjectFields(beam.PTransform):
    """PCollection of records with attributes → PCollection[into]: some of their fields, under other names if asked.

    into: a NamedTuple class with a registered coder. paths: for a field of `into` where it stands in the element ("amount.minor"); a
    field without one has the same name there. `ProjectFields(Flow, minor="amount.minor", currency="amount.currency")`.
    """

    def __init__(self, into: type, **paths: str) -> None:
        super().__init__()
        fields = getattr(into, "_fields", None)
        if fields is None:
            raise ValueError(f"ProjectFields: {into.__name__} is no NamedTuple class")
        unknown = sorted(set(paths) - set(fields))
        if unknown:
            raise ValueError(f"ProjectFields: {into.__name__} has no field {', '.join(unknown)}")
        if isinstance(coders.registry.get_coder(into), coders.FastPrimitivesCoder):
            raise ValueError(f"ProjectFields: {into.__name__} has no coder: register one")
        self.into, self.paths = into, tuple(paths.get(name, name) for name in fields)

    def expand(self, elements: Any) -> Any:
        into, paths = self.into, self.paths
        known = _fields_of(elements.element_type)
        for path in paths:
            if known is not None and path.partition(".")[0] not in known:
                raise ValueError(f"ProjectFields: {elements.element_type.__name__} has no field {path}")
        if len(paths) == 1:
            get = attrgetter(paths[0])
            return elements | "Project" >> beam.Map(lambda element: into(get(element))).with_output_types(into)
        get_all = attrgetter(*paths)
        return elements | "Project" >> beam.Map(lambda element: into(*get_all(element))).with_output_types(into)


def _fields_of(kind: Any) -> frozenset[str] | None:
    """The fields of a NamedTuple class, None for a type that does not say."""
    return frozenset(get_type_hints(kind)) if hasattr(kind, "_fields") else None


# --- split and route ---


class SplitBy(beam.PTransform):
    """PCollection[T] → Outputs, each PCollection[T]: an element goes to the output whose name `function(element)` gives.

    Of chunks, each record goes to its own. Another name than one of `names` stops the job (NoRoute).
    """

    def __init__(self, function: Callable[[Any], str], names: Iterable[str]) -> None:
        super().__init__()
        self.function, self.names = function, tuple(names)
        _check_names(self.names)

    def expand(self, elements: Any) -> Any:
        return _split(elements, self.function, self.names)


class RouteByContent(beam.PTransform):
    """PCollection[T] → Outputs, each PCollection[T]: an element goes to the first route whose predicate holds, else to `otherwise`.

    routes: name of an output → predicate, in order. Of chunks, each record goes its own way. With `otherwise=None` an element without a
    route stops the job (NoRoute): nothing is dropped silently.
    """

    def __init__(self, routes: Mapping[str, Predicate], otherwise: str | None = "otherwise") -> None:
        super().__init__()
        self.routes, self.otherwise = dict(routes), otherwise
        _check_names([*self.routes, *([otherwise] if otherwise is not None else [])])

    def expand(self, elements: Any) -> Any:
        routes, otherwise = tuple(self.routes.items()), self.otherwise

        def route(element: Any) -> str:
            for name, predicate in routes:
                if predicate(element):
                    return name
            if otherwise is None:
                raise NoRoute(f"none of the routes {', '.join(name for name, _ in routes)} takes {_place(element)}")
            return otherwise

        return _split(elements, route, [*self.routes, *([otherwise] if otherwise is not None else [])])


def _place(element: Any) -> str:
    """An element in a message: never its values."""
    return f"the record at offset {element.offset}" if isinstance(element, Record) else f"a {type(element).__name__}"


def _split(elements: Any, route: Callable[[Any], str], names: Sequence[str]) -> Outputs:
    split = elements | "Route" >> beam.ParDo(
        _RouteChunk(route, names) if elements.element_type is Chunk else _RouteElement(route, names)
    ).with_outputs(*names[1:], main=names[0])  # the main output, too, has a name: nothing can go past
    found = Outputs({name: split[name] for name in names})
    for output in found.values():
        output.element_type = elements.element_type
    return found


class _RouteElement(beam.DoFn):
    def __init__(self, route: Callable[[Any], str], names: Sequence[str]) -> None:
        self.route, self.main, self.names = route, names[0], frozenset(names)

    def process(self, element: Any) -> Iterator[Any]:
        yield self._to(self._name(element), element)

    def _to(self, name: str, element: Any) -> Any:
        return element if name == self.main else TaggedOutput(name, element)

    def _name(self, element: Any) -> str:
        name = self.route(element)
        if name not in self.names:
            raise NoRoute(f"{name!r} is not one of the outputs {', '.join(sorted(self.names))}")
        return name


class _RouteChunk(_RouteElement):
    def process(self, element: Chunk) -> Iterator[Any]:
        for name, chunk in split_records(element, self._name).items():
            yield self._to(name, chunk)


# --- merge ---


class MergeAll(beam.PTransform):
    """Several PCollection[T], as a tuple or mapping of names (a list means a list of values to Beam) → PCollection[T], all in no order.

    ValueError when their element types or windows differ. A step of its own stands behind the merge: some runners fail when a GroupByKey
    reads a Flatten at once (apache/beam#34647).
    """

    def expand(self, merged: Any) -> Any:
        given = tuple(merged.values()) if isinstance(merged, dict) else merged
        if not isinstance(given, tuple) or not given:
            raise ValueError(f"MergeAll takes a tuple or mapping of PCollections, got {merged!r}")
        first = given[0]
        for one in given[1:]:
            if one.element_type != first.element_type:
                raise ValueError(f"MergeAll: elements of {one.element_type} among {first.element_type}")
            if one.windowing.windowfn != first.windowing.windowfn:
                raise ValueError(f"MergeAll: windows {one.windowing.windowfn} among {first.windowing.windowfn}")
        return given | "Merge" >> beam.Flatten() | "Merged" >> beam.Map(_same).with_output_types(first.element_type)


def _same(element: Any) -> Any:
    return element
