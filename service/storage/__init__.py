"""Durable state: one SQLite database, one writer thread, group commit."""

from service.effects import Cause, Effect
from service.storage.store import Storage

__all__ = ["Cause", "Effect", "Storage"]
