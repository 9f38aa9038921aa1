"""What the relations of a gate's SQL are: where their columns come from, and what tells their rows apart.

With that the text alone says whether an order is total (rule 39): `seq` of every table that takes part, all columns that
rows are grouped by, all columns that there are, or what is aggregated. Rows that are equal in all of these are equal in everything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from gates.judge import functions, leaves, syntax
from gates.judge.checks import is_json_arrow
from gates.judge.compared import Compared, compared, element_of
from gates.judge.relations import Keys, Origin, Relation
from gates.judge.scopes import NOTHING, From, decides, equated, optional
from gates.judge.syntax import Node


class Untold(Struct, frozen=True):
    """A place where the order of the rows decides, and nothing tells which comes first."""

    node: Node
    message: str


class Use(Struct, frozen=True):
    """A place where what an answer said is used, rather than passed on. `asks` only whether there was any (rule 13)."""

    node: Node
    origin: Origin
    asks: bool


_TOTAL = (
    "end it in `seq` of every table that takes part, or in all columns that rows are grouped by"
)
LIMIT = f"ties decide which rows LIMIT keeps: {_TOTAL}"
WINDOW = f"ties decide what {{name}} gives: in its OVER (…) {_TOTAL}"
FRAME = f"ties decide which rows are in the frame: in its OVER (…) {_TOTAL}"
LIST = "ties decide the order inside of {name}: order it by what it collects, or by `seq` of every table that takes part"

_EMPTY = Relation({}, (frozenset(),))
_BY_PEERS = frozenset({"rank", "dense_rank", "cume_dist", "percent_rank"})


class _Item(Struct, frozen=True):
    """One column of a SELECT: its name, its expression, and its place behind FROM where it is just that."""

    name: str
    node: Node
    place: str | None


class Lineage:
    """Goes through queries; what it `found` of open orders, the texts that are `compared`, and whether an order matters at all, is noted on the way."""

    def __init__(self, known: Mapping[str, Relation]) -> None:
        self.known = dict(known)
        self.found: list[Untold] = []
        self.uses: list[Use] = []
        self.compared: list[Compared] = []
        self.ordered = False

    def query(
        self,
        node: Node,
        outer: Mapping[str, Relation] | None = None,
        above: From | None = None,
    ) -> Relation:
        """The relation that a query gives."""
        names = dict(self.known if outer is None else outer)
        for entry in syntax.children(syntax.child(node, "cte_map"), "map"):
            inner = syntax.child(syntax.child(entry, "value"), "query_node")
            names[syntax.text_of(entry, "key").lower()] = self.query(inner, names, above)
        if syntax.text_of(node, "type") == "SET_OPERATION_NODE":
            return self._set(node, names, above)
        return self._select(node, names, above)

    def assertion(self, relation: str, where: Node, expression: Node) -> list[Use]:
        """What an assertion says of one relation; given are the uses of its expression, after those of its `where`."""
        behind = self.known.get(relation, _EMPTY)
        keys = tuple(frozenset(f"{relation}.{c}" for c in key) for key in behind.all_keys())
        source = From({relation: behind}, keys).narrowed(where)
        self._expressions([where], source, keys, self.known)
        before = len(self.uses)
        self._expressions([expression], source, keys, self.known)
        return self.uses[before:]

    def _set(self, node: Node, names: Mapping[str, Relation], above: From | None) -> Relation:
        sides = [self.query(child, names, above) for child in syntax.children(node, "children")]
        sides = sides or [
            self.query(syntax.child(node, side), names, above) for side in ("left", "right")
        ]
        first, *others = sides
        columns: dict[str, Origin | None] = {}
        for index, (name, origin) in enumerate(first.columns.items()):
            columns[name] = _of_all(origin, others, index)
        union = syntax.text_of(node, "setop_type") == "UNION"
        result = Relation(columns, () if union else first.keys)
        items = [_Item(name, syntax.column(name), None) for name in columns]
        self._limit(node, items, [], result.all_keys(), NOTHING)
        return result

    def _select(self, node: Node, names: Mapping[str, Relation], above: From | None) -> Relation:
        behind = self._from(syntax.child(node, "from_table"), names)
        behind = msgspec.structs.replace(behind, above=above)
        behind = behind.narrowed(syntax.child(node, "where_clause"))
        items = list(_items(node, behind))
        grouped = _groups(node, items, behind)
        keys = behind.keys if grouped is None else _key_of(grouped, behind)
        plain = grouped is None and not any(
            syntax.text_of(m, "type") == "DISTINCT_MODIFIER"
            for m in syntax.children(node, "modifiers")
        )
        # What is passed on as it is, is used by nobody yet.
        clauses = [
            item
            for item in syntax.children(node, "select_list")
            if not plain or syntax.class_of(item) != "COLUMN_REF"
        ]
        clauses += syntax.children(node, "group_expressions")
        clauses += [syntax.child(node, clause) for clause in ("where_clause", "having", "qualify")]
        # Within a group all rows have what it is grouped by.
        same = {behind.find(one) for one in grouped or ()}
        inside = tuple(frozenset(key - same) for key in behind.keys)
        self._expressions(clauses, behind, inside, names, over=keys, items=items)
        several = [item for item in items if _unnests(item.node)]
        origins = {item.name: _passed_on(item, behind, plain=plain) for item in items}
        relation = Relation(origins, _outputs(keys, items, several))
        self._limit(node, items, several, keys, behind)
        self._orders(node, behind, inside, names)
        return relation

    def _orders(self, node: Node, behind: From, keys: Keys, names: Mapping[str, Relation]) -> None:
        """Queries and lists inside an ORDER BY."""
        for modifier in syntax.children(node, "modifiers"):
            orders = [
                syntax.child(order, "expression") for order in syntax.children(modifier, "orders")
            ]
            used = len(self.uses)
            self._expressions(orders, behind, keys, names)
            del self.uses[used:]

    def _limit(
        self,
        node: Node,
        items: Sequence[_Item],
        several: Sequence[_Item],
        keys: Keys,
        behind: From,
    ) -> None:
        """Whether a LIMIT keeps rows that an order chooses."""
        modifiers = {syntax.text_of(m, "type"): m for m in syntax.children(node, "modifiers")}
        if "LIMIT_MODIFIER" not in modifiers or "ORDER_MODIFIER" not in modifiers:
            return
        self.ordered = True
        orders = syntax.children(modifiers["ORDER_MODIFIER"], "orders")
        told = [_resolved(syntax.child(order, "expression"), items) for order in orders]
        said = [syntax.bare(one) for one in told]
        columns = {item.name for item in items if syntax.bare(item.node) in said}
        covered = {item.place for item in items if item.place and item.name in columns}
        covered |= {place for one in told if (place := behind.find(one))}
        covered |= {_written(one) for one in told} | columns
        whole = len(columns) == len(items)
        unnested = all(item.name in columns for item in several)
        if not whole and not (unnested and any(key <= covered for key in keys)):
            self.found.append(Untold(modifiers["ORDER_MODIFIER"], LIMIT))

    def _from(self, node: Node, names: Mapping[str, Relation]) -> From:
        kind = syntax.text_of(node, "type")
        if kind == "JOIN":
            return self._join(node, names)
        if kind not in ("BASE_TABLE", "SUBQUERY"):
            return NOTHING
        if kind == "BASE_TABLE":
            table = syntax.text_of(node, "table_name").lower()
            relation = names.get(table, _EMPTY)
        else:
            table = f"?{id(node)}"
            relation = self.query(syntax.child(syntax.child(node, "subquery"), "node"), names)
        name = syntax.text_of(node, "alias").lower() or table
        renamed = node.get("column_name_alias")
        if isinstance(renamed, list) and renamed:
            given = [str(one).lower() for one in renamed] + list(relation.columns)[len(renamed) :]
            relation = Relation(dict(zip(given, relation.columns.values(), strict=False)), ())
        keys = tuple(frozenset(f"{name}.{c}" for c in key) for key in relation.all_keys())
        return From({name: relation}, keys)

    def _join(self, node: Node, names: Mapping[str, Relation]) -> From:
        left = self._from(syntax.child(node, "left"), names)
        right = self._from(syntax.child(node, "right"), names)
        kind = syntax.text_of(node, "join_type")
        both = From({**left.relations, **right.relations}, ())
        condition = syntax.child(node, "condition")
        self._expressions([condition], both, (), names)
        if kind in ("SEMI", "ANTI"):
            return left
        equal = equated(node, left, right, both)
        keys = [one | other for one in left.keys for other in right.keys]
        if kind in ("INNER", "LEFT") and decides(equal, right):
            keys += left.keys
        if kind in ("INNER", "RIGHT") and decides(equal, left):
            keys += right.keys
        relations = {
            name: optional(r) if kind in ("RIGHT", "OUTER", "FULL") else r
            for name, r in left.relations.items()
        }
        relations |= {
            name: optional(r) if kind in ("LEFT", "OUTER", "FULL") else r
            for name, r in right.relations.items()
        }
        return From(relations, tuple(dict.fromkeys(keys)))

    def _expressions(
        self,
        nodes: Iterable[Node],
        behind: From,
        inside: Keys,
        names: Mapping[str, Relation],
        over: Keys | None = None,
        items: Sequence[_Item] = (),
    ) -> None:
        """What depends on order in expressions: lists, of the rows `inside`, and windows, over rows told apart by `over`."""
        for node in nodes:
            kind = syntax.class_of(node)
            if self._answer(node, behind):
                continue
            self.compared += compared(node, behind)
            if any(map(_is_lambda, syntax.arguments(node))):
                self._lambdas(node, behind, inside, names, over, items)
                continue
            if kind == "SUBQUERY":
                self.query(syntax.child(syntax.child(node, "subquery"), "node"), names, behind)
                self._expressions([syntax.child(node, "child")], behind, inside, names, over, items)
                continue
            name = syntax.text_of(node, "function_name").lower()
            if kind == "WINDOW":
                self._window(node, name, behind, inside if over is None else over, items)
            elif kind == "FUNCTION" and name in functions.ORDERED:
                self._list(node, name, behind, inside)
            elif kind == "FUNCTION" and name in functions.ROUNDED:
                self.ordered = True
            self._expressions(syntax.parts(node), behind, inside, names, over, items)

    def _lambdas(
        self,
        node: Node,
        behind: From,
        inside: Keys,
        names: Mapping[str, Relation],
        over: Keys | None,
        items: Sequence[_Item],
    ) -> None:
        """What a function does with each element of its first argument."""
        first, *others = syntax.arguments(node)
        self._expressions([first], behind, inside, names, over, items)
        through = element_of(first, behind)
        for one in others:
            if not _is_lambda(one):
                self._expressions([one], behind, inside, names, over, items)
                continue
            parameters = {
                name.lower(): through
                for part in syntax.walk(syntax.child(one, "lhs"))
                for name in syntax.names_of(part)[:1]
            }
            inner = msgspec.structs.replace(behind, parameters={**behind.parameters, **parameters})
            self._expressions([syntax.child(one, "expr")], inner, inside, names, over, items)

    def _answer(self, node: Node, behind: From) -> bool:
        """Note a use of an answer: one of its columns, a place in one, or whether there was any."""
        asks = syntax.text_of(node, "type") in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL")
        base = syntax.children(node, "children")[0] if asks else node
        while (inner := leaves.extracted_from(base)) is not None and not asks:
            base = inner
        origin = behind.unknown(base) if syntax.class_of(base) == "COLUMN_REF" else None
        if origin is not None:
            self.uses.append(Use(node, origin, asks))
        return origin is not None

    def _list(self, node: Node, name: str, behind: From, keys: Keys) -> None:
        self.ordered = True
        told = [
            syntax.child(o, "expression")
            for o in syntax.children(syntax.child(node, "order_bys"), "orders")
        ]
        said = [syntax.bare(one) for one in told]
        collected = [a for a in syntax.arguments(node) if syntax.constant(a) is None]
        covered = {place for one in told if (place := behind.find(one))}
        if (
            told
            and not all(syntax.bare(a) in said for a in collected)
            and not any(key <= covered for key in keys)
        ):
            self.found.append(Untold(node, LIST.format(name=name)))

    def _window(
        self, node: Node, name: str, behind: From, keys: Keys, items: Sequence[_Item]
    ) -> None:
        edges = (syntax.text_of(node, "start"), syntax.text_of(node, "end"))
        framed = any("ROWS" in edge and not edge.startswith("UNBOUNDED") for edge in edges)
        if name in functions.ROUNDED:
            self.ordered = True
        if name in _BY_PEERS or (name not in functions.WINDOWS and not framed):
            return
        self.ordered = True
        told = [syntax.child(order, "expression") for order in syntax.children(node, "orders")]
        told += syntax.children(node, "partitions")
        told = [one if behind.find(one) else _renamed(one, items) for one in told]
        covered = {place for one in told if (place := behind.find(one))} | {
            _written(one) for one in told
        }
        if not any(key <= covered for key in keys):
            message = WINDOW.format(name=name) if name in functions.WINDOWS else FRAME
            self.found.append(Untold(node, message))


def _items(node: Node, behind: From) -> Iterator[_Item]:
    """The columns of a SELECT, with all that a star stands for; a name that is there twice gets a number, as DuckDB does it."""
    seen: dict[str, int] = {}
    for index, (name, one, place) in enumerate(_written_items(node, behind)):
        own = name or f"?{index}"
        again = seen.get(own, 0)
        seen[own] = again + 1
        yield _Item(f"{own}_{again}" if again else own, one, place)


def _written_items(node: Node, behind: From) -> Iterator[tuple[str, Node, str | None]]:
    for item in syntax.children(node, "select_list"):
        if syntax.class_of(item) == "STAR":
            yield from _star(item, behind)
            continue
        names = syntax.names_of(item) if syntax.class_of(item) == "COLUMN_REF" else ()
        place = behind.find(item) if names else None
        yield (syntax.text_of(item, "alias") or (names[-1] if names else "")).lower(), item, place


def _star(node: Node, behind: From) -> Iterator[tuple[str, Node, str | None]]:
    left_out = node.get("exclude_list")
    without = {str(name).lower() for name in left_out} if isinstance(left_out, list) else set()
    replaced = {
        syntax.text_of(entry, "key").lower(): syntax.child(entry, "value")
        for entry in syntax.children(node, "replace_list")
    }
    for place in behind.places(syntax.text_of(node, "relation_name").lower() or None):
        name = place.partition(".")[2]
        if name in replaced:
            yield name, replaced[name], behind.find(replaced[name])
        elif name not in without:
            yield name, {**syntax.column(name), "column_names": place.split(".")}, place


def _passed_on(item: _Item, behind: From, *, plain: bool) -> Origin | None:
    """Where a column comes from; what is taken out of a list of names is a name."""
    if item.place is not None:
        return behind.passed_on(item.place, plain=plain)
    origin = element_of(item.node, behind)
    if origin is None or origin.is_answer:
        return None
    return msgspec.structs.replace(origin, taken=True)


def _groups(node: Node, items: Sequence[_Item], behind: From) -> list[Node] | None:
    """What the rows of a SELECT are groups by; nothing for one group of all, None where they are no groups."""
    written = syntax.children(node, "group_expressions")
    sets = node.get("group_sets")
    if written and isinstance(sets, list) and len(sets) > 1:
        return [item.node for item in items]
    if syntax.text_of(node, "aggregate_handling") == "FORCE_AGGREGATES":
        return [item.node for item in items if not _aggregates(item.node)]
    if written:
        return [one if behind.find(one) else _resolved(one, items) for one in written]
    having = node.get("having") is not None
    return [] if having or any(_aggregates(item.node) for item in items) else None


def _key_of(grouped: Sequence[Node], behind: From) -> Keys:
    return (frozenset(behind.find(one) or _written(one) for one in grouped),)


def _outputs(keys: Keys, items: Sequence[_Item], several: Sequence[_Item]) -> Keys:
    """Keys in the names of the columns that are given."""
    names = {item.place or _written(item.node): item.name for item in items}
    unnested = frozenset(item.name for item in several)
    return tuple(
        frozenset(names[place] for place in key) | unnested
        for key in keys
        if all(place in names for place in key)
    )


def _is_lambda(node: Node) -> bool:
    return syntax.class_of(node) == "LAMBDA" and not is_json_arrow(node)


def _written(node: Node) -> str:
    """An expression as a name for itself."""
    return repr(syntax.bare({k: v for k, v in node.items() if k != "alias"}))


def _resolved(node: Node, items: Sequence[_Item]) -> Node:
    """What ORDER BY or GROUP BY means by a name or a position."""
    constant = syntax.constant(node)
    if constant is not None and constant[0] == "INTEGER" and 0 < int(constant[1]) <= len(items):
        return items[int(constant[1]) - 1].node
    return _renamed(node, items)


def _renamed(node: Node, items: Sequence[_Item]) -> Node:
    """What stands under an alias where one is meant."""
    names = syntax.names_of(node) if syntax.class_of(node) == "COLUMN_REF" else ()
    if len(names) == 1:
        for item in items:
            if item.name == names[0].lower() and syntax.text_of(item.node, "alias"):
                return item.node
    return node


def _aggregates(node: Node) -> bool:
    return any(
        syntax.class_of(part) == "FUNCTION"
        and syntax.text_of(part, "function_name").lower()
        in functions.AGGREGATES | functions.ORDERED
        for part in _here(node)
    )


def _unnests(node: Node) -> bool:
    return any(
        syntax.text_of(part, "function_name").lower() == functions.UNNEST for part in _here(node)
    )


def _here(node: Node) -> Iterator[Node]:
    """A node and what is below it, but for queries in it."""
    yield node
    for part in syntax.parts(node):
        if syntax.class_of(part) != "SUBQUERY":
            yield from _here(part)


def _of_all(origin: Origin | None, others: Sequence[Relation], index: int) -> Origin | None:
    """The origin of a column of a union: that of all its sides, or of any side that is part of an answer."""
    found = [origin, *(list(side.columns.values())[index] for side in others)]
    if all(one == origin for one in found):
        return origin
    return next((one for one in found if one is not None and one.is_answer), None)
