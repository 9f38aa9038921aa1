"""Probes links from processes of their own, so that no busy event loop is mistaken for a fault."""

from chaos.links.probe.child import ProbeError, Spawn
from chaos.links.probe.prober import Ask, Paths, Prober, Seen

__all__ = ["Ask", "Paths", "ProbeError", "Prober", "Seen", "Spawn"]
