"""Log time from admission to confirmation: its chart and its percentiles."""

from typing import Any

from report import texts
from report.charts import Chart
from report.figures import Latency
from report.specs import LATENCY_COLUMNS

MOST_BARS = 24


def latency_chart(latencies: list[Latency]) -> Chart | None:
    """How long payments took in log time, by number of hops; None when none was confirmed."""
    if not latencies:
        return None
    values = sorted({line.elapsed_ms for line in latencies})
    borders = values if len(values) <= MOST_BARS else [b for b in _geometric(values[-1]) if b >= values[0]]
    everything = sum(line.number for line in latencies)
    counted = [[0] * 4 for _ in borders]
    place = 0
    for line in latencies:  # by elapsed_ms
        while borders[place] < line.elapsed_ms:
            place += 1
        counted[place][min(max(line.hops, 1), 4) - 1] += line.number
    rows, cells, so_far = [], [], 0
    exact = borders is values
    for border, hops in zip(borders, counted, strict=True):
        label = texts.duration(border) if exact else f"≤ {texts.duration(border)}"
        row: dict[str, Any] = {"label": label}
        total = 0
        for i, n in enumerate(hops):
            row[f"from{i}"], row[f"to{i}"] = total, total + n
            total += n
        so_far += total
        rows.append(row)
        cells.append((label, texts.count(total), texts.share(total, everything), texts.share(so_far, everything)))
    names = ("1 hop", "2 hops", "3 hops", "4 hops or more")
    legend = tuple((f"hop{i}", name) for i, name in enumerate(names) if any(hops[i] for hops in counted))
    p50, p99 = (texts.duration(percentile(latencies, p)) for p in (50, 99))
    alt = (
        f"Bars: log time from admission to confirmation of {texts.count(everything)} payments; half took at most {p50}, "
        f"99 of 100 at most {p99}."
    )
    return Chart("latency-0", "latency", "From admission to confirmation", alt, LATENCY_COLUMNS, rows, cells, legend)


def percentile(latencies: list[Latency], percent: int) -> int:
    """The smallest log time that `percent` of 100 payments did not exceed (nearest rank). Lines are sorted by it, and not empty."""
    needed = -(-sum(line.number for line in latencies) * percent // 100)
    for line in latencies:
        needed -= line.number
        if needed <= 0:
            return line.elapsed_ms
    raise ValueError(f"percent: should be 1 to 100, got {percent}")


def _geometric(last: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 … up to the first that is not below `last`."""
    borders, size = [0], 1
    while True:
        for factor in (1, 2, 5):
            borders.append(factor * size)
            if borders[-1] >= last:
                return borders
        size *= 10
