"""Decides: gate specs, verdicts from evidence, reports, and the command line."""
