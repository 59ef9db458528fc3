"""The engine that really runs a job: decided here from the flags, never by a switch inside Beam, and said aloud."""

import difflib
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult, PipelineRunner, create_runner

from pipelines.common import UsageError, beam_options, runner_name, runs_in_process

ROOT = Path(__file__).resolve().parent.parent
SWITCH = "switchingdirectrunner"


def engine_name(options: PipelineOptions) -> str:
    """Which engine `make_pipeline` takes for these options, in words.

    Beam's `DirectRunner` is a switch that tries Prism and falls back silently. Here it always means Beam's FnApiRunner
    in this process, which is also what Beam would fall back to; every other runner runs under its own name.
    """
    name = runner_name(options)
    if not runs_in_process(name):
        return name.rsplit(".", 1)[-1]
    direct = options.view_as(DirectOptions)
    workers = direct.direct_num_workers or multiprocessing.cpu_count()
    return f"FnApiRunner in-process ({direct.direct_running_mode}, {workers} worker{'s' if workers != 1 else ''})"


def make_runner(options: PipelineOptions) -> PipelineRunner:
    """The runner that the options name, decided here and not by Beam's switch (see `engine_name`).

    Raises:
        UsageError: the runner is unknown, or is Beam's switch by its own name; a negative number of workers.
    """
    name = runner_name(options)
    if name.lower() == SWITCH:
        raise UsageError("a switch between engines, name one (DirectRunner, PrismRunner, FlinkRunner)", name)
    if not runs_in_process(name):
        known = [known.lower() for known in StandardOptions.KNOWN_RUNNER_NAMES]
        if "." not in name and name.lower() not in known and name.lower() + "runner" not in known:
            near = difflib.get_close_matches(name, StandardOptions.KNOWN_RUNNER_NAMES, n=1)
            raise UsageError(f"unknown runner{f' (did you mean {near[0]}?)' if near else ''}", f"--runner={name}")
        try:
            return create_runner(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UsageError("no such runner", f"--runner={name}") from error
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers < 0:
        raise UsageError("a number of workers is 0 (one per core) or more", "--direct_num_workers")
    if direct.direct_running_mode == "multi_processing":
        # The workers are started as `python -m apache_beam…` and must find our packages from any folder.
        paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if str(ROOT) not in paths:
            os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, paths)])
    # As Beam's switch does: workers in processes of their own read the options from the provisioning service.
    encoded = JobServiceHandle.encode_pipeline_options(beam_options(options).get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(info))


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline on the engine that the options name (see `engine_name`, `make_runner`)."""
    return beam.Pipeline(runner=make_runner(options), options=beam_options(options))


def run_job(options: PipelineOptions, build: Callable[[beam.Pipeline], Any], name: str = "") -> PipelineResult:
    """Builds a pipeline, says on stderr which engine runs it, runs it to its end, and gives the result.

    `name` tells the pipelines of a launch with several apart.
    """
    pipeline = make_pipeline(options)
    build(pipeline)
    print(f"{name + ': ' if name else ''}engine: {engine_name(options)}", file=sys.stderr, flush=True)
    result = pipeline.run()
    result.wait_until_finish()
    return result
