"""Questions are answered rightly, within bounds, and reach nothing but the bundle."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos.errors import HarnessError, SpecError
from gates.incidents.analysis import Answer, Limits, analysing, raise_unaskable
from gates.incidents.bundle import open_bundle
from gates.incidents.packing import pack
from gates.incidents.questions import Question, chosen, read_questions
from gates.incidents.tables import BASE
from tests.builders.incidents import seal


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def answers(
    made: Path, *names: str, base: bool = False, limits: Limits | None = None
) -> list[Answer]:
    bundles = {"": [open_bundle(made / ("two" if base else "one"))]}
    if base:
        bundles[BASE] = [open_bundle(made / "one")]
    questions = [read_questions()[name] for name in names]
    with analysing(bundles, questions, limits or Limits()) as analysis:
        return [analysis.ask(question) for question in questions]


def question(tmp_path: Path, sql: str, name: str = "mine") -> Question:
    (tmp_path / f"{name}.sql").write_text(sql)
    return read_questions([tmp_path])[name]


@pytest.fixture(scope="module")
def all_answers(made: Path) -> dict[str, Answer]:
    names = [name for name, one in read_questions().items() if not one.compares]
    return {one.question.name: one for one in answers(made, *names)}


def test_every_question_of_ours_has_an_answer(all_answers: dict[str, Answer]) -> None:
    assert len(all_answers) >= 11
    assert [name for name, answer in all_answers.items() if not answer.rows] == []
    for answer in all_answers.values():
        assert answer.question.asks.endswith("?")
        assert answer.total == len(answer.rows)


def test_percentiles_of_stages_are_those_of_the_lines(
    made: Path, all_answers: dict[str, Answer]
) -> None:
    took: dict[str, list[int]] = {}
    for line in lines(made / "one" / "decisions.jsonl"):
        took.setdefault(str(line["stage"]), []).append(int(str(line["took_us"])))
    for row in all_answers["stages"].rows:
        _, stage, count, *percentiles, longest = row
        own = sorted(took.pop(str(stage)))
        ranks = [-(-len(own) * part // 100) for part in (50, 95, 99)]
        assert (count, longest) == (len(own), own[-1])
        assert percentiles == [own[rank - 1] for rank in ranks]
    assert not took


def test_requests_are_counted_as_they_are(made: Path, all_answers: dict[str, Answer]) -> None:
    requests = lines(made / "one" / "requests.jsonl")
    outcomes = Counter(str(line["outcome"]) for line in requests)
    counted: Counter[str] = Counter()
    for row in all_answers["outcomes"].rows:
        counted[str(row[3])] += int(str(row[5]))
    assert counted == outcomes
    refused = sum(int(str(row[-1])) for row in all_answers["refusals"].rows)
    assert refused == outcomes["shed"] + outcomes["rejected"]
    for row in all_answers["refusals"].rows:
        assert row[3:7] in {
            ("shed", "admit", "shed", "over_budget"),
            ("rejected", "authenticate", "refused", "token_expired"),
        }
    classes = Counter(line["trace_class"] for line in requests)
    assert {row[0]: row[1] for row in all_answers["classes"].rows} == classes
    slowest = max(requests, key=lambda line: int(str(line["took_us"])))
    assert all_answers["slowest"].rows[0][0] == slowest["request_id"]
    assert all_answers["slowest"].rows[0][5] == "model"


def test_windows_are_those_in_which_it_happened(all_answers: dict[str, Answer]) -> None:
    ((entered, left, *_),) = all_answers["modes"].rows
    assert (str(entered), str(left)) == ("2026-11-30 00:00:24", "2026-11-30 00:00:48")
    ((first, last, seconds, turns, missed),) = all_answers["breaches"].rows
    assert (str(first), str(last), seconds) == ("2026-11-30 00:00:20", "2026-11-30 00:00:39", 20)
    assert 0 < int(str(missed)) <= int(str(turns))


def test_what_waited_is_told_by_the_second(made: Path, all_answers: dict[str, Answer]) -> None:
    depths: dict[str, dict[object, object]] = {}
    for line in lines(made / "one" / "events.jsonl"):
        if line["event"] == "queue":
            assert isinstance(line["detail"], dict)
            second = str(datetime.fromtimestamp(float(str(line["at_ms"])) / 1000, UTC))[:19]
            depths.setdefault(second, {})[line["name"]] = line["detail"]["depth"]
    assert len(depths) == 60
    told = {str(row[0])[:19]: list(row[1:]) for row in all_answers["queues"].rows}
    assert told == {
        at: [own[each] for each in ("stream", "tool", "model")] for at, own in depths.items()
    }


def test_two_bundles_part_where_their_lines_do(made: Path) -> None:
    stages: list[dict[object, list[list[object]]]] = [{}, {}]
    for own, name in zip(stages, ("one", "two"), strict=True):
        for line in lines(made / name / "decisions.jsonl"):
            decided = [line["stage"], line["decision"], line["reason"]]
            own.setdefault(line["request_id"], []).append(decided)
    differing = {request for request in stages[0] if stages[0][request] != stages[1][request]}
    (found,) = answers(made, "first-divergence", base=True)
    assert {row[0] for row in found.rows} == differing != set()
    for request, _, n, *sides in found.rows:
        place = int(str(n))
        assert stages[0][request][:place] == stages[1][request][:place]
        assert sides == stages[0][request][place] + stages[1][request][place]


def test_a_bundle_does_not_part_from_itself(made: Path) -> None:
    names = [name for name, one in read_questions().items() if one.compares]
    bundles = {"": [open_bundle(made / "one")], BASE: [open_bundle(made / "one")]}
    questions = chosen(read_questions(), [], compares=True)
    assert [one.name for one in questions] == names
    with analysing(bundles, questions, Limits()) as analysis:
        found = {one.name: analysis.ask(one).total for one in questions}
    assert found.pop("stage-changes") == 10
    assert set(found.values()) == {0}


@pytest.mark.parametrize("name", ["stages", "seconds"])
def test_neither_one_thread_nor_asking_alone_changes_an_answer(
    made: Path, all_answers: dict[str, Answer], name: str
) -> None:
    (alone,) = answers(made, name, limits=Limits(threads=1))
    assert alone.rows == all_answers[name].rows


def test_what_a_stage_was_given_can_be_asked_for(made: Path, tmp_path: Path) -> None:
    mine = question(
        tmp_path,
        "-- What was answered?\nSELECT stage, kind, value->>'$.text' AS text FROM inputs"
        " WHERE request_id = 'r-000000000000' ORDER BY n, place",
    )
    with analysing({"": [open_bundle(made / "one")]}, [mine], Limits()) as analysis:
        rows = analysis.ask(mine).rows
    assert rows == [(at, at, "what was answered to r-000000000000") for at in ("memory", "model")]


def test_several_bundles_are_asked_together(made: Path, tmp_path: Path) -> None:
    mine = question(
        tmp_path,
        "-- How much?\nSELECT (SELECT count(*) FROM incidents) AS incidents, count(*) AS requests FROM requests",
    )
    bundles = {"": [open_bundle(made / name) for name in ("one", "two")]}
    with analysing(bundles, [mine], Limits()) as analysis:
        assert analysis.ask(mine).rows == [(2, 600)]


def test_an_answer_can_be_cut_and_says_how_long_it_is(made: Path) -> None:
    seconds = read_questions()["seconds"]
    with analysing({"": [open_bundle(made / "one")]}, [seconds], Limits()) as analysis:
        answer = analysis.ask(seconds, 7)
    assert (len(answer.rows), answer.total) == (7, 60)


def test_what_exceeds_memory_is_spilled_and_nothing_is_left(made: Path, tmp_path: Path) -> None:
    # Some 200 MB of distinct texts.
    large = question(
        tmp_path,
        "-- A lot?\nSELECT count(DISTINCT repeat(md5(concat(t.request_id, i)), 40)) AS texts"
        " FROM requests AS t, range(500) AS numbers(i)",
    )
    spill = tmp_path / "spill"
    spill.mkdir()
    limits = Limits("90MB", 2, spill)
    with analysing({"": [open_bundle(made / "one")]}, [large], limits) as analysis:
        assert analysis.ask(large).rows == [(150_000,)]
    assert list(spill.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "line", "said"),
    [
        ("SELECT 1", 1, "the first line says in words what is asked"),
        ("-- What?\nSELECT nothing FROM requests", 2, "there is no column nothing"),
        ("-- What?\nSELECT 1;\nSELECT 2", 1, "expected one statement, not 2"),
        ("-- What?\nDROP TABLE requests", 1, "only SELECT is allowed here"),
        ("-- What?\nSELECT *\nFROM requestz", 3, "requestz"),
        ("-- What?\nSELECT * FROM read_csv('/etc/passwd')", 2, "disabled by configuration"),
        ("-- What?\nSELECT * FROM '/etc/passwd'", 2, "/etc/passwd does not exist"),
        ("-- What?\nSELECT\n  count( FROM requests", 3, "syntax error"),
    ],
)
def test_what_is_wrong_with_a_question_is_told_with_its_line(
    tmp_path: Path, sql: str, line: int, said: str
) -> None:
    with pytest.raises(SpecError) as raised:
        raise_unaskable([question(tmp_path, sql)])
    assert str(raised.value).startswith(f"{tmp_path / 'mine.sql'}:{line}:")
    assert said in str(raised.value)


def test_what_goes_wrong_over_the_rows_alone_is_told_with_its_line(
    made: Path, tmp_path: Path
) -> None:
    mine = question(tmp_path, "-- What?\nSELECT\n  CAST(request_id AS INTEGER) AS id FROM requests")
    with (
        analysing({"": [open_bundle(made / "one")]}, [mine], Limits()) as analysis,
        pytest.raises(SpecError, match=r"mine\.sql:3:"),
    ):
        analysis.ask(mine)


@pytest.mark.parametrize("sql", ["SELECT * FROM read_text({})", "COPY (SELECT 1) TO {}"])
def test_nothing_beside_the_bundle_is_read_or_written(made: Path, tmp_path: Path, sql: str) -> None:
    beside = tmp_path / "beside"
    beside.write_text("a")
    changes = read_questions()["changes"]
    with analysing({"": [open_bundle(made / "one")]}, [changes], Limits()) as analysis:
        with pytest.raises(HarnessError, match="disabled by configuration"):
            analysis.rows(sql.format(f"'{beside}'"))
        with pytest.raises(HarnessError, match="locked"):
            analysis.rows("SET memory_limit = '10GB'")


def test_a_question_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    mine = question(tmp_path, "-- Mine?\nSELECT 1 AS one", "stages")
    assert (mine.asks, mine.path.parent) == ("Mine?", tmp_path)


def test_paths_are_names_of_files_whatever_they_look_like(made: Path, tmp_path: Path) -> None:
    odd = tmp_path / "it's [a] *?"
    odd.symlink_to(made / "one")
    changes = read_questions()["changes"]
    with analysing({"": [open_bundle(odd)]}, [changes], Limits()) as analysis:
        assert analysis.ask(changes).total == 5


def test_lines_in_another_order_have_the_same_answers(
    one: Path, all_answers: dict[str, Answer]
) -> None:
    for table in ("requests", "decisions", "events"):
        path = one / f"{table}.jsonl"
        shuffled = path.read_bytes().splitlines(keepends=True)
        random.Random(46).shuffle(shuffled)
        path.write_bytes(b"".join(shuffled))
    seal(one, "one", {})
    questions = [answer.question for answer in all_answers.values()]
    with analysing({"": [open_bundle(one)]}, questions, Limits()) as analysis:
        for asked in questions:
            assert analysis.ask(asked).rows == all_answers[asked.name].rows


def test_a_packed_bundle_has_the_same_answers(
    made: Path, tmp_path: Path, all_answers: dict[str, Answer]
) -> None:
    pack(open_bundle(made / "one"), tmp_path / "packed", Limits())
    packed = open_bundle(tmp_path / "packed")
    assert packed.name == "one"
    mine = question(
        tmp_path, "-- All?\nSELECT * FROM inputs ORDER BY request_id, n, place", "inputs"
    )
    questions = [mine, *(answer.question for answer in all_answers.values())]
    with analysing({"": [packed]}, questions, Limits()) as analysis:
        answers = {one.name: analysis.ask(one).rows for one in questions}
    with analysing({"": [open_bundle(made / "one")]}, [mine], Limits()) as analysis:
        assert answers.pop("inputs") == analysis.ask(mine).rows != []
    assert answers == {name: answer.rows for name, answer in all_answers.items()}
    assert {path.name for path in tmp_path.iterdir()} == {"packed", "inputs.sql"}
    with pytest.raises(HarnessError, match="is there already"):
        pack(packed, tmp_path / "packed", Limits())
