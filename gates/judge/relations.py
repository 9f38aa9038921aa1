"""Relations: columns with where they come from, and what tells their rows apart."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from chaos.evidence import schema

Keys = tuple[frozenset[str], ...]


class Origin(Struct, frozen=True):
    """A column of evidence that a relation passes on as it is, and whether a join may leave it out.

    What is `taken` is what some row held, or an element of its list, and not the column itself.
    """

    table: str
    column: str
    optional: bool = False
    taken: bool = False

    @property
    def is_answer(self) -> bool:
        """Whether it is part of an answer, which there may be none of."""
        return self.column in schema.ANSWERS.get(self.table, ())


class Relation(Struct, frozen=True):
    """Columns in lower case with their origin, None for what is computed; rows that are equal in one of the `keys` are equal."""

    columns: Mapping[str, Origin | None]
    keys: Keys

    @property
    def is_recorded(self) -> bool:
        """Whether it is a table of evidence as it is."""
        return all(
            own is not None and not own.taken and own.column.lower() == name
            for name, own in self.columns.items()
        )

    def all_keys(self) -> Keys:
        """The keys, and all columns together."""
        return (*self.keys, frozenset(self.columns))


def recorded(table: str, columns: Iterable[str]) -> Relation:
    """A table of evidence, whose rows `seq` tells apart."""
    return Relation({name.lower(): Origin(table, name) for name in columns}, (frozenset({"seq"}),))


def fixed(rows: Sequence[Mapping[str, object]]) -> Relation:
    """A table of `data:`; a column that never repeats itself is a key."""
    names = list(dict.fromkeys(key for row in rows for key in row))
    keys = [
        frozenset({name.lower()})
        for name in names
        if len({repr(row.get(name)) for row in rows}) == len(rows)
    ]
    return Relation({name.lower(): None for name in names}, tuple(keys))
