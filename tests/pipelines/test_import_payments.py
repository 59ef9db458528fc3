"""import_payments as a command: rows become payments or rejected rows, and the counts add up."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import import_payments
from pipelines.common import UsageError, launch
from pipelines.engine import make_pipeline
from pipelines.import_payments import ImportOptions, build_pipeline, csv_format, describe, load_mapping, run, summarise
from pipelines.registry import REGISTRY
from schemas.payments import AccountOpened, Money, PaymentInitiated
from tests.proto import assert_no_pickled_coders
from transforms.chunks import unpack_chunk
from transforms.csv_files import ReadCsv
from transforms.record_files import Reading, read_record_file

MAPPING: dict[str, Any] = {
    "csv": {"delimiter": ";"},
    "payment_id": "{id}",
    "kind": {"positive": "DEPOSIT", "negative": "WITHDRAWAL"},
    "account": "{account}",
    "amount": {"from": "{amount}", "decimal": ",", "group": "."},
    "currency": "{currency}",
    "time": {"from": "{date}", "format": "%d.%m.%Y", "order": "line"},
    "accounts": {"overdraft_limit": "unlimited"},
}
DAY = 86_400_000
ROWS = """id;date;account;amount;currency
1;03.01.1970;a;1.000,00;EUR
2;04.01.1970;a;-0,50;EUR
3;03.01.1970;b;7;JPY
4;03.01.1970;b;7,5;JPY
5;03.01.1970
6;99.01.1970;b;"7;0";JPY
"""
MORE = "currency;amount;account;date;id\nEUR;2,00;a;03.01.1970;7\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.csv").write_text(ROWS)
    (tmp_path / "in" / "2.csv.gz").write_bytes(gzip.compress(MORE.encode()))
    (tmp_path / "map.json").write_text(json.dumps(MAPPING))
    return tmp_path


FLAGS = ["--input", "in", "--mapping", "map.json", "--output", "out/raw.avro"]


def read(path: Path) -> list[tuple[int, bytes | None, Any]]:
    reading = Reading(REGISTRY, lambda event: 0, lambda event: None)
    records = [record for chunk in read_record_file(str(path), reading) for record in unpack_chunk(chunk)]
    assert [record.offset for record in records] == list(range(len(records)))
    return [(record.at, record.key, REGISTRY.decode(record.value or b"")) for record in records]


def pay(number: str, account: str, minor: int, currency: str, at: int) -> tuple[int, bytes, PaymentInitiated]:
    debtor, creditor = (account, None) if minor < 0 else (None, account)
    kind = "WITHDRAWAL" if minor < 0 else "DEPOSIT"
    money = Money(abs(minor), currency)
    return (
        at,
        number.encode(),
        PaymentInitiated(
            number,
            kind,
            debtor,
            creditor,
            money,
            None,
            None,
            None,
            None,
            "import",
            at,  # type: ignore[arg-type]
        ),
    )


def opened(account: str, currency: str, at: int) -> tuple[int, bytes, AccountOpened]:
    return at, account.encode(), AccountOpened(f"import/{account}", account, 0, currency, 10**18, None, False, at)


def test_rows_become_payments_or_rejected_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FLAGS) == 0
    assert read(folder / "out" / "raw.avro") == [
        opened("a", "EUR", 2 * DAY + 1),
        *sorted(
            [pay("1", "a", 100_000, "EUR", 2 * DAY + 2), pay("7", "a", 200, "EUR", 2 * DAY + 2)], key=lambda r: r[1]
        ),
        opened("b", "JPY", 2 * DAY + 3),
        pay("3", "b", 7, "JPY", 2 * DAY + 4),
        pay("2", "a", -50, "EUR", 3 * DAY + 3),
    ]
    name = str(Path("in") / "1.csv")
    assert (folder / "out" / "raw.avro.rejected.csv").read_text() == (
        "file,line,code,detail,text\n"
        f'{name},5,TOO_MANY_DECIMALS,amount,"4;03.01.1970;b;7,5;JPY"\n'
        f'{name},6,RAGGED_ROW,"expected 5 fields, got 2",5;03.01.1970\n'
        f'{name},7,BAD_AMOUNT,amount,"6;99.01.1970;b;""7;0"";JPY"\n'
    )
    counts = {
        "rows": 7,
        "payments": 4,
        "accounts": 2,
        "rejected": {"BAD_AMOUNT": 1, "RAGGED_ROW": 1, "TOO_MANY_DECIMALS": 1},
    }
    assert json.loads((folder / "out" / "raw.avro.counts.json").read_text()) == counts
    assert capsys.readouterr().out.splitlines() == [
        "7 rows = 4 payments + 3 rejected; 2 accounts opened",
        *("  rejected BAD_AMOUNT: 1", "  rejected RAGGED_ROW: 1", "  rejected TOO_MANY_DECIMALS: 1"),
        "written: out/raw.avro, out/raw.avro.rejected.csv, out/raw.avro.counts.json",
    ]
    assert len(list((folder / "out").iterdir())) == 3


def test_the_bytes_do_not_depend_on_workers(folder: Path) -> None:
    run(FLAGS)
    first = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    run([*FLAGS, "--direct_num_workers", "2", "--direct_running_mode", "multi_threading"])
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == first


def test_a_file_without_header_and_without_openings(folder: Path) -> None:
    columns = ["id", "date", "account", "amount", "currency"]
    data = MAPPING | {"csv": {"delimiter": ";", "columns": columns}, "accounts": {"open": False}}
    (folder / "map.json").write_text(json.dumps(data))
    (folder / "one.csv").write_text("8;03.01.1970;a;1,00;EUR\n")
    assert run(["--input", "one.csv", "--mapping", "map.json", "--output", "one.avro"]) == 0
    assert read(folder / "one.avro") == [pay("8", "a", 100, "EUR", 2 * DAY + 1)]


def test_a_file_without_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "none.csv").write_text("id;date;account;amount;currency\n")
    assert run(["--input", "none.csv", "--mapping", "map.json", "--output", "none.avro"]) == 0
    assert read(folder / "none.avro") == []
    assert capsys.readouterr().out.startswith("0 rows = 0 payments + 0 rejected; 0 accounts opened\n")


def test_counts_that_do_not_add_up_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_payments, "summarise", lambda lines: {**summarise(lines), "rows": 8})
    assert run(FLAGS) == 1


def test_counts_by_reason() -> None:
    lines = ['["rows", 3]', '["rows", 1]', '["payments", 2]', '["X", 2]']
    assert summarise(lines) == {"rows": 4, "payments": 2, "accounts": 0, "rejected": {"X": 2}}
    assert describe(summarise(lines)).splitlines()[1] == "  rejected X: 2"


def test_the_graph(folder: Path) -> None:
    mapping = load_mapping("map.json")
    pipeline = make_pipeline(ImportOptions(FLAGS))
    build_pipeline(pipeline, ReadCsv(["in/1.csv"], csv_format(mapping)), mapping, "a", "b", "c")
    assert_no_pickled_coders(pipeline)
    labels = [part.full_label for part in pipeline._root_transform().parts]
    assert labels == [
        *("ReadCsv", "MapRows", "ByAccount", "OpenAccounts", "MergeRecords", "WriteRecords", "MergeRejected"),
        *("WriteRejected", "CountRows", "CountBadRows", "CountPayments", "CountAccounts", "MergeCounts", "CountLines"),
        "WriteCounts",
    ]


def test_the_shipped_mapping_is_found_by_its_name(folder: Path) -> None:
    mapping = load_mapping("bank-transactions")
    assert mapping.columns == (
        *(
            "account_id",
            "amount",
            "date",
            "direction",
            "operation",
            "other_account",
            "other_bank",
            "purpose",
            "trans_id",
        ),
    )
    (folder / "bank-transactions").write_text(json.dumps(MAPPING))
    assert load_mapping("bank-transactions") == load_mapping("map.json"), "a file of that name comes first"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a mapping (the mapping must be an object): map.json"),
        (json.dumps(MAPPING | {"kind": "PAY"}), "not a mapping ('PAY' is not a kind of payment"),
        (
            json.dumps(MAPPING)[:-1] + ', "currency": "EUR"}',
            "not a mapping ('currency' stands twice in an object): map.json",
        ),
        ("[" * 200_000, "not a mapping (objects or lists are nested too deep): map.json"),
        (
            json.dumps(MAPPING | {"csv": {"encoding": "idna"}}),
            "not a mapping (csv: encoding 'idna' is not one of files",
        ),
        (json.dumps(MAPPING | {"csv": {"delimiter": "::"}}), "not a mapping (csv: delimiter must be one character"),
        (
            json.dumps(MAPPING | {"csv": {"columns": ["id"]}}),
            "the mapping uses columns that csv.columns has not: account",
        ),
        (json.dumps(MAPPING | {"reference": "{ref}"}), "no column ref in the header"),
        (b"\xff\xfe", "not a mapping ("),
    ],
)
def test_bad_mappings_are_one_line(
    mapping: str | bytes, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "map.json").write_bytes(mapping if isinstance(mapping, bytes) else mapping.encode())
    assert launch(run, FLAGS, "import_payments") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input", "none.csv"], "no such file: none.csv"),
        (["--mapping", "none"], "no such mapping file, and none of that name is shipped: none"),
        (["--mapping", "../mappings/bank-transactions"], "no such mapping file"),
        (["--output", "out/raw.json"], "the name must end with .avro: --output out/raw.json"),
    ],
)
def test_bad_flags_are_one_line(
    flags: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(run, [*FLAGS, *flags], "import_payments") == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_an_unreadable_mapping(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UsageError, match="Permission denied"):
        load_mapping("map.json")
