"""The commands of `python -m gates`, a module for each: its arguments and what it does. Only gates.cli imports them."""
