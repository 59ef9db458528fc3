"""Launchers' shared parts: strict flags, one-line errors, exit statuses."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from pipelines import common
from pipelines.common import JobOptions, UsageError, beam_options, check_range, launch, parse_options


class DemoOptions(JobOptions):
    """A job for tests."""

    @classmethod
    def _add_argparse_args(cls, parser) -> None:
        parser.add_argument("--input", required=True, help="what to read")
        parser.add_argument("--hop_ms", type=int, default=7)
        parser.add_argument("--gate", action="store_true")


class TwinOptions(JobOptions):
    """Another job of the same process with a flag of the same name."""

    @classmethod
    def _add_argparse_args(cls, parser) -> None:
        parser.add_argument("--input", default="x")


def test_own_and_beams_flags_are_read() -> None:
    options = parse_options(["--input=a", "--gate", "--direct_num_workers", "2"], DemoOptions)
    assert (options.input, options.hop_ms, options.gate) == ("a", 7, True)
    assert options.view_as(DirectOptions).direct_num_workers == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--input=a", "--hop_mss=3"], "unknown flag (did you mean --hop_ms?): --hop_mss"),
        (
            ["--input=a", "--direct_num_worker=3"],
            "unknown flag (did you mean --direct_num_workers?): --direct_num_worker",
        ),
        (["--input=a", "--qqqqqqqq"], "unknown flag: --qqqqqqqq"),
        (["--inp=a", "--input=b"], "unknown flag (did you mean --input?): --inp"),
        (["--input=a", "stray"], "unexpected argument: stray"),
        (
            ["--input=a", "--performance_runtime_type_check"],
            "Beam would hold every output of a step against the type of its main one: --performance_runtime_type_check",
        ),
        (
            ["--input=a", "--runtime_type_check"],
            "Beam would hold every output of a step against the type of its main one: --runtime_type_check",
        ),
        (["--input=a", "-q"], "unknown flag: -q"),
        (["--input=a", "--hop_ms=x"], "--hop_ms: invalid int value: 'x'"),
        (["--input=a", "--hop_ms"], "--hop_ms: expected one argument"),
        (["--hop_ms=1"], "the following arguments are required: --input"),
        (["--input=a", "--direct_running_mode=fast"], "--direct_running_mode: invalid choice: 'fast'"),
        (["--input=a", "--checkpointing_interval=2000"], "unknown flag: --checkpointing_interval"),
    ],
)
def test_bad_flags_are_usage_errors(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_options(argv, DemoOptions)
    assert str(caught.value).startswith(message)


def test_flags_of_the_job_server_are_taken_where_there_is_one() -> None:
    argv = ["--input=a", "--runner=FlinkRunner", "--checkpointing_interval", "2000", "--object_reuse"]
    options = parse_options([*argv, "--max_bundle_size=10"], DemoOptions)
    sent = beam_options(options).get_all_options(retain_unknown_options=True)
    assert (sent["checkpointing_interval"], sent["object_reuse"], sent["max_bundle_size"]) == ("2000", True, "10")
    with pytest.raises(UsageError, match="unexpected argument: stray"):
        parse_options(["--input=a", "--runner=FlinkRunner", "--max_bundle_size=10", "stray"], DemoOptions)
    with pytest.raises(UsageError, match="did you mean --checkpointing_interval"):
        parse_options(["--input=a", "--runner=FlinkRunner", "--checkpoint_interval=10"], DemoOptions)


def test_help_shows_the_jobs_own_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_options(["--help"], DemoOptions)
    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert "--hop_ms" in out and "A job for tests." in out and "--gcp" not in out


def test_options_must_derive_from_job_options() -> None:
    with pytest.raises(TypeError, match="StandardOptions"):
        parse_options([], StandardOptions)  # type: ignore[type-var]


def test_beam_gets_neither_the_jobs_flags_nor_a_conflict_between_jobs() -> None:
    assert TwinOptions.__module__ == DemoOptions.__module__
    options = parse_options(["--input=a", "--direct_num_workers=2"], DemoOptions)
    options.view_as(StandardOptions).streaming = True
    sent = beam_options(options).get_all_options(retain_unknown_options=True)
    assert "input" not in sent and "hop_ms" not in sent
    assert (sent["direct_num_workers"], sent["streaming"]) == (2, True)
    plain = PipelineOptions(["--streaming"])
    assert beam_options(plain) is plain


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("run", "status", "line"),
    [
        (lambda argv: None, 0, ""),
        (lambda argv: 3, 3, ""),
        (lambda argv: fail(UsageError("no such file", "a\nb.avro")), 2, "demo: no such file: a b.avro\n"),
        (lambda argv: fail(UsageError("nothing to do")), 2, "demo: nothing to do\n"),
        (lambda argv: fail(KeyboardInterrupt()), 130, "demo: interrupted\n"),
        (lambda argv: fail(OSError(28, "No space left on device")), 2, "demo: No space left on device\n"),
        (lambda argv: fail(OSError(36, "File name too long", "x\ny")), 2, "demo: File name too long: x y\n"),
        (
            lambda argv: fail(
                RuntimeError("Traceback\n  x\nOSError: [Errno 28] No space left [while running 'A/B']\n")
            ),
            *(2, "demo: No space left\n"),
        ),
    ],
)
def test_exit_status_and_line(run, status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(run, [], "demo") == status
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), RuntimeError("ValueError: x"), OSError("of a library"), SystemExit(0)], ids=repr
)
def test_other_errors_are_not_hidden(error: BaseException) -> None:
    with pytest.raises(type(error)):
        launch(lambda argv: fail(error), [], "demo")


@pytest.mark.parametrize(
    "error", [RuntimeError("SystemExit: 143 [while running 'A']"), ValueError("cut short")], ids=repr
)
def test_told_to_stop_it_does_not_matter_what_is_raised(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "_signals", [])
    news = logging.LogRecord("x", logging.ERROR, "x", 1, "told", None, (type(error), error, None))
    assert common._is_news(news)
    with pytest.raises(SystemExit):
        common._stop(signal.SIGTERM, None)
    assert launch(lambda argv: fail(error), [], "demo") == 143
    assert capsys.readouterr().err == "demo: interrupted\n"
    assert not common._is_news(news)


def test_bounds_of_flags() -> None:
    options = parse_options(["--input=a", "--hop_ms=5"], DemoOptions)
    check_range(options, hop_ms=5)
    check_range(options, hop_ms=(5, 5))
    with pytest.raises(UsageError, match="must be at least 6, got 5: --hop_ms"):
        check_range(options, hop_ms=6)
    with pytest.raises(UsageError, match="must be at most 4, got 5: --hop_ms"):
        check_range(options, hop_ms=(0, 4))


DEMO = """
from pipelines.common import JobOptions, main, parse_options
import apache_beam as beam
from pipelines.engine import run_job
from pipelines.files import check_inputs, publish_folder

class Options(JobOptions):
    @classmethod
    def _add_argparse_args(cls, parser):
        parser.add_argument("--input", required=True)
        parser.add_argument("--output", required=True)

def double(n: int) -> int:
    return 2 * n

def run(argv):
    options = parse_options(argv, Options)
    inputs = check_inputs(options.input)
    with publish_folder(options.output) as folder:
        run_job(options, lambda p: (
            p | beam.Create([int(open(name).read()) for name in inputs])
            | beam.Map(double) | beam.Map(str) | beam.io.WriteToText(str(folder / "n"), num_shards=1)))

if __name__ == "__main__":
    main(run)
"""


@pytest.mark.parametrize(
    ("flags", "engine"),
    [
        ([], "FnApiRunner in-process (in_memory, 1 worker)"),
        (
            ["--direct_num_workers=2", "--direct_running_mode=multi_processing"],
            "FnApiRunner in-process (multi_processing, 2 workers)",
        ),
    ],
)
def test_a_whole_launch(flags: list[str], engine: str, tmp_path: Path, root: Path) -> None:
    (tmp_path / "demo.py").write_text(DEMO)
    for name in ("1", "2"):
        (tmp_path / f"{name}.txt").write_text(name)
    done = subprocess.run(
        [sys.executable, "demo.py", "--input=*.txt", "--output=out", *flags],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"engine: {engine}\n")
    assert flags or len(done.stderr.splitlines()) == 1  # worker processes write log lines of their own
    assert sorted((tmp_path / "out" / "n-00000-of-00001").read_text().split()) == ["2", "4"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1.txt", "2.txt", "demo.py", "out"]


def test_a_whole_launch_with_a_fault_is_one_line_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    (tmp_path / "demo.py").write_text(DEMO)
    done = subprocess.run(
        [sys.executable, "demo.py", "--input=none.txt", "--output=out"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "demo: no such file: none.txt\n")
    assert [item.name for item in tmp_path.iterdir()] == ["demo.py"]


SLOW = DEMO.replace("return 2 * n", "print('working', flush=True); time.sleep(60)").replace(
    "import apache_beam", "import time\nimport apache_beam"
)


@pytest.mark.parametrize(
    ("number", "mode"),
    [(signal.SIGTERM, "in_memory"), (signal.SIGINT, "in_memory"), (signal.SIGTERM, "multi_threading")],
    ids=str,
)
def test_a_signal_while_a_worker_runs_is_one_line_and_leaves_nothing(
    number: signal.Signals, mode: str, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "demo.py").write_text(SLOW)
    (tmp_path / "1.txt").write_text("1")
    argv = [sys.executable, "demo.py", "--input=1.txt", "--output=out", f"--direct_running_mode={mode}"]
    child = subprocess.Popen(
        argv, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"working\n"
    child.send_signal(number)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 128 + number
    assert [line for line in err.decode().splitlines() if not line.startswith("engine:")] == ["demo: interrupted"]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1.txt", "demo.py"]


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_what_the_system_refuses_a_worker_is_one_line(mode: str, tmp_path: Path, root: Path) -> None:
    """A name of 300 characters stands for a full disk, which a test cannot have."""
    (tmp_path / "demo.py").write_text(DEMO.replace("return 2 * n", "open('x' * 300)"))
    (tmp_path / "1.txt").write_text("1")
    done = subprocess.run(
        [sys.executable, "demo.py", "--input=1.txt", "--output=out", f"--direct_running_mode={mode}"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert lines[-1].startswith("demo: File name too long")
    assert mode != "in_memory" or len(lines) == 2  # Beam prints the traceback of a worker in a thread by itself
    assert sorted(item.name for item in tmp_path.iterdir()) == ["1.txt", "demo.py"]


def test_a_full_disk_under_standard_output_is_one_line(root: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from pipelines.common import main; main(lambda argv: print('x'))"],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert (done.returncode, done.stderr) == (2, b"-c: No space left on device\n")


@pytest.mark.parametrize(
    ("run", "status", "left_at_once"),
    [(lambda argv: None, 0, False), (lambda argv: 1, 1, False), (lambda argv: fail(UsageError("x")), 2, True)],
)
def test_main_respects_signals_that_a_shell_ignores_and_ends_without_waiting_for_what_failed(
    run, status: int, left_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers: dict[int, object] = {}
    left: list[int] = []

    def leave(number: int) -> None:
        left.append(number)
        raise SystemExit(number)

    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    ignored = {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_DFL}
    monkeypatch.setattr(signal, "getsignal", ignored.__getitem__)
    handler = logging.NullHandler()
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", root.level)
    with pytest.raises(SystemExit) as caught:
        common.main(run)
    assert caught.value.code == status
    assert left == ([status] if left_at_once else [])
    assert handlers == {signal.SIGTERM: common._stop}
    told = logging.LogRecord("apache_beam.x", logging.ERROR, "x", 1, "E:\npipelines.common.UsageError: x", None, None)
    news = logging.LogRecord("apache_beam.x", logging.ERROR, "x", 1, "something else", None, None)
    assert not handler.filter(told) and handler.filter(news)
