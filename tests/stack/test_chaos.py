"""A short chaos run on a stack of its own: four faults of different kinds, no violation, and controls that double."""

import json
from pathlib import Path

import pytest

from pipelines import chaos
from stack.ports import BASE_VARIABLE

KINDS = ("worker-kill", "taskmanager-kill", "lost-acks", "torn-snapshot")


def test_four_faults(
    free_ports: int, stack_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEAM_ON_RAILS_STACK", str(stack_folder))
    monkeypatch.setenv(BASE_VARIABLE, str(free_ports + 100))  # the command takes the hundred after it
    results = stack_folder / "chaos.json"
    flags = ["--faults=4", "--seed=5", f"--kinds={','.join(KINDS)}", "--rate=60", f"--results={results}"]
    status = chaos.run(flags)
    told = capfd.readouterr().out
    assert status == 0, told
    found = json.loads(results.read_text())
    assert sorted(each["kind"] for each in found["outcomes"]) == sorted(KINDS)
    assert all(each["fresh_s"] is not None for each in found["outcomes"])
    assert found["violations"] == [] and found["regenerated"] > 1000
    assert all(control["doubled"] > 0 for control in found["controls"]) and len(found["controls"]) == 2
    assert "no violation" in told
