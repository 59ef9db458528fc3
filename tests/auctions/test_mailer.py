"""Mails over a real server on loopback that refuses, delays and drops; counted by Message-ID."""

import signal
import sqlite3
import subprocess
import sys

import pytest

from auctions.mailer import (
    STAGE,
    Delivery,
    MailDelayed,
    Mailer,
    MailFolder,
    Outbox,
    bury,
    read_addresses,
)
from auctions.mails import Letterhead, message_id, parse_address
from auctions.notices import notice_id
from auctions.smtp import SmtpSender, SmtpSettings
from schemas.auctions import Notice
from schemas.rails import Record
from tests.auctions.analysis import HOUR, REGISTRY, START, eur
from tests.auctions.mail_server import MailServer, authenticator, certificate, free_port
from tests.conftest import ROOT
from transforms.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

LETTERHEAD = Letterhead("auctions@shop.example", "https://shop.example/a/")
ADDRESSES = {name: parse_address(f"{name}@example.net", name.title()) for name in ("ann", "bob", "nobody")}


def notice(person="ann", kind="OUTBID", number=0):
    cause = f"auction.bids.history/0/{number}"
    ends = START + HOUR
    return Notice(
        notice_id(cause, kind, person), person, kind, "x", "A watch", eur(1000), False, ends, cause, START + number
    )


def id_of(told):
    return message_id(told.notice_id, "shop.example")


@pytest.fixture
def server():
    made = MailServer()
    yield made
    made.stop()


@pytest.fixture
def outbox(tmp_path):
    made = Outbox(tmp_path / "outbox.sqlite")
    yield made
    made.close()


@pytest.fixture
def mailer(server, outbox):
    sender = SmtpSender(SmtpSettings("127.0.0.1", server.port, "none", timeout_s=5))
    waits: list[float] = []
    made = Mailer(ADDRESSES, sender, outbox, LETTERHEAD, sleep=waits.append)
    made.waits = waits
    yield made
    sender.close()


def test_each_notice_is_mailed_once_over_one_connection(server, mailer, outbox):
    told = [notice(person, number=n) for n in range(5) for person in ("ann", "bob")]
    assert [mailer.deliver(each) for each in told] == [Delivery("SENT")] * 10
    assert [mailer.deliver(each) for each in told] == [Delivery("REPEAT")] * 10
    assert server.handler.taken == dict.fromkeys(map(id_of, told), 1)
    assert server.handler.connections == 1
    assert outbox.counts() == {("OUTBID", "SENT"): 10}
    assert b"To: Ann <ann@example.net>\r\n" in server.handler.mails[0]


def test_a_refused_address_is_a_dead_letter_and_the_others_get_theirs(server, mailer, outbox):
    lost = notice("nobody")
    delivery = mailer.deliver(lost)
    assert delivery == Delivery("REFUSED", "ADDRESS_REFUSED", "550 5.1.1")
    assert mailer.deliver(notice("ann")).status == "SENT"
    assert mailer.deliver(lost).status == "REPEAT", "a refusal is an end too"
    assert server.handler.taken == {id_of(notice("ann")): 1} and mailer.waits == []
    value = REGISTRY.encode(lost)
    letter = bury(Record(17, START, b"nobody", value, None, ()), "auction.notices", 3, delivery)
    assert letter.id == "auction.mailer/auction.notices/3/17" and letter.stage == STAGE
    assert (letter.code, letter.detail, letter.key, letter.value) == ("ADDRESS_REFUSED", "550 5.1.1", b"nobody", value)
    assert REGISTRY.decode(REGISTRY.encode(letter)) == letter


def test_a_person_without_an_address(server, mailer):
    assert mailer.deliver(notice("stranger")) == Delivery("REFUSED", "NO_ADDRESS")
    assert server.handler.connections == 0


def test_a_mail_that_is_refused_for_good(server, mailer):
    server.handler.data = ["554 no such words"]
    assert mailer.deliver(notice()) == Delivery("REFUSED", "MAIL_REFUSED", "554")


def test_a_server_that_delays_gets_the_mail_later(server, mailer):
    server.handler.rcpt_answers = ["450 4.2.0 greylisted", "451 later"]
    server.handler.data = ["452 full", "1"]
    assert mailer.deliver(notice()).status == "SENT"
    assert mailer.waits == [0.5, 1.0, 2.0]
    assert server.handler.taken == {id_of(notice()): 1}


def test_a_server_that_delays_for_too_long_stops_the_mailer(server, mailer, outbox):
    server.handler.data = ["451 later"] * 5
    with pytest.raises(MailDelayed, match=r"mail server 127\.0\.0\.1:\d+: 451"):
        mailer.deliver(notice())
    assert mailer.waits == [0.5, 1.0, 2.0, 4.0] and outbox.counts() == {}
    assert mailer.deliver(notice()).status == "SENT"
    assert server.handler.taken == {id_of(notice()): 1}


def test_a_server_that_drops_the_line_has_not_taken_the_mail(server, mailer):
    server.handler.data = ["drop", "drop"]
    assert mailer.deliver(notice()).status == "SENT"
    assert server.handler.taken == {id_of(notice()): 1} and server.handler.connections == 3


def test_a_line_that_was_dropped_between_two_mails(server, mailer):
    assert mailer.deliver(notice()).status == "SENT"
    mailer._sender._server.sock.close()
    assert mailer.deliver(notice(number=1)).status == "SENT"
    assert set(server.handler.taken.values()) == {1}


def test_an_ok_that_is_lost_makes_a_second_mail_with_the_same_message_id(server, mailer):
    server.handler.data = ["lose"]
    assert mailer.deliver(notice()).status == "SENT"
    assert server.handler.taken == {id_of(notice()): 2}


def test_a_silent_server_is_left_after_the_timeout(server, outbox):
    server.handler.data = ["9"]
    sender = SmtpSender(SmtpSettings("127.0.0.1", server.port, "none", timeout_s=0.2))
    with pytest.raises(MailDelayed, match="mail server"):
        Mailer(ADDRESSES, sender, outbox, LETTERHEAD, attempts=1).deliver(notice())


def test_death_between_the_servers_ok_and_the_record_is_the_one_way_to_a_second_mail(server, tmp_path):
    """All places to die at: before sending, after the OK, after the record. Each is followed by a new process with the same outbox."""

    class Killed(BaseException):
        pass

    class Dying(Outbox):
        when = ""

        def record(self, told, delivery):
            if self.when == "before":
                raise Killed
            super().record(told, delivery)
            if self.when == "after":
                raise Killed

    wanted = {"sending": 1, "before": 2, "after": 1}
    for number, (when, mails) in enumerate(wanted.items()):
        path = tmp_path / f"{when}.sqlite"
        dying, sender = Dying(path), SmtpSender(SmtpSettings("127.0.0.1", server.port, "none"))
        dying.when = when
        if when == "sending":
            sender.send = lambda *_: (_ for _ in ()).throw(Killed())
        with pytest.raises(Killed):
            Mailer(ADDRESSES, sender, dying, LETTERHEAD).deliver(notice(number=number))
        dying.close()
        sender.close()
        again, sender = Outbox(path), SmtpSender(SmtpSettings("127.0.0.1", server.port, "none"))
        for _ in range(2):
            Mailer(ADDRESSES, sender, again, LETTERHEAD).deliver(notice(number=number))
        again.close()
        sender.close()
        assert server.handler.taken[id_of(notice(number=number))] == mails, when


def test_what_was_sent_is_on_disk_at_once_and_what_was_not_with_the_next(server, mailer, outbox, tmp_path):
    """Looked at by another connection, which sees what a death would leave."""

    def on_disk():
        found = sqlite3.connect(tmp_path / "outbox.sqlite")
        try:
            return [status for (status,) in found.execute("SELECT status FROM mails ORDER BY notice_at")]
        finally:
            found.close()

    late = START + HOUR
    assert mailer.deliver(notice(number=0), now=late).status == "STALE"
    assert mailer.deliver(notice("nobody", number=1)).status == "REFUSED"
    assert on_disk() == [] and mailer.deliver(notice(number=0), now=late).status == "REPEAT"
    assert mailer.deliver(notice(number=2)).status == "SENT"
    assert on_disk() == ["STALE", "REFUSED", "SENT"]
    mailer.deliver(notice(number=3), now=late)
    mailer.flush()
    assert on_disk() == ["STALE", "REFUSED", "SENT", "STALE"]


def test_news_that_the_end_has_overtaken_is_not_sent(server, mailer, outbox):
    late = START + HOUR
    assert mailer.deliver(notice(), now=late).status == "STALE"
    assert mailer.deliver(notice(), now=late).status == "REPEAT"
    assert mailer.deliver(notice(kind="LOST"), now=late + HOUR).status == "SENT"
    assert mailer.deliver(notice(number=1), now=late - 1).status == "SENT"
    assert mailer.deliver(notice(number=2)._replace(ends_at=None), now=late).status == "SENT"
    assert outbox.counts() == {("LOST", "SENT"): 1, ("OUTBID", "SENT"): 2, ("OUTBID", "STALE"): 1}


def test_the_outbox_forgets_what_is_old(outbox):
    for number in range(4):
        outbox.record(notice(number=number), Delivery("SENT"))
    assert outbox.forget(START + 2) == 2
    assert [outbox.holds(notice(number=number).notice_id) for number in range(4)] == [False, False, True, True]


def test_a_folder_takes_mails_too(outbox, tmp_path):
    mailer = Mailer(lambda person: ADDRESSES.get(person), MailFolder(tmp_path / "mails"), outbox, LETTERHEAD)
    assert mailer.deliver(notice()).status == "SENT"
    (file,) = (tmp_path / "mails").iterdir()
    assert file.name == notice().notice_id + ".eml" and id_of(notice()).encode() in file.read_bytes()


# --- TLS, login, settings ---


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_tls_and_login(certified, outbox, security):
    trusted, context = certified
    options = {"ssl_context": context} if security == "tls" else {"tls_context": context, "require_starttls": True}
    server = MailServer(**options, authenticator=authenticator, auth_required=True, auth_require_tls=security != "tls")
    try:
        sender = SmtpSender(SmtpSettings("127.0.0.1", server.port, security, "rails", "secret", trusted))
        assert Mailer(ADDRESSES, sender, outbox, LETTERHEAD).deliver(notice()).status == "SENT"
        sender.close()
        assert server.handler.taken == {id_of(notice()): 1}
        wrong = SmtpSender(SmtpSettings("127.0.0.1", server.port, security, "rails", "wrong", trusted))
        with pytest.raises(InputError, match=r"refuses the login with 535"):
            Mailer(ADDRESSES, wrong, outbox, LETTERHEAD).deliver(notice(number=1))
        stranger = SmtpSender(SmtpSettings("127.0.0.1", server.port, security))
        with pytest.raises(InputError, match="its certificate is not trusted: self-signed certificate"):
            Mailer(ADDRESSES, stranger, outbox, LETTERHEAD).deliver(notice(number=1))
    finally:
        server.stop()


def test_a_server_without_tls_gets_no_mail(server, outbox):
    sender = SmtpSender(SmtpSettings("127.0.0.1", server.port, "starttls"))
    with pytest.raises(InputError, match="refuses the STARTTLS or login, which it does not offer"):
        Mailer(ADDRESSES, sender, outbox, LETTERHEAD).deliver(notice())


def test_a_sender_that_the_server_refuses(outbox, certified):
    server = MailServer(authenticator=authenticator, auth_required=True, auth_require_tls=False)
    try:
        sender = SmtpSender(SmtpSettings("127.0.0.1", server.port, "none"))
        with pytest.raises(InputError, match="refuses the sender with 530"):
            Mailer(ADDRESSES, sender, outbox, LETTERHEAD).deliver(notice())
    finally:
        server.stop()


def test_no_server(outbox):
    sender = SmtpSender(SmtpSettings("127.0.0.1", free_port(), "none"))
    with pytest.raises(MailDelayed, match="ConnectionRefusedError"):
        Mailer(ADDRESSES, sender, outbox, LETTERHEAD, attempts=2, wait_s=0).deliver(notice())
    sender.close()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"host": ""}, "host must not be empty"),
        ({"port": 0}, "port must lie between 1 and 65535, got 0"),
        ({"security": "ssl"}, "security must be none, starttls or tls, got 'ssl'"),
        ({"security": "none", "user": "rails"}, "a login needs security"),
        ({"timeout_s": 0}, "timeout_s must be positive, got 0"),
    ],
)
def test_settings_are_checked(said, says):
    with pytest.raises(ValueError, match=says):
        SmtpSettings(**{"host": "mail.example", **said})


def test_a_password_is_not_shown():
    assert "secret" not in repr(SmtpSettings("mail.example", password="secret"))


@pytest.mark.parametrize(("attempts", "wait"), [(0, 1), (1, -1)])
def test_attempts_are_checked(outbox, attempts, wait):
    with pytest.raises(ValueError, match=f"got {attempts} and {wait}"):
        Mailer({}, None, outbox, LETTERHEAD, attempts, wait)


def test_addresses_from_a_file(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("person,address,name\nann,ann@example.net,Ann A\nbob, bob@example.net\n")
    found = read_addresses(path)
    assert {person: str(address) for person, address in found.items()} == {
        "ann": "Ann A <ann@example.net>",
        "bob": "bob@example.net",
    }
    path.write_text("person,address\nann,ann@example.net\nbob,nowhere\n")
    with pytest.raises(InputError, match=r"people\.csv:3: not a mail address"):
        read_addresses(path)
    path.write_text("person,mail\n")
    with pytest.raises(InputError, match="there is no column address"):
        read_addresses(path)
    with pytest.raises(InputError, match="No such file"):
        read_addresses(tmp_path / "nobody.csv")


DYING = """
import os, signal, sys
from pathlib import Path
from auctions.mailer import Mailer, Outbox
from auctions.mails import Letterhead
from auctions.smtp import SmtpSender, SmtpSettings
from tests.auctions.test_mailer import ADDRESSES, notice

where, port, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

class Dying(Outbox):
    def record(self, told, delivery):
        if where == "before the record":
            os.kill(os.getpid(), signal.SIGKILL)
        super().record(told, delivery)
        if where == "after the record":
            os.kill(os.getpid(), signal.SIGKILL)

sender = SmtpSender(SmtpSettings("127.0.0.1", port, "none"))
Mailer(ADDRESSES, sender, Dying(path), Letterhead("auctions@shop.example")).deliver(notice())
"""


@pytest.mark.parametrize(("where", "mails"), [("before the record", 2), ("after the record", 1)])
def test_kill_9_of_the_mailer(server, tmp_path, where, mails):
    path = tmp_path / "outbox.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", DYING, where, str(server.port), str(path)], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    again = subprocess.run(
        [sys.executable, "-c", DYING, "nowhere", str(server.port), str(path)], cwd=ROOT, check=False, timeout=60
    )
    assert again.returncode == 0
    assert server.handler.taken == {id_of(notice()): mails}
