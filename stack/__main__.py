"""`./run_local.sh stack COMMAND`: see `stack.cli`."""

import signal
import sys

from stack.cli import main

if __name__ == "__main__":
    # TERM and INT unwind, so that what a measurement started is ended (a shell's background jobs ignore INT).
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
