"""What is sent, and the line that says so beforehand."""

from pathlib import Path

import msgspec
import pytest

from chaos.evidence import schema
from chaos.evidence.redaction import Redactor
from chaos.load.messages import Choice, Redact, Template, seeded_uuid
from chaos.load.plan import Message, Plan, Rates, Stage
from tests.builders.load_runs import plan_for

PLAN = plan_for(Path("evidence"), 8000, Rates([Stage(1, 1)]))


def render(
    message: Message, plan: Plan = PLAN, index: int = 12, redact: Redact = bytes
) -> tuple[schema.Request, bytes]:
    template = Template(message, plan, redact)
    line, data = template.render(112, index, 1.5, 2.25)
    assert line.endswith(b"}\n")
    columns = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    assert set(columns) == set(schema.raw_columns("requests"))
    return msgspec.json.decode(line, type=schema.Request), data


def post(body: str | None, path: str = "/x") -> Message:
    return Message(
        method="POST", path=path, route=path, headers=[("X-Id", "{uuid}")], body=body, actor="a"
    )


def test_a_message_without_variables() -> None:
    row, data = render(Message(method="GET", path="/a%20b?c", route="/a%20b?c"))
    assert data == b"GET /a%20b?c HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n"
    assert (row.run_id, row.gate, row.seq, row.step) == (
        PLAN.run_id,
        "some-gate",
        112,
        "scenario.0",
    )
    assert (row.load, row.actor, row.role, row.process) == ("turns", None, None, "gateway")
    assert (row.intended_ms, row.sent_ms) == (1.5, 2.25)
    assert (row.path, bytes(row.request), bytes(row.vars)) == ("/a%20b?c", b"null", b'{"i":12}')


def test_variables_are_filled_everywhere() -> None:
    row, data = render(post('{"text":"no {i} of {uuid}, 100%"}', "/x/{i}?q=%7B{i}"))
    head, body = data.split(b"\r\n\r\n")
    unique = seeded_uuid(b"7/turns/", 12).decode()
    assert head.startswith(b"POST /x/12?q=%7B12 HTTP/1.1\r\n")
    assert f"X-Id: {unique}\r\n".encode() in head
    assert body.decode() == f'{{"text":"no 12 of {unique}, 100%"}}'
    assert f"Content-Length: {len(body)}".encode() in head
    assert row.path == "/x/12?q=%7B12"
    assert row.route == "/x/{i}?q=%7B{i}"
    assert bytes(row.request) == body


@pytest.mark.parametrize("index", [0, 9, 10, 99_999])
def test_the_length_follows_the_variables(index: int) -> None:
    _, data = render(post("{i}{i}"), index=index)
    head, body = data.split(b"\r\n\r\n")
    assert body == b"%d%d" % (index, index)
    assert b"Content-Length: %d" % len(body) in head


@pytest.mark.parametrize(
    ("body", "recorded"),
    [
        ("{i}", 12),
        ('{"n":{i}}', {"n": 12}),
        ('{"n":\n{i}}', {"n": 12}),
        ("no {i}", "no 12"),
        ('a "quoted"\nline {i}', 'a "quoted"\nline 12'),
        ("", None),
    ],
)
def test_a_body_is_recorded_as_json_once_its_variables_are_filled(
    body: str, recorded: object
) -> None:
    row, data = render(post(body))
    assert msgspec.json.decode(row.request) == recorded
    assert data.endswith(body.replace("{i}", "12").encode())


def test_the_variables_around_the_load_are_kept() -> None:
    plan = msgspec.structs.replace(PLAN, vars=msgspec.Raw(b'{"role":"observer"}'))
    row, _ = render(post(None), plan)
    assert msgspec.json.decode(row.vars) == {"role": "observer", "i": 12}


def test_secrets_are_sent_but_never_recorded() -> None:
    redact = Redactor({"s3cret-token": "token.x"}, [r"sk_[a-z]+"]).redact
    message = Message(
        method="POST",
        path="/x?key=s3cret-token",
        route="/x",
        headers=[("Authorization", "Bearer s3cret-token")],
        body='{"key":"sk_abc","i":{i}}',
    )
    row, data = render(message, redact=redact)
    assert row.path == "/x?key=[redacted]"
    assert msgspec.json.decode(row.request) == {"key": "[redacted]", "i": 12}
    assert data.count(b"s3cret-token") == 2
    assert b"sk_abc" in data


def test_uuids_repeat_with_their_seed_only() -> None:
    assert seeded_uuid(b"1/a/", 5) == seeded_uuid(b"1/a/", 5)
    many = {seeded_uuid(seed, index) for seed in (b"1/a/", b"2/a/") for index in range(100)}
    assert len(many) == 200
    assert all(value[14:15] == b"8" and value[19:20] in b"89ab" for value in many)


def test_what_would_end_a_header_is_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        render(Message(method="GET", path="/", route="/", headers=[("X", "a\r\nY: b")]))


def test_the_choice_among_several_repeats_with_its_seed() -> None:
    templates = [Template(post(None, f"/{name}"), PLAN, bytes) for name in "abc"]
    first, second, other = (Choice(templates, seed) for seed in (1, 1, 2))
    chosen = [first.next() for _ in range(50)]
    assert chosen == [second.next() for _ in range(50)]
    assert chosen != [other.next() for _ in range(50)]
    assert set(chosen) == set(templates)
