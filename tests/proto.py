"""Looks at the graph that a pipeline hands to a runner."""

from apache_beam import Pipeline
from apache_beam.coders import coders

# FastPrimitivesCoder writes plain values itself but falls back to pickle for all others.
PICKLING = (
    coders._PickleCoderBase,
    coders.FastPrimitivesCoder,
    coders.FakeDeterministicFastPrimitivesCoder,
    coders.DeterministicFastPrimitivesCoder,
    coders.DeterministicFastPrimitivesCoderV2,
)


def element_coders(pipeline: Pipeline) -> dict[str, coders.Coder]:
    """The coder of the elements of every PCollection, by the PCollection's label and number."""
    proto, context = pipeline.to_runner_api(return_context=True)
    found = {}
    for name, pcollection in sorted(proto.components.pcollections.items()):
        found[f"{pcollection.unique_name} ({name})"] = context.coders.get_by_id(pcollection.coder_id)
    return found


def _pickles(coder: coders.Coder) -> bool:
    """Whether elements, or parts of them, may be written by pickle."""
    if isinstance(coder, PICKLING):
        return True
    return any(_pickles(part) for part in coder._get_component_coders())


def assert_no_pickled_coders(pipeline: Pipeline) -> None:
    """Fails if a PCollection of the pipeline, at any depth, has a coder that may write elements by pickle."""
    bad = [f"{label}: {coder}" for label, coder in element_coders(pipeline).items() if _pickles(coder)]
    assert not bad, "elements would be pickled in:\n" + "\n".join(bad)
