"""SONIA: the operator boundary and the processes behind it."""

# Imported with every part of it, the keeper of a command included: nothing is imported here.
SONIA_VERSION = "4.6.0"
SONIA_CONTRACT = "v4.5.0"
