"""Files that appear whole: written under a temporary name beside their place, renamed at the end."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: str | Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Opens a file for writing (`mode` and `options` as of `open`) that gets its name when the block ends.

    After an exception nothing is left. Attempts at the same file may run side by side (a runner's retry): each writes a
    temporary file of its own, the last to end stays.
    """
    with temporary_path(path) as temporary, open(temporary, mode, **options) as file:
        yield file


@contextmanager
def temporary_path(path: str | Path) -> Iterator[Path]:
    """A free path beside `path` for something to be written to; it is renamed to `path` when the block ends."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
