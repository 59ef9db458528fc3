"""generate_payments as a command: the same bytes for the same flags on any runner, its truth beside, and errors in one line."""

import json
from pathlib import Path

import pytest

from payments.generator import START_MS, Generation, Settings
from pipelines.common import UsageError, launch
from pipelines.engine import make_pipeline
from pipelines.generate_payments import GenerateOptions, build_pipeline, parse_instant, run, settings_of, write_stream
from pipelines.registry import REGISTRY
from schemas.payments import AccountOpened
from tests.proto import assert_no_pickled_coders
from transforms.chunks import unpack_chunk
from transforms.record_files import Reading, read_record_file

FLAGS = ["--payments", "600", "--accounts", "60", "--seed", "4", "--rate", "50", "--skew", "1", "--bad", "0.1"]
SETTINGS = Settings(payments=600, accounts=60, seed=4, rate=50, skew=1.0, bad=0.1)


def test_the_file_is_the_stream_of_the_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "payments.avro"
    run(["--output", str(path), *FLAGS])
    generation = Generation(SETTINGS)
    reading = Reading(REGISTRY, lambda event: 0, lambda event: None)
    found = [record for chunk in read_record_file(str(path), reading) for record in unpack_chunk(chunk)]
    assert found == list(generation)
    assert REGISTRY.decode(found[0].value or b"").__class__ is AccountOpened
    truth = json.loads((tmp_path / "new" / "payments.avro.truth.json").read_text())
    assert truth == generation.truth()
    printed, progress = capsys.readouterr()
    faults = sum(fault["count"] for fault in truth["planted"].values())
    assert printed == (
        f"{len(found):,} records: 600 payments over 60 accounts, {faults} of them planted faults of "
        f"{len(truth['planted'])} kinds, {truth['duplicates']} repeats\nwritten: {path}, {path}.truth.json\n"
    )
    assert "generate: 600 of 600 payments (100 %)" in progress
    assert sorted(item.name for item in path.parent.iterdir()) == ["payments.avro", "payments.avro.truth.json"]


def test_equal_bytes_again_and_with_more_workers(tmp_path: Path) -> None:
    for name, more in (("1", []), ("2", ["--direct_num_workers", "2", "--direct_running_mode", "multi_threading"])):
        run(["--output", str(tmp_path / f"{name}.avro"), *FLAGS, *more])
    assert (tmp_path / "1.avro").read_bytes() == (tmp_path / "2.avro").read_bytes()
    assert (tmp_path / "1.avro.truth.json").read_bytes() == (tmp_path / "2.avro.truth.json").read_bytes()


def test_long_streams_tell_their_progress(tmp_path: Path) -> None:
    settings = json.dumps({"payments": 2_500, "accounts": 50})
    path, count = write_stream(settings, str(tmp_path / "a.avro"), str(tmp_path / "a.json"))
    assert (
        path == str(tmp_path / "a.avro") and count == json.loads((tmp_path / "a.json").read_text())["records"] > 2_500
    )


def test_the_graph(tmp_path: Path) -> None:
    pipeline = make_pipeline(GenerateOptions(["--output", "a.avro"]))
    build_pipeline(pipeline, SETTINGS, str(tmp_path / "a.avro"), str(tmp_path / "a.json"))
    assert_no_pickled_coders(pipeline)
    labels = [part.full_label for part in pipeline._root_transform().parts]
    assert labels == ["Settings", "Generate"]


def test_defaults_are_those_of_the_settings() -> None:
    assert settings_of(GenerateOptions(["--output", "x.avro"])) == Settings()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-03", 172_800_000),
        ("2026-01-01T00:00:00+00:00", START_MS),
        ("2026-01-01T01:00:00.5+01:00", START_MS + 500),
    ],
)
def test_instants(text: str, at: int) -> None:
    assert parse_instant(text) == at


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "the following arguments are required: --output"),
        (["--output", "a.csv"], "the name must end with .avro: --output a.csv"),
        (["--output", "a.avro", "--payments", "5"], "--payments must be from 100 to 1,000,000,000, got 5"),
        (["--output", "a.avro", "--rate", "x"], "--rate: invalid int value: 'x'"),
        (["--output", "a.avro", "--start", "soon"], "--start is no ISO 8601 time: 'soon'"),
        (["--output", "a.avro", "--payment", "500"], "unknown flag (did you mean --payments?): --payment"),
        (["--output", "/proc/none/a.avro"], "cannot write to this folder"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert launch(run, flags, "generate_payments") == 2
    error = capsys.readouterr().err
    assert error.startswith("generate_payments: ") and message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_setting_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--skew must be from 0 to 3, got 9"):
        settings_of(GenerateOptions(["--output", "x.avro", "--skew", "9"]))
