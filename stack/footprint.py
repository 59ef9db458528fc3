"""What a process takes: threads, age and resident memory as the kernel says, and what a JVM holds once its garbage is gone.

A JVM's resident memory says little: its heap grows to its limit before the collector works in earnest. What is left after a full
collection is what a leak makes grow.
"""

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from stack import tools
from stack.processes import find

_PATIENCE_S = 20.0  # with a JVM that is asked


class Footprint(NamedTuple):
    """Of one process: how long it runs, s; its threads; its resident memory, MB."""

    age_s: float
    threads: int
    mb: float


def footprint(pid: int) -> Footprint | None:
    """None when the process is gone, or where there is no /proc."""
    known = find(pid)
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if known is None or "VmRSS" not in fields:  # a zombie has none
        return None
    age = up - int(known.started) / os.sysconf("SC_CLK_TCK")
    return Footprint(age, int(fields["Threads"]), int(fields["VmRSS"].split()[0]) / 1024)


def total(pids: Iterable[int]) -> tuple[int, float]:
    """Threads and resident memory (MB) of all of them together; those that are gone count nothing."""
    found = list(filter(None, map(footprint, pids)))
    return sum(each.threads for each in found), sum(each.mb for each in found)


def held_mb(pid: int) -> float | None:
    """MB of live objects and of classes (metaspace) of a JVM, after a full collection; None when it does not answer."""
    objects = _asked(pid, "GC.class_histogram", r"^Total\s+\d+\s+(\d+)")
    classes = _asked(pid, "GC.heap_info", r"Metaspace\s+used (\d+)K")
    return None if objects is None or classes is None else objects / 2**20 + classes / 2**10


def _asked(pid: int, command: str, pattern: str) -> int | None:
    try:
        done = subprocess.run(
            [tools.jcmd(), str(pid), command], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return None
    found = re.search(pattern, done.stdout, re.MULTILINE)
    return int(found[1]) if found else None
