"""All benchmarks, side by side in one run: `./run_local.sh bench`.

Writes bench/results/NAME.json, a list of rows {name, unit, value, baseline, ratio, floor, aim, floor_is, machine}, the growth plot
bench/results/NAME.svg, and the table of docs/performance.md between its markers. Nothing else should run on the machine meanwhile.
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import auctions, card, codec, joins, payments, scale, windows

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
SUITES = {
    "codec": codec,
    "windows": windows,
    "joins": joins,
    "card": card,
    "payments": payments,
    "auctions": auctions,
}

Row = dict[str, Any]


def machine() -> dict[str, Any]:
    """Facts about the machine and the versions that were measured."""
    facts: dict[str, Any] = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    facts["cores"] = os.cpu_count()
    facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts["processor"] = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        facts["processor"] = platform.processor()
    for package in ("apache-beam", "fastavro", "numpy"):
        facts[package] = version(package)
    return facts


def reached(row: Row) -> str:
    """Which mark the row reaches: aim, floor, or what is missing."""
    floor, aim = row["floor"], row["aim"]
    if floor is None:
        return ""
    figure = row["ratio"] if row["floor_is"] == "ratio" else row["value"]
    if ", at most" in row["name"]:
        return "floor" if figure <= floor else "MISSED"
    if aim is not None and figure >= aim:
        return "aim"
    return "floor" if figure >= floor else "MISSED"


def table(rows: list[Row]) -> str:
    """The rows as a table of Markdown."""

    def shown(value: Any) -> str:
        return (
            ""
            if value is None
            else f"{value:,}"
            if isinstance(value, int)
            else f"{value:,.0f}"
            if value >= 1000
            else f"{value:g}"
        )

    lines = ["| work | ours | baseline | ratio | floor | aim | reached |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        mark = "×" if row["floor_is"] == "ratio" else ""
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}×"
        floor, aim = (f"{shown(row[name])}{mark}" if row[name] is not None else "" for name in ("floor", "aim"))
        ours, baseline = f"{shown(row['value'])} {row['unit']}", shown(row["baseline"])
        lines.append(f"| {row['name']} | {ours} | {baseline} | {ratio} | {floor} | {aim} | {reached(row)} |")
    return "\n".join(lines)


def write_page(rows: list[Row], facts: dict[str, Any]) -> None:
    """Puts the table between the markers of docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    where = ", ".join(f"{name} {value}" for name, value in facts.items())
    PAGE.write_text(f"{head}{BEGIN}\n\n{table(rows)}\n\nMeasured on: {where}.\n\n{END}{tail}", encoding="utf-8")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=[*SUITES, "scale"], help="these alone; the page is then left as it is"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the medians count")
    parser.add_argument("--name", default="foundation", help="of the files in bench/results")
    args = parser.parse_args(argv)
    chosen = args.only or [*SUITES, "scale"]
    facts, rows = machine(), []
    for name in chosen:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        if name == "scale":
            points = scale.measure_sizes()
            rows += scale.rows_of(points)
            (HERE / "results").mkdir(exist_ok=True)
            scale.plot(points, HERE / "results" / f"{args.name}.svg")
        else:
            rows += SUITES[name].measure(args.repeats)
    print(table(rows))
    if not args.only:
        (HERE / "results").mkdir(exist_ok=True)
        text = json.dumps([{**row, "machine": facts} for row in rows], indent=1)
        (HERE / "results" / f"{args.name}.json").write_text(text + "\n", encoding="utf-8")
        write_page(rows, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
