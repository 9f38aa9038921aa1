"""Every answer of a long conversation, word by word, and what it left in the audit log.

Gates look at what their claims are about. Here a change of any field, word, status or header shows, and is either a
mistake or made on purpose: `SNAPSHOT=write pytest tests/service/answers` writes the answers anew, to be reviewed.
"""

import http.client
import json
import math
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.yaml12 import CoreLoader
from tests.service.running import Answer, rows
from tests.service.stack import Stack

HERE = Path(__file__).parent
SAID = yaml.load((HERE / "conversation.yaml").read_text(encoding="utf-8"), CoreLoader)
LONG: Mapping[str, object] = {
    "longest_kind": "k" * 100,
    "longest_text": "t" * 32768,
    "quoted": "q" * 400,
    "longest_key": "i" * 255,
    "words": " ".join(f"w{number}" for number in range(63)),
    "messages": [{"role": "user", "content": "one"}] * 256,
    "too_many": [{"role": "user", "content": "one"}] * 257,
}
IDS = re.compile(r"\b(ses|task|turn|conf|run|tok|mem|req|boot|cli)_[0-9a-z]{16,24}\b")
SECRETS = re.compile(r"(<tok [0-9]+>)\.[\w-]{20,}")
PLACES = re.compile(r"\{([\w.]+)\}")
LATEST_MS = 1_000_000_000_000
"""A number above this is a point in time."""


class Normal:
    """Writes answers down so that two conversations give the same: ids by their order, times by what is left."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def of(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self.of(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, key) for item in value]
        if isinstance(value, str):
            return "<hmac>" if key.endswith("hmac") else self.text(value)
        if isinstance(value, int) and value > LATEST_MS:
            left_s = value / 1000 - time.time()
            return f"<in {math.ceil(left_s / 60)} min>" if left_s > 1 else "<by now>"
        if key.endswith("_in_ms") and isinstance(value, int):
            return f"<{math.ceil(value / 60_000)} min>"
        return value

    def text(self, value: str) -> str:
        named = IDS.sub(self._named, value)
        return shortened(SECRETS.sub(r"\1.<secret>", named))

    def _named(self, found: re.Match[str]) -> str:
        kind = found[1]
        number = 1 + sum(name.startswith(f"<{kind} ") for name in self._ids.values())
        return self._ids.setdefault(found[0], f"<{kind} {number}>")


def shortened(text: str) -> str:
    """Long runs of one letter are counted: the limits are what the long texts are about."""
    return re.sub(r"(\w)\1{50,}", lambda found: f"<{len(found[0])} {found[1]}>", text)


class Talk:
    """One conversation; `variables` are what answers gave."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        state = stack.gateway.state
        self._tokens = {each: getattr(state, each) for each in ("operator", "observer", "service")}
        self.variables: dict[str, object] = dict(LONG)

    def say(self, step: Mapping[str, Any]) -> Answer:
        request = self._filled(step["request"])
        actor = self._filled(step.get("as"))
        token = actor["bearer"] if isinstance(actor, dict) else self._tokens.get(str(actor))
        headers = dict(request.get("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = request.get("body")
        if "json" in request:
            body, headers["Content-Type"] = json.dumps(request["json"]), "application/json"
        method = next(verb for verb in request if verb not in {"headers", "json", "body"})
        answer = self._sent(step.get("to"), method.upper(), request[method], body, headers)
        for name, place in step.get("capture", {}).items():
            self.variables[name] = answer.json[place.removeprefix("$.")]
        return answer

    def _sent(
        self, to: str | None, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> Answer:
        port = self._stack.gateway.port if to is None else self._stack.ports[to]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, body and body.encode(), headers)
            answer = connection.getresponse()
            found = sorted((name.lower(), value) for name, value in answer.getheaders())
            return Answer(answer.status, dict(found), answer.read())
        finally:
            connection.close()

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if not isinstance(value, str):
            return value
        whole = PLACES.fullmatch(value)
        if whole is not None:
            return self.variables[whole[1]]
        return PLACES.sub(lambda found: str(self.variables[found[1]]), value)


def written(answer: Answer, path: str, normal: Normal) -> dict[str, object]:
    """An answer as it stands in the snapshot."""
    own = answer.headers["x-request-id"]
    left_out = {"date", "content-length", "connection", "x-request-id"}
    headers = {
        name: normal.text(value) for name, value in answer.headers.items() if name not in left_out
    }
    if "allow" in headers:
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
    body: Any = answer.body.decode()
    if "json" in answer.headers.get("content-type", ""):
        body = answer.json
        if isinstance(body, dict) and body.get("request_id") == own:
            body["request_id"] = "<its own>"
    body = normal.of(body)
    if path == "/v1/tokens" and "items" in body:
        # In the order of their ids, which is of no meaning.
        body["items"].sort(key=lambda item: (item["name"], item["id"]))
    return {"status": answer.status, "headers": headers, "body": body}


@pytest.fixture(scope="module")
def heard(stack: Stack) -> dict[str, object]:
    """What was answered, by the name of what was said, and then what the audit log has."""
    normal, talk = Normal(), Talk(stack)
    found = {
        step["name"]: written(talk.say(step), step["request"].get("get", ""), normal)
        for step in SAID
    }
    columns = "actor_id, actor_role, action, route, method, target, outcome, detail, effect_table"
    logged = rows(stack.gateway.state, f"SELECT {columns} FROM audit ORDER BY seq")
    audit = [normal.of([*row[:7], json.loads(row[7]), row[8]]) for row in logged]
    return {"answers": found, "audit": audit}


@pytest.mark.parametrize("what", ["answers", "audit"])
def test_what_is_said_and_written_is_as_it_was(what: str, heard: dict[str, Any]) -> None:
    path = HERE / f"{what}.json"
    if os.environ.get("SNAPSHOT") == "write":
        path.write_text(
            json.dumps(heard[what], indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    before = json.loads(path.read_text(encoding="utf-8"))
    if what == "answers":
        changed = {name: each for name, each in heard[what].items() if each != before.get(name)}
        assert changed == {name: before.get(name) for name in changed}
        assert list(before) == list(heard[what])
    else:
        assert heard[what] == before
