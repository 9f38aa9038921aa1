"""What is kept of decisions, and what of it leaves the machine: segments of traces, and bundles of an incident."""

LAST_MS = 300_000
"""How far back an incident goes where nobody says it."""
