"""What is built once and cached: Kafka's jars, the Flink jar (ours and stock), Prism.

The folder is `~/.cache/beam-on-rails`, or BEAM_ON_RAILS_CACHE. Each build is keyed by the hash of what it is made from,
made in a temporary folder beside its place and renamed when it is whole: two builds at once are harmless.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stack import tools
from stack.errors import StackError

HERE = Path(__file__).resolve().parent
FLINK_SOURCE = HERE / "flink_dist"
KAFKA_SOURCE = HERE / "kafka_dist"

PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
"""Of the same release as apache-beam in setup.py."""


def cache() -> Path:
    """The folder of all builds, shared by the checkouts of a user."""
    named = os.environ.get("BEAM_ON_RAILS_CACHE")
    return Path(named).absolute() if named else Path.home() / ".cache" / "beam-on-rails"


def kafka_libs() -> Path:
    """The folder of the broker's jars."""

    def build(folder: Path) -> None:
        source = _copy(KAFKA_SOURCE, folder / "source")
        lib = folder / "lib"
        _maven(source, ["dependency:copy-dependencies", f"-DoutputDirectory={lib}"], "Kafka")
        shutil.rmtree(source)

    return built("kafka", digest(KAFKA_SOURCE), build) / "lib"


def flink_jar(stock: bool = False) -> Path:
    """The jar of job server, JobManager and TaskManagers; `stock`: with Beam's own checkpoint handlers."""

    def build(folder: Path) -> None:
        source = _copy(FLINK_SOURCE, folder / "source")
        _maven(source, ["package", *(["-Pstock"] if stock else [])], "the Flink jar")
        (source / "target" / "flink.jar").rename(folder / "flink.jar")
        shutil.rmtree(source)

    return built("flink-stock" if stock else "flink", digest(FLINK_SOURCE), build) / "flink.jar"


def prism() -> Path:
    """The binary of Prism, Beam's local streaming runner."""

    def build(folder: Path) -> None:
        scratch = folder / "go"
        environment = {"GOBIN": str(folder), "GOPATH": str(scratch), "GOFLAGS": "-modcacherw"}
        _run([tools.go(), "install", PRISM], folder, environment, "Prism")
        shutil.rmtree(scratch, ignore_errors=True)

    return built("prism", hashlib.sha256(PRISM.encode()).hexdigest()[:16], build) / "prism"


def digest(source: Path) -> str:
    """The key of a build: the names and bytes of a file, or of all files below a folder."""
    total = hashlib.sha256()
    for path in sorted([source] if source.is_file() else source.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            name = path.relative_to(source.parent).as_posix()
            total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


def built(name: str, key: str, build: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<name>-<key>`, filled by `build(folder)` unless it is there."""
    place = cache() / f"{name}-{key}"
    if place.is_dir():
        return place
    try:
        cache().mkdir(parents=True, exist_ok=True)
        lock = (cache() / f".{name}.lock").open("w")
    except OSError as error:
        raise StackError(f"{cache()}: {error.strerror}: name another folder in BEAM_ON_RAILS_CACHE") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # not needed for safety: it saves the second one the work
        if place.is_dir():
            return place
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
        try:
            build(partial)
            partial.chmod(0o755)  # mkdtemp's 0700 would lock out other users
            partial.rename(place)
        except OSError as error:
            if not place.is_dir():
                raise StackError(f"{name}: cannot be put into {place}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return place


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("target")))


def _maven(source: Path, goals: Sequence[str], what: str) -> None:
    _run([tools.maven(), "-B", "-ntp", "-q", "-f", str(source / "pom.xml"), *goals], source, {}, what)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str], what: str) -> None:
    print(f"stack: building {what} (once; some minutes where nothing is downloaded yet)", file=sys.stderr)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        log = cache() / "build.log"
        log.write_text(done.stdout, encoding="utf-8")
        raise StackError(f"{what}: {Path(command[0]).name} ended with {done.returncode}: its output is in {log}")
