"""Evidence that is whole, in order, without secrets, and closed by what was written."""

import asyncio
import base64
import hashlib
import html
import json
import re
import resource
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaos.errors import RecordingError
from chaos.evidence import schema
from chaos.evidence.recorder import NULL, Recorder, as_json, count_and_digest
from chaos.evidence.redaction import Redactor

SECRET = "tok-123456.abcdef"


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "run", "r1", "g1", ["sk-[a-z0-9]{6}"])


def rows(recorder: Recorder, file: str) -> list[dict[str, object]]:
    lines = (recorder.directory / f"{file}.jsonl").read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def add_row(recorder: Recorder, name: str = "q", row: object = None) -> int:
    return recorder.add(
        schema.QueryRow, query=name, vars=NULL, snapshot=0, row=as_json(row), queried_ms=1.5
    )


def test_rows_carry_the_run_and_their_number(recorder: Recorder) -> None:
    assert [add_row(recorder), add_row(recorder, row={"a": 1})] == [0, 1]
    assert rows(recorder, "rows") == [
        {
            "run_id": "r1",
            "gate": "g1",
            "seq": 0,
            "query": "q",
            "vars": None,
            "snapshot": 0,
            "row": None,
            "queried_ms": 1.5,
        },
        {
            "run_id": "r1",
            "gate": "g1",
            "seq": 1,
            "query": "q",
            "vars": None,
            "snapshot": 0,
            "row": {"a": 1},
            "queried_ms": 1.5,
        },
    ]


def test_a_row_is_with_the_kernel_before_add_returns(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from chaos.evidence import schema\n"
        "from chaos.evidence.recorder import Recorder\n"
        "Recorder(Path(sys.argv[1]), 'r', 'g', []).add(schema.Closing, file='x', lines=1, sha256='y')\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], timeout=20, check=False)
    assert b'"sha256":"y"}\n' in (tmp_path / "closings.jsonl").read_bytes()


def test_numbers_are_reserved_for_rows_that_are_written_elsewhere(recorder: Recorder) -> None:
    add_row(recorder)
    assert recorder.reserve("rows", 5) == range(1, 6)
    assert recorder.reserve("requests", 2) == range(2)
    assert add_row(recorder) == 6
    assert recorder.reserve("rows", 0) == range(7, 7)


def test_a_completion_has_the_number_of_its_intent(recorder: Recorder) -> None:
    columns = {
        "status": 200,
        "outcome": "ok",
        "error": None,
        "done_ms": 1.0,
        "response": NULL,
        "headers": NULL,
    }
    assert recorder.add(schema.Response, seq=41, **columns) == 41
    assert rows(recorder, "responses")[0]["seq"] == 41
    assert recorder.reserve("responses", 1) == range(1)


def test_a_table_of_the_targets_own_has_a_file_of_its_own(recorder: Recorder) -> None:
    recorder.add_collected("audit", {"actor": "a"})
    assert rows(recorder, "collected.audit") == [
        {"run_id": "r1", "gate": "g1", "seq": 0, "actor": "a"}
    ]


def test_evidence_of_another_run_is_never_added_to(recorder: Recorder) -> None:
    add_row(recorder)
    other = Recorder(recorder.directory, "r2", "g1", [])
    with pytest.raises(RecordingError, match=r"cannot record to rows.jsonl: File exists"):
        add_row(other)
    assert len(rows(recorder, "rows")) == 1


def test_rows_of_threads_do_not_mix(recorder: Recorder) -> None:
    async def run() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(add_row, recorder, "q", "x" * 500) for _ in range(200))
        )

    asyncio.run(run())
    assert sorted(int(str(row["seq"])) for row in rows(recorder, "rows")) == list(range(200))


def test_the_closing_rows_speak_of_every_file_and_are_the_last(recorder: Recorder) -> None:
    add_row(recorder)
    add_row(recorder)
    (recorder.directory / "requests.load.jsonl").write_bytes(b"{}\n{}\n{}\n")
    recorder.close()
    closings = {row["file"]: (row["lines"], row["sha256"]) for row in rows(recorder, "closings")}
    assert closings == {
        path.name: (path.read_bytes().count(b"\n"), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in recorder.directory.glob("r*.jsonl")
    }
    with pytest.raises(RecordingError, match=r"rows.jsonl: the evidence of this run is closed"):
        add_row(recorder)


def test_lines_and_digest_of_a_file_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\nbc\n" * 1000 + b"no end")
    assert count_and_digest(path, 7) == (2000, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match=r"cannot record in .*/file/x: Not a directory"):
        Recorder(tmp_path / "file" / "x", "r", "g", [])


@contextmanager
def no_file_above(size_bytes: int) -> Iterator[None]:
    """What a full disk is to a writer; Python ignores SIGXFSZ, so that writing fails instead."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_loses_nothing_that_was_recorded(recorder: Recorder) -> None:
    add_row(recorder)
    size = (recorder.directory / "rows.jsonl").stat().st_size
    # The first one fits in part, the second one not at all.
    for limit in (size + 10, size):
        with (
            no_file_above(limit),
            pytest.raises(RecordingError, match=r"cannot record to rows.jsonl: "),
        ):
            add_row(recorder)
    assert add_row(recorder, "after") == 3
    assert [row["query"] for row in rows(recorder, "rows")] == ["q", "after"]


def test_known_secrets_and_patterns_reach_no_file(recorder: Recorder) -> None:
    for secret in (SECRET, SECRET, "short"):
        recorder.keep_secret(secret, "token.x")
    assert recorder.secrets == {SECRET: "token.x"}
    add_row(recorder, f"a {SECRET} b", {SECRET: [f"x{SECRET}", "sk-abc123", "short"]})
    recorder.add_collected("audit", {"token": SECRET})
    written = b"".join(path.read_bytes() for path in recorder.directory.iterdir())
    assert SECRET.encode() not in written
    assert b"sk-abc123" not in written
    (row,) = rows(recorder, "rows")
    assert row["query"] == "a [redacted] b"
    assert row["row"] == {"[redacted]": ["x[redacted]", "[redacted]", "short"]}
    assert recorder.redact(SECRET.encode() + b"!") == b"[redacted]!"


def test_a_secret_that_is_learnt_later_is_kept_from_then_on(recorder: Recorder) -> None:
    add_row(recorder, SECRET)
    recorder.keep_secret(SECRET, "token.x")
    add_row(recorder, SECRET)
    assert [row["query"] for row in rows(recorder, "rows")] == [SECRET, "[redacted]"]


def test_a_number_that_is_a_secret_is_redacted_where_somebody_said_it(recorder: Recorder) -> None:
    recorder.keep_secret("12345678", "secret.pin")
    recorder.add(
        schema.QueryRow,
        query="q",
        vars=NULL,
        snapshot=0,
        row=as_json({"pin": 12345678}),
        queried_ms=12345678.0,
    )
    (row,) = rows(recorder, "rows")
    assert row["row"] == {"pin": "[redacted]"}
    assert row["queried_ms"] == 12345678.0


def test_a_pattern_that_is_too_greedy_does_not_break_the_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "r1", "g1", ["Bearer .*"])
    add_row(recorder, "x", {"a": "Bearer abc", "b": 1})
    (row,) = rows(recorder, "rows")
    assert row["row"] == {"a": "[redacted]", "b": 1}


SECRETS = st.text(min_size=8, max_size=20)


@given(SECRETS, st.text("ab ", max_size=5), st.integers(0, 2))
# What begins an escape of URLs, in a text with one of JSON.
@example("000000\x1f%", "aa", 0)
@example("&#97;\x1f%<", "aa", 1)
def test_a_secret_is_found_however_often_it_is_quoted(secret: str, around: str, times: int) -> None:
    value: object = around + secret + around
    for _ in range(times):
        value = msgspec.json.encode({"x": value}).decode()
    line = msgspec.json.encode({"row": value})
    redacted = Redactor({secret: "x"}, []).redact_line(line)
    text = msgspec.json.decode(redacted)["row"]
    for _ in range(times):
        text = msgspec.json.decode(text)["x"]
    assert secret not in text.replace("[redacted]", "")


ODD = 'tök"en\\/<&> + 0123'
PLAIN = "tok-en.0123456789_ABCDEF"
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "json": json.dumps,
    "json in utf-8": lambda text: json.dumps(text, ensure_ascii=False),
    "json of a browser": lambda text: json.dumps(text).replace("/", "\\/").replace("<", "\\u003C"),
    "json, every character": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "json in json in json": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "every byte in hexadecimal": lambda text: "".join(f"\\x{each:02x}" for each in text.encode()),
    "percent": urllib.parse.quote,
    "percent, all": lambda text: urllib.parse.quote(text, safe=""),
    "percent, lower case": lambda text: re.sub(
        "%..", lambda found: found[0].lower(), urllib.parse.quote(text, safe="")
    ),
    "percent, every byte": lambda text: "".join(f"%{each:02x}" for each in text.encode()),
    "percent, twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe="")),
    "form": urllib.parse.quote_plus,
    "html": html.escape,
    "html, every character": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "html, in decimals": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal in capitals": lambda text: text.encode().hex().upper(),
    "basic": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 of a url": lambda text: base64.urlsafe_b64encode(f"x{text}y".encode()).decode(),
    "half and half": lambda text: (
        urllib.parse.quote(text[:6], safe="") + "".join(f"\\u{ord(each):04x}" for each in text[6:])
    ),
}


@pytest.mark.parametrize("secret", [ODD, PLAIN])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_planted_secret_is_found_in_every_spelling(
    tmp_path: Path, secret: str, encoding: str
) -> None:
    spelt = ENCODINGS[encoding](secret)
    recorder = Recorder(tmp_path, "r1", "g1", [])
    recorder.keep_secret(secret, "token.x")
    for value in (spelt, {"a": [f"before {spelt} after"]}, {spelt: 1}, json.dumps({"b": spelt})):
        add_row(recorder, "x", value)
    clean = [row["row"] for row in rows(recorder, "rows")]
    # What is left are quotes, and letters of base64 that it shares with its neighbours.
    assert len(re.sub(r"[\"'\\]", "", str(clean[0]))) <= len("[redacted]") + 12
    assert clean[1] == {"a": [f"before {clean[0]} after"]}
    assert clean[2] == {clean[0]: 1}
    assert json.loads(str(clean[3])) == {"b": clean[0]}
    assert {row["secret"] for row in rows(recorder, "secrets")} == {"token.x"}
    assert len(rows(recorder, "secrets")) == 4


def test_what_surrounds_a_secret_stays() -> None:
    redactor = Redactor({PLAIN: "x"}, ["[a-z]{3}-[0-9]{4}"])
    line = f'{{"a":"100% &amp; \\"{PLAIN}\\" \\u00e9","b":"abc-1234 {PLAIN}{PLAIN}"}}'
    assert redactor.redact(line.encode()).decode() == line.replace(PLAIN, "[redacted]").replace(
        "abc-1234", "[redacted]"
    )


def test_many_secrets_are_all_known() -> None:
    secrets = {f"secret-number-{number:04}-of-many": f"s{number}" for number in range(200)}
    redactor = Redactor(secrets, [])
    text = " ".join(secrets).encode()
    assert redactor.redact(text) == b" ".join([b"[redacted]"] * 200)
    assert redactor.found(text) == list(secrets.values())
    assert redactor.found(b"secret-number-0007-of-none") == []


def test_what_became_known_as_a_secret_too_late_is_gone_when_the_run_is_closed(
    recorder: Recorder,
) -> None:
    add_row(recorder, "x", {"a": SECRET})
    (recorder.directory / "responses.turns.jsonl").write_bytes(
        b'{"run_id":"r1","gate":"g1","seq":5,"response":"%b","headers":null}\n' % SECRET.encode()
    )
    recorder.keep_secret(SECRET, "token.x")
    recorder.close()
    files = [path.read_bytes() for path in recorder.directory.iterdir()]
    assert not any(SECRET.encode() in data for data in files)
    seen = [(row["secret"], row["found_in"], row["found_seq"]) for row in rows(recorder, "secrets")]
    assert seen == [("token.x", "requests", 5), ("token.x", "rows", 0)]
    closed = {row["file"]: row["sha256"] for row in rows(recorder, "closings")}
    for name, digest in closed.items():
        assert hashlib.sha256((recorder.directory / str(name)).read_bytes()).hexdigest() == digest
    assert set(closed) == {"rows.jsonl", "responses.turns.jsonl", "secrets.jsonl"}


@given(SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_a_secret_is_found_in_base64_wherever_it_begins(
    secret: str, before: bytes, after: bytes
) -> None:
    data = before + secret.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        redacted = Redactor({secret: "x"}, []).redact(encode(data))
        # What is left of it are the letters that it shares with its neighbours.
        assert b"[redacted]" in redacted
        assert len(redacted) - len(b"[redacted]") <= 4 * (len(before) + len(after) + 4) // 3 + 4


PATTERN = r"(?:[a-z]+)\.([a-z0-9]{12})"
WHOLE = "tok.abcdef012345"


def seen(recorder: Recorder) -> list[tuple[object, ...]]:
    return [
        (row["secret"], row["found_in"], row["found_seq"], row["found_at"])
        for row in rows(recorder, "secrets")
    ]


def test_a_part_of_a_secret_is_one_too(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "r1", "g1", [PATTERN])
    recorder.keep_secret(WHOLE, "token.x")
    assert recorder.secrets == {WHOLE: "token.x", "abcdef012345": "token.x"}
    add_row(recorder, row=f"{WHOLE} and abcdef012345")
    assert rows(recorder, "rows")[0]["row"] == "[redacted] and [redacted]"
    assert seen(recorder) == [("token.x", "rows", 0, "row")]


def test_where_the_target_let_a_secret_out_is_a_row(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "r1", "g1", [PATTERN])
    recorder.keep_secret(WHOLE, "token.x")
    recorder.keep_secret("other-secret", "secret.y")
    answer = {"status": 200, "outcome": "ok", "error": None, "done_ms": 1.0}
    headers = as_json({"set-cookie": f"a={WHOLE}; b=other-secret; c=more.0123456789ab"})
    recorder.add(schema.Response, seq=5, response=as_json({"a": 1}), headers=headers, **answer)
    recorder.add_collected("audit", {"actor": "a", "detail": f"by {WHOLE}"})
    recorder.look_for_secrets(b"nothing", "files", "a.txt")
    recorder.look_for_secrets(f"x{WHOLE}".encode(), "files", "b/c.txt")
    assert seen(recorder) == [
        ("token.x", "requests", 5, "headers"),
        ("secret.y", "requests", 5, "headers"),
        (None, "requests", 5, "headers"),
        ("token.x", "audit", 0, "detail"),
        ("token.x", "files", None, "b/c.txt"),
    ]


def test_what_the_harness_says_itself_lets_nothing_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "r1", "g1", [])
    recorder.keep_secret(SECRET, "token.x")
    frame = {"stream": SECRET, "vars": NULL, "actor": None, "size": 0, "code": None}
    said = {"json": as_json(SECRET), "headers": NULL, "frame_ms": 1.0}
    for direction in ("out", "in"):
        recorder.add(schema.Frame, direction=direction, kind="text", **frame, **said)
    add_row(recorder, SECRET)
    step = {"kind": "request", "name": None, "began_ms": 0.0, "ended_ms": 1.0}
    recorder.add(schema.Step, step="scenario.0", outcome="failed", detail=SECRET, **step)
    assert seen(recorder) == [("token.x", "frames", 1, "json")]


def test_every_table_can_be_written(recorder: Recorder) -> None:
    examples: dict[object, object] = {
        str: "x",
        int: 1,
        float: 1.0,
        bool: True,
        msgspec.Raw: NULL,
        list[str]: ["x"],
    }
    for table, struct in schema.TABLES.items():
        columns = {}
        for name, hint in struct.__annotations__.items():
            columns[name] = examples.get(hint)
        recorder.add(struct, **columns)
        assert rows(recorder, table)[0]["gate"] == "g1"
