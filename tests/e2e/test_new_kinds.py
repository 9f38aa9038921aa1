"""A kind of step and a fault that nobody has heard of: a file and a line each, and all of the harness knows them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gates.release.report import EXIT_PROMOTE, EXIT_SPEC
from tests.e2e.command import ROOT
from tests.e2e.conftest import Project

KNOCK = '''\
"""`knock`: connect to a process once."""

from collections.abc import Mapping

from chaos.engine.scope import Scope
from chaos.engine.ready import accepts
from chaos.spec.kind import Kind
from chaos.spec.step import Step


class Knock(Step, frozen=True, kw_only=True):
    """`knock: web` before `then`, steps that know whether it was `opened`."""

    knock: str
    then: list[Step]

    def bound(self) -> Mapping[str, object]:
        """What is known only when it is run."""
        return {"opened": "yes or no"}


async def run(step: Knock, scope: Scope) -> int:
    """Connect, then run the inner steps."""
    accepted = await accepts(scope.stack.host, scope.stack.port(scope.variables.text(step.knock)))
    scope.check(step.expect, {"accepted": int(accepted)})
    await scope.run_steps(step.then, "then", scope.variables.child({"opened": accepted}))
    return 1


KIND = Kind(
    "knock",
    Knock,
    run,
    observes=frozenset({"accepted"}),
    names={"knock": "process"},
    keeps=True,
)
'''

LAG = '''\
"""`lag`: answers come later."""

from collections.abc import Sequence
from typing import ClassVar

from chaos.faults.base import (
    Attributes,
    FaultKind,
    FaultStep,
    Manner,
    Pair,
    Signature,
    all_answered,
    answer_after,
    at_least,
    far_below,
    moves,
)
from chaos.spec.target import LinkSpec
from chaos.spec.units import Duration


class Lag(FaultStep, frozen=True, kw_only=True):
    """`lag: gateway->memory` with `by: 100ms`."""

    kind: ClassVar[str] = "lag"

    lag: str
    by: Duration

    def toxic(self) -> tuple[str, dict[str, int]]:
        """In milliseconds."""
        return "latency", {"latency": int(self.by.ms), "jitter": 0}

    def unseen_by(self, link: LinkSpec) -> str | None:
        """It takes an answer with a body."""
        return moves(self, link, 0, "")


def _clean(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    (pair,) = pairs
    return all_answered(pairs, link=True) or far_below(
        answer_after(pair.link), attributes["latency"], "the time through the link"
    )


def _holds(attributes: Attributes, pairs: Sequence[Pair]) -> str | None:
    (pair,) = pairs
    return all_answered(pairs, link=True) or at_least(
        answer_after(pair.link), attributes["latency"], "the time through the link"
    )


FAULT = FaultKind(Lag, Signature(clean=_clean, holds=_holds, manner=lambda _: Manner()))
'''

STEPS = """\
scenario:
  - knock: web
    expect: {accepted: 1}
    then:
      - request: {get: "/?open={opened}"}
        name: after the knock
        via: client->web
        expect: {status: 200}
  - {lag: client->web, by: 100ms, name: slow}
"""

SECTION = """
### `lag`

| key | what it says |
|---|---|
| `lag` `by` | the link, and how much later |
| `for` `direction` | as of any fault |

```yaml
- lag: client->web
  by: 100ms
```
"""


@pytest.fixture
def extended(project: Project) -> Project:
    """The small project beside a copy of the harness with a file and a line for each of the two."""
    root = project.directory
    for name in ("chaos", "gates"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder, file, text in (("steps", "knock", KNOCK), ("faults", "lag", LAG)):
        (root / "chaos" / folder / f"{file}.py").write_text(text, encoding="utf-8")
        table = root / "chaos" / folder / "__init__.py"
        before, after = table.read_text(encoding="utf-8").split("FILES: Final = (\n")
        table.write_text(f'{before}FILES: Final = (\n    "{file}",\n{after}', encoding="utf-8")
    project.change("gates/late.yaml", "scenario:\n", STEPS)
    project.change("gates/late.yaml", "  - {latency: client->web, delay: 100ms, name: slow}\n", "")
    return project


def test_a_gate_that_uses_them_is_explained_run_and_judged(extended: Project) -> None:
    lines = extended.command.finish("explain", "late", "--full").output.splitlines()
    begin = lines.index("- **knock** `web`; expect `accepted 1`")
    assert lines[begin + 1].startswith(
        "  - **request** `GET /?open={opened}`; name `after the knock`"
    )
    assert "- **lag** `client->web`; name `slow`; by `100ms`" in lines
    ended = extended.command.finish("run")
    assert ended.exit == EXIT_PROMOTE, ended.output
    (report,) = extended.directory.glob("runs/*/release/gate-report.json")
    (gate,) = json.loads(report.read_bytes())["gates"]
    (fault,) = gate["faults"]
    assert (gate["status"], fault["kind"], fault["proven"]) == ("PASS", "lag", True)


def test_what_is_wrong_with_them_is_told_before_a_run(extended: Project) -> None:
    for old, new in (
        ("knock: web", "knock: wbe"),
        ("{accepted: 1}", "{status: 200}\n    capture: {found: $.x}"),
        ("{opened}", "{openned}"),
        ("  - clear: slow\n", ""),
    ):
        extended.change("gates/late.yaml", old, new)
    extended.change("targets/files.yaml", "probe: {get: /}", "probe: {head: /}")
    ended = extended.command.finish("lint")
    assert ended.exit == EXIT_SPEC, ended.output
    told = " ".join(ended.output.split())
    for problem in (
        "unknown process 'wbe' in target 'files'",
        "`knock` does not observe 'status': it observes accepted",
        "`knock` has no answer to capture from",
        "unknown variable 'openned'",
        "this fault never ends",
        "its answer has no body to tell lag by",
    ):
        assert problem in told


def test_they_are_in_the_schemas_and_missed_in_the_guide(extended: Project) -> None:
    root = extended.directory
    assert extended.command.finish("schema").exit == EXIT_PROMOTE
    known = json.loads((root / "specs" / "schema" / "step.schema.json").read_bytes())["$defs"]
    assert known["Knock"]["required"] == ["knock", "then"]
    assert set(known["Lag"]["properties"]) >= {"lag", "by", "direction"}
    guide = root / "docs" / "authoring-gates.md"
    guide.parent.mkdir()
    written = (ROOT / "docs" / guide.name).read_text(encoding="utf-8")
    guide.write_text(written + SECTION, encoding="utf-8")
    test = Path("tests", "gates", "test_authoring_guide.py")
    (root / test).parent.mkdir(parents=True)
    shutil.copy(ROOT / test, root / test)
    missing = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--disable-plugin-autoload",
            "-rA",
            "-k",
            "every_kind",
            str(test),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    kind = f"{test}::test_every_kind_is_explained_with_all_its_options_and_an_example"
    assert f"PASSED {kind}[lag]" in missing
    assert f"FAILED {kind}[knock]" in missing
    assert missing.count("FAILED") == 1
