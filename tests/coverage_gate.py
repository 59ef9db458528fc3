"""The coverage gate: lines and branches, each on its own, of what coverage.py measured (its JSON report)."""

import json
import sys
from pathlib import Path

FLOOR = 95.0
"""Per cent of the lines, and of the branches, that the tests must reach (issue: "above 95 %")."""


def shares(report: dict[str, dict[str, int]]) -> dict[str, float]:
    """Per cent covered of lines and of branches; 100 where there are none."""
    totals = report["totals"]
    pairs = {
        "lines": (totals["covered_lines"], totals["num_statements"]),
        "branches": (totals["covered_branches"], totals["num_branches"]),
    }
    return {name: 100.0 * covered / total if total else 100.0 for name, (covered, total) in pairs.items()}


def main(path: str) -> int:
    """Prints one line; 1 when a share is not above the floor, 2 when there is no report."""
    try:
        found = shares(json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, KeyError, ValueError) as error:
        print(f"coverage: no report: {path}: {error}", file=sys.stderr)
        return 2
    passed = all(share > FLOOR for share in found.values())
    text = ", ".join(f"{name} {share:.1f} %" for name, share in found.items())
    print(f"coverage of payments/ and transforms/: {text}: {'above' if passed else 'NOT above'} {FLOOR:g} %")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
