"""Settings of Kafka clients: properties of librdkafka from a file, the environment or code, checked, without secrets in them.

Secrets are references, `env:NAME` or `file:/PATH`, which the worker resolves: options, graphs, logs and pages of a runner hold the
reference alone. What may be set is a list of what is known to be safe. What loads code, runs commands, weakens TLS or breaks the
contract of the log is refused, with the reason.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from transforms.errors import one_line
from transforms.secret_references import SecretError, check_reference, is_reference, resolve

PREFIX = "BEAM_ON_RAILS_KAFKA_"
"""Of environment variables: BEAM_ON_RAILS_KAFKA_SASL_USERNAME is sasl.username."""

SECRETS = frozenset({
    "sasl.password",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",  # its form is open, so it may hold one
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
})  # fmt: skip
"""Properties whose value must be a reference."""

_OAUTH = (
    "method client.id client.secret scope extensions token.endpoint.url grant.type config metadata.authentication.type "
    "assertion.algorithm assertion.claim.aud assertion.claim.exp.seconds assertion.claim.iss assertion.claim.jti.include "
    "assertion.claim.nbf.seconds assertion.claim.sub assertion.file assertion.jwt.template.file assertion.private.key.file "
    "assertion.private.key.passphrase assertion.private.key.pem"
)
_TLS = (
    "ca.location ca.pem certificate.location certificate.pem crl.location key.location key.password key.pem "
    "keystore.location keystore.password"
)
_OTHERS = (
    "bootstrap.servers client.id client.rack client.dns.lookup security.protocol sasl.mechanism sasl.username sasl.password "
    "https.ca.location https.ca.pem "
    # the network
    "broker.address.family broker.address.ttl connections.max.idle.ms reconnect.backoff.ms reconnect.backoff.max.ms "
    "retry.backoff.ms retry.backoff.max.ms request.timeout.ms socket.connection.setup.timeout.ms socket.keepalive.enable "
    "socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms log_level "
    "log.connection.close metadata.max.age.ms topic.metadata.refresh.interval.ms enable.metrics.push "
    # fetching
    "check.crcs fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms "
    "fetch.wait.max.ms queued.max.messages.kbytes queued.min.messages receive.message.max.bytes "
    # producing
    "batch.num.messages batch.size compression.level compression.type linger.ms message.copy.max.bytes message.max.bytes "
    "queue.buffering.max.kbytes queue.buffering.max.messages"
)
ALLOWED = frozenset(
    [
        *_OTHERS.split(),
        *(f"ssl.{name}" for name in _TLS.split()),
        *(f"sasl.oauthbearer.{name}" for name in _OAUTH.split()),
    ]
)
"""Properties that may be set; others of librdkafka are refused, those of later versions too."""

_CODE = "it loads code or runs a command"
_TRUST = "it weakens what TLS verifies"
_OURS = "the contract of the log sets it"
_JOB = "each job sets it"
_CONTRACT = (
    "acks request.required.acks enable.idempotence enable.gapless.guarantee message.timeout.ms delivery.timeout.ms "
    "partitioner retries message.send.max.retries max.in.flight max.in.flight.requests.per.connection queuing.strategy "
    "transactional.id transaction.timeout.ms auto.offset.reset auto.commit.enable auto.commit.interval.ms "
    "enable.auto.commit enable.auto.offset.store enable.partition.eof isolation.level allow.auto.create.topics "
    "partition.assignment.strategy group.protocol offset.store.method topic.blacklist"
)
_REFUSED = {
    "plugin.library.paths": _CODE,
    "interceptors": _CODE,
    "ssl.engine.id": _CODE,
    "ssl.engine.location": _CODE,
    "ssl.providers": _CODE,
    "sasl.jaas.config": _CODE,
    "enable.ssl.certificate.verification": _TRUST,
    "ssl.endpoint.identification.algorithm": _TRUST,
    "ssl.cipher.suites": _TRUST,
    "ssl.curves.list": _TRUST,
    "ssl.sigalgs.list": _TRUST,
    "enable.sasl.oauthbearer.unsecure.jwt": "its tokens are not signed",
    "debug": "its lines may hold secrets",
    "group.id": _JOB,
    "group.instance.id": _JOB,
    **dict.fromkeys(_CONTRACT.split(), _OURS),
}
_SAFE_ALREADY = {"enable.ssl.certificate.verification": "true", "ssl.endpoint.identification.algorithm": "https"}
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")


DEFAULTS = {
    # A connection that is dead without a word is noticed after so long, each time that a client asks something: librdkafka's own 60 s
    # are a long silence. Whole answers must come in that time: at most a megabyte of each partition that a reader has.
    "socket.timeout.ms": "10000",
}
"""Of every client, unless the settings say otherwise."""

_MARGIN_MS = 1_000  # librdkafka's own: what a broker may hold back ends so long before its client gives up
FETCH_WAIT = "fetch.wait.max.ms"


class KafkaSettingsError(SecretError):
    """A property that may not be set, is missing, or refers to a secret that is not there. Names are shown, never values."""


@dataclass(frozen=True, repr=False)
class KafkaSettings:
    """Properties of librdkafka that are safe to use and to show, sorted by name; KafkaSettingsError if they are not.

    Travels to workers as it is: secrets in it are references. `resolved()` is for the worker (`DoFn.setup`).
    """

    properties: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        checked: dict[str, str] = {}
        for name, value in self.properties:
            name, value = _checked(name, value)
            if name in checked:
                raise KafkaSettingsError(f"{name}: given twice")
            if name not in _SAFE_ALREADY:
                checked[name] = value
        _check_together(checked)
        object.__setattr__(self, "properties", tuple(sorted(checked.items())))

    def __repr__(self) -> str:
        return f"KafkaSettings({', '.join(name for name, _ in self.properties)})"

    @property
    def servers(self) -> str:
        """What messages call the cluster: its bootstrap servers."""
        return dict(self.properties)["bootstrap.servers"]

    def resolved(self) -> dict[str, str]:
        """The properties with the secrets in place, and DEFAULTS: for a client, never to be kept, logged or sent.

        SecretError for a variable or a file that is not there.
        """
        return DEFAULTS | {name: resolve(name, value) for name, value in self.properties}


def kafka_settings(
    bootstrap_servers: str | None = None,
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> KafkaSettings:
    """Settings from a file of properties, then from variables BEAM_ON_RAILS_KAFKA_…, then `bootstrap_servers`: the later counts.

    The file has lines `name=value` and comments behind `#` or `!`. A secret in a variable becomes the reference to this variable, which
    workers must have too. `environment`: os.environ unless given. KafkaSettingsError names the file and line, or the variable.
    """
    properties: dict[str, str] = {}
    if path is not None:
        for where, name, value in _lines(path):
            with _told(where):
                name, value = _checked(name, value)
                if name in properties:
                    raise KafkaSettingsError(f"{name}: given twice")
            properties[name] = value
    for variable, value in sorted((os.environ if environment is None else environment).items()):
        if variable.startswith(PREFIX):
            name = variable.removeprefix(PREFIX).lower().replace("_", ".")
            name = "log_level" if name == "log.level" else name
            if name in SECRETS and not is_reference(value):
                value = f"env:{variable}"
            with _told(one_line(variable)):
                name, value = _checked(name, value)
            properties[name] = value
    if bootstrap_servers is not None:
        properties["bootstrap.servers"] = bootstrap_servers
    return KafkaSettings(tuple(properties.items()))


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Puts in front of an error where it was found."""
    try:
        yield
    except SecretError as error:
        raise KafkaSettingsError(f"{where}: {error}") from None


def _lines(path: str | Path) -> Iterator[tuple[str, str, str]]:
    """(where, name, value) of each line that says something. What is no property is not shown: it may be half of a secret."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KafkaSettingsError(f"{path}: {getattr(error, 'strerror', None) or 'is not UTF-8'}") from None
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and text[0] not in "#!":
            name, sign, value = text.partition("=")
            if not sign:
                raise KafkaSettingsError(f"{path}:{number}: not a property (name=value)")
            yield f"{path}:{number}", name.strip(), value.strip()


def _checked(name: str, value: str) -> tuple[str, str]:
    """The property in librdkafka's own spelling; KafkaSettingsError if it may not be set, or not to this value."""
    if type(name) is not str or type(value) is not str:
        raise KafkaSettingsError(
            f"properties are pairs of strings, got {type(name).__name__} and {type(value).__name__}"
        )
    name = {"sasl.mechanisms": "sasl.mechanism", "max.partition.fetch.bytes": "fetch.message.max.bytes"}.get(name, name)
    if name in _SAFE_ALREADY and value.lower() == _SAFE_ALREADY[name]:
        return name, value
    if name in _REFUSED or name.startswith("sasl.kerberos."):
        raise KafkaSettingsError(f"{name} may not be set: {_REFUSED.get(name, _CODE)}")
    if name not in ALLOWED:
        raise KafkaSettingsError(f"{one_line(name)}: not a property that may be set (docs/transforms.md lists them)")
    if not value.strip() or any(ord(sign) < 32 for sign in value):
        raise KafkaSettingsError(f"{name}: its value is empty or has control characters")
    if name in SECRETS or is_reference(value):
        check_reference(name, value)
    if name == "security.protocol":
        value = _one_of(name, value.lower(), _PROTOCOLS)
    elif name == "sasl.mechanism":
        value = _one_of(name, value.upper(), _MECHANISMS)
    elif name == "sasl.oauthbearer.token.endpoint.url" and urlsplit(value).scheme != "https":
        raise KafkaSettingsError(f"{name} must be an address of https: the secret is sent to it")
    return name, value


def _one_of(name: str, value: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise KafkaSettingsError(f"{name}: must be one of {', '.join(values)}")
    return value


def fetch_wait_error(properties: Mapping[str, str], name: str, wait_ms: str) -> str | None:
    """What is wrong when a broker may hold a fetch for `wait_ms`, as `name` says; None if nothing is.

    A broker answers a connection in order, so what its client asks meanwhile waits behind the fetch; librdkafka only logs a warning.
    """
    patience = (DEFAULTS | dict(properties))["socket.timeout.ms"]
    if not (patience.isdigit() and wait_ms.isdigit()) or int(wait_ms) + _MARGIN_MS <= int(patience):
        return None
    return f"{name}={wait_ms} must be {_MARGIN_MS} below socket.timeout.ms={patience}, or what is asked behind a fetch times out"


def _check_together(properties: Mapping[str, str]) -> None:
    """What is half a protection is none: passwords and certificates that the protocol would not use, or would send in clear."""
    if "bootstrap.servers" not in properties:
        raise KafkaSettingsError("bootstrap.servers: missing (HOST:PORT of one or more brokers, with commas)")
    wrong = fetch_wait_error(properties, FETCH_WAIT, properties.get(FETCH_WAIT, ""))
    if wrong is not None:
        raise KafkaSettingsError(wrong)
    protocol = properties.get("security.protocol", "plaintext")
    mechanism = properties.get("sasl.mechanism")
    for name in properties:
        if name.startswith("ssl.") and "ssl" not in protocol.split("_"):
            raise KafkaSettingsError(f"{name} has no effect with security.protocol={protocol}: use ssl or sasl_ssl")
        if name.startswith("sasl.") and not protocol.startswith("sasl"):
            raise KafkaSettingsError(f"{name} has no effect with security.protocol={protocol}: use sasl_ssl")
    if protocol.startswith("sasl"):
        if mechanism is None:
            raise KafkaSettingsError(f"sasl.mechanism: missing (one of {', '.join(_MECHANISMS)})")
        if mechanism != "OAUTHBEARER":
            for name in ("sasl.username", "sasl.password"):
                if name not in properties:
                    raise KafkaSettingsError(f"{name}: missing")
        elif properties.get("sasl.oauthbearer.method") != "oidc":
            raise KafkaSettingsError("sasl.mechanism=OAUTHBEARER needs sasl.oauthbearer.method=oidc")
        if protocol == "sasl_plaintext" and not mechanism.startswith("SCRAM"):
            raise KafkaSettingsError(f"sasl.mechanism={mechanism} would send its secret in clear: use sasl_ssl")
