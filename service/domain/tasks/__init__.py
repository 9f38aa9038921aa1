"""Tasks: work that somebody asked for."""
