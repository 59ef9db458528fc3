"""What a chaos run found, as JSON and as a table."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from chaos.sizes import COLUMNS, LEAST, Look
from stack.growth import Growth


class Outcome(NamedTuple):
    """One fault. at_s: since the run began; lasted_s: until its cause was gone.

    fresh_s: from its begin until the job was at full rate again; None for a fault that does not touch the job.
    repeats: on the topics that were watched, until then.
    """

    number: int
    kind: str
    what: str
    at_s: float
    lasted_s: float
    fresh_s: float | None
    repeats: int


class Control(NamedTuple):
    """What a reader or a sink without the contract does in the same run: doubled must be above 0. A `failed` control proves nothing."""

    name: str
    records: int
    doubled: int
    what: str


class Result(NamedTuple):
    """A whole run."""

    seed: int
    rate: int
    lanes: int
    seconds: float
    payments: int
    records: int
    regenerated: int
    repeats: dict[str, int]
    outcomes: tuple[Outcome, ...]
    controls: tuple[Control, ...]
    looks: tuple[Look, ...]
    growths: tuple[Growth, ...]
    violations: tuple[str, ...]


def recovery(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, float, float]]:
    """By kind, and over "all": how many, median and worst of `fresh_s`."""
    times: dict[str, list[float]] = {}
    for outcome in outcomes:
        if outcome.fresh_s is not None:
            times.setdefault(outcome.kind, []).append(outcome.fresh_s)
    if times:
        times = dict(sorted(times.items())) | {"all": [each for found in times.values() for each in found]}
    return {kind: (len(found), round(median(found), 1), max(found)) for kind, found in times.items()}


def as_json(result: Result) -> dict[str, Any]:
    """Plain values."""
    fields = result._asdict()
    fields["outcomes"] = [outcome._asdict() for outcome in result.outcomes]
    fields["controls"] = [control._asdict() for control in result.controls]
    fields["growths"] = [{**growth._asdict(), "flat": growth.flat} for growth in result.growths]
    fields["looks"] = [
        {**each._asdict(), "processes": [held._asdict() for held in each.processes]} for each in result.looks
    ]
    fields["violations"] = list(result.violations)
    fields["recovery"] = {
        kind: {"count": count, "median_s": middle, "worst_s": worst}
        for kind, (count, middle, worst) in recovery(result.outcomes).items()
    }
    return fields


def write_results(result: Result, path: Path) -> None:
    """JSON into `path`, and the same for people beside it, in Markdown; each file appears whole."""
    page = ["# Chaos", "", *(f"- {line}" for line in summary(result)), "", *table(result.outcomes), ""]
    page += ["| fault | times | fresh after, median s | worst s |", "|---|---|---|---|"]
    page += [
        f"| {kind} | {count} | {middle:.1f} | {worst:.1f} |"
        for kind, (count, middle, worst) in recovery(result.outcomes).items()
    ]
    page += ["", *sizes(result.growths)] if result.growths else []
    page += ["", *(f"- {line}" for line in result.violations)] if result.violations else []
    texts = {path: json.dumps(as_json(result), indent=1), path.with_suffix(".md"): "\n".join(page)}
    for place, text in texts.items():
        partial = place.with_name(place.name + ".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(place)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A line per fault, in Markdown."""
    lines = ["| # | fault | what | at, s | lasted, s | fresh after, s | repeats |", "|---|---|---|---|---|---|---|"]
    for each in outcomes:
        fresh = "–" if each.fresh_s is None else f"{each.fresh_s:.1f}"
        lines.append(
            f"| {each.number} | {each.kind} | {each.what} | {each.at_s:.0f} | {each.lasted_s:.1f} | {fresh} | {each.repeats:,} |"
        )
    return lines


def sizes(growths: Sequence[Growth]) -> list[str]:
    """Checkpoints and memory, a line for each figure, in Markdown."""
    lines = ["| in calm moments | first third, median | last third, median | flat up to | |", "|---|---|---|---|---|"]
    for each in growths:
        verdict = "flat" if each.flat else "GROWN"
        figures = " | ".join(f"{figure:,.0f}" for figure in (each.first, each.last, each.first + each.allowed))
        lines.append(f"| {each.name} | {figures} | {verdict} |")
    return lines


def flatness(looks: Sequence[Look], growths: Sequence[Growth]) -> str:
    """Invariant 9 in a line."""
    if not growths:
        return f"checkpoints and memory: not judged, {len(looks)} calm moments are too few ({LEAST} or more: --faults {LEAST - 1})"
    worst = [each.name for each in growths if not each.flat]
    unseen = [name for name in COLUMNS if name not in {each.name for each in growths}]
    verdict = f"{', '.join(worst)}: GROWN" if worst else "flat"
    left = f"; not judged, seen too rarely: {', '.join(unseen)}" if unseen else ""
    return f"checkpoints and memory in {len(looks)} calm moments: {verdict}{left}"


def summary(result: Result) -> list[str]:
    """What it comes to, a line each."""
    times = recovery(result.outcomes).get("all")
    lines = [
        f"chaos: {len(result.outcomes)} faults (seed {result.seed}) in {result.seconds:.0f} s, "
        f"{result.payments:,} payments at {result.rate}/s",
        f"{result.records:,} records on the wire, {sum(result.repeats.values()):,} of them repeats, "
        f"{result.regenerated:,} regenerated byte for byte",
    ]
    if times:
        lines.append(f"fresh again after {times[1]:.1f} s (median), {times[2]:.1f} s (worst)")
    lines += [
        f"control {each.name}: {each.doubled:,} of {each.records:,} doubled: {each.what}" for each in result.controls
    ]
    lines.append(flatness(result.looks, result.growths))
    lines.append(f"{len(result.violations)} violations" if result.violations else "no violation")
    return lines
