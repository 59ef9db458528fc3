"""The modules that are compiled to C where there is a compiler: the codecs and the engine.

    python transforms/native.py     compiles what is not compiled yet; the set-up of `run_local.sh` does it

`fold.py` and `loop.py` are the same Python either way; their `.pxd` files only say which attributes and methods need no look-up by name.
What was compiled lies in a folder named by the checksum of its sources, so it is never older than they are. BEAM_ON_RAILS_NATIVE=0
keeps to Python, and 1 refuses to go on without.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent / ".native"
_COMPILED = ("avro_native.pyx", "murmur2_native.pyx", "fold.py", "loop.py")  # what setup.py compiles
_SOURCES = (*_COMPILED, "fold.pxd", "loop.pxd")


def folder() -> Path:
    """Where the compiled modules belong, for this interpreter and the sources as they are now."""
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    for name in _SOURCES:
        digest.update((HERE / name).read_bytes())
    return ROOT / digest.hexdigest()[:16] / "transforms"


def compiled_modules() -> list[str]:
    """What the package `transforms` puts before its own path: the folder of the compiled modules, or nothing."""
    wanted = os.environ.get("BEAM_ON_RAILS_NATIVE", "")
    if wanted == "0" or not all((HERE / name).exists() for name in _SOURCES):  # an installed package has its own
        return []
    found = folder()
    if found.is_dir():
        return [str(found)]
    if wanted == "1":
        raise ImportError(f"BEAM_ON_RAILS_NATIVE=1, but nothing is compiled in {found}: run {HERE / 'native.py'}")
    return []


def build() -> str:
    """Compiles what is missing; gives a line that says what happened, or nothing if nothing did."""
    place = folder().parent
    failed = place.with_suffix(".failed")
    compiler = shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]) or "none"
    if place.is_dir() or (failed.exists() and failed.read_text(encoding="utf-8") == compiler):
        return ""
    ROOT.mkdir(exist_ok=True)
    work = ROOT / f"{place.name}.{os.getpid()}"
    command = [sys.executable, "setup.py", "--quiet", "build_ext", f"--build-lib={work}", f"--build-temp={work}.tmp"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    shutil.rmtree(f"{work}.tmp", ignore_errors=True)
    if done.returncode or len(list(work.glob("transforms/*"))) < len(_COMPILED):
        shutil.rmtree(work, ignore_errors=True)
        (ROOT / "build.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        failed.write_text(compiler, encoding="utf-8")  # tried again when the sources or the compiler change
        return f"could not compile the engine with {compiler}; it runs in Python, at half the speed ({ROOT}/build.log)"
    try:
        work.rename(place)
    except OSError:  # another set-up was first
        shutil.rmtree(work)
    for old in ROOT.iterdir():
        if old.is_dir() and old != place and "." not in old.name:
            shutil.rmtree(old, ignore_errors=True)
    return "compiled the engine (transforms/native.py)"


if __name__ == "__main__":
    if line := build():
        print(f"run_local.sh: {line}", file=sys.stderr)
