"""The one registry of all pipelines."""

from transforms.registry import Registry

REGISTRY = Registry.of("rails", "payments", "auctions")
