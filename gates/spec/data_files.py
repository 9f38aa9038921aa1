"""Fixed tables that stand in files of their own: `data: {pinned: {from: routes.yaml}}`."""

import csv
import io
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from chaos import regular
from chaos.errors import UNREADABLE, SpecError, told
from chaos.spec.loader import read_text, value_of

Rows = list[dict[str, object]]
KINDS: Final = (".yaml", ".json", ".csv")


class DataFiles(Struct, frozen=True):
    """The files of data below a directory of specs; `texts` is told what each held when it was read."""

    specs: Path
    texts: dict[Path, str]

    def rows_of(self, name: str) -> Rows:
        """The rows of a file, links followed; ValueError says why there are none.

        All values of a CSV file are texts; its first line names the columns.
        """
        try:
            path = (self.specs / name).resolve()
        except (OSError, ValueError) as error:
            raise ValueError(f"{name!r} is no path: {told(error)}") from error
        if Path(name).is_absolute() or not path.is_relative_to(self.specs.resolve()):
            raise ValueError(f"{name} is not below {self.specs.name}/")
        if path.suffix not in KINDS:
            raise ValueError(f"{name} is none of {', '.join(KINDS)}")
        if not regular.is_regular(path):
            raise ValueError(f"there is no file {name} below {self.specs.name}/")
        try:
            text = read_text(path)
            # By its name, links left out: there it is looked for wherever these specs are read again.
            self.texts[self.specs / os.path.normpath(name)] = text
            return _rows(path, text)
        except SpecError as error:
            first = error.problems[0]
            raise ValueError(f"{name}:{first.line}:{first.column}: {first.message}") from error
        except (csv.Error, *UNREADABLE) as error:
            raise ValueError(f"{name}: {told(error)}") from error


def _rows(path: Path, text: str) -> Rows:
    if path.suffix == ".csv":
        return _table(text)
    if path.suffix == ".json":
        return msgspec.json.decode(text, type=Rows)
    return msgspec.convert(value_of(path, text, Rows, {})[0], Rows)


def _table(text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    rows: Rows = []
    for values in reader:
        if len(values) != len(header):
            raise csv.Error(f"line {reader.line_num} has {len(values)} values, not {len(header)}")
        rows.append(dict(zip(header, values, strict=True)))
    return rows
