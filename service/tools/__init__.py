"""The tools process: the only place where tools run."""
