"""How often Python looks for garbage: seldom, where records go by in masses.

They are many small objects without cycles, which their reference counts free. To look for garbage among them as often as Python does takes
a fifth of the time of a fold.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_RARELY = 200_000  # new objects between two looks


def collect_rarely_from_now_on() -> None:
    """For a worker that does nothing else."""
    gc.set_threshold(_RARELY, *gc.get_threshold()[1:])


@contextmanager
def collect_rarely() -> Iterator[None]:
    """As before afterwards. What was made inside should be gone then, for Python looks through all that is young."""
    before = gc.get_threshold()
    collect_rarely_from_now_on()
    try:
        yield
    finally:
        gc.set_threshold(*before)
