"""The command line of the stack: up, down, status, logs, prism, soak, launches."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from stack import artifacts, launches, recovery
from stack.cluster import KINDS, Shape, Stack, noted, remembered, running
from stack.errors import StackError
from stack.ports import BASE, BASE_VARIABLE, OFFSETS, Ports, variable
from stack.soak import FEWEST, LANES, PHASES, SPLITS, soak

ENVIRONMENT = f"""
environment:
  BEAM_ON_RAILS_STACK   the folder of all state (.stack in the checkout)
  BEAM_ON_RAILS_CACHE   the folder of what is built (~/.cache/beam-on-rails)
  {BASE_VARIABLE}   the base of all ports ({BASE}): Kafka base+{OFFSETS["kafka"]}, Flink's page base+{OFFSETS["rest"]},
                        job server base+{OFFSETS["jobserver"]}, PostgreSQL base+{OFFSETS["postgres"]}
  {variable("kafka")} and so on move one port: {", ".join(OFFSETS)}
"""


def folder() -> Path:
    """Where the state is."""
    return Path(os.environ.get("BEAM_ON_RAILS_STACK") or Path(__file__).resolve().parent.parent / ".stack").absolute()


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser(
        prog="./run_local.sh stack", epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start what does not run, wait until it is healthy")
    up.add_argument("--taskmanagers", type=int, metavar="N", help="Flink TaskManagers (1)")
    up.add_argument("--slots", type=int, metavar="N", help="slots of each TaskManager (4)")
    up.add_argument("--workers", type=int, metavar="N", help="pools of Python workers, for EXTERNAL environments (0)")
    up.add_argument("--only", metavar="KINDS", help=f"only these of {','.join(KINDS)}; what runs already stays")
    up.add_argument("--stock", action="store_true", help="with Beam's own checkpoint handlers, whose state grows")
    commands.add_parser("down", help="end what up started")
    commands.add_parser("status", help="one line per service")
    logs = commands.add_parser("logs", help="what the services say")
    logs.add_argument("service", nargs="?", help="only this one")
    logs.add_argument("-f", "--follow", action="store_true", help="go on showing")
    logs.add_argument("-n", "--lines", type=int, default=20, help="how many last lines (20)")
    size = commands.add_parser("soak", help="is a job that polls for ever as small at the end as it began?")
    size.add_argument("--checkpoints", type=int, default=300, metavar="N", help="of each phase (300)")
    size.add_argument("--interval_ms", type=int, default=1000, metavar="MS", help="between checkpoints (1000)")
    size.add_argument("--taskmanagers", type=int, default=1, metavar="N", help="with N of them, parallelism N (1)")
    size.add_argument("--lanes", type=int, default=LANES, metavar="N", help=f"keys, {SPLITS} polls wait under each ({LANES})")
    size.add_argument(
        "--control", action="store_true", help="then the same with Beam's own checkpoint handlers, which must grow"
    )
    size.add_argument("--record", type=Path, metavar="FILE", help="append every sample to this file (JSON lines)")
    many = commands.add_parser("launches", help="the same live job many times in a row: does any hang?")
    many.add_argument("--count", type=int, default=50, metavar="N", help="how many (50)")
    many.add_argument("--control", action="store_true", help="checkpoints may fall into a bundle: some hang")
    again = commands.add_parser("recovery", help="kill -9 of a TaskManager: seconds until elements come through")
    again.add_argument("--count", type=int, default=5, metavar="N", help="how often (5)")
    again.add_argument(
        "--taskmanagers", type=int, default=1, metavar="N", help="one is restarted, of two the job moves"
    )
    commands.add_parser("poll", help="the small endless job that soak, launches and recovery run; Beam's flags")
    commands.add_parser("prism", help="build Beam's Prism with Go, print its path")
    commands.add_parser("build", help="build the jars, print their paths")
    return top


def main(argv: Sequence[str]) -> int:
    """Runs one command; errors are one line."""
    if argv[:1] == ["poll"]:
        from stack import poll_job  # here: Beam takes seconds to load, and only this command needs it

        poll_job.run(argv[1:])
        return 0
    arguments = parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command](arguments) or 0
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130


def _up(arguments: argparse.Namespace) -> None:
    stack = _wanted(arguments)
    started = stack.up()
    print(f"started: {', '.join(started)}" if started else "all of it was running")
    _show(stack)


def _wanted(arguments: argparse.Namespace) -> Stack:
    """The stack that the flags ask for; flags that are not given are as the running stack has them."""
    before = (remembered(folder()) or {}) if any(process.pid for process in noted(folder())) else {}
    default = Shape()
    kinds = arguments.only.split(",") if arguments.only else default.only
    numbers = {
        name: getattr(arguments, name)
        if getattr(arguments, name) is not None
        else before.get(name, getattr(default, name))
        for name in ("taskmanagers", "slots", "workers")
    }
    return Stack(folder(), only=kinds, stock=arguments.stock or before.get("stock", False), **numbers)


def _down(_: argparse.Namespace) -> None:
    ended = Stack(folder()).down()
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def _status(_: argparse.Namespace) -> int:
    stack = running(folder())
    if stack is None:
        print("no stack is up")
        return 3
    return 0 if _show(stack) else 3


def _show(stack: Stack) -> bool:
    rows = stack.status()
    for name, pid, port, health in rows:
        print(f"{name:<14} pid {pid or '-':<8} port {port:<6} {health}")
    return all(health == "healthy" for *_, health in rows)


def _logs(arguments: argparse.Namespace) -> int:
    files = sorted((folder() / "logs").glob("*.log"))
    if arguments.service:
        files = [path for path in files if path.stem == arguments.service]
    if not files:
        raise StackError(f"no log of {arguments.service or 'any service'} in {folder() / 'logs'}")
    command = ["tail", "-n", str(arguments.lines), *(["-F"] if arguments.follow else [])]
    return subprocess.run([*command, *map(str, files)], check=False).returncode


def _apart(name: str, **shape) -> Stack:
    """A cluster beside the stack, for a measurement: its own folder, ports 100 above, no Kafka, no PostgreSQL."""
    ports = {field: port + 100 for field, port in asdict(Ports.from_environment()).items()}
    return Stack(folder() / name, Ports(**ports), only=("flink", "jobserver"), **shape)


def _soak(arguments: argparse.Namespace) -> int:
    if arguments.checkpoints < FEWEST:
        raise StackError(f"--checkpoints {arguments.checkpoints}: {FEWEST} or more")
    if arguments.lanes < 1:
        raise StackError(f"--lanes {arguments.lanes}: 1 or more")
    grew = _soaked(arguments, stock=False)
    print(f"NOT flat: {', '.join(grew)}" if grew else "flat")
    if not arguments.control:
        return 1 if grew else 0
    wanted = [f"{phase} state_bytes" for phase in PHASES]
    proved = set(wanted) <= set(controls := _soaked(arguments, stock=True))
    print(f"the control {'grows' if proved else 'does NOT grow, so that flat proves nothing'}: {', '.join(controls) or '-'}")
    return 0 if proved and not grew else 1


def _soaked(arguments: argparse.Namespace, stock: bool) -> list[str]:
    """What grew."""
    name = "soak-control" if stock else "soak"
    with _apart(name, workers=1, taskmanagers=arguments.taskmanagers, stock=stock) as stack:
        return soak(stack, arguments.checkpoints, arguments.interval_ms, _say, arguments.lanes, arguments.record)


def _launches(arguments: argparse.Namespace) -> int:
    seconds: list[float] = []
    with _apart("launches") as stack:
        for launch in launches.launches(stack, arguments.count, arguments.control):
            _say(f"launch {launch.number}: " + (f"{launch.seconds:.1f} s" if launch.seconds else "HUNG"))
            seconds += [launch.seconds] if launch.seconds else []
    hung = arguments.count - len(seconds)
    middle = f", median {median(seconds):.1f} s, longest {max(seconds):.1f} s" if seconds else ""
    print(f"{arguments.count} launches, {hung} hung{middle}")
    return 1 if hung else 0


def _recovery(arguments: argparse.Namespace) -> None:
    with _apart("recovery", workers=1, taskmanagers=arguments.taskmanagers) as stack:
        found = []
        for each in recovery.recoveries(stack, arguments.count):
            found.append(each.fresh)
            _say(f"restored after {each.restored:.1f} s, fresh after {each.fresh:.1f} s")
    print(f"{arguments.count} kills: fresh after {median(found):.1f} s in the median, {max(found):.1f} s at worst")


def _say(line: str) -> None:
    print(line, flush=True)


def _prism(_: argparse.Namespace) -> None:
    print(artifacts.prism())


def _build(_: argparse.Namespace) -> None:
    print(artifacts.kafka_libs())
    print(artifacts.flink_jar())


COMMANDS = {
    "up": _up,
    "down": _down,
    "status": _status,
    "logs": _logs,
    "prism": _prism,
    "build": _build,
    "soak": _soak,
    "launches": _launches,
    "recovery": _recovery,
}
