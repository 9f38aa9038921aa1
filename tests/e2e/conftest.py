"""A small project of its own: one server that nobody here wrote, one gate that puts a fault on its link."""

from pathlib import Path

import pytest

from tests.e2e.command import Command

SERVER = '"{python} -m http.server --bind 127.0.0.1 --directory {state} {port.web}"'

TARGET = f"""
target: files
processes:
  web:
    run: {SERVER}
    port: 8080
    ready: GET /
actors:
  somebody: {{}}
links:
  client->web: {{to: web, probe: {{get: /}}}}
exercise:
  - request: {{get: /}}
    via: client->web
"""

GATE = """
gate: late
id: G1
class: delta
title: The list of files is served, late over a slow link
why: A check of the harness
target: files
control:
  - request: {get: /}
    via: client->web
    expect: {status: 200}
scenario:
  - {latency: client->web, delay: 100ms, name: slow}
  - load: calls
    via: client->web
    rate: 20/s
    for: 1500ms
    send: {get: /}
  - clear: slow
assert:
  - that: calls were late
    from: requests where list_contains(during, 'slow')
    at_least: 20
    every: status = 200 and service_ms >= 95
    killed_by_sham: true
"""


class Project:
    """Its specs as texts, and the command line beside them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.command = Command(directory)
        self.write("targets/files.yaml", TARGET)
        self.write("gates/late.yaml", GATE)

    def write(self, name: str, text: str) -> None:
        """Write one file of the specs."""
        path = self.directory / "specs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        """Replace the first occurrence of a text."""
        text = (self.directory / "specs" / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def add_gate(self, name: str, gate_id: str) -> None:
        """The same gate once more under another name."""
        text = (self.directory / "specs" / "gates" / "late.yaml").read_text(encoding="utf-8")
        renamed = text.replace("gate: late", f"gate: {name}").replace("id: G1", f"id: {gate_id}")
        self.write(f"gates/{name}.yaml", renamed)

    def evidence(self, table: str) -> list[Path]:
        """Files of one table that any gate has recorded so far."""
        return list(self.directory.glob(f"runs/*/gates/0/[!e]*/{table}.jsonl"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose gate passes."""
    return Project(tmp_path)
