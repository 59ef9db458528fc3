"""What every launcher shares: strict flags, and errors of the user's in one line. See `engine` and `files` beside it.

A job reads:

    class Options(JobOptions):
        @classmethod
        def _add_argparse_args(cls, parser):
            parser.add_argument("--input", required=True, help="...")

    def run(argv: list[str]) -> None:
        options = parse_options(argv, Options)
        inputs = check_inputs(options.input)
        with publish_folder(options.output) as folder:
            run_job(options, lambda p: build_pipeline(p, options, inputs, folder))

    if __name__ == "__main__":
        main(run)
"""

import contextlib
import difflib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from transforms.errors import InputError, find_error

IN_PROCESS = ("directrunner", "direct", "fnapirunner", "fnapi")
"""Names of `--runner` that mean the engine in this process."""

JOB_SERVER_FLAGS = (
    *("allow_non_restored_state", "auto_watermark_interval", "checkpoint_timeout_millis", "checkpointing_interval"),
    *("checkpointing_mode", "disable_metrics", "execution_mode_for_batch", "execution_retry_delay"),
    *("externalized_checkpoints_enabled", "fail_on_checkpointing_errors", "faster_copy"),
    *("finish_bundle_before_checkpointing", "latency_tracking_interval", "max_bundle_size", "max_bundle_time_mills"),
    *("min_pause_between_checkpoints", "num_concurrent_checkpoints", "number_of_execution_retries", "object_reuse"),
    *("operator_chaining", "report_checkpoint_duration", "retain_externalized_checkpoints_on_cancellation"),
    *("savepoint_path", "shutdown_sources_after_idle_ms", "state_backend", "state_backend_factory"),
    "state_backend_storage_path",
)
"""Flags that the Flink job server defines; Python passes them on unread (source: Beam's FlinkPipelineOptions)."""

_Options = TypeVar("_Options", bound="JobOptions")


class UsageError(InputError):
    """What the user can put right: a flag, a file, a folder. `what` is the fault, `where` the flag or path."""

    def __init__(self, what: str, where: object = None) -> None:
        self.what = what
        self.where = where
        super().__init__(what if where is None else f"{what}: {where}")


class JobOptions(PipelineOptions):
    """Base of each job's own options.

    Beam puts the flags of all *direct* subclasses of PipelineOptions into one parser, so two jobs of one process that
    both have `--input` would break it. Subclasses of this class it does not see, and never hands to a runner.
    """


# Beam 2.77's checks of types at run time know one output of a step: outputs with tags, which folds have, do not pass.
_NOT_TAKEN = ("runtime_type_check", "performance_runtime_type_check")


class _StrictParser(_BeamArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def _parser(*classes: type[PipelineOptions]) -> _StrictParser:
    parser = _StrictParser(
        prog=Path(sys.argv[0]).stem,
        description=classes[0].__doc__,
        epilog="Beam's own flags are taken too: --runner, --direct_num_workers, --direct_running_mode and all others.",
        allow_abbrev=False,
    )
    for cls in classes:
        cls._add_argparse_args(parser)
    return parser


def parse_options(argv: Sequence[str], cls: type[_Options]) -> _Options:
    """The options of a job from its command line; every flag must be known to the job or to Beam.

    Beam itself ignores what it does not know, so a mistyped flag would silently run another job than was meant.
    `--help` prints the job's own flags and exits with 0.

    Raises:
        UsageError: an unknown flag (with the nearest known one), a stray word, a missing or malformed value.
        TypeError: `cls` is not derived from JobOptions.
    """
    if not issubclass(cls, JobOptions):
        raise TypeError(f"{cls.__name__} must derive from JobOptions")
    if "--help" in argv or "-h" in argv:
        _parser(cls).parse_args(["--help"])
    beams = {str(known): known for known in PipelineOptions.__subclasses__() if _is_beams(known)}
    parser = _parser(cls, *beams.values())
    namespace, unknown = parser.parse_known_args(list(argv))
    served = [f"--{name}" for name in JOB_SERVER_FLAGS] if not runs_in_process(namespace.runner) else []
    known_flags = [flag for action in parser._actions for flag in action.option_strings] + served
    after_served = False
    for word in unknown:
        flag = word.split("=", 1)[0]
        if flag in served:
            after_served = "=" not in word
        elif after_served and not word.startswith("-"):
            after_served = False  # the value of a job server's flag
        elif not word.startswith("-"):
            raise UsageError("unexpected argument", word)
        else:
            near = difflib.get_close_matches(flag, known_flags, n=1)
            raise UsageError(f"unknown flag{f' (did you mean {near[0]}?)' if near else ''}", flag)
    for name in _NOT_TAKEN:
        if getattr(namespace, name):
            raise UsageError("Beam would hold every output of a step against the type of its main one", f"--{name}")
    return cls(list(argv))


def check_range(options: JobOptions, **bounds: int | tuple[int, int]) -> None:
    """Numeric flags lie between their bounds: `check_range(options, hop_ms=(0, 100), seed=0)`; one number is the least.

    Raises:
        UsageError: the flag that does not.
    """
    for name, bound in bounds.items():
        value = getattr(options, name)
        least, most = bound if isinstance(bound, tuple) else (bound, None)
        if value < least:
            raise UsageError(f"must be at least {least}, got {value}", f"--{name}")
        if most is not None and value > most:
            raise UsageError(f"must be at most {most}, got {value}", f"--{name}")


def _is_beams(cls: type[PipelineOptions]) -> bool:
    return cls.__module__.startswith("apache_beam.")


def runner_name(options: PipelineOptions) -> str:
    """The runner that the flags name; Beam's default is DirectRunner."""
    return options.view_as(StandardOptions).runner or "DirectRunner"


def runs_in_process(runner: str | None) -> bool:
    """Whether this name of a runner means the engine in this process."""
    return (runner or "DirectRunner").lower() in IN_PROCESS


def beam_options(options: PipelineOptions) -> PipelineOptions:
    """What Beam and the runner get of the options: all but the job's own flags."""
    if not isinstance(options, JobOptions):
        return options
    own = _parser(type(options))
    for action in own._actions:
        action.required = False
    names = {action.dest for action in own._actions}
    set_in_code = {name: value for name, value in options._all_options.items() if name not in names}
    return PipelineOptions(own.parse_known_args(options._flags)[1], **set_in_code)


_signals: list[int] = []  # those that told this process to stop
_OS_ERROR = re.compile(r"^(?:[\w.]+: )?\[Errno \d+\] (.*?)(?: \[while running .*)?$", re.MULTILINE)


def launch(run: Callable[[list[str]], int | None], argv: list[str], name: str) -> int:
    """Runs a job and gives the exit status: its own; 2 after one line of an InputError or of what the system refused (a full disk, a name
    that is too long); 128 + the signal when it was told to stop.

    What a signal raises may come back from Beam as the text of a worker's error, or as the error of something that was cut short. So it
    is the signal that counts, not what was raised.
    """
    try:
        status = run(argv) or 0
        sys.stdout.flush()  # a full disk or a closed pipe shows itself here, and not when Python has ended
        return status
    except BaseException as error:
        if _signals or isinstance(error, KeyboardInterrupt):
            print(f"{name}: interrupted", file=sys.stderr)
            return 128 + (_signals[0] if _signals else signal.SIGINT)
        what = _told(error)
        if what is None:
            raise
    print(f"{name}: {what}", file=sys.stderr)
    return 2


def _told(error: BaseException) -> str | None:
    """What the user is told of an error in one line; None when it is a fault of ours, which wants its traceback.

    A runner passes the error of a worker on as text, in a RuntimeError.
    """
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename is not None else ""
        return " ".join(f"{error.strerror}{where}".split())
    if not isinstance(error, InputError | RuntimeError):
        return None
    refused = _OS_ERROR.search(str(error))
    return find_error(error, InputError) or (refused[1] if refused else None)


def _stop(number: int, _: FrameType | None) -> NoReturn:
    """Unwinds, so that half-written outputs are removed."""
    _signals.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def main(run: Callable[[list[str]], int | None]) -> NoReturn:
    """The entry point of `python -m pipelines.NAME`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell sets it for jobs in the background
            signal.signal(number, _stop)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger().setLevel(logging.WARNING)
    # Beam logs the traceback of whatever a worker raises; what `launch` says in one line needs none.
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_news)
    status = launch(run, sys.argv[1:], Path(sys.argv[0]).stem)
    if _signals or status == 2:
        _leave(status)
    sys.exit(status)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether `launch` will not say it; workers in threads and processes log tracebacks as text."""
    if _signals:
        return False
    error = record.exc_info[1] if record.exc_info else None
    if error is None and record.levelno >= logging.ERROR and record.name.startswith("apache_beam."):
        error = RuntimeError(record.getMessage())
    return error is None or _told(error) is None


def _leave(status: int) -> NoReturn:
    """Ends the process without waiting for workers in other threads, which would finish the job and write what nobody reads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)
