"""The user's files: inputs that exist, and outputs that appear whole.

An output is written beside its place under another name, then renamed into it. A reader sees the old result or the new
one, never a half; a failed job leaves the old one. A job that was killed outright leaves `.NAME.partial-PID` or
`.NAME.old-PID` behind, which the next one clears up (or puts back).
"""

import glob
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from apache_beam.io.filesystems import FileSystems

from pipelines.common import UsageError
from transforms.topic_files import TopicFileError, topic_paths

MARK = ".beam-on-rails"
"""File in each published folder, a JSON list of all that was published there: only a folder that holds nothing else is ever replaced."""


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
    path = expand_home(pattern)
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
            if not stat.S_ISREG(
                os.stat(name).st_mode
            ):  # opening a pipe would wait for its writer, and it can be read only once
                raise UsageError("not a regular file", name)
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


def check_apart(outputs: Sequence[str | Path], inputs: str | Sequence[str | Path]) -> None:
    """No output is an input, holds one or lies inside one, by whatever links: writing it would destroy what is read.

    `inputs` are patterns as of `check_inputs`, or a list of files and folders. Inputs of other file systems are not compared.

    Raises:
        UsageError: the output that is not apart.
    """
    parts = [part.strip() for part in inputs.split(",")] if isinstance(inputs, str) else [str(part) for part in inputs]
    read: set[Path] = set()
    for part in filter(None, (part.removeprefix("file://") for part in parts)):
        if "://" in part:
            continue
        path = expand_home(part)
        found = (
            [path, *path.iterdir()]
            if path.is_dir()
            else [path]
            if path.exists()
            else glob.glob(str(path), recursive=True)
        )
        read.update(_resolved(item) for item in found)
    for output in outputs:
        place = _resolved(expand_home(output))
        for item in sorted(read):
            if place == item:
                raise UsageError("is an input and cannot be the output too", output)
            if item.is_relative_to(place):
                raise UsageError(f"the output would replace an input, {item.relative_to(place)} in it", output)
            if place.is_relative_to(item):
                raise UsageError("lies inside an input and cannot be the output", output)


def check_output_dir(path: str | Path) -> Path:
    """The folder, made if it was missing (parents too) and really writable: a file was written and removed.

    Raises:
        UsageError: it cannot be made, is no folder, or cannot be written to.
    """
    folder = expand_home(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to this folder ({error.strerror})", path) from error
    return folder


def check_output_file(target: str | Path) -> Path:
    """The absolute place of a file to be written: its folder is made and writable, and what stands there is a file or nothing.

    Raises:
        UsageError: it cannot be made there, or is a folder, a device, a pipe or a socket.
    """
    place = _place(target)
    if place.is_dir():
        raise UsageError("is a folder, not a file", target)
    if place.exists() and not place.is_file():
        raise UsageError("is neither a file nor a folder", target)
    return place


@contextmanager
def publish_folder(target: str | Path) -> Iterator[Path]:
    """A fresh folder to write into; when the block ends well it takes the place of `target`, whole.

    Raises:
        UsageError: `target` cannot be made there, is no folder, or is a folder that holds something else than results, be it
            only one file that was put beside them.
    """
    place = _place(target)
    partial, old = _names(place)
    try:
        _clear(place)
        _check_results(place, target)
        partial.mkdir()
    except OSError as error:
        raise UsageError(f"cannot be made ({error.strerror})", target) from error
    try:
        yield partial
        (partial / MARK).write_text(json.dumps(_held(partial), indent=0, ensure_ascii=True) + "\n", encoding="ascii")
        _check_results(place, target)  # the job may have taken hours
        if place.exists():
            place.rename(old)
        partial.rename(place)
    except BaseException:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)


def keep_folder(target: str, prefix: str) -> AbstractContextManager[str | Path]:
    """A folder to write into: `publish_folder` of `target`, or without one a temporary folder, whose name begins with `prefix`."""
    return publish_folder(target) if target else tempfile.TemporaryDirectory(prefix=prefix)


def _check_results(place: Path, target: str | Path) -> None:
    """`place` is free, or a folder with nothing in it that its mark does not name."""
    if not place.exists():
        return
    if not place.is_dir():
        raise UsageError("is a file, not a folder" if place.is_file() else "is neither a file nor a folder", target)
    if others := sorted(set(_held(place)) - _published(place)):
        names = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        raise UsageError(f"this folder holds other things than results ({names}), and is not replaced", target)


def _held(folder: Path) -> list[str]:
    """All that lies below the folder, without the mark; links are not followed."""
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*") if item != folder / MARK)


def _published(folder: Path) -> set[str]:
    try:
        names = json.loads((folder / MARK).read_bytes())
    except (FileNotFoundError, ValueError):  # never published, or by what did not keep a list
        return set()
    return set(map(str, names)) if isinstance(names, list) else set()


@contextmanager
def publish_file(target: str | Path) -> Iterator[Path]:
    """A path to write a file to; when the block ends well the file takes the place of `target`, whole.

    Raises:
        UsageError: as `check_output_file`.
    """
    place = check_output_file(target)
    partial, _ = _names(place)
    try:
        _clear(place)
    except OSError as error:
        raise UsageError(f"cannot be made ({error.strerror})", target) from error
    try:
        yield partial
        partial.replace(place)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _place(target: str | Path) -> Path:
    """The absolute place of `target` in a parent that is writable; links are followed when it is one itself."""
    place = Path(os.path.abspath(expand_home(target)))
    if not str(target) or not place.name:
        raise UsageError("cannot be an output", target)
    if os.path.islink(place):
        place = _resolved(place)
    check_output_dir(place.parent)
    try:
        place.exists()
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"cannot be an output ({error.strerror})", target) from error
    return place


def expand_home(path: str | Path) -> Path:
    """The path with `~` and `~user` written out; UsageError for what can be no path."""
    try:
        if "\0" in str(path):
            raise UsageError("a path holds no zero byte", repr(str(path)))
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError("whose home folder is meant is not known", path) from error


def _resolved(path: str | Path) -> Path:
    """The path without links; what does not exist yet stays as it is."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UsageError(
            f"cannot be followed ({getattr(error, 'strerror', None) or 'links in a circle'})", path
        ) from error


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
