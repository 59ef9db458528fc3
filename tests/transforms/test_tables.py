import pytest

from transforms.tables import Table, columns


def test_columns_are_pairs_in_order() -> None:
    assert columns("id TEXT, minor BIGINT,\n  open BOOLEAN") == (
        ("id", "TEXT"),
        ("minor", "BIGINT"),
        ("open", "BOOLEAN"),
    )
    assert columns("a DECIMAL(38,0), b TEXT") == (("a", "DECIMAL(38,0)"), ("b", "TEXT"))
    assert Table("t", columns("id TEXT, n BIGINT"), ("id",)).names == ("id", "n")


@pytest.mark.parametrize("text", ["id", "id TEXT,", "id TEXT NOT NULL", ""])
def test_a_column_is_a_name_and_a_type(text: str) -> None:
    with pytest.raises(ValueError):
        columns(text)
