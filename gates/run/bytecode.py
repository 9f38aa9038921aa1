"""Bytecode of a target written in Python, made once, so that not every process that is started makes it again."""

import compileall
import py_compile
from collections.abc import Iterable
from pathlib import Path

from gates.spec.sources import entries


def compile_sources(root: Path, sources: Iterable[str]) -> None:
    """Compile the files and folders `sources` below `root` anew, whatever was compiled there before.

    Python checks the content of a source before it believes this bytecode, not its time: an edit that comes
    later is run all the same. What cannot be compiled, or written, is left to whoever starts it.
    """
    for entry in entries(root, sources):
        place = root / entry
        compile_it = compileall.compile_file if place.is_file() else compileall.compile_dir
        compile_it(
            place,
            quiet=2,
            force=True,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )
