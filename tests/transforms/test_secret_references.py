"""References to secrets; what `kafka_settings` does with them is tested there."""

from pathlib import Path

import pytest

from transforms.secret_references import SecretError, check_reference, is_reference, resolve


def test_what_is_a_reference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RAILS_TEST", "s3cret")
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    for value in ("env:RAILS_TEST", f"file:{file}"):
        assert is_reference(value)
        check_reference("password", value)
        assert resolve("password", value) == "s3cret"
    assert resolve("user", "rails") == "rails" and not is_reference("rails")


@pytest.mark.parametrize("value", ["s3cret", "env:", "env:a b", "file:relative", "file:/"])
def test_what_is_none_is_refused_without_being_shown(value: str):
    with pytest.raises(SecretError) as caught:
        check_reference("password", value)
    assert "s3cret" not in str(caught.value)


def test_what_leads_to_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("RAILS_TEST", raising=False)
    with pytest.raises(SecretError, match=r"^password: no environment variable RAILS_TEST$"):
        resolve("password", "env:RAILS_TEST")
    with pytest.raises(SecretError, match=r"none: No such file"):
        resolve("password", f"file:{tmp_path}/none")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SecretError, match="is empty or too large"):
        resolve("password", f"file:{tmp_path}/empty")
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(SecretError, match="is not UTF-8"):
        resolve("password", f"file:{tmp_path}/binary")
