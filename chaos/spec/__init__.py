"""The spec language: units, steps, targets and the loader that reports every error with its place."""
