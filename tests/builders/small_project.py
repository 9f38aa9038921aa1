"""A whole project of specs that is right, to be made wrong in one place at a time."""

from collections.abc import Mapping
from pathlib import Path

from gates.spec.project import Project, read_project

RELEASE = """\
release: v1
title: t
contract_version: v1
contract: contract.json
target: shop
floor: 0
delta: 2
epics: [A]
config: {cache.size: 5}
source: [shop]
gates:
  - {id: A1, gate: first, class: delta, since: v1}
  - {id: A2, gate: second, class: delta, since: v1}
invariants: []
limits: []
"""

TARGET = """\
target: shop
source: [shop]
prepare:
  - run: "{python} -m shop init {state}"
    capture: {token.admin: $.token}
config: "{state}/shop.yaml"
actors:
  admin: {bearer: "{token.admin}"}
  nobody: {}
processes:
  web: {run: "{python} -m shop {port.web}", port: 8000, ready: GET /ready, env: {A: "{url.stock}"}}
  stock: {run: "{python} -m stock", port: 8001}
default: web
links:
  web->stock: {to: stock, env: STOCK_URL, probe: {get: /big}}
  client->web: {to: web}
exercise:
  - request: {get: /items}
    via: client->web
collect:
  - table: orders
    sqlite: "{state}/shop.db"
    columns: {id: BIGINT}
redact: ["key-[a-z]+"]
"""

SCENARIO = """\
scenario: restart
args: [process]
steps:
  - kill: "{process}"
  - start: "{process}"
"""

GATE = """\
gate: first
id: A1
class: delta
epic: A
title: t
why: w
target: shop
needs: [web, stock]
guards: [shop]
config: {cache: {size: 6}}
control:
  - request: {get: /ready}
    expect: {status: 200}
scenario:
  - request: {get: /token}
    as: admin
    capture: {token.new: $.token, routes: "$.routes[0]"}
  - repeat: {route: "{routes}", role: [admin, nobody]}
    steps:
      - request: {method: "{route.method}", path: "{route.path}"}
        as: "{role}"
        name: tried
  - load: many
    rate: 10/s
    for: 1s
    send: {get: "/items/{i}"}
    meanwhile:
      - cut: web->stock
        name: outage
      - pause: 100ms
      - clear: outage
  - use: restart
    with: {process: web}
  - query: "{state}/shop.db"
    sql: select 1 as one
  - await: {get: /ready}
    via: client->web
    expect: {json: {up: true}, text: /x/}
assert:
  - that: all is well
    from: requests where step = 'tried'
    at_least: 2
    every: status = 200
falsified_by:
  - defect: all is refused
    file: shop/app.py
    replace: "return True"
    with: "return False"
    fails: [all is well]
"""

SECOND = """\
gate: second
id: A2
class: delta
title: t
why: w
target: shop
isolation: shared
guards: [shop/app.py]
control: [{request: {get: /ready}}]
assert:
  - that: it answers
    from: requests
    at_least: 1
    every: status = 200
    killed_by_sham: true
"""

FILES: Mapping[str, str] = {
    "pyproject.toml": "",
    "shop/app.py": "def allowed() -> bool:\n    return True\n",
    "specs/release.yaml": RELEASE,
    "specs/targets/shop.yaml": TARGET,
    "specs/scenarios/restart.yaml": SCENARIO,
    "specs/gates/a/first.yaml": GATE,
    "specs/gates/second.yaml": SECOND,
}


def write_project(root: Path, changes: Mapping[str, str | None] | None = None) -> Path:
    """The files below `root`, some of them changed, added or left out; returns the directory of specs."""
    for name, content in {**FILES, **(changes or {})}.items():
        if content is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content, encoding="utf-8")
    return root / "specs"


def project(root: Path, changes: Mapping[str, str | None] | None = None) -> Project:
    """The project, read."""
    return read_project(write_project(root, changes))
