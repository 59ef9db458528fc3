"""A production stack on one machine, without containers: Kafka, Flink with Beam's job server, PostgreSQL.

`./run_local.sh stack up` starts it, `Stack` is the same for Python, `kafka.running_broker` a broker alone for tests.
Everything listens on loopback only, keeps its files in one folder, and is ended by the process ids that it noted.
"""
