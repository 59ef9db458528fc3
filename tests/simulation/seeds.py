"""What all systems under the simulator share: blocks of seeds, bugs that some seed must show, and one seed by hand."""

import os
import re
import sys
import time
from collections.abc import Callable

import pytest

from transforms.fold import Shard
from transforms.simulator import NO_FAULTS, Faults, Outcome, Simulation, SimulationFailed, System, Worker

BLOCK = 50
"""Seeds of one test, so that pytest-xdist can spread them."""

RunSeed = Callable[..., Outcome]
"""`run_seed(seed, faults)` of a system."""


def blocks(seeds: int) -> list[range]:
    """Seeds 0 to `seeds`, or the one that BEAM_ON_RAILS_SEED names."""
    one = os.environ.get("BEAM_ON_RAILS_SEED")
    return [range(int(one), int(one) + 1)] if one else [range(n, n + BLOCK) for n in range(0, seeds, BLOCK)]


def show(seeds: range) -> str:
    return f"{seeds[0]}-{seeds[-1]}"


def check_seeds(run_seed: RunSeed, seeds: range, module: str) -> None:
    """Runs them; a failure names its seed and the command that shows it again, and only it."""
    for seed in seeds:
        try:
            run_seed(seed)
        except SimulationFailed as failure:
            again = f"BEAM_ON_RAILS_SEED={seed} ./run_local.sh test tests/simulation/{module}.py -k faults"
            pytest.fail(f"{failure}\nTo see it again: {again}")


def check_seen(
    system: System, what: str, seeds: int, worker: type[Worker] = Worker, shard: type[Shard] = Shard
) -> None:
    """Some of the seeds must show the bug; the first is where the search ends."""
    for seed in range(seeds):
        try:
            Simulation(system, seed, worker=worker, shard=shard).run()
        except SimulationFailed as failure:
            assert re.search(what, str(failure)), failure
            return
    pytest.fail(f"{seeds} seeds did not see it")


def run_by_hand(run_seed: Callable[[int, Faults], Outcome]) -> None:
    """`python -m MODULE FIRST [LAST]`: the time that a seed takes; of one seed also what its shards have counted."""
    first, last = int(sys.argv[1]), int(sys.argv[-1])
    begun = time.process_time()
    for seed in range(first, last + 1):
        outcome = run_seed(seed, Faults())
    spent = (time.process_time() - begun) / (last + 1 - first)
    print(f"seeds {first} to {last}: nothing to complain about; {spent * 1000:.0f} ms of CPU each")
    if first == last:
        faultless = run_seed(first, NO_FAULTS)
        for shard in outcome.shards:
            print("/".join(map(str, shard.source)), shard.offset, shard.counts.as_dict())
        on_wire = [sum(map(len, run.logs.values())) for run in (outcome, faultless)]
        print(f"{on_wire[0]} records on the wire; {on_wire[1]} without faults")
