"""The same bundle in Parquet: a tenth of the size, and read several times as fast. Every question has the same answer."""

import shutil
import tempfile
from pathlib import Path

import msgspec

from chaos.errors import HarnessError
from gates.incidents.analysis import Limits, analysing, copies
from gates.incidents.bundle import CONFIG, MANIFEST, PARQUET, Bundle, sealed
from gates.incidents.tables import COLUMNS


def pack(bundle: Bundle, directory: Path, limits: Limits) -> None:
    """Write the bundle as Parquet into a new directory, which is there whole or not at all.

    Lines keep their order. Raises HarnessError where the directory is there already.
    """
    if directory.exists():
        raise HarnessError(f"{directory} is there already")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as name:
        made = Path(name) / "bundle"
        made.mkdir()
        with analysing({"": [bundle]}, (), limits, COLUMNS, (made,)) as analysis:
            for table in COLUMNS:
                analysis.rows(copies(bundle, table, made / (table + PARQUET)))
        shutil.copyfile(bundle.directory / CONFIG, made / CONFIG)
        files = {path.name: sealed(path) for path in sorted(made.iterdir())}
        manifest = msgspec.structs.replace(bundle.manifest, files=files)
        (made / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
        made.rename(directory)
