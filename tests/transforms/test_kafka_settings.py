"""Settings of Kafka clients: what is taken, what is refused, and that no secret shows."""

import pickle
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from transforms.errors import InputError
from transforms.kafka_settings import (
    ALLOWED,
    DEFAULTS,
    PREFIX,
    SECRETS,
    KafkaSettings,
    KafkaSettingsError,
    kafka_settings,
)
from transforms.secret_references import SecretError

SECRET = "canary-7f3a"
SCRAM = {
    "bootstrap.servers": "broker:9093",
    "security.protocol": "sasl_ssl",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "payments",
    "sasl.password": "env:RAILS_PASSWORD",
    "ssl.ca.location": "/etc/ca.pem",
}
OAUTH = {
    "bootstrap.servers": "broker:9093",
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "payments",
    "sasl.oauthbearer.client.secret": "env:RAILS_PASSWORD",
    "sasl.oauthbearer.token.endpoint.url": "https://ids.example/token",
}


def settings(*changes: tuple[str, str]) -> KafkaSettings:
    return KafkaSettings(tuple({**SCRAM, **dict(changes)}.items()))


def refusal(*properties: tuple[str, str], base: dict[str, str] | None = None) -> str:
    with pytest.raises(SecretError) as caught:
        KafkaSettings(tuple({**({"bootstrap.servers": "b:1"} if base is None else base), **dict(properties)}.items()))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_servers_alone_are_enough():
    made = kafka_settings("localhost:9092", environment={})
    assert made.resolved() == {"bootstrap.servers": "localhost:9092", "socket.timeout.ms": "10000"}
    assert made.servers == "localhost:9092"


def test_no_servers():
    with pytest.raises(SecretError, match=r"^bootstrap.servers: missing"):
        kafka_settings(environment={})
    assert issubclass(KafkaSettingsError, InputError)


def test_file_then_environment_then_argument(tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text(
        "# the cluster\n! another comment\n\n bootstrap.servers = one:9092 \nlinger.ms=5\nclient.id=a=b\nfetch.min.bytes=1\n"
    )
    made = kafka_settings(
        path=file, environment={PREFIX + "LINGER_MS": "7", PREFIX + "LOG_LEVEL": "3", "KAFKA_HOME": "/opt"}
    )
    assert made.resolved() == {
        "bootstrap.servers": "one:9092",
        "linger.ms": "7",
        "client.id": "a=b",
        "fetch.min.bytes": "1",
        "log_level": "3",
        **DEFAULTS,
    }
    assert kafka_settings("two:9092", file, {}).servers == "two:9092"


def test_a_dead_connection_is_noticed_soon_unless_the_settings_say_otherwise():
    said = KafkaSettings((("bootstrap.servers", "b:1"), ("socket.timeout.ms", "60000")))
    assert said.resolved()["socket.timeout.ms"] == "60000"
    unsaid = kafka_settings("b:1", environment={})
    assert unsaid.resolved()["socket.timeout.ms"] == "10000"
    assert "socket.timeout.ms" not in dict(unsaid.properties), "a default is nobody's setting"


def test_a_broker_may_not_hold_a_fetch_for_longer_than_its_client_waits():
    assert refusal(("fetch.wait.max.ms", "9001")) == (
        "fetch.wait.max.ms=9001 must be 1000 below socket.timeout.ms=10000, or what is asked behind a fetch times out"
    )
    assert "below socket.timeout.ms=5000" in refusal(("fetch.wait.max.ms", "4500"), ("socket.timeout.ms", "5000"))
    settings(("fetch.wait.max.ms", "9000"))
    settings(("fetch.wait.max.ms", "9001"), ("socket.timeout.ms", "60000"))


def test_environment_is_the_process_unless_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PREFIX + "BOOTSTRAP_SERVERS", "here:1")
    assert kafka_settings().servers == "here:1"


def test_aliases_and_spellings_are_one():
    made = KafkaSettings(
        (("bootstrap.servers", "b:1"), ("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "scram-sha-256"))
        + (("sasl.username", "u"), ("sasl.password", "env:P"), ("max.partition.fetch.bytes", "100"))
    )
    assert dict(made.properties) == {
        "bootstrap.servers": "b:1",
        "fetch.message.max.bytes": "100",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.password": "env:P",
        "sasl.username": "u",
        "security.protocol": "sasl_ssl",
    }
    with pytest.raises(SecretError, match=r"^sasl.mechanism: given twice$"):
        KafkaSettings((*SCRAM.items(), ("sasl.mechanisms", "PLAIN")))


def test_settings_of_the_same_properties_are_equal_in_any_order():
    assert KafkaSettings(tuple(SCRAM.items())) == KafkaSettings(tuple(reversed(SCRAM.items())))
    assert len({KafkaSettings(tuple(SCRAM.items())), settings()}) == 1


# --- secrets ---


def test_secrets_are_resolved_on_the_worker_and_show_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = settings()
    monkeypatch.setenv("RAILS_PASSWORD", SECRET)
    made.resolved()
    shown = f"{made!r} {made!s} {made.properties} {pickle.dumps(made)!r} {vars(made)}"
    assert SECRET not in shown
    assert "payments" not in repr(made) and "sasl.username" in repr(made)
    assert pickle.loads(pickle.dumps(made)).resolved()["sasl.password"] == SECRET


def test_secret_of_a_file(tmp_path: Path):
    file = tmp_path / "password"
    file.write_text(f" {SECRET} \n")
    assert settings(("sasl.password", f"file:{file}")).resolved()["sasl.password"] == f" {SECRET} "
    file.write_text(f"{SECRET}\r\n")
    assert settings(("sasl.password", f"file:{file}")).resolved()["sasl.password"] == SECRET


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"x" * 70_000])
def test_secret_file_that_holds_none(tmp_path: Path, content: bytes):
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(SecretError, match=rf"^sasl.password: {file}: (is empty|is not UTF-8)"):
        settings(("sasl.password", f"file:{file}")).resolved()


def test_secrets_that_are_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("RAILS_PASSWORD", raising=False)
    with pytest.raises(SecretError, match=r"^sasl.password: no environment variable RAILS_PASSWORD$"):
        settings().resolved()
    with pytest.raises(SecretError, match=r"^sasl.password: .*/none: No such file or directory$"):
        settings(("sasl.password", f"file:{tmp_path}/none")).resolved()


def test_secret_in_a_variable_of_ours_becomes_a_reference(monkeypatch: pytest.MonkeyPatch):
    variables = {PREFIX + name.upper().replace(".", "_"): value for name, value in SCRAM.items()}
    variables[PREFIX + "SASL_PASSWORD"] = SECRET
    made = kafka_settings(environment=variables)
    assert SECRET not in repr(made.properties)
    monkeypatch.setenv(PREFIX + "SASL_PASSWORD", SECRET)
    assert made.resolved()["sasl.password"] == SECRET
    variables[PREFIX + "SASL_PASSWORD"] = "file:/run/password"
    assert dict(kafka_settings(environment=variables).properties)["sasl.password"] == "file:/run/password"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_plain_secrets_are_refused_and_not_shown(name: str, tmp_path: Path):
    text = refusal((name, SECRET), base=SCRAM)
    assert text == f"{name} is a secret: give a reference to it, env:NAME or file:/PATH"
    file = tmp_path / "f"
    file.write_text(f"bootstrap.servers=b:1\n{name}={SECRET}\n")
    with pytest.raises(SecretError) as caught:
        kafka_settings(path=file, environment={})
    assert str(caught.value).startswith(f"{file}:2: {name} is a secret") and SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["env:", "env:A B", "env:$(id)", "file:", "file:/", "file:relative/path"])
def test_references_that_are_none(value: str):
    assert refusal(("sasl.password", value), base=SCRAM).startswith("sasl.password: a reference is")


# --- what is refused ---


@pytest.mark.parametrize(
    "name",
    [
        "plugin.library.paths",
        "ssl.engine.location",
        "ssl.engine.id",
        "ssl.providers",
        "interceptors",
        "sasl.kerberos.kinit.cmd",
        "sasl.kerberos.principal",  # librdkafka puts it into the command
        "sasl.kerberos.keytab",
        "sasl.jaas.config",
    ],
)
def test_what_loads_code_is_refused(name: str):
    assert refusal((name, "/tmp/x.so")) == f"{name} may not be set: it loads code or runs a command"


def test_kerberos_runs_a_command_by_default():
    assert "must be one of PLAIN" in refusal(("sasl.mechanism", "GSSAPI"), base=SCRAM)
    no_mechanism = {name: value for name, value in SCRAM.items() if name != "sasl.mechanism"}
    assert refusal(base=no_mechanism).startswith("sasl.mechanism: missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("enable.ssl.certificate.verification", "false"),
        ("ssl.endpoint.identification.algorithm", "none"),
        ("ssl.cipher.suites", "aNULL"),
        ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
        ("debug", "security"),
    ],
)
def test_what_weakens_is_refused(name: str, value: str):
    assert refusal((name, value), base=SCRAM).startswith(f"{name} may not be set: ")


def test_safe_values_of_what_may_weaken_are_taken():
    safe = (("enable.ssl.certificate.verification", "true"), ("ssl.endpoint.identification.algorithm", "HTTPS"))
    assert settings(*safe) == settings()


@pytest.mark.parametrize(
    "name",
    [
        "acks",
        "auto.offset.reset",
        "delivery.timeout.ms",
        "enable.auto.commit",
        "enable.idempotence",
        "isolation.level",
        "max.in.flight",
        "message.timeout.ms",
        "partitioner",
        "transactional.id",
    ],
)
def test_what_breaks_the_contract_is_refused(name: str):
    assert refusal((name, "1")) == f"{name} may not be set: the contract of the log sets it"


def test_what_is_unknown_is_refused():
    assert refusal(("bootstrap.server", "x")).startswith("bootstrap.server: not a property that may be set")
    assert refusal(("a\nb", "x")).startswith("a\\nb: not a property")
    assert refusal(("group.id", "x")) == "group.id may not be set: each job sets it"


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\0b"])
def test_values_that_are_none(value: str):
    assert refusal(("client.id", value)) == "client.id: its value is empty or has control characters"


def test_only_strings():
    with pytest.raises(SecretError, match="pairs of strings, got str and int"):
        KafkaSettings((("bootstrap.servers", "b:1"), ("linger.ms", 5)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"security.protocol": "plaintext"}, "sasl.mechanism has no effect with security.protocol=plaintext"),
        ({"security.protocol": "ssl"}, "sasl.mechanism has no effect with security.protocol=ssl"),
        ({"security.protocol": "tls"}, "security.protocol: must be one of plaintext"),
        ({"security.protocol": "sasl_plaintext"}, "ssl.ca.location has no effect"),
        ({"sasl.username": None}, "sasl.username: missing"),
        ({"sasl.password": None}, "sasl.password: missing"),
        (
            {"security.protocol": "sasl_plaintext", "ssl.ca.location": None, "sasl.mechanism": "PLAIN"},
            "sasl.mechanism=PLAIN would send its secret in clear",
        ),
    ],
)
def test_half_a_protection_is_refused(changes: dict[str, str | None], expected: str):
    changed = {name: value for name, value in {**SCRAM, **changes}.items() if value is not None}
    assert refusal(base=changed).startswith(expected)


def test_no_protocol_is_plaintext():
    assert refusal(("ssl.ca.location", "/ca")).startswith("ssl.ca.location has no effect")


def test_oauth():
    assert dict(KafkaSettings(tuple(OAUTH.items())).properties)["sasl.mechanism"] == "OAUTHBEARER"
    url = "sasl.oauthbearer.token.endpoint.url"
    assert refusal((url, "http://ids.example"), base=OAUTH).startswith(f"{url} must be an address of https")
    plain = {name: value for name, value in OAUTH.items() if name != "sasl.oauthbearer.method"}
    assert refusal(base=plain).endswith("needs sasl.oauthbearer.method=oidc")


def test_files_that_are_none(tmp_path: Path):
    file = tmp_path / "client.properties"
    for content, expected in [
        (b"\xff", "is not UTF-8"),
        (b"bootstrap.servers=a:1\n" + SECRET.encode(), "not a property (name=value)"),
        (b"client.id=a\nclient.id=b", "client.id: given twice"),
    ]:
        file.write_bytes(content)
        with pytest.raises(SecretError) as caught:
            kafka_settings(path=file, environment={})
        assert expected in str(caught.value) and SECRET not in str(caught.value)
    with pytest.raises(SecretError, match="No such file or directory"):
        kafka_settings(path=tmp_path / "none", environment={})


def test_variables_of_ours_that_are_no_property():
    with pytest.raises(SecretError, match=rf"^{PREFIX}ACKS: acks may not be set"):
        kafka_settings("b:1", environment={PREFIX + "ACKS": "0"})


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_the_client_knows_what_may_be_set(name: str):
    """A name of no effect would be a promise that nobody keeps; the value is wrong on purpose for most."""
    try:
        Producer({"bootstrap.servers": "localhost:1", "log_level": "0", name: "-"})
    except KafkaException as error:
        assert "No such configuration property" not in str(error)
