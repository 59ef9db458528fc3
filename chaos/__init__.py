"""Chaos: faults drawn from a seed, one after another, on a live payment system with a real broker and a real cluster."""
