"""Fixed tables that stand in files of their own: `data: {pinned: {from: routes.yaml}}`."""

import csv
import io
from pathlib import Path
from typing import Final

import msgspec

from chaos.errors import SpecError
from chaos.spec.loader import load_value, read_text

Rows = list[dict[str, object]]
KINDS: Final = (".yaml", ".json", ".csv")


def rows_of(name: str, specs: Path) -> Rows:
    """The rows of a file below the directory of specs, links followed; ValueError says why there are none.

    All values of a CSV file are texts; its first line names the columns.
    """
    path = (specs / name).resolve()
    if not path.is_relative_to(specs.resolve()):
        raise ValueError(f"{name} is not below {specs.name}/")
    if path.suffix not in KINDS:
        raise ValueError(f"{name} is none of {', '.join(KINDS)}")
    if not path.is_file():
        raise ValueError(f"there is no file {name} below {specs.name}/")
    try:
        return _read(path)
    except SpecError as error:
        first = error.problems[0]
        raise ValueError(f"{name}:{first.line}:{first.column}: {first.message}") from error
    except (msgspec.DecodeError, csv.Error) as error:
        raise ValueError(f"{name}: {error}") from error


def _read(path: Path) -> Rows:
    if path.suffix == ".csv":
        return _table(read_text(path))
    if path.suffix == ".json":
        return msgspec.json.decode(read_text(path), type=Rows)
    value, _ = load_value(path, Rows, {})
    return msgspec.convert(value, Rows)


def _table(text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    rows: Rows = []
    for values in reader:
        if len(values) != len(header):
            raise csv.Error(f"line {reader.line_num} has {len(values)} values, not {len(header)}")
        rows.append(dict(zip(header, values, strict=True)))
    return rows
