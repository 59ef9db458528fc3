"""The graphs of the auction jobs: labels that name state in savepoints are stable, and no element is pickled."""

from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest

from pipelines import (
    auction_jobs,
    auction_mailer,
    auction_views,
    auctions,
    auctions_verify,
    generate_auctions,
    import_bids,
)
from pipelines.auction_stages import NAMES, Rules
from tests.pipelines.auction_runs import generate
from tests.pipelines.runs import GOLDEN
from tests.pipelines.test_graphs import labels
from tests.proto import assert_no_pickled_coders
from transforms.csv_files import ReadCsv
from transforms.kafka_settings import kafka_settings
from transforms.topic_files import write_topics

Builders = dict[str, Callable[[beam.Pipeline], object]]


@pytest.fixture
def builders(tmp_path: Path, ebay_csv: Path) -> Builders:
    raw = [str(generate(tmp_path, 2))]
    place = tmp_path / "topics"
    write_topics(place, {topic.name: topic.partitions for topic in auctions.ALL}, [])
    options = auctions.AuctionsOptions([])
    live, kafka = auction_jobs.StageOptions(["--snapshots=s"]), kafka_settings("127.0.0.1:1", environment={})
    mapping = import_bids.read_mapping("ebay-bids")
    read = ReadCsv([str(ebay_csv)], import_bids.csv_format(mapping))
    post = auction_mailer.Post(str(tmp_path / "outbox"))
    settings = generate_auctions.SMALL
    a, b, c = (f"{tmp_path}/{name}" for name in "abc")
    return {
        "generate_auctions": lambda p: generate_auctions.build_pipeline(p, settings, a, b, c),
        "import_bids": lambda p: import_bids.build_pipeline(p, read, mapping, a, b, c),
        "auctions": lambda p: auctions.build_pipeline(p, options, Rules(), raw, tmp_path),
        "auctions_verify": lambda p: auctions_verify.build_pipeline(p, tmp_path, tmp_path / "violations.txt"),
        "auction_views": lambda p: auction_views.build_pipeline(p, place, tmp_path / "v.duckdb", 5, 1_000),
        "auction_mailer": lambda p: auction_mailer.build_pipeline(p, place, post),
        "auctions_replay": lambda p: auction_jobs.build_replay(p, place, Rules(), NAMES, tmp_path),
        "auctions_live": lambda p: auction_jobs.build_live(p, live, Rules(), kafka, auction_jobs.NAMES),
    }


def test_step_labels_are_the_golden_ones(builders: Builders) -> None:
    lines = []
    for name, build in builders.items():
        pipeline = beam.Pipeline()
        build(pipeline)
        lines += [f"== {name}", *labels(pipeline)]
    assert "\n".join(lines) + "\n" == (GOLDEN / "auction_step_labels.txt").read_text(encoding="utf-8")


def test_no_element_is_pickled(builders: Builders) -> None:
    for build in builders.values():
        pipeline = beam.Pipeline()
        build(pipeline)
        assert_no_pickled_coders(pipeline)
