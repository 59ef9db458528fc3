from pathlib import Path

import pytest

from transforms.whole_files import temporary_path, whole_file


def test_a_file_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.txt"
    with whole_file(path, "w", encoding="utf-8", newline="\r\n") as file:
        file.write("é\n")
        assert not path.exists()
    assert path.read_bytes() == b"\xc3\xa9\r\n"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"new")
        _ = 1 // 0
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [("file", b"old")]


def test_attempts_side_by_side_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"  # the last to end stays
    assert len(list(tmp_path.iterdir())) == 1


def test_a_temporary_path_must_have_been_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), temporary_path(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []
