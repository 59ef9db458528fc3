"""Inputs that exist, outputs that appear whole, and what killed jobs leave behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.common import UsageError
from pipelines.files import check_inputs, check_output_dir, publish_file, publish_folder


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


# -- inputs


def test_inputs_by_name_glob_folder_and_comma(tmp_path: Path) -> None:
    for name in ("b.avro", "a.avro", "c.csv", ".hidden"):
        (tmp_path / name).write_text("x")
    a, b, c = (str(tmp_path / name) for name in ("a.avro", "b.avro", "c.csv"))
    assert check_inputs(str(tmp_path / "*.avro")) == [a, b]
    assert check_inputs(str(tmp_path)) == [a, b, c]
    assert check_inputs(f"{c}, {tmp_path}/*.avro,{a}") == [a, b, c]
    assert check_inputs([c, a]) == [a, c]
    assert check_inputs(f"file://{a}") == [a]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("none.avro", "no such file: none.avro"),
        ("*.none", r"no such file: \*\.none"),
        ("empty.avro", "empty file: empty.avro"),
        ("folder", "no file in this folder: folder"),
        (" , ", "no input named: --input"),
        ("nosuch://bucket/x", "cannot be read: nosuch://bucket/x"),
    ],
)
def test_inputs_that_are_not_there(pattern: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.avro").touch()
    Path("folder").mkdir()
    with pytest.raises(UsageError, match=message):
        check_inputs(pattern)


def test_an_unreadable_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("x")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything, so no mode of the file would do
    with pytest.raises(UsageError, match="Permission denied"):
        check_inputs(str(path))


# -- outputs


def test_output_dir_is_made_and_checked(tmp_path: Path) -> None:
    assert check_output_dir(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to this folder"):
        check_output_dir(tmp_path / "file")
    with pytest.raises(UsageError, match="cannot write to this folder"):
        check_output_dir(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="cannot write to this folder"):
        check_output_dir("/proc/none")


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for text in ("old", "new"):
        with publish_folder(target) as folder:
            (folder / text).write_text(text)
            assert not (target / "new").exists()
            assert target.exists() == (text == "new")
    assert names(target) == [".beam-on-rails", "new"]
    assert names(tmp_path) == ["out"]


def test_a_failed_job_leaves_the_old_result(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with publish_folder(target) as folder:
        (folder / "a").write_text("old")
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), publish_folder(target) as folder:
            (folder / "a").write_text("half")
            raise error
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_failed_rename_puts_the_old_result_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    with publish_folder(target) as folder:
        (folder / "a").write_text("old")
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="No space"), publish_folder(target) as folder:
        (folder / "a").write_text("new")
    assert (target / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_only_results_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(UsageError, match="holds other things than results"), publish_folder(tmp_path / "home"):
        pass
    assert names(tmp_path) == ["home"]
    with pytest.raises(UsageError, match="is a file"), publish_folder(tmp_path / "home" / "letter"):
        pass
    with pytest.raises(UsageError, match="cannot be an output"), publish_folder("/"):
        pass
    (tmp_path / "empty").mkdir()
    with publish_folder(tmp_path / "empty") as folder:
        (folder / "a").touch()
    assert names(tmp_path / "empty") == [".beam-on-rails", "a"]


def test_a_link_keeps_pointing_at_the_result(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with publish_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == [".beam-on-rails", "a"]


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.html"
    with publish_file(target) as path:
        path.write_text("old")
        assert not target.exists()
    with pytest.raises(ValueError), publish_file(target) as path:
        path.write_text("half")
        raise ValueError
    assert target.read_text() == "old"
    with publish_file(target) as path:
        path.write_text("new")
    assert target.read_text() == "new"
    assert names(target.parent) == ["report.html"]
    with pytest.raises(UsageError, match="is a folder"), publish_file(target.parent):
        pass


def test_what_dead_jobs_left_is_cleared_and_the_living_are_let_be(tmp_path: Path) -> None:
    dead = dead_pid()
    left = [f".out.partial-{dead}", f".out.partial-{os.getpid()}", f".out.partial-{os.getppid()}", ".out.partial-x"]
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    (tmp_path / f".other.partial-{dead}").mkdir()
    (tmp_path / f".file.partial-{dead}").touch()
    with publish_folder(tmp_path / "out"):
        pass
    with publish_file(tmp_path / "file") as path:
        path.touch()
    assert names(tmp_path) == sorted(
        [f".other.partial-{dead}", f".out.partial-{os.getppid()}", ".out.partial-x", "file", "out"]
    )


def test_killed_between_the_renames_the_old_result_comes_back(tmp_path: Path) -> None:
    old = tmp_path / f".out.old-{dead_pid()}"
    old.mkdir()
    (old / ".beam-on-rails").touch()
    (old / "a").write_text("old")
    with pytest.raises(ValueError), publish_folder(tmp_path / "out"):
        raise ValueError
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_a_plain_kill_unwinds(tmp_path: Path, root: Path) -> None:
    code = (
        "import sys, time\nfrom pipelines.common import main\nfrom pipelines.files import publish_folder\n"
        "def run(argv):\n    with publish_folder('out') as folder:\n"
        "        (folder / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
        "main(run)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=30) == 143
    child.stdout.close()
    assert names(tmp_path) == []
