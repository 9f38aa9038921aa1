"""Runs one gate: starts the stack, walks the steps, records, and leaves nothing behind."""
