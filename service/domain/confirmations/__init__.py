"""Confirmations: calls that wait for a decision."""
