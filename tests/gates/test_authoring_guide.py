"""The guide to writing gates leaves nothing out, and all of its examples are right."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from chaos.spec.bounds import Bounds
from chaos.spec.loader import load
from chaos.spec.step import Bearer, Defaults, Expect, Send, Spec, Step
from chaos.spec.target import Actor, Collect, LinkSpec, Prepare, Probe, ProcessSpec, Target, View
from chaos.spec.units import Unit
from chaos.steps import BY_NAME
from chaos.steps.load import Stage
from chaos.steps.stream import Message
from gates.mutants.equivalent import Equivalent, Equivalents
from gates.spec.assertion import Assertion, Named
from gates.spec.gate import DataFile, Defect, Gate
from gates.spec.project import CHOOSERS
from gates.spec.release import Invariant, ListedGate, Release
from gates.spec.scenario import ScenarioFile
from gates.spec.schemas import SPECS, documented_fields, structs_below

GUIDE = (Path(__file__).parents[2] / "docs" / "authoring-gates.md").read_text(encoding="utf-8")

FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SECTIONS: Mapping[str, type[Struct]] = {
    "A gate": Gate,
    "Options of every step": Step,
    "Defaults": Defaults,
    "A data file": DataFile,
    "What a step expects": Expect,
    "A request": Send,
    "Who sends it": Bearer,
    "A stage of a load": Stage,
    "A message of a stream": Message,
    "Assertions": Assertion,
    "A named query": Named,
    "A defect": Defect,
    "Equivalent mutants": Equivalents,
    "An equivalent mutant": Equivalent,
    "A target": Target,
    "Preparing": Prepare,
    "Actors": Actor,
    "Processes": ProcessSpec,
    "Links": LinkSpec,
    "Probes": Probe,
    "Tables of its own": Collect,
    "Views": View,
    "A scenario file": ScenarioFile,
    "The release": Release,
    "Bounds": Bounds,
    "Listed gates": ListedGate,
    "Invariants": Invariant,
}


class Steps(Spec, frozen=True, kw_only=True):
    """What an example that begins with a dash is."""

    steps: list[Step]


class Assertions(Spec, frozen=True, kw_only=True):
    """What an example of a part of a gate is."""

    assert_: list[Assertion] = []
    host: list[Assertion] = []
    with_: dict[str, Named] = {}
    falsified_by: list[Defect] = []


def sections() -> dict[str, str]:
    """Text by heading, up to the next heading of any depth."""
    parts = re.split(r"^#{1,4} (.+)$", GUIDE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples(text: str) -> list[str]:
    return re.findall(FENCED, text)


def undocumented(struct: type[Struct], text: str, without: set[str]) -> list[str]:
    known = set(re.findall(r"`([^`\n]+)`", re.sub(FENCED, "", text)))
    return [field for field in documented_fields(struct) if field not in known | without]


def test_every_struct_has_its_section() -> None:
    kinds = {kind.spec for kind in BY_NAME.values()}
    roots = {*SPECS.values(), *kinds}
    missing = (
        {struct for root in roots for struct in structs_below(root)}
        - kinds
        - set(SECTIONS.values())
    )
    assert missing == set()


@pytest.mark.parametrize(("title", "struct"), SECTIONS.items())
def test_every_field_of_a_struct_is_explained(title: str, struct: type[Struct]) -> None:
    assert undocumented(struct, sections()[title], set()) == []


@pytest.mark.parametrize("name", BY_NAME)
def test_every_kind_is_explained_with_all_its_options_and_an_example(name: str) -> None:
    section = sections()[f"`{name}`"]
    common = set(documented_fields(Step)) | {name}
    assert undocumented(BY_NAME[name].spec, section, common) == []
    assert any(re.search(rf"\b{name}:\s", example) for example in examples(section))


@pytest.mark.parametrize("field", documented_fields(Expect))
def test_what_a_step_expects_is_what_its_kind_observes(field: str) -> None:
    (row,) = re.findall(
        rf"^\| `{field}` \| (.*?) \|", sections()["What a step expects"], re.MULTILINE
    )
    assert set(row.split(", ")) == {one.name for one in BY_NAME.values() if field in one.observes}


@pytest.mark.parametrize("example", examples(GUIDE), ids=lambda text: text.partition("\n")[0])
def test_every_example_is_right(example: str, tmp_path: Path) -> None:
    first = example.partition(":")[0]
    struct = {"gate": Gate, "target": Target, "scenario": ScenarioFile}.get(first, Assertions)
    if first.startswith("-"):
        struct, example = Steps, "steps:\n" + example
    path = tmp_path / "example.yaml"
    path.write_text(example, encoding="utf-8")
    value, _ = load(path, struct, CHOOSERS)
    if isinstance(value, Steps):
        assert [step.problem() for step in value.steps] == [None] * len(value.steps)


def test_every_unit_is_explained() -> None:
    text = sections()["Units"]
    written = re.findall(r"`([^`]+)`", text)
    for unit in (one for base in Unit.__subclasses__() for one in (base, *base.__subclasses__())):
        assert [word for word in written if re.fullmatch(unit.PATTERN, word)], unit.__name__


def test_links_inside_the_guide_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in sections()}
    for anchor in re.findall(r"\]\(#([^)]+)\)", GUIDE):
        assert anchor in anchors


def test_no_option_is_named_like_a_kind() -> None:
    for kind in BY_NAME.values():
        names = {field.encode_name for field in msgspec.structs.fields(kind.spec)}
        assert names & set(BY_NAME) == {kind.name}
