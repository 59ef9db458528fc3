"""Ports: distinct, by one base, each movable, refused when they cannot be."""

import pytest

from stack.errors import StackError
from stack.ports import BASE, MOST, OFFSETS, Ports, variable


def test_the_defaults_are_distinct_and_within_a_hundred_of_the_base() -> None:
    ports = Ports.from_environment({}).all()
    assert len(set(ports.values())) == len(ports) == len(OFFSETS) + 4 * (MOST - 1)
    assert all(BASE <= port < BASE + 100 for port in ports.values())


def test_stacks_whose_bases_lie_a_hundred_apart_share_no_port() -> None:
    assert not set(Ports.of(20000).all().values()) & set(Ports.of(20100).all().values())


def test_the_base_and_single_ports_come_from_the_environment() -> None:
    ports = Ports.from_environment({"BEAM_ON_RAILS_PORTS": "21000", variable("kafka"): "9092", "OTHER": "1"})
    assert ports == Ports(**{**Ports.of(21000).__dict__, "kafka": 9092})


def test_an_empty_variable_is_none() -> None:
    assert Ports.from_environment({"BEAM_ON_RAILS_PORTS": "", variable("rest"): ""}) == Ports.of(BASE)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BEAM_ON_RAILS_PORTS": "high"}, "BEAM_ON_RAILS_PORTS=high: not a port number"),
        ({"BEAM_ON_RAILS_PORT_KAFKA": "80"}, r"port 80 \(kafka\): take one from 1024 to 65535"),
        ({"BEAM_ON_RAILS_PORTS": "65530"}, "take one from 1024 to 65535"),
        ({"BEAM_ON_RAILS_PORT_KAFKA": "19081"}, "port 19081 is both rest and kafka: move one of them"),
        ({"BEAM_ON_RAILS_PORT_POSTGRES": "19045"}, "port 19045 is both postgres and taskmanager-6"),
    ],
)
def test_ports_that_cannot_be_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(StackError, match=message):
        Ports.from_environment(environment)
