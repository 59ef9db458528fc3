"""The cache of builds: keyed by content, whole or absent, built once."""

import threading
import time
from pathlib import Path

import pytest

from stack import artifacts, tools
from stack.errors import Missing, StackError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("BEAM_ON_RAILS_CACHE", str(folder))
    return folder


def test_a_build_is_made_once(cache: Path) -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "jar").write_text("x", encoding="utf-8")

    first, second = (artifacts.built("thing", "abc", build) for _ in range(2))
    assert first == second == cache / "thing-abc"
    assert (first / "jar").read_text(encoding="utf-8") == "x"
    assert len(calls) == 1


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StackError("no")

    with pytest.raises(StackError):
        artifacts.built("thing", "abc", fail)
    assert [path.name for path in cache.iterdir()] == [".thing.lock"]
    assert artifacts.built("thing", "abc", lambda folder: None).is_dir()


def test_two_builds_at_once_are_one() -> None:
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        time.sleep(0.2)

    threads = [threading.Thread(target=artifacts.built, args=("thing", "abc", build)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_a_cache_that_cannot_be_is_named(cache: Path) -> None:
    cache.write_text("a file", encoding="utf-8")
    with pytest.raises(StackError, match="name another folder in BEAM_ON_RAILS_CACHE"):
        artifacts.built("thing", "abc", lambda folder: None)


def test_the_key_changes_with_any_byte_and_any_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    file = source / "deep" / "A.java"
    file.write_text("class A {}", encoding="utf-8")
    keys = [artifacts.digest(source)]
    file.write_text("class A { }", encoding="utf-8")
    keys.append(artifacts.digest(source))
    file.rename(source / "B.java")
    keys.append(artifacts.digest(source))
    assert len(set(keys)) == 3
    assert artifacts.digest(source) == keys[-1]


def test_a_failed_command_leaves_its_output(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    with pytest.raises(StackError, match=r"thing: sh ended with 3: its output is in .*build\.log"):
        artifacts._run(["sh", "-c", "echo why; exit 3"], tmp_path, {}, "thing")
    assert (cache / "build.log").read_text(encoding="utf-8") == "why\n"


def test_a_missing_tool_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(
        Missing, match=r"^needs a JDK 17 or newer, and there is none: install it \(Debian: apt-get"
    ) as e:
        tools.java()
    assert e.value.status == 2


def test_an_old_java_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    assert tools.java_version(str(java)) == 11
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Missing):
        tools.java()
