"""Chaos: a payment system of its own on this machine, faults drawn from a seed, one after another, under load; then every checker.

Exit status 1 when an invariant does not hold, or a control did not double. docs/pipelines/chaos.md
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from pipelines.common import JobOptions, UsageError, check_range, main, parse_options
from stack.cli import folder
from stack.errors import StackError
from stack.ports import BASE, BASE_VARIABLE

_BESIDE = 100  # ports from the local stack's
_LAST_CALM_S = 5.0  # before the last look at memory


class ChaosOptions(JobOptions):
    """Faults on a payment system of its own."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--faults", type=int, default=4, help="how many")
        parser.add_argument("--seed", type=int, default=1, help="of the faults, their order and their times")
        parser.add_argument("--kinds", default="", help="only these, with commas between")
        parser.add_argument(
            "--auctions", action="store_true", help="auctions too: listed, bid for with money behind bids, and closed"
        )
        parser.add_argument("--rate", type=int, default=100, help="payments per second")
        parser.add_argument("--lanes", type=int, default=1, help="workers that fold each stage")
        parser.add_argument(
            "--results", default="", help="write what was found into this file (JSON), and a table beside it (.md)"
        )


def chosen(kinds: str, known: list[str]) -> list[str]:
    """The names in `kinds`, all known ones where it is empty; UsageError for others."""
    names = [name.strip() for name in kinds.split(",")] if kinds else known
    for name in names:
        if name not in known:
            raise UsageError(f"no such fault: {name!r}; there are {', '.join(known)}", "--kinds")
    if len(set(names)) < len(names):
        raise UsageError("a fault stands there twice", "--kinds")
    return names


def run(argv: list[str]) -> int:
    options = parse_options(argv, ChaosOptions)
    check_range(options, faults=(0, 10_000), seed=(0, 10**9), rate=(1, 100_000), lanes=(1, 4))
    from chaos.faults import FAULTS  # they know everything that can break, which takes a while to load

    kinds = chosen(options.kinds, list(FAULTS))
    if options.results and Path(options.results).suffix == ".md":
        raise UsageError("is for JSON; the table comes beside it (.md)", "--results")
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _run(options, kinds)
    except StackError as error:
        raise UsageError(str(error)) from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> None:
    """A plain kill ends the run as Ctrl-C does: what it has started, it ends."""
    raise KeyboardInterrupt


def _run(options: ChaosOptions, kinds: list[str]) -> int:
    from chaos import results
    from chaos.run import calm, finish, silent, suffer
    from chaos.schedule import plan
    from chaos.sizes import Look
    from chaos.system import System

    tell = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    base = int(os.environ.get(BASE_VARIABLE) or BASE) + _BESIDE
    planned = plan(options.seed, options.faults, kinds)
    tell(f"chaos: bringing a stack up in {folder() / 'chaos'}")
    outcomes, looks = list[results.Outcome](), list[Look]()
    with (
        System(
            *(folder() / "chaos", base, options.rate, options.lanes, options.seed, tell),
            auctions=options.auctions,
            own_clock="clock-jump" in kinds,
        ) as system,
        tempfile.TemporaryDirectory(prefix="chaos-topics-") as keep,
    ):
        system.begin()
        print("\n".join(results.table([])), flush=True)
        for each in planned:
            looks.append(calm(system, each.wait_s))
            outcomes.append(suffer(system, each))
            print(results.table(outcomes)[-1], flush=True)
        looks.append(calm(system, _LAST_CALM_S))
        tell("chaos: letting everything arrive, then checking")
        result = finish(system, options.seed, outcomes, looks, Path(keep))
    print("\n".join(results.summary(result)))
    if options.results:
        results.write_results(result, Path(options.results))
    # Without a fault there is nothing to double.
    found = [*result.violations, *(silent(result.controls) if planned else [])]
    for line in found[:20]:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    main(run)
