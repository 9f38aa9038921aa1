"""Requests and awaiting: what is recorded, what is expected, what is captured."""

from pathlib import Path

import msgspec
import pytest

from tests.builders.gate_runs import run_steps


def test_a_request_is_recorded_with_who_sent_what_to_whom(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {post: "/echo", json: {words: ["{greeting}", "{seed}"]}, headers: {x-more: "{greeting}"}}
            name: first
            as: user
            expect:
              status: 200
              headers: {Content-Length: present, X-Absent: absent}
              json: {method: POST, peer: 127.0.0.3, body: "/hello/", headers: {authorization: "/^Bearer /"}}
              outcome: ok
          - request: {get: "/echo"}
            as: reader
            expect: {json: {headers: {x-key: present, authorization: absent, content-length: absent}}}
          - request: {method: put, path: "/status/{code:int}", path_params: {"*": "204"}, as: nobody}
            expect: {status: 204}
          - request: {get: /text, body: raw}
            as: {bearer: "{greeting}-made-up", label: forger, role: nothing}
            to: other
            expect: {text: plain words, json: plain words, headers: {x-thing: "a, b"}}
        """,
        needs=["web", "other"],
    )
    assert evidence.details() == []
    first, second, third, fourth = evidence.requests()
    assert first["step"] == "first"
    assert (first["actor"], first["role"], first["process"], first["link"]) == (
        "user",
        "user",
        "web",
        None,
    )
    assert (first["method"], first["route"], first["status"]) == ("POST", "/echo", 200)
    assert first["request"] == {"words": ["hello", 46]}
    assert (second["actor"], second["role"]) == ("reader", "reading")
    assert second["request"] is None
    assert (third["actor"], third["method"]) == ("nobody", "PUT")
    assert (third["path"], third["route"]) == ("/status/204", "/status/{code:int}")
    assert (fourth["actor"], fourth["role"], fourth["process"]) == ("forger", "nothing", "other")
    assert (fourth["request"], fourth["response"]) == ("raw", "plain words")
    for row in evidence.requests():
        assert row["outcome"] == "ok"
        assert float(str(row["sent_ms"])) <= float(str(row["done_ms"]))


def test_no_secret_reaches_any_file(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {post: "/echo", json: {token: "{token.user}"}}
            as: user
            capture: {secret.echoed: $.body}
          - request: {get: "/echo"}
            as: {bearer: made-up-bearer-token, label: forger}
          - request: {get: /token}
            capture: {token.new: $.token}
          - request: {get: "/echo"}
            as: {bearer: "{token.new}", label: new}
          - run: "echo {token.user} {token.new}"
        """,
    )
    assert evidence.details() == []
    written = evidence.written()
    for secret in (b"trivial-token", b"made-up-bearer", b"issued-token"):
        assert secret not in written
    assert written.count(b"[redacted]") > 8
    seen = [(row["secret"], row["found_in"], row["found_seq"]) for row in evidence.rows("secrets")]
    assert seen == [
        ("token.user", "requests", 0),
        ("forger", "requests", 1),
        ("token.new", "requests", 2),
        ("token.new", "requests", 3),
        ("token.user", "commands", 0),
        ("token.new", "commands", 0),
        ("token.user", "output", None),
    ]


def test_captures_are_seen_by_later_steps_and_missing_ones_are_failures(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {get: /token}
            capture: {id: $.id, all: $, gone: "$.nobody[0]"}
          - request: {get: "/status/20{id}"}
            expect: {status: 207}
          - request: {post: /echo, json: "{all}"}
          - request: {get: "/{gone}"}
          - request: {get: /token}
            capture: {gone: $.nobody}
            expect: {status: 404}
        """,
    )
    assert evidence.outcomes() == [
        ("scenario.0", "failed"),
        ("scenario.1", "ok"),
        ("scenario.2", "ok"),
        ("scenario.3", "error"),
        ("scenario.4", "failed"),
    ]
    assert evidence.details() == [
        "nothing to capture at $.nobody[0]",
        "nothing has set the variable 'gone'",
        "status: expected 404, got 200; nothing to capture at $.nobody",
    ]
    assert len(evidence.requests()) == 4
    assert evidence.requests()[2]["request"] == {"token": "[redacted]", "id": 7}


def test_without_an_answer_the_request_stays_recorded(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - request: {post: /silence}
          - request: {post: /silence}
            expect: {status: 200}
          - request: {get: /readyz}
            to: other
            expect: {outcome: error}
        """,
    )
    told = [(row["status"], row["outcome"]) for row in evidence.requests()]
    assert told == [(None, "info"), (None, "info"), (None, "error")]
    assert [outcome for _, outcome in evidence.outcomes()] == ["ok", "failed", "ok"]
    (detail,) = evidence.details()
    assert str(detail).startswith("status: expected 200, got null; no answer: ")


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        (
            "request: {get: /readyz}\n            as: somebody",
            "target trivial has no actor 'somebody'",
        ),
        (
            "request: {get: /readyz}\n            to: nowhere",
            "target trivial has no process 'nowhere'",
        ),
        ("request: {get: /readyz}\n            via: a->b", "target trivial has no link 'a->b'"),
        (
            "request: {get: '/with space'}",
            "a path must be visible ASCII without spaces",
        ),
        ("request: {get: '/{x}', path_params: {y: z}}", "nothing has set the variable 'x'"),
        (
            "request: {get: /readyz}\n            expect: {exit: 0}",
            "this kind of step does not observe 'exit'",
        ),
        ("request: {}", "name exactly one method with its path"),
    ],
)
def test_what_cannot_be_sent_is_an_error_with_its_reason(
    tmp_path: Path, step: str, detail: str
) -> None:
    evidence = run_steps(tmp_path, f"scenario:\n          - {step}\n")
    assert evidence.outcomes() == [("scenario.0", "error")]
    assert str(evidence.details()[0]).startswith(detail)


def test_awaiting_asks_until_it_is_so_or_tells_the_last_mismatch(tmp_path: Path) -> None:
    evidence = run_steps(
        tmp_path,
        """
        scenario:
          - await: {get: /asked}
            name: enough
            every: 1ms
            expect: {json: {asked: "> 6"}}
            capture: {asked: $.asked}
          - await: {get: /asked}
            within: 500ms
            every: 5ms
            expect: {json: {asked: "< 0"}}
          - await: {get: /asked}
        """,
    )
    assert [outcome for _, outcome in evidence.outcomes()] == ["ok", "failed", "error"]
    tries = [row for row in evidence.requests() if row["step"] == "enough"]
    assert len(tries) > 3
    failed, wrong = evidence.details()
    assert str(failed).startswith("not within 500 ms: json.asked: expected < 0, got ")
    assert wrong == "`await` needs an `expect`"


@pytest.mark.parametrize(
    "said",
    [
        '{"status": "failed", "status": "ok"}',
        '{"number": 1.0, "big": 123456789012345678901234567890}',
        '{"echoed": "a \\"quoted\\" token: planted\\"quoted-token"}',
        "planted%22quoted-token and no JSON",
        "two\nlines",
        "",
    ],
)
def test_an_answer_is_the_same_evidence_whoever_asked(tmp_path: Path, said: str) -> None:
    path = f"/said/{said.encode().hex()}"
    evidence = run_steps(
        tmp_path,
        f"""
        scenario:
          - request: {{get: {path}}}
            as: {{bearer: 'planted"quoted-token', label: forger}}
          - load: calls
            as: {{bearer: 'planted"quoted-token', label: forger}}
            rate: 20/s
            for: 50ms
            send: {{get: {path}}}
        """,
    )
    assert evidence.details() == []
    responses = [
        line
        for file in evidence.directory.glob("responses*.jsonl")
        for line in file.read_bytes().splitlines()
    ]
    columns = [msgspec.json.decode(line, type=dict[str, msgspec.Raw]) for line in responses]
    assert len(columns) == 2
    assert bytes(columns[0]["response"]) == bytes(columns[1]["response"])
    assert bytes(columns[0]["headers"]) == bytes(columns[1]["headers"])
    assert b"quoted-token" not in b"".join(responses)
