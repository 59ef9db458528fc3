"""The engine: the flags alone decide which one runs, and its name is the truth."""

import multiprocessing
import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability import prism_runner
from apache_beam.runners.portability.fn_api_runner import fn_runner

from pipelines.common import UsageError
from pipelines.engine import ROOT, engine_name, make_pipeline, make_runner, run_job


@pytest.mark.parametrize("flags", [[], ["--runner=DirectRunner"], ["--runner=direct"], ["--runner=FnApiRunner"]])
def test_the_default_is_the_engine_in_this_process(flags: list[str]) -> None:
    options = PipelineOptions(flags)
    assert type(make_runner(options)) is fn_runner.FnApiRunner
    assert engine_name(options) == "FnApiRunner in-process (in_memory, 1 worker)"


def test_other_runners_run_under_their_own_name() -> None:
    options = PipelineOptions(["--runner=BundleBasedDirectRunner"])
    assert type(make_runner(options)) is BundleBasedDirectRunner
    assert engine_name(options) == "BundleBasedDirectRunner"
    assert type(make_runner(PipelineOptions(["--runner=PrismRunner"]))) is prism_runner.PrismRunner
    full = "apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner"
    assert engine_name(PipelineOptions([f"--runner={full}"])) == "BundleBasedDirectRunner"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--runner=FlinkRuner"], r"unknown runner \(did you mean FlinkRunner\?\): --runner=FlinkRuner"),
        (["--runner=SwitchingDirectRunner"], "a switch between engines"),
        (["--runner=no.such.Runner"], "no such runner: --runner=no.such.Runner"),
        (["--direct_num_workers=-1"], "--direct_num_workers"),
    ],
)
def test_bad_runners_are_usage_errors(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_runner(PipelineOptions(flags))


def test_workers_in_the_name() -> None:
    cores = multiprocessing.cpu_count()
    workers = f"{cores} worker{'s' if cores != 1 else ''}"
    options = PipelineOptions(["--direct_num_workers=0", "--direct_running_mode=multi_threading"])
    assert engine_name(options) == f"FnApiRunner in-process (multi_threading, {workers})"


def test_worker_processes_find_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    options = PipelineOptions(["--direct_running_mode=multi_processing"])
    make_runner(options)
    make_runner(options)
    assert os.environ["PYTHONPATH"] == f"{ROOT}{os.pathsep}elsewhere"


def test_prism_is_never_tried(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Prism was tried")

    monkeypatch.setattr(prism_runner.PrismRunner, "run_pipeline", refuse)
    result = run_job(PipelineOptions([]), lambda p: p | beam.Create([1]) | beam.Map(lambda n: n + 1))
    assert isinstance(result, fn_runner.RunnerResult)
    assert capsys.readouterr().err.endswith("engine: FnApiRunner in-process (in_memory, 1 worker)\n")
    assert type(make_pipeline(PipelineOptions([])).runner) is fn_runner.FnApiRunner
