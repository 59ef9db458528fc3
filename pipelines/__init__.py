"""Launchable jobs, one per module: options, `build_pipeline(p, options)`, `run(argv)`; `./run_local.sh help` lists them."""
