"""What can be launched: reads the modules beside it as text, so that it answers at once and needs nothing installed."""

import ast
from pathlib import Path
from typing import NamedTuple


class Entry(NamedTuple):
    """One pipeline: its name on the command line, and what it does in one line."""

    name: str
    summary: str


COMMANDS = (
    Entry("(nothing, or --flags)", "the main job: payments from generated or own input to views and a report"),
    Entry("test [pytest arguments]", "ruff, mypy, all tests and the coverage gate; with arguments only those tests"),
    Entry("lint", "ruff and mypy"),
    Entry("bench", "the benchmarks, side by side with idiomatic Beam"),
    Entry(
        "stack up|down|status|logs", "Kafka, Flink with Beam's job server, PostgreSQL on this machine; more by --help"
    ),
    Entry("mutation", "mutation tests of payments/ (long)"),
    Entry("lock", "compile requirements/*.txt anew from setup.py"),
    Entry("help", "this list"),
)


def pipelines(folder: Path) -> list[Entry]:
    """The launchable modules of `folder`, by name: those that define a function `run` at their top level."""
    entries = []
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=path.name)
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            doc = ast.get_docstring(tree) or ""
            entries.append(Entry(path.stem, doc.split("\n", 1)[0]))
    return entries


def show(folder: Path) -> str:
    """The text of `./run_local.sh help`."""
    found = pipelines(folder)
    width = max(len(entry.name) for entry in (*COMMANDS, *found))
    lines = ["usage: ./run_local.sh [COMMAND | PIPELINE] [--flags]", "", "Commands"]
    lines += [f"  {entry.name:<{width}}  {entry.summary}" for entry in COMMANDS]
    lines += ["", "Pipelines (PIPELINE --help tells the flags of each)"]
    lines += [f"  {entry.name:<{width}}  {entry.summary}" for entry in found]
    return "\n".join(lines)


if __name__ == "__main__":
    print(show(Path(__file__).parent))
