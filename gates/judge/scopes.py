"""What stands behind FROM: relations under the names they have there, and what tells their rows apart."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from gates.judge import syntax
from gates.judge.drafts import conjuncts
from gates.judge.relations import Keys, Origin, Relation
from gates.judge.syntax import Node


class From(Struct):
    """What stands behind FROM: relations by the name they have there, and keys over `name.column`.

    `parameters` are those of a lambda, with the column that they run through.
    """

    relations: dict[str, Relation]
    keys: Keys
    above: "From | None" = None
    answered: frozenset[str] = frozenset()
    parameters: Mapping[str, Origin | None] = {}

    def find(self, node: Node) -> str | None:
        """`name.column` of a reference, None where it is to something else."""
        names = [name.lower() for name in syntax.names_of(node)]
        if self._is_parameter(node):
            return None
        if len(names) > 1 and names[0] in self.relations:
            return (
                f"{names[0]}.{names[1]}" if names[1] in self.relations[names[0]].columns else None
            )
        having = [
            own
            for own, relation in self.relations.items()
            if names[:1] and names[0] in relation.columns
        ]
        return f"{having[0]}.{names[0]}" if having else None

    def origin(self, place: str | None) -> Origin | None:
        """Where the column at a place comes from."""
        if place is None:
            return None
        name, _, column = place.partition(".")
        return self.relations[name].columns.get(column)

    def comes_from(self, node: Node) -> Origin | None:
        """The column that a reference is to, here or in a query around this one."""
        if self._is_parameter(node):
            return self.parameters[syntax.names_of(node)[0].lower()]
        place = self.find(node)
        if place is None and self.above is not None:
            return self.above.comes_from(node)
        return self.origin(place)

    def _is_parameter(self, node: Node) -> bool:
        return any(name.lower() in self.parameters for name in syntax.names_of(node)[:1])

    def unknown(self, node: Node) -> Origin | None:
        """The part of an answer that a reference is to, where a row may have none."""
        if self._is_parameter(node):
            return None
        place = self.find(node)
        if place is None:
            return self.above.unknown(node) if self.above is not None else None
        origin = self.origin(place)
        known = place.partition(".")[0] in self.answered
        return None if origin is None or known or not origin.is_answer else origin

    def passed_on(self, place: str | None, *, plain: bool) -> Origin | None:
        """The origin of a column that is given as it is; what is grouped, or known to be there, is a value like any other."""
        origin = self.origin(place)
        if origin is None or not origin.is_answer:
            return origin
        return origin if plain and (place or "").partition(".")[0] not in self.answered else None

    def narrowed(self, where: Node) -> "From":
        """The same after a condition, which may leave nothing but rows of a table that were answered."""
        found = {name for part in conjuncts(where) if (name := self._answered_by(part))}
        return msgspec.structs.replace(self, answered=self.answered | found)

    def _answered_by(self, part: Node) -> str | None:
        kind = syntax.text_of(part, "type")
        if kind == "COMPARE_EQUAL":
            sides = [syntax.child(part, "left"), syntax.child(part, "right")]
            wanted = "outcome" if ("STRING", "ok") in map(syntax.constant, sides) else ""
        else:
            sides = syntax.children(part, "children")
            wanted = "exit" if kind == "OPERATOR_IS_NOT_NULL" else ""
        for place in map(self.find, sides):
            name = (place or "").partition(".")[0]
            origin = self.origin(place)
            if origin is not None and origin.column == wanted and self.relations[name].is_recorded:
                return name
        return None

    def places(self, name: str | None = None) -> list[str]:
        """All columns, or those of one relation."""
        own = [name] if name is not None else list(self.relations)
        return [
            f"{one}.{c}"
            for one in own
            if one in self.relations
            for c in self.relations[one].columns
        ]


NOTHING = From({}, (frozenset(),))


def equated(node: Node, left: From, right: From, both: From) -> frozenset[str]:
    """The columns of either side that a join gives one value for each row of the other."""
    using = node.get("using_columns")
    shared = {str(name).lower() for name in using} if isinstance(using, list) else set()
    if syntax.text_of(node, "ref_type") == "NATURAL":
        shared = {p.partition(".")[2] for p in left.places()} & {
            p.partition(".")[2] for p in right.places()
        }
    found = {place for place in both.places() if place.partition(".")[2] in shared}
    for part in conjuncts(syntax.child(node, "condition")):
        if syntax.text_of(part, "type") != "COMPARE_EQUAL":
            continue
        for one, other in (("left", "right"), ("right", "left")):
            place = both.find(syntax.child(part, one))
            side = right if place in right.places() else left
            used = {
                both.find(ref)
                for ref in syntax.walk(syntax.child(part, other))
                if syntax.names_of(ref)
            }
            if place is not None and not used & set(side.places()):
                found.add(place)
    return frozenset(found)


def decides(equal: frozenset[str], side: From) -> bool:
    """Whether what is equated finds at most one row of a side."""
    return any(key <= equal for key in side.keys)


def optional(relation: Relation) -> Relation:
    return Relation(
        {
            n: msgspec.structs.replace(o, optional=True) if o else None
            for n, o in relation.columns.items()
        },
        relation.keys,
    )
