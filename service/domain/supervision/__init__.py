"""Supervision: how the other processes stand, and what an operator does about it."""
