"""Compiled modules: taken where they are of these very sources, asked for or refused by a variable, built whole or not at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transforms import native

WHICH = "import transforms.fold as f, transforms.avro as a; print(f.__file__.endswith('.so'), a.Coder is not None)"


def which(switch: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BEAM_ON_RAILS_NATIVE": switch}
    command = [sys.executable, "-c", WHICH]
    return subprocess.run(command, env=environment, cwd=native.HERE.parent, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the build needs, in place of the checkout."""
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(native.HERE.parent / name, tmp_path)
    shutil.copytree(native.HERE, tmp_path / "transforms", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(native, "HERE", tmp_path / "transforms")
    monkeypatch.setattr(native, "ROOT", tmp_path / ".native")
    monkeypatch.delenv("BEAM_ON_RAILS_NATIVE", raising=False)
    return tmp_path


def make(tree: Path) -> Path:
    """As if the modules had been compiled."""
    native.folder().mkdir(parents=True)
    return native.folder()


def test_zero_keeps_to_python() -> None:
    assert which("0").stdout == "False False\n"


@pytest.mark.skipif(not native.folder().is_dir(), reason="nothing is compiled here: no C compiler")
def test_one_takes_what_is_compiled() -> None:
    assert which("1").stdout == "True True\n"


def test_compiled_modules_are_found_until_a_source_changes(tree: Path) -> None:
    assert native.compiled_modules() == []
    place = make(tree)
    assert native.compiled_modules() == [str(place)]
    (tree / "transforms" / "fold.py").write_text("changed = True\n", encoding="utf-8")
    assert native.compiled_modules() == []


def test_the_variable_refuses_or_insists(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAM_ON_RAILS_NATIVE", "1")
    with pytest.raises(ImportError, match=r"nothing is compiled in .*: run .*native\.py"):
        native.compiled_modules()
    make(tree)
    assert native.compiled_modules()
    monkeypatch.setenv("BEAM_ON_RAILS_NATIVE", "0")
    assert native.compiled_modules() == []


def test_an_installed_package_without_sources_is_left_alone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAM_ON_RAILS_NATIVE", "1")
    (tree / "transforms" / "fold.pxd").unlink()
    assert native.compiled_modules() == []


def test_a_failed_build_says_so_once_and_leaves_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    line = native.build()
    assert "could not compile the engine" in line and "build.log" in line
    assert native.build() == ""  # the same sources and compiler fail again
    assert native.compiled_modules() == []
    assert {path.suffix for path in (tree / ".native").iterdir()} == {".failed", ".log"}
    make(tree)
    assert native.compiled_modules()


def test_a_build_replaces_older_ones(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler is stood in for: what the real one makes, every set-up and `test_one_takes_what_is_compiled` see."""
    older = tree / ".native" / "0123456789abcdef"
    older.mkdir(parents=True)

    def compile_nothing(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        work = Path(next(part for part in command if part.startswith("--build-lib=")).split("=")[1])
        (work / "transforms").mkdir(parents=True)
        for name in ("avro_native.so", "fold.so", "loop.so", "murmur2_native.so"):
            (work / "transforms" / name).touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(native.subprocess, "run", compile_nothing)
    assert native.build().startswith("compiled the engine")
    assert sorted(path.name for path in native.compiled_modules() and Path(native.compiled_modules()[0]).iterdir()) == [
        "avro_native.so",
        "fold.so",
        "loop.so",
        "murmur2_native.so",
    ]
    assert not older.exists()
    assert native.build() == ""
