"""Draws the pictures of docs/scenarios.md: each example there is run as a gate, and its evidence drawn.

`python scripts/docs/scenarios.py` draws all, `… flap storm` those.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "scenarios.md"
PICTURES = ROOT / "docs" / "scenarios"
STYLE = ROOT / "gates" / "html" / "templates" / "page.css"
_SECTION = re.compile(r"^## (\S+)\n(?:(?!## ).*\n)*?```yaml\n((?:.*\n)*?)```$", re.MULTILINE)
_READ = re.compile(r"^to read: (.+)$", re.MULTILINE)

PROBE = (
    "client->gateway: {to: gateway, probe: {get: /readyz}}",
    "client->gateway: {to: gateway, probe: {get: /v1/routes, as: observer}}",
)
"""What proves faults on the client's link: few bytes a second are told by an answer that has many."""

GATE = """\
gate: {name}
id: P{number}
class: delta
title: The example of {name}
why: A picture says what a scenario does
target: sonia
needs: [gateway, model, memory]
control:
  - request: {{get: /healthz}}
    expect: {{status: 200}}
scenario:
{steps}
assert:
  - that: it was asked what the picture shows
    from: requests where load is not null
    at_least: 100
    every: sent_ms > 0
    killed_by_sham: true
"""


def examples() -> dict[str, str]:
    """The example of each scenario as a gate, by the scenario's name."""
    found = _SECTION.findall(PAGE.read_text(encoding="utf-8"))
    return {
        name: GATE.format(name=name, number=number, steps=steps)
        for number, (name, steps) in enumerate(found, 1)
    }


def write_specs(directory: Path) -> None:
    """A directory of specs whose gates are the examples."""
    for shared in ("targets", "scenarios"):
        shutil.copytree(ROOT / "specs" / shared, directory / shared)
    target = directory / "targets" / "sonia.yaml"
    text = target.read_text(encoding="utf-8")
    target.write_text(text.replace(*PROBE), encoding="utf-8")
    (directory / "gates").mkdir()
    for name, gate in examples().items():
        (directory / "gates" / f"{name}.yaml").write_text(gate, encoding="utf-8")


def picture(page: str, name: str) -> str:
    """The timeline of one gate in the page of a run, as a file of its own."""
    section = re.split(rf'id="gate-p\d+-{name}"', page, maxsplit=1)[1]
    svg = section[section.index("<svg xmlns") :]
    svg = svg[: svg.index("</svg>") + len("</svg>")]
    return svg.replace(">", f"><style>\n{_style()}</style>", 1)


def _style() -> str:
    """Those lines of the page's style that say how a timeline looks, in light and in the dark."""
    css = STYLE.read_text(encoding="utf-8")
    colours = css[: css.index("}\n}") + len("}\n}")]
    shapes = [line for line in css.splitlines() if re.match(r"svg |\.[a-z]-", line)]
    return "\n".join([colours, *shapes])


def main(names: list[str]) -> None:
    """Run the examples one after the other, with nothing beside them, and draw what was recorded."""
    (ROOT / "runs").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "runs", prefix="pictures-") as directory:
        specs = Path(directory) / "specs"
        write_specs(specs)
        gates = names or list(examples())
        command = [sys.executable, "-m", "gates", "run", *gates, "--specs", specs, "--workers", "1"]
        run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        print(run.stdout)
        written = _READ.search(run.stdout)
        if written is None:
            sys.exit("there is no page to take pictures from")
        page = Path(written[1]).read_text(encoding="utf-8")
        for name in gates:
            (PICTURES / f"{name}.svg").write_text(picture(page, name) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
