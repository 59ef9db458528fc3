"""PostgreSQL from Debian's package, its data in the stack's folder. The server refuses to run as root: see `OWNER`."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from stack import tools
from stack.errors import StackError
from stack.services import HOST, Service

OWNER = "postgres"
"""Who runs the server when we are root: the user that Debian's package makes."""

USER = "rails"
"""The database's superuser; the database has the same name. No password: like Kafka and Flink, loopback is all."""


class Postgres(Service):
    """The server and its one database."""

    seconds = 60.0
    stop_signal = signal.SIGINT  # ends sessions instead of waiting for them

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, "postgres", port)
        self.data = folder / "postgres"

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{USER}"

    def prepare(self) -> None:
        tools.postgres("postgres")  # before OWNER is looked for: the package makes the user
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._give_away()
        command = [tools.postgres("initdb"), "-D", str(self.data), "-U", USER, "--auth=trust", "-E", "UTF8"]
        done = self._run([*command, "--locale=C.UTF-8"])
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise StackError(f"postgres: initdb of {self.data}: {' '.join(done.stderr.split())[:300]}")

    def _give_away(self) -> None:
        try:
            owner = pwd.getpwnam(OWNER)
        except KeyError:
            raise StackError(f"postgres: it refuses root, and there is no user {OWNER}: make it (useradd)") from None
        os.chown(self.data, owner.pw_uid, owner.pw_gid)
        if self._run(["test", "-x", str(self.data)]).returncode:
            raise StackError(f"postgres: user {OWNER} cannot enter {self.data}: chmod o+x the folders above")

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*as_owner(), *command], capture_output=True, text=True, check=False, cwd="/")

    def command(self) -> list[str]:
        settings = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": ""}
        flags = [f"--{name}={value}" for name, value in settings.items()]
        return [*as_owner(), tools.postgres("postgres"), "-D", str(self.data), *flags]

    def ill(self) -> str:
        target = ["-h", HOST, "-p", str(self.port), "-d", "postgres", "-U", USER, "-t", "2"]
        done = subprocess.run([tools.postgres("pg_isready"), *target], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stdout.strip() or "pg_isready says no"
        return self._make_database()

    def _make_database(self) -> str:
        psql = [tools.postgres("psql"), "-h", HOST, "-p", str(self.port), "-U", USER, "-d", "postgres", "-qtA", "-c"]
        done = subprocess.run(
            [*psql, f"select 1 from pg_database where datname = '{USER}'"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and not done.stdout.strip():
            done = subprocess.run([*psql, f"create database {USER}"], capture_output=True, text=True, check=False)
        return done.stderr.strip()


def as_owner() -> list[str]:
    """What goes before a command so that it does not run as root; setpriv becomes the command, it stays no parent."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--"]
