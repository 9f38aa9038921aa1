"""Tools: what there is, and runs of it."""
