"""The graphs of all jobs: labels that name state in savepoints are stable, and no element is pickled."""

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest

from payments import topics
from payments.generator import Settings
from pipelines import (
    generate_payments,
    import_payments,
    live_topics,
    payment_views,
    payment_views_live,
    payments,
    payments_live,
    payments_replay,
    payments_verify,
)
from tests.pipelines.runs import GOLDEN, run_payments
from tests.proto import assert_no_pickled_coders
from transforms.csv_files import ReadCsv
from transforms.kafka_settings import kafka_settings
from transforms.postgres_views import PostgresSettings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_payments(GOLDEN / "payments.jsonl", tmp_path_factory.mktemp("graphs") / "run")


_OF_CREATE = ("/Map(decode)", "/MaybeReshuffle")


def builders(run: Path, tmp_path: Path, bank_csv: Path) -> dict[str, Callable[[beam.Pipeline], object]]:
    raw = [str(GOLDEN / "payments.jsonl")]
    options = payments.PaymentsOptions(["--input=x", "--output=y"])
    replay = payments_replay.ReplayOptions([f"--input={run}/topics"])
    live, kafka = payments_live.PaymentsLiveOptions(["--snapshots=s"]), kafka_settings("127.0.0.1:1", environment={})
    database = PostgresSettings("postgresql://rails@127.0.0.1:1/rails")
    ends = {topic.name: [0] * topic.partitions for topic in topics.ALL}
    mapping = import_payments.load_mapping("bank-transactions")
    read = ReadCsv([str(bank_csv)], import_payments.csv_format(mapping))
    return {
        "generate_payments": lambda p: generate_payments.build_pipeline(
            p, Settings(), f"{tmp_path}/a", f"{tmp_path}/b"
        ),
        "import_payments": lambda p: import_payments.build_pipeline(
            p, read, mapping, *(f"{tmp_path}/{name}" for name in "cde")
        ),
        "payment_views": lambda p: payment_views.build_pipeline(p, run / "topics", tmp_path / "v.duckdb"),
        "payments": lambda p: payments.build_pipeline(p, options, raw, tmp_path),
        "payments_live": lambda p: payments_live.build_pipeline(p, live, kafka),
        "payment_views_live": lambda p: payment_views_live.build_pipeline(p, kafka, database),
        "live_topics": lambda p: live_topics.build_recording(p, kafka, ends, tmp_path),
        "payments_replay": lambda p: payments_replay.build_pipeline(p, replay, tmp_path),
        "payments_verify": lambda p: payments_verify.build_pipeline(p, run, tmp_path / "violations.txt"),
    }


def labels(pipeline: beam.Pipeline) -> list[str]:
    """The full labels of all steps that do something; of a Create its own parts are Beam's business."""
    transforms = pipeline.to_runner_api().components.transforms.values()
    names = (t.unique_name for t in transforms if t.unique_name and not t.subtransforms)
    return sorted(name for name in names if not name.endswith(_OF_CREATE) and "<lambda" not in name)


def test_step_labels_are_the_golden_ones(run: Path, tmp_path: Path, bank_csv: Path) -> None:
    lines = []
    for name, build in builders(run, tmp_path, bank_csv).items():
        pipeline = beam.Pipeline()
        build(pipeline)
        lines += [f"== {name}", *labels(pipeline)]
    assert "\n".join(lines) + "\n" == (GOLDEN / "step_labels.txt").read_text(encoding="utf-8")


def test_no_element_is_pickled(run: Path, tmp_path: Path, bank_csv: Path) -> None:
    for build in builders(run, tmp_path, bank_csv).values():
        pipeline = beam.Pipeline()
        build(pipeline)
        assert_no_pickled_coders(pipeline)
