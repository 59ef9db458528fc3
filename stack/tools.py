"""What the stack needs of the machine: found, installed where that is possible, or named in one line."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from stack.errors import Missing

JAVA = 17
"""The oldest Java: our classes are compiled for it, Flink 1.19 runs on it."""

POSTGRES = Path("/usr/lib/postgresql")
"""Where Debian's packages put the server, a folder per major version, none of it on PATH."""


JVM_VARIABLE = "BEAM_ON_RAILS_JVM"


def jvm() -> list[str]:
    """Flags of every JVM of the stack; the environment variable BEAM_ON_RAILS_JVM replaces the second of them.

    It leaves out the compiler for what stays hot for long, which takes most of a few shared cores for minutes: a fresh broker took 17.7 s
    of CPU for half a million records with it, 5.1 s without. Once it is done a broker needs a third less: for long runs set it to "".
    """
    chosen = os.environ.get(JVM_VARIABLE, "-XX:TieredStopAtLevel=1").split()
    return ["-XX:+ExitOnOutOfMemoryError", *chosen, "-Djava.awt.headless=true"]


def java() -> str:
    """The command of a JDK of at least version 17, from JAVA_HOME or PATH."""
    return _java() or _install("default-jdk-headless", _java, f"needs a JDK {JAVA} or newer, and there is none")


def jcmd() -> str:
    """The command of the JDK that asks a running JVM."""
    found = Path(java()).resolve().with_name("jcmd")
    if not found.exists():
        raise Missing(f"needs jcmd beside {java()}, and there is none: a JDK has it, a JRE has not")
    return str(found)


def maven() -> str:
    """The command of Maven, which builds the jars once."""
    java()
    return _on_path("mvn") or _install("maven", lambda: _on_path("mvn"), "needs Maven (mvn), and there is none")


def go() -> str:
    """The command of Go, which builds Prism."""
    places = [found for found in (_on_path("go"), "/usr/local/go/bin/go") if found and Path(found).exists()]
    if places:
        return places[0]
    return _install("golang-go", lambda: _on_path("go"), "needs Go to build Prism, and there is none")


def postgres(program: str) -> str:
    """The path of a program of the PostgreSQL server: initdb, postgres, pg_isready."""
    what = f"needs PostgreSQL's server ({program}), and there is none"
    return _postgres(program) or _install("postgresql", lambda: _postgres(program), what)


def _on_path(name: str) -> str | None:
    return shutil.which(name)


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    for command in [f"{home}/bin/java"] if home else ["java"]:
        if (path := shutil.which(command)) and (java_version(path) or 0) >= JAVA:
            return path
    return None


def java_version(command: str) -> int | None:
    """The feature release, 17 of "17.0.15"."""
    done = subprocess.run([command, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else None


def _postgres(program: str) -> str | None:
    found = [path for path in POSTGRES.glob(f"*/bin/{program}") if path.parent.parent.name.isdigit()]
    if found:
        return str(max(found, key=lambda path: int(path.parent.parent.name)))
    return shutil.which(program)


def _install(package: str, look, what: str) -> str:
    """Installs a Debian package when we are root on Debian or its kin, then looks again."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"stack: installing {package} (apt-get)", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", package]):
            command = ["apt-get", "-qq", *arguments]
            subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if found := look():
            return found
    raise Missing(f"{what}: install it (Debian: apt-get install {package})")
