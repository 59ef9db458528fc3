"""What processes take, and what counts as grown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack import tools
from stack.footprint import footprint, held_mb
from stack.growth import Growth, ends
from stack.services import wait_until

HOARDER = """
import threading, time
hoard = bytearray(80 << 20)
for _ in range(5):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
"""
GARBAGE = """
class Garbage {
    static byte[] kept;
    public static void main(String[] all) throws Exception {
        for (int i = 0; i < 200; i++) kept = new byte[1 << 20];
        kept = new byte[30 << 20];
        System.out.println("ready");
        Thread.sleep(60_000);
    }
}
"""


def test_what_a_process_takes() -> None:
    with subprocess.Popen([sys.executable, "-c", HOARDER], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        found = footprint(process.pid)
        process.kill()
    assert found and found.threads == 6 and 80 < found.mb < 200 and 0 <= found.age_s < 30
    assert footprint(process.pid) is None
    own = footprint(os.getpid())
    assert own and own.age_s > found.age_s


def test_a_jvm_holds_what_a_collection_leaves(tmp_path: Path) -> None:
    source = tmp_path / "Garbage.java"
    source.write_text(GARBAGE, encoding="utf-8")
    with subprocess.Popen([tools.java(), "-Xms300m", "-Xmx300m", str(source)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline() == b"ready\n"
            held = held_mb(process.pid)
        finally:
            process.kill()
    assert held and 30 < held < 120, "neither the garbage nor the heap's size"
    assert wait_until(lambda: held_mb(process.pid) is None, 5)


def test_the_ends_of_a_series() -> None:
    assert ends([1, 2, 99, 50, 50, 50, 7, 8, 9], 3) == (2, 8)
    assert ends([1, 2], 5) == (1, 2) and ends([3], 3) == (3, 3)
    with pytest.raises(ValueError, match="nothing to compare"):
        ends([], 3)


def test_what_is_allowed_is_flat() -> None:
    assert Growth("a", 10, 15, 5).flat and Growth("a", 10, 2, 0).flat and not Growth("a", 10, 15.1, 5).flat
