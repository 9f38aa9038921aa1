"""Names in SQL are names of the gate: what is misspelt would hold of no row, and is told before anything is run."""

from pathlib import Path

import msgspec
import pytest

from chaos.evidence import schema
from chaos.steps import KINDS
from gates.lint.gate import lint
from tests.builders.small_project import FILES, TARGET, project

FIRST = "specs/gates/a/first.yaml"
ASSERTION = "    from: requests where step = 'tried'\n    at_least: 2\n    every: status = 200\n"
DRAWN = """\
    from: requests where step = 'tried'
    at_least: 2
    every: status = 200
  - that: more
    from: {relation}
    at_least: 2
    every: {every}
    killed_by_sham: true
"""


def said(root: Path, every: str, query: str = "", *, more: str = "") -> list[tuple[str, str]]:
    """(what stands at the place, message with hint) of all problems of one more assertion, of `requests` or of a query."""
    text = FILES[FIRST].replace(
        ASSERTION,
        DRAWN.format(relation="told" if query else "requests", every=f">-\n      {every}"),
    )
    if query:
        text = text.replace(
            "assert:\n", f"with:\n  told:\n    query: >-\n      {query}\n    at_least: 1\nassert:\n"
        )
    text = text.replace("  - query:", f"{more}  - query:")
    found = lint(project(root, {FIRST: text}))
    return [
        (
            p.source[p.column - 1 :].removeprefix("'").split("'")[0],
            p.message + (f" ({p.hint})" if p.hint else ""),
        )
        for p in found
    ]


@pytest.mark.parametrize(
    ("every", "text", "column", "hint"),
    [
        ("step = 'treid'", "treid", "step", "tried"),
        ("step <> 'treid' or status = 200", "treid", "step", "tried"),
        ("status = 200 and requests.step in ('tried', 'treid')", "treid", "step", "tried"),
        ("status = 200 and not step not in ('treid')", "treid", "step", "tried"),
        ("status = case step when 'treid' then 1 else 2 end", "treid", "step", "tried"),
        ("'treid' = step", "treid", "step", "tried"),
        ("list_contains(['treid'], step)", "treid", "step", "tried"),
        ("step is distinct from 'treid'::varchar", "treid", "step", "tried"),
        ("(step, load) in (('tried', 'mnay'), ('tried', 'many'))", "mnay", "load", "many"),
        ("coalesce(load, 'none') in ('none', 'mayn')", "mayn", "load", "many"),
        ("load = 'mayn' and status = 200", "mayn", "load", "many"),
        ("'outgae' in during", "outgae", "during", "outage"),
        ("not list_contains(touched, 'outgae')", "outgae", "touched", "outage"),
        ("list_has_any(during, ['outage', 'outgae'])", "outgae", "during", "outage"),
        ("during = ['outgae']", "outgae", "during", "outage"),
        ("during[1] = 'outgae'", "outgae", "during", "outage"),
        ("len(list_filter(during, lambda f: f <> 'outgae')) = 0", "outgae", "during", "outage"),
        ("len([f for f in during if f = 'outgae']) = 0", "outgae", "during", "outage"),
        ("list_position(list_sort(during), 'outgae') = 1", "outgae", "during", "outage"),
        ("outcome = 'OK'", "OK", "outcome", ""),
        ("actor = 'amdin'", "amdin", "actor", "admin"),
        ("process = 'wbe'", "wbe", "process", "web"),
        ("link = 'client->wbe'", "client->wbe", "link", "client->web"),
    ],
)
def test_a_misspelt_name_is_told_where_it_stands(
    tmp_path: Path, every: str, text: str, column: str, hint: str
) -> None:
    ((place, message),) = said(tmp_path, every)
    assert place == text
    assert message.startswith(f"no row of requests has the {column} {text!r}")
    assert not hint or message.endswith(f" ({hint})")


@pytest.mark.parametrize(
    ("query", "every", "text"),
    [
        ("select seq, step as who, status from requests", "who = 'treid'", "treid"),
        ("select r.seq, r.load from requests r where r.step = 'treid'", "load = 'many'", "treid"),
        (
            "with q as (select seq, step as a from requests) select seq, a as b from q",
            "b in ('treid')",
            "treid",
        ),
        (
            "select seq, fault from (select seq, unnest(during) as fault from requests)",
            "fault = 'outgae'",
            "outgae",
        ),
        (
            "select step, max(load) as l, list(step order by step) as s from requests group by step",
            "l = 'many' and list_contains(s, 'treid')",
            "treid",
        ),
        ("select seq, kind from steps where kind = 'reqeust'", "kind = 'request'", "reqeust"),
        (
            "select r.seq, r.path from requests r join faults f on f.fault = 'outgae'",
            "path <> 'x'",
            "outgae",
        ),
        (
            "select r.seq, r.path from requests r where exists (select 1 from faults where r.load = 'mayn')",
            "path <> 'x'",
            "mayn",
        ),
        ("select seq, row from rows where query = 'lok'", "row->>'$.one' = '1'", "lok"),
        ("select seq, stream from frames", "stream = 'talk'", "talk"),
        ("select seq, address as path from sockets where watch = 'x'", "path <> 'x'", "x"),
        (
            "select seq, detail as path from steps where step = 'scenario.99'",
            "path <> 'x'",
            "scenario.99",
        ),
    ],
)
def test_names_are_followed_through_queries(
    tmp_path: Path, query: str, every: str, text: str
) -> None:
    assert [place for place, _ in said(tmp_path, every, query)] == [text]


@pytest.mark.parametrize(
    ("query", "every"),
    [
        ("", "step in ('tried', 'scenario.0', 'control.0') and status = 200"),
        ("", "load <> '' or step like '%treid%' or status = 200"),
        (
            "",
            "contains(step, 'trie') and starts_with(step, 'treid') and split_part(step, 'x', 1) = 'y'",
        ),
        ("", "coalesce(load, 'none') = 'none'"),
        ("", "len(list_filter(['a'], lambda step: step = 'treid')) = len(during)"),
        ("", "response->>'$.step' = 'treid' and method = 'GETT'"),
        ("", "step = 'for admin' or step = 'for nobody'"),
        ("select seq, step || '' as step from requests", "step = 'treid'"),
        (
            "select seq, step from requests union all select seq, stream from frames",
            "step = 'treid'",
        ),
        ("select seq, data from (select seq, id::varchar as data from orders)", "data = '7'"),
    ],
)
def test_what_may_be_is_no_name_that_is_misspelt(tmp_path: Path, query: str, every: str) -> None:
    more = '  - repeat: {who: [admin, nobody]}\n    steps:\n      - request: {get: /}\n        name: "for {who}"\n'
    assert said(tmp_path, every, query, more=more) == []


def test_names_in_views_are_those_of_all_gates_of_the_target(tmp_path: Path) -> None:
    views = (
        TARGET
        + "views:\n  seen: {query: \"select seq, step from requests where step = 'treid'\", at_least: 1}\n"
    )
    (found,) = lint(project(tmp_path, {"specs/targets/shop.yaml": views}))
    assert (found.message, found.hint) == ("no row of requests has the step 'treid'", "tried")
    assert found.file.endswith("shop.yaml")
    assert found.source[found.column - 1 :].startswith("'treid'")


def test_what_kinds_record_are_columns_and_fields() -> None:
    for kind in KINDS.values():
        fields = {field.name for field in msgspec.structs.fields(kind.spec)}
        for column, field in kind.records.items():
            table, _, name = column.partition(".")
            assert name in schema.sealed_columns(table)
            assert field in fields


@pytest.mark.parametrize(
    ("every", "text", "told"),
    [
        ("status = 'abc'", "abc", "the status of requests is BIGINT, which 'abc' is not"),
        ("status = '2oo' or status = '204'", "2oo", "BIGINT"),
        ("status in (200, '2oo')", "2oo", "BIGINT"),
        ("'many' > status", "many", "BIGINT"),
        ("status between '100' and 'many'", "many", "BIGINT"),
        ("sent_ms < 'noon'", "noon", "DOUBLE"),
        ("reused = 'maybe' or status = 200", "maybe", "BOOLEAN"),
    ],
)
def test_a_text_that_is_no_value_of_its_column_is_told(
    tmp_path: Path, every: str, text: str, told: str
) -> None:
    ((at, message),) = said(tmp_path, every)
    assert at == text
    assert told in message


@pytest.mark.parametrize(
    "every", ["status = '200'", "status between '100' and '299'", "step > 'a' and status = 200"]
)
def test_a_text_that_can_be_read_as_one_is_one(tmp_path: Path, every: str) -> None:
    assert said(tmp_path, every) == []
