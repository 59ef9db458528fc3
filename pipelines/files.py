"""The user's files: inputs that exist, and outputs that appear whole.

An output is written beside its place under another name, then renamed into it. A reader sees the old result or the new
one, never a half; a failed job leaves the old one. A job that was killed outright leaves `.NAME.partial-PID` or
`.NAME.old-PID` behind, which the next one clears up (or puts back).
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from pipelines.common import UsageError
from transforms.topic_files import TopicFileError, topic_paths

MARK = ".beam-on-rails"
"""Empty file in each published folder: only a folder that has it (or is empty) is ever replaced."""


def check_inputs(patterns: str | Sequence[str], flag: str = "--input") -> list[str]:
    """The files that the patterns name, sorted, each once.

    A pattern is a file, a glob, a folder (its files, hidden ones left out) or a URL of a Beam file system; one string
    may hold several, separated by commas.

    Raises:
        UsageError: nothing named, a pattern that matches no file, a file that is empty or not readable.
    """
    parts = patterns.split(",") if isinstance(patterns, str) else list(patterns)
    parts = [part.strip() for part in parts if part.strip()]
    if not parts:
        raise UsageError("no input named", flag)
    found: set[str] = set()
    for part in (part.removeprefix("file://") for part in parts):
        found.update(_remote(part) if "://" in part else _local(part))
    return sorted(found)


def _remote(pattern: str) -> list[str]:
    try:
        matched = [item for match in FileSystems.match([pattern]) for item in match.metadata_list]
    except Exception as error:  # file systems raise errors of many kinds, all of them about this pattern
        raise UsageError("cannot be read", pattern) from error
    if not matched:
        raise UsageError("no such file", pattern)
    for item in matched:
        if item.size_in_bytes == 0:
            raise UsageError("empty file", item.path)
    return [item.path for item in matched]


def _local(pattern: str) -> list[str]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        names = [str(item) for item in path.iterdir() if item.is_file() and not item.name.startswith(".")]
    elif path.exists():
        names = [str(path)]
    else:
        names = [name for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
    if not names:
        raise UsageError("no file in this folder" if path.is_dir() else "no such file", pattern)
    for name in names:
        try:
            with open(name, "rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise UsageError(f"cannot be read ({error.strerror})", name) from error
        if empty:
            raise UsageError("empty file", name)
    return names


def check_topics(folder: str | Path, topics: Sequence[str], flag: str = "--input") -> None:
    """All partitions of the topics lie in `folder`, as files with a readable header.

    Raises:
        UsageError: a folder or a partition is missing, or is no topic on disk.
    """
    for topic in topics:
        try:
            topic_paths(folder, topic)
        except TopicFileError as error:
            raise UsageError(str(error), flag) from error


def check_output_dir(path: str | Path) -> Path:
    """The folder, made if it was missing (parents too) and really writable: a file was written and removed.

    Raises:
        UsageError: it cannot be made, is no folder, or cannot be written to.
    """
    folder = Path(path).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to this folder ({error.strerror})", path) from error
    return folder


@contextmanager
def publish_folder(target: str | Path) -> Iterator[Path]:
    """A fresh folder to write into; when the block ends well it takes the place of `target`, whole.

    Raises:
        UsageError: `target` cannot be made there, is a file, or is a folder that holds something else than results.
    """
    place = _place(target)
    if place.exists() and not place.is_dir():
        raise UsageError("is a file, not a folder", target)
    if place.is_dir() and any(place.iterdir()) and not (place / MARK).exists():
        raise UsageError("this folder holds other things than results, and is not replaced", target)
    partial, old = _names(place)
    partial.mkdir()
    try:
        yield partial
        (partial / MARK).touch()
        if place.exists():
            place.rename(old)
        partial.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def publish_file(target: str | Path) -> Iterator[Path]:
    """A path to write a file to; when the block ends well the file takes the place of `target`, whole.

    Raises:
        UsageError: `target` cannot be made there, or is a folder.
    """
    place = _place(target)
    if place.is_dir():
        raise UsageError("is a folder, not a file", target)
    partial, _ = _names(place)
    try:
        yield partial
        partial.replace(place)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _place(target: str | Path) -> Path:
    """The absolute place of `target` in a parent that is writable, with what killed jobs left there cleared up."""
    place = Path(os.path.abspath(Path(target).expanduser()))
    if not place.name:
        raise UsageError("cannot be an output", target)
    if place.is_symlink():
        place = place.resolve()
    check_output_dir(place.parent)
    _clear(place)
    return place


def _names(place: Path) -> tuple[Path, Path]:
    pid = os.getpid()
    return place.with_name(f".{place.name}.partial-{pid}"), place.with_name(f".{place.name}.old-{pid}")


def _clear(place: Path) -> None:
    for kind in ("old", "partial"):
        prefix = f".{place.name}.{kind}-"
        for left in sorted(item for item in place.parent.iterdir() if item.name.startswith(prefix)):
            pid = left.name.removeprefix(prefix)
            if not pid.isdigit() or (_alive(int(pid)) and int(pid) != os.getpid()):
                continue
            if kind == "old" and not place.exists():
                left.rename(place)  # killed between the two renames: the old result is the last whole one
            elif left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, under another user
        return True
    return True
