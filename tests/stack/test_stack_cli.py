"""The command line, where nothing has to be started for it."""

from pathlib import Path

import pytest

from stack import cli
from stack.cluster import Stack


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(tmp_path))
    monkeypatch.setenv("BEAM_ON_RAILS_PORTS", "20500")
    return tmp_path


def test_down_and_status_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down"]) == 0
    assert cli.main(["status"]) == 3
    assert capsys.readouterr().out == "nothing was running\nno stack is up\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["up", "--taskmanagers", "0"], "stack: --taskmanagers 0: 1 to 10\n"),
        (["up", "--only", "kafka,nosuch"], "nosuch is none of kafka, flink, jobserver, postgres\n"),
        (["logs"], "stack: no log of any service in"),
        (["logs", "kafka"], "stack: no log of kafka in"),
    ],
)
def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    assert cli.main(argv) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_logs_are_the_last_lines(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "logs").mkdir()
    (folder / "logs" / "kafka.log").write_text("".join(f"{number}\n" for number in range(50)), encoding="utf-8")
    assert cli.main(["logs", "kafka", "-n", "2"]) == 0
    assert capfd.readouterr().out == "48\n49\n"


def test_flags_that_are_not_given_are_as_the_running_stack_has_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wanted(*argv: str) -> Stack:
        return cli._wanted(cli.parser().parse_args(["up", *argv]))

    assert wanted("--slots", "2").shape.slots == 2
    before = {"taskmanagers": 2, "slots": 8, "workers": 1, "only": ["flink"], "stock": True}
    monkeypatch.setattr(cli, "remembered", lambda folder: before)
    assert wanted().shape.slots == 4, "nothing runs: the defaults"

    class Running:
        pid = 1

    monkeypatch.setattr(cli, "noted", lambda folder: [Running])
    shape = wanted("--workers", "3").shape
    assert (shape.taskmanagers, shape.slots, shape.workers, shape.stock) == (2, 8, 3, True)


def test_a_measurement_stands_beside_the_stack(folder: Path) -> None:
    apart = cli._apart("soak", workers=1)
    assert apart.folder == folder / "soak"
    assert apart.ports.rest == 20681
    assert list(apart.services) == ["jobmanager", "taskmanager-1", "jobserver", "workers-1"]


def test_help_names_folders_and_ports(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert "BEAM_ON_RAILS_STACK" in said
    assert "BEAM_ON_RAILS_PORT_KAFKA" in said
