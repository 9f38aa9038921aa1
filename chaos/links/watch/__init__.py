"""Watches connections from a process of its own. Imports nothing but the standard library, to start at once."""
