"""What a shard of the account processor holds besides its accounts, as bytes."""

from payments.ledger import Ledger, LedgerCodec
from schemas.payments import VelocityRule


def test_a_ledger_survives_its_codec():
    ledger, codec = Ledger(), LedgerCodec()
    ledger.contra["~transit/0/EUR"] = -5
    ledger.rules["velocity"] = VelocityRule(1, True, 1000, 1, None)
    for n in range(20_000):  # more bytes than a message may have
        ledger.credits.remember("b", f"p{n}", "a", n, n * 86_400)
    data = codec.encode(ledger)
    again = codec.decode(data)
    assert (again.contra, again.rules, len(again.credits)) == (ledger.contra, ledger.rules, 20_000)
    assert [again.credits.get("b", f"p{n}").left for n in (0, 7, 19_999)] == [0, 7, 19_999]
    assert codec.encode(again) == data
    again.credits.add("b", "p7", 1)
    assert ledger.credits.get("b", "p7").left == 7
    assert codec.encode(again) != data


def test_new_ledgers_share_nothing():
    Ledger().credits.remember("b", "p", "a", 1, 0)
    Ledger().contra["x"] = 1
    assert len(Ledger().credits) == 0
    assert Ledger().contra == {}
