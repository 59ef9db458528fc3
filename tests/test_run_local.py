"""run_local.sh, from outside: what it dispatches, what it refuses, from any folder, with no terminal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.catalog import pipelines, show

FAKE_VENV = (
    '#!/bin/sh\ncase "$1" in -c | -P) exit 0 ;; esac\necho "path=$PYTHONPATH safe=$PYTHONSAFEPATH in=$(pwd) args=$*"\n'
)


def call(script: Path | str, *args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    return subprocess.run(
        [str(script), *args],
        cwd=cwd,
        env={**plain, "CI": "true", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def checkout(tmp_path: Path, root: Path) -> Path:
    """A small checkout whose virtual environment is up to date and only tells how it was called."""
    top = tmp_path / "checkout"
    for folder in ("pipelines", "requirements", "transforms", ".venv/bin"):
        (top / folder).mkdir(parents=True)
    (top / "transforms" / "native.py").touch()  # has nothing to compile
    shutil.copy(root / "run_local.sh", top)
    shutil.copy(root / "pipelines" / "catalog.py", top / "pipelines")
    (top / "pipelines" / "__init__.py").touch()
    (top / "pipelines" / "demo_job.py").write_text('"""Shows things.\n\nMore."""\n\n\ndef run(argv):\n    pass\n')
    (top / "pipelines" / "helper.py").write_text('"""Helps."""\n')
    for lock in ("run", "dev"):
        (top / "requirements" / f"{lock}.txt").write_text(f"# {lock}\n")
        (top / ".venv" / f".installed-{lock}").write_text(f"# {lock}\n")
    python = top / ".venv" / "bin" / "python"
    python.write_text(FAKE_VENV)
    python.chmod(0o755)
    return top


def test_help_lists_the_pipelines_without_importing_them(checkout: Path, tmp_path: Path) -> None:
    (checkout / "pipelines" / "broken_import.py").write_text(
        "'''Imports nothing.'''\nimport nowhere\ndef run(argv): ...\n"
    )
    shutil.rmtree(checkout / ".venv")
    for word in ("help", "--help", "-h"):
        done = call(checkout / "run_local.sh", word, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert "demo_job Shows things." in lines
        assert "broken_import Imports nothing." in lines
        assert not any("helper" in line for line in lines)
        assert any(line.startswith("test [pytest arguments] ") for line in lines)
    assert not (checkout / ".venv").exists()
    assert sorted(item.name for item in (checkout / "pipelines").iterdir() if item.is_dir()) == []


def test_help_of_this_checkout_has_a_line_for_each_pipeline(root: Path) -> None:
    entries = pipelines(root / "pipelines")
    assert all(entry.summary and not entry.summary.startswith(" ") for entry in entries), entries
    assert all(len(line) <= 160 for line in show(root / "pipelines").splitlines())


@pytest.mark.parametrize("word", ["nosuch", "helper", "../evil", "a b", "Demo_job", "catalog", "-x"])
def test_an_unknown_command_is_one_line_and_2(word: str, checkout: Path, tmp_path: Path) -> None:
    done = call(checkout / "run_local.sh", word, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"run_local.sh: unknown command '{word}': ./run_local.sh help lists them\n"


@pytest.mark.parametrize(
    ("args", "called"),
    [
        ([], "-m pipelines.main_job"),
        (["--input", "my file"], "-m pipelines.main_job --input my file"),
        (["demo_job", "--x=1"], "-m pipelines.demo_job --x=1"),
        (["demo_job", "--help"], "-m pipelines.demo_job --help"),
        (["bench", "--quick"], "-m bench.run --quick"),
    ],
)
def test_dispatch_keeps_the_callers_folder(args: list[str], called: str, checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("checkout/run_local.sh")
    for script in (checkout / "run_local.sh", tmp_path / "link", "checkout/run_local.sh", "./link"):
        done = call(script, *args, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"path={checkout} safe=1 in={tmp_path} args={called}\n"


@pytest.mark.parametrize(
    ("args", "called"),
    [
        (["lint"], ["-m ruff check .", "-m mypy"]),
        (["mutation", "payments.x*"], ["-m mutmut run payments.x*"]),
        (["test", "-k", "x"], ["-m pytest -k x"]),
    ],
)
def test_tools_run_in_the_checkout(args: list[str], called: list[str], checkout: Path, tmp_path: Path) -> None:
    done = call(checkout / "run_local.sh", *args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"path= safe= in={checkout} args={line}\n" for line in called)


def test_the_closing_line_of_pytest_is_the_last_and_every_failure_counts(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "chromium").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for failing in ("", "ruff", "mypy", "pytest", "tests.coverage_gate"):
        (checkout / ".venv" / "bin" / "python").write_text(
            '#!/bin/sh\n[ "$1" = -c ] && exit 0\necho "$2 is here"\n'
            f'[ "$2" = pytest ] && echo "== 7 passed =="\n[ "$2" != "{failing}" ]\n'
        )
        done = call(checkout / "run_local.sh", "test", cwd=tmp_path, PATH=path)
        assert done.returncode == (1 if failing else 0), failing
        assert done.stdout.splitlines()[-1] == "== 7 passed =="
        assert "pytest is here" in done.stdout and "tests.coverage_gate is here" in done.stdout


def test_a_job_that_fails_passes_its_status_on(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv" / "bin" / "python").write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\nexit 7\n')
    assert call(checkout / "run_local.sh", "demo_job", cwd=tmp_path).returncode == 7


def test_without_a_python_it_says_so_in_one_line(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "readlink", "cmp", "grep", "flock", "rm", "cp", "sh", "id"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")  # too old
    (tools / "python3").chmod(0o755)
    shutil.rmtree(checkout / ".venv")
    for args in ([], ["help"]):
        done = call(checkout / "run_local.sh", *args, cwd=tmp_path, PATH=str(tools), PYTHON="")
        assert done.returncode == 1
        assert done.stderr.startswith("run_local.sh: needs Python 3.11 or newer, and there is none on PATH")
        assert len(done.stderr.splitlines()) == 1


def test_a_changed_lock_is_installed_once_and_a_failed_installation_is_taken_up_again(
    checkout: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    python = checkout / ".venv" / "bin" / "python"
    script = f'#!/bin/sh\ncase "$1" in -c | -P) exit 0 ;; esac\necho "$*" >> {log}\n'
    (checkout / "requirements" / "run.txt").write_text("# newer\n")

    python.write_text(script + '[ "$2" != pip ]\n')
    done = call(checkout / "run_local.sh", "demo_job", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("run_local.sh: could not install")
    assert list((checkout / ".venv").glob(".installed-*")) == []

    python.write_text(script)
    for _ in range(2):
        assert call(checkout / "run_local.sh", "demo_job", cwd=tmp_path).returncode == 0
    calls = log.read_text().splitlines()
    assert [line.split()[1] for line in calls] == ["pip", "pip", "pipelines.demo_job", "pipelines.demo_job"]
    assert "--require-hashes" in calls[0]
    assert (checkout / ".venv" / ".installed-run").read_text() == "# newer\n"


def test_a_broken_environment_is_rebuilt(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to("/gone/python3.11")
    (checkout / ".venv" / "lib-of-before").touch()
    (checkout / "requirements" / "run.txt").write_text("")  # nothing to fetch
    (checkout / "pipelines" / "demo_job.py").write_text("def run(argv): ...\nprint('ran')\n")
    done = call(checkout / "run_local.sh", "demo_job", cwd=tmp_path, PYTHON=sys.executable)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    assert not (checkout / ".venv" / "lib-of-before").exists()
    assert (checkout / ".venv" / ".installed-run").exists()
