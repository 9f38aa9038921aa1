"""SONIA: the operator boundary and the processes behind it."""

from typing import Final

SONIA_VERSION: Final = "4.6.0"
SONIA_CONTRACT: Final = "v4.5.0"
