"""Cost and memory of payments as their number grows: `python -m bench.scale`.

Each size runs in an interpreter of its own, which reports its time and its peak memory; the input is made before. The rows say the peak of
1,000,000 payments over 10,000 accounts, what one more payment adds, and how much more one costs at the largest size than at the smallest.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.payments import generate, run_payments

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
ACCOUNTS = 10_000
GIB = 1 << 30


def run_one(raw: str, folder: str) -> dict[str, float]:
    """Seconds and peak bytes of this process for one run, the peak before it taken apart."""
    before = peak_bytes()
    start = time.perf_counter()
    run_payments(Path(raw), Path(folder))
    return {"seconds": time.perf_counter() - start, "peak": peak_bytes(), "before": before}


def peak_bytes() -> int:
    """Most memory that this process has had resident. Not getrusage: what it says begins with the peak of the parent."""
    return _memory("VmHWM")


def resident_bytes() -> int:
    """Memory that this process has resident now."""
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measure_sizes(sizes: tuple[int, ...] = SIZES) -> list[dict[str, float]]:
    """One point per size: payments, seconds, peak, before."""
    points = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-scale-") as place:
            raw, folder = Path(place) / "raw.avro", Path(place) / "run"
            generate(raw, size, min(ACCOUNTS, size // 10))
            folder.mkdir()
            done = subprocess.run(
                [sys.executable, "-m", "bench.scale", "--one", str(raw), str(folder)],
                check=True,
                capture_output=True,
                text=True,
            )
            points.append({"payments": size, **json.loads(done.stdout.splitlines()[-1])})
            print(
                f"{size:>9,} payments: {points[-1]['seconds']:.1f} s, {points[-1]['peak'] / GIB:.2f} GiB",
                file=sys.stderr,
            )
    return points


def rows_of(points: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Rows in the form of the other benchmarks; `floor` of memory and of growth is the most that is allowed."""
    small, large = points[0], points[-1]
    per_payment = (large["peak"] - small["peak"]) / (large["payments"] - small["payments"])
    growth = (large["seconds"] / large["payments"]) / (small["seconds"] / small["payments"])
    count = f"{large['payments']:,.0f} payments"
    return [
        _row(f"peak memory of {count}, at most", "GiB", round(large["peak"] / GIB, 2), 3.0),
        _row("memory of one more payment", "bytes", round(per_payment), None),
        _row(f"time per payment, {count} to {small['payments']:,.0f}, at most", "x", round(growth, 2), 1.5),
    ]


def _row(name: str, unit: str, value: float, most: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "value": value,
        "baseline": None,
        "ratio": None,
        "floor": most,
        "aim": None,
        "floor_is": "value",
    }


def plot(points: list[dict[str, float]], path: Path) -> None:
    """Seconds and peak memory over the number of payments, as SVG."""
    import vl_convert

    values = [
        {"payments": p["payments"], "what": what, "value": value}
        for p in points
        for what, value in (("seconds", p["seconds"]), ("peak memory, GiB", p["peak"] / GIB))
    ]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": values},
        "facet": {"column": {"field": "what", "title": None}},
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 280,
            "height": 200,
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": "payments", "type": "quantitative", "axis": {"format": "~s"}},
                "y": {"field": "value", "type": "quantitative", "title": None},
            },
        },
    }
    path.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("RAW", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(run_one(*args.one)))
        return
    for row in rows_of(measure_sizes(tuple(args.sizes))):
        print(f"{row['name']}: {row['value']} {row['unit']}")


if __name__ == "__main__":
    main(sys.argv[1:])
