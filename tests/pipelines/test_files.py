"""Inputs that exist, outputs that appear whole, and what killed jobs leave behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import import_payments, main_job, payment_views, payments, payments_replay, replays, report
from pipelines.common import UsageError
from pipelines.files import (
    check_apart,
    check_inputs,
    check_output_dir,
    check_output_file,
    check_topics,
    keep_folder,
    publish_file,
    publish_folder,
)


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


def test_what_is_no_regular_file_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.avro")  # to open it would wait for ever
    with pytest.raises(UsageError, match="not a regular file"):
        check_inputs(str(tmp_path / "pipe.avro"))
    with pytest.raises(UsageError, match="not a regular file: /dev/null"):
        check_inputs("/dev/null")


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b"])
def test_paths_that_are_none(path: str) -> None:
    for check in (check_inputs, check_output_dir, check_output_file, lambda path: check_apart([path], [])):
        with pytest.raises(UsageError, match=r"home folder|zero byte"):
            check(path)


# -- outputs apart from inputs


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what looks like a run, which is the working directory's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "topics").mkdir(parents=True)
    (tmp_path / "run" / "raw.avro").write_text("x")
    (tmp_path / "run" / "topics" / "p00.avro").write_text("x")
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "raw.avro").symlink_to("run/raw.avro")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("output", "inputs", "message"),
    [
        ("run", "run/raw.avro", "would replace an input, raw.avro in it: run"),
        ("run/raw.avro", "run/raw.avro", "is an input and cannot be the output too: run/raw.avro"),
        ("run/raw.avro/x", "run/raw.avro", "lies inside an input"),
        (".", "run/raw.avro", "would replace an input"),
        ("run", "run/*.avro", "would replace an input"),
        ("run", "none, run/raw.avro", "would replace an input"),
        ("run", "file://run/raw.avro", "would replace an input"),
        ("run/topics", ["run/topics"], "is an input"),
        ("run/topics/new", ["run/topics"], "lies inside an input"),
        ("run/../run/topics", ["run/topics/"], "is an input"),
        ("link", "run/raw.avro", "would replace an input"),
        ("link/raw.avro", "run/raw.avro", "is an input"),
        ("run", "raw.avro", "would replace an input"),  # the input is a link into the output
        ("run", ".", "lies inside an input"),
        ("run", ["link/topics"], "would replace an input, topics in it"),
    ],
)
def test_an_output_does_not_destroy_its_input(output: str, inputs: str | list[str], message: str, run: Path) -> None:
    with pytest.raises(UsageError, match=message):
        check_apart(["elsewhere", output], inputs)


def test_outputs_beside_inputs_are_apart(run: Path) -> None:
    for inputs in ("run/raw.avro", "raw.avro", "run/raw.avro,gs://run/new", ["run/topics"], "", "run/*.none"):
        check_apart(["run/new", "run/raw.avro.json", "run2", "out/run"], inputs)


@pytest.mark.parametrize(
    ("job", "argv"),
    [
        (payments, ["--input=run/raw.avro", "--output=run"]),
        (main_job, ["--input=run/raw.avro", "--output=run"]),
        (report, ["--input=run/raw.avro", "--output=link/raw.avro"]),
        (payments_replay, ["--input=run/topics", "--output=run"]),
        (payment_views, ["--input=run/topics", "--output=run/topics/v.duckdb"]),
        (import_payments, ["--input=in.csv", "--mapping=m.avro", "--output=m.avro"]),
        (import_payments, ["--input=out.avro.counts.json", "--mapping=m.avro", "--output=out.avro"]),
    ],
    ids=lambda value: value.__name__.removeprefix("pipelines.") if hasattr(value, "run") else value[-1],
)
def test_each_job_keeps_its_outputs_apart(job, argv: list[str], run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapping = (Path(import_payments.MAPPINGS) / "bank-transactions.json").read_text()
    Path("m.avro").write_text(mapping)
    columns = ",".join(import_payments.load_mapping("m.avro").columns)
    for name in ("in.csv", "out.avro.counts.json"):
        Path(name).write_text(f"{columns}\n")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for module in (replays, payment_views):
        monkeypatch.setattr(module, "check_topics", lambda *_: None)
    with pytest.raises(UsageError, match="an input"):
        job.run(argv)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_topics_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such topic folder: --input"):
        check_topics(tmp_path, ["payments.status"])


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


@pytest.mark.parametrize("mine", ["mine.txt", "topics/mine.txt", ".hidden"])
def test_a_file_beside_the_results_is_not_deleted(mine: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    for _ in "ab":  # twice: what was published is replaced, whatever its depth
        with publish_folder(target) as folder:
            (folder / "topics").mkdir()
            (folder / "topics" / "p00").touch()
    (target / mine).write_text("mine")
    with pytest.raises(UsageError, match=rf"holds other things than results \({mine}\)"), publish_folder(target):
        raise AssertionError("the job must not start")
    assert (target / mine).read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_a_file_that_is_put_there_while_the_job_runs_is_not_deleted(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with publish_folder(target) as folder:
        (folder / "a").touch()
    with pytest.raises(UsageError, match=r"\(b, c, d \.\.\.\)"), publish_folder(target):
        for name in "bcde":
            (target / name).touch()
    assert names(target) == [".beam-on-rails", *"abcde"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("mark", ["", "garbage", "7", '{"a": 1}', '["b"]'])
def test_a_mark_that_does_not_name_the_files(mark: str, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / ".beam-on-rails").write_text(mark)
    if mark == '{"a": 1}':
        (tmp_path / "b").touch()
    with pytest.raises(UsageError, match="holds other things"), publish_folder(tmp_path):
        pass
    assert (tmp_path / "a").exists()


def test_outputs_that_are_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        ("pipe", "neither"),
        ("full", "neither"),
        ("loop", "links in a circle"),
        ("x" * 300, "too long"),
    ):
        for publish in (publish_file, publish_folder):
            with pytest.raises(UsageError, match=message), publish(tmp_path / name):
                pass
    with pytest.raises(UsageError, match=r"cannot be made .File name too long"), publish_folder(tmp_path / ("x" * 250)):
        pass
    with pytest.raises(UsageError, match="cannot be an output"):
        check_output_file("")
    assert names(tmp_path) == ["full", "loop", "pipe"]


def test_leftovers_that_cannot_be_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f".out.partial-{dead_pid()}").touch()

    def refuse(self: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    for publish in (publish_file, publish_folder):
        with pytest.raises(UsageError, match=r"cannot be made .Operation not permitted"), publish(tmp_path / "out"):
            pass


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
    (old / ".beam-on-rails").write_text('["a"]')
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


def test_a_folder_that_is_kept_and_one_that_is_not(tmp_path: Path) -> None:
    with keep_folder(str(tmp_path / "kept"), "some-") as place:
        (Path(place) / "a").write_text("x")
        assert not (tmp_path / "kept").exists(), "it appears whole"
    assert (tmp_path / "kept" / "a").read_text() == "x"
    with keep_folder("", "some-") as place:
        (Path(place) / "a").write_text("x")
    assert Path(place).name.startswith("some-") and not Path(place).exists()
