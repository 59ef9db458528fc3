"""Launchable jobs, one module each: options, `build_pipeline(p, options)`, `run(argv)`. See `./run_local.sh help`."""

import logging

# Beam warns at import that Google's client library is absent. Nothing here uses it, and the line would stand before the
# output of every job.
logging.getLogger().addFilter(lambda record: not str(record.msg).startswith("apitools not found"))
