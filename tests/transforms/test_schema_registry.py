"""Ids from a schema registry. The one here is a small server that speaks the documented endpoints that the client uses."""

import base64
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import schemas
from schemas.rails import Tick
from transforms.errors import BadRecord
from transforms.registry import Registry
from transforms.schema_registry import (
    PinnedRegistry,
    SchemaRegistryError,
    SchemaRegistrySettings,
    known_ids,
    registry_at,
)
from transforms.secret_references import SecretError


class Server(ThreadingHTTPServer):
    """Subjects with their schemas; ids from 70,000 on, by schema."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.subjects: dict[str, list[str]] = {}
        self.ids: dict[str, int] = {}
        self.user = b""
        self.broken = 0
        self.url = f"http://127.0.0.1:{self.server_port}"

    def id_of(self, schema: str) -> int:
        return self.ids.setdefault(schema, 70_000 + len(self.ids))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        normal, parts = (
            json.dumps(json.loads(schema), sort_keys=True),
            self.path.partition("?")[0].strip("/").split("/"),
        )
        subjects, subject = self.server.subjects, parts[1]
        if (
            self.server.user
            and self.headers.get("Authorization") != "Basic " + base64.b64encode(self.server.user).decode()
        ):
            self.answer(401, {"error_code": 40101, "message": "Unauthorized"})
        elif self.server.broken:
            self.answer(self.server.broken, {"error_code": 50001, "message": "the store\nis away"})
        elif parts[2:] == ["versions"]:
            subjects.setdefault(subject, []).append(normal)
            self.answer(200, {"id": self.server.id_of(normal)})
        elif subject not in subjects:
            self.answer(404, {"error_code": 40401, "message": f"Subject '{subject}' not found."})
        elif normal not in subjects[subject]:
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            self.answer(200, {"subject": subject, "version": 1, "id": self.server.id_of(normal), "schema": schema})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def test_registered_once_and_found_from_then_on(server: Server):
    settings = SchemaRegistrySettings(server.url)
    first = registry_at(settings, "rails", register=True)
    again = registry_at(settings, "rails")
    assert known_ids(again) == known_ids(first) and min(known_ids(first).values()) == 70_000
    assert set(known_ids(first)) == set(known_ids(Registry.of("rails"))) == set(server.subjects)
    value = again.encode(Tick(5))
    assert value[:5] == b"\0" + known_ids(first)["rails.Tick"].to_bytes(4, "big")
    assert value[5:] == Registry.of("rails").encode(Tick(5))[5:]
    assert again.decode(value) == Tick(5)
    with pytest.raises(BadRecord, match="UNKNOWN_SCHEMA"):
        again.decode(Registry.of("rails").encode(Tick(5)))  # an id of ids.json is none here


def test_it_travels_with_its_ids(server: Server):
    made = registry_at(SchemaRegistrySettings(server.url), "rails", register=True)
    server.shutdown()
    other = pickle.loads(pickle.dumps(made))
    assert other is made and known_ids(other) == known_ids(made)
    PinnedRegistry.pinned.cache_clear()
    assert known_ids(pickle.loads(pickle.dumps(made))) == known_ids(made)


def test_what_is_not_there_as_it_is_here_is_named(server: Server):
    settings = SchemaRegistrySettings(server.url)
    with pytest.raises(
        SchemaRegistryError, match=rf"^{server.url}: not registered as they are here: rails.DeadLetter, rails"
    ):
        registry_at(settings, "rails")
    registry_at(settings, "rails", register=True)
    older = {**schemas.load_schema("rails.Tick"), "doc": "older"}
    server.subjects["rails.Tick"] = [json.dumps(older, sort_keys=True)]
    with pytest.raises(SchemaRegistryError, match=r"not registered as they are here: rails.Tick$"):
        registry_at(settings, "rails")


def test_users_with_a_password(server: Server, monkeypatch: pytest.MonkeyPatch):
    server.user = b"rails:canary-12"
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "canary-12")
    settings = SchemaRegistrySettings(server.url, "rails", "env:RAILS_TEST_PASSWORD")
    assert known_ids(registry_at(settings, "rails", register=True))
    assert "canary" not in repr(settings) and b"canary" not in pickle.dumps(settings)
    monkeypatch.setenv("RAILS_TEST_PASSWORD", "canary-13")
    with pytest.raises(SchemaRegistryError, match=r"401 Unauthorized$") as caught:
        registry_at(settings, "rails")
    assert "canary" not in str(caught.value)


def test_a_registry_that_fails_is_one_line(server: Server):
    server.broken = 500
    with pytest.raises(SchemaRegistryError, match=r": 500 the store\\nis away$"):
        registry_at(SchemaRegistrySettings(server.url), "rails")


def test_nobody_there():
    with pytest.raises(SchemaRegistryError, match=r"^http://127.0.0.1:1: .*refused"):
        registry_at(SchemaRegistrySettings("http://127.0.0.1:1", timeout_s=1), "rails")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "ftp://a"}, "must be https://"),
        ({"url": "https://"}, "must be https://"),
        ({"url": "https://u:canary@a"}, "holds a user or password"),
        ({"url": "http://registry.example"}, "so it must be https"),
        ({"url": "https://a", "user": "u"}, "go together"),
        ({"url": "https://a", "timeout_s": 0}, "timeout_s must be"),
    ],
)
def test_settings_that_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(SchemaRegistryError, match=message) as caught:
        SchemaRegistrySettings(**arguments)
    assert "canary" not in str(caught.value)


def test_passwords_are_references():
    with pytest.raises(SecretError):
        SchemaRegistrySettings("https://a", "u", "canary")


def test_certificates(tmp_path: Path):
    with pytest.raises(SchemaRegistryError, match=r"ca.pem: no such file$"):
        SchemaRegistrySettings("https://a", ca=str(tmp_path / "ca.pem")).client()
    import certifi

    assert SchemaRegistrySettings("https://a", ca=certifi.where()).client()


def test_ids_that_cannot_be():
    ids = dict(known_ids(Registry.of("rails")))
    for change, message in [
        ({"rails.Tick": ids["rails.Version"]}, "two types have one schema id"),
        ({"rails.Tick": 0}, "rails.Tick: has no schema id"),
        ({"rails.Tick": 1 << 32}, "rails.Tick: has no schema id"),
    ]:
        with pytest.raises(SchemaRegistryError, match=message):
            PinnedRegistry(("rails",), tuple({**ids, **change}.items()))
    del ids["rails.Tick"]
    with pytest.raises(SchemaRegistryError, match=r"^rails.Tick: has no schema id$"):
        PinnedRegistry(("rails",), tuple(ids.items()))
