"""Compiled templates, kept where Python keeps its own bytecode: to compile them anew takes longer than to draw a page."""

import contextlib
import hashlib
import pickle
import sys
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket, FileSystemBytecodeCache


class Compiled(FileSystemBytecodeCache):
    """Where nothing may be written, or nothing is wanted to be, templates are compiled by every process.

    What another Jinja compiled is not taken up, nor what was compiled while the module that says `how` was another.
    """

    def __init__(self, templates: Path, how: Path) -> None:
        by = hashlib.sha256(jinja2.__version__.encode() + how.read_bytes()).hexdigest()
        super().__init__(str(templates / "__pycache__"), f"{by[:16]}-%s.jinja")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Nothing where there is none, or none that is whole."""
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Under its name once it is whole."""
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(exist_ok=True)
            super().dump_bytecode(bucket)
