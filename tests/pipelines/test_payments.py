"""The pipeline `payments`, from files to files."""

import shutil
from pathlib import Path

import pytest

from payments.checkers import check_all, read_logs
from pipelines import payments
from pipelines.common import UsageError, launch
from pipelines.registry import REGISTRY
from tests.pipelines.runs import GOLDEN, as_text, files, generate, run_payments, stream
from transforms.chunks import unpack_chunk
from transforms.record_files import write_record_file
from transforms.topic_files import read_topic


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("raw") / "raw.avro")


@pytest.fixture(scope="module")
def plain_run(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files(run_payments(raw, tmp_path_factory.mktemp("plain") / "run"))


def test_golden(tmp_path: Path) -> None:
    """Each kind of payment, each way it can end, by hand: the file was read event by event against the rules."""
    run = run_payments(GOLDEN / "payments.jsonl", tmp_path / "run")
    assert as_text(run) == (GOLDEN / "payments.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "flags",
    [
        ("--chunk_records=7",),
        ("--direct_num_workers=2",),
        ("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
        ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    ],
    ids=" ".join,
)
def test_the_same_bytes_for_any_chunks_and_workers(
    flags: tuple[str, ...], raw: Path, plain_run: dict[str, bytes], tmp_path: Path
) -> None:
    assert files(run_payments(raw, tmp_path / "run", *flags)) == plain_run


def test_the_same_bytes_for_any_order_and_split_of_the_input(plain_run: dict[str, bytes], tmp_path: Path) -> None:
    records = list(stream())
    write_record_file(str(tmp_path / "a.avro"), records[1::2])
    write_record_file(str(tmp_path / "b.avro"), reversed(records[::2]))
    assert files(run_payments(f"{tmp_path}/b.avro,{tmp_path}/a.avro", tmp_path / "run")) == plain_run


def test_the_run_keeps_every_invariant(raw: Path, tmp_path: Path) -> None:
    run = run_payments(raw, tmp_path / "run")
    names = [path.name for path in (run / "topics").iterdir()]
    chunks = [chunk for name in names for chunk in read_topic(run / "topics", name)]
    logs = read_logs(((chunk.topic, chunk.partition, unpack_chunk(chunk)) for chunk in chunks), REGISTRY.decode)
    assert check_all(logs) == []


def test_a_failed_run_leaves_the_old_result(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "payments.jsonl", tmp_path / "in.jsonl")
    run = run_payments(tmp_path / "in.jsonl", tmp_path / "run")
    before = files(run)
    (tmp_path / "in.avro").write_bytes(b"not a container")
    with pytest.raises(Exception, match="not an Avro container"):
        run_payments(tmp_path / "in.avro", tmp_path / "run")
    assert files(run) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.avro", "in.jsonl", "run"]


def test_the_breaker_stops_a_stream_of_rubbish(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = (GOLDEN / "payments.jsonl").read_text(encoding="utf-8")
    (tmp_path / "in.jsonl").write_text(good + "rubbish\n" * 150, encoding="utf-8")
    argv = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/run"]
    assert launch(payments.run, argv, "payments") == 2
    assert (
        "payments: payments.admission: 151 of 164 records are dead letters (92.07 %, at most 50 % allowed)"
        in capfd.readouterr().err
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]
    assert launch(payments.run, [*argv, "--max_bad=1"], "payments") == 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--hop_ms=-1", "must be at least 0, got -1: --hop_ms"),
        ("--ttl_ms=0", "must be at least 1, got 0: --ttl_ms"),
        ("--reversal_ms=59999", "must be at least 60000, got 59999: --reversal_ms"),
        ("--sla_ms=0", "must be at least 1, got 0: --sla_ms"),
        ("--tick_ms=-5", "must be at least 0, got -5: --tick_ms"),
        ("--hop_ms=9223372036854775807", "must be at most 86400000, got 9223372036854775807: --hop_ms"),
        ("--tick_ms=86400001", "must be at most 86400000, got 86400001: --tick_ms"),
        ("--ttl_ms=9223372036854775807", "must be at most 315360000000, got 9223372036854775807: --ttl_ms"),
        ("--sla_ms=9223372036854775807", "must be at most 315360000000, got 9223372036854775807: --sla_ms"),
        ("--chunk_records=1000001", "must be at most 1000000, got 1000001: --chunk_records"),
        ("--chunk_records=0", "must be at least 1, got 0: --chunk_records"),
        ("--max_bad=1.5", "must lie between 0 and 1, got 1.5: --max_bad"),
        ("--hop_mss=1", "did you mean --hop_ms"),
    ],
)
def test_flags_out_of_range(flag: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        payments.run([f"--input={GOLDEN}/payments.jsonl", f"--output={tmp_path}/run", flag])
    assert list(tmp_path.iterdir()) == []


def test_ticks_of_a_long_input_are_fewer() -> None:
    options = payments.PaymentsOptions(["--input=x", "--output=y"])
    assert payments.loop_maker(options)(10_000).tick_ms == 1000
    assert payments.loop_maker(options)(10**10).tick_ms == 2_000_000
    options = payments.PaymentsOptions(["--input=x", "--output=y", "--tick_ms=250"])
    assert payments.loop_maker(options)(10**10).tick_ms == 250
