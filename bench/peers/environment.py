"""A virtual environment of their own for the engines that the project is compared with: they are no dependencies of it.

`.bench/peers` in the checkout holds exactly what `bench/peers.txt` locks; it is made on first use and again when the lock has changed.

    python -m bench.peers.environment lock    # the newest versions into bench/peers.txt
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "bench" / "peers.txt"
FOLDER = ROOT / ".bench" / "peers"
PEERS = ("bytewax[kafka]", "quixstreams")


def peers_python(folder: Path = FOLDER, lock: Path = LOCK) -> Path:
    """The interpreter that has the peers; installs them when `lock` is another one than the last time."""
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = lock.read_bytes()
    if stamp.exists() and stamp.read_bytes() == wanted:
        return python
    print(f"bench: installing {lock.name} into {folder} (once)", file=sys.stderr, flush=True)
    venv.create(folder, clear=True, with_pip=True)
    options = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--require-hashes",
        "--only-binary=:all:",
        "--no-deps",
    ]
    subprocess.run([python, "-m", "pip", "install", *options, "-r", lock], check=True, stdout=sys.stderr)
    stamp.write_bytes(wanted)  # last: an installation that was stopped has none
    return python


def locked(text: str) -> dict[str, str]:
    """The versions in the text of a lock."""
    lines = (
        line.split(";")[0].rstrip(" \\")
        for line in text.splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    )
    return dict(line.split("==") for line in lines)


def lock_newest() -> None:
    """Resolves the newest peers, with hashes."""
    command = "python -m bench.peers.environment lock"
    options = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate", "--no-emit-index-url"]
    options += ["--no-emit-find-links", f"--custom-compile-command={command}", "--quiet", "--upgrade", "-o", str(LOCK)]
    subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-", *options], input="\n".join(PEERS), text=True, check=True
    )


if __name__ == "__main__":
    if sys.argv[1:] != ["lock"]:
        raise SystemExit(__doc__)
    lock_newest()
