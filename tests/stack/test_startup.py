"""Start-up: no launch of a live job hangs. `./run_local.sh stack launches --count 50` is the long version."""

from stack.cluster import Stack
from stack.launches import launches


def test_five_launches_in_a_row_all_start(stack: Stack) -> None:
    assert [launch.number for launch in launches(stack, 5) if launch.seconds is None] == []
