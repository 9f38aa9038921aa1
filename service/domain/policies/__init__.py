"""Policies: what happens to a call of each safety class of tools."""
