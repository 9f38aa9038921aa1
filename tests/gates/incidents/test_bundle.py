"""A damaged bundle is told with file and line, and with what to do; nothing is answered about it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gates.incidents.analysis import Limits, analysing
from gates.incidents.bundle import BundleError, open_bundle
from gates.incidents.questions import read_questions
from tests.builders.incidents import seal

COUNTS = {"requests": 300}


def cut_last_line(bundle: Path) -> str:
    path = bundle / "decisions.jsonl"
    lines = path.read_bytes()
    path.write_bytes(lines[:-30])
    return f"{path}:{len(lines.splitlines())}: it has "


def add_a_line(bundle: Path) -> str:
    path = bundle / "requests.jsonl"
    path.write_bytes(path.read_bytes() + b"{}\n")
    return f"{path}:301: it has "


def remove_a_file(bundle: Path) -> str:
    (bundle / "events.jsonl").unlink()
    return f"{bundle / 'events.jsonl'}: there is no events.jsonl in this bundle"


def change_a_byte(bundle: Path) -> str:
    path = bundle / "requests.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"failed"', b'"failee"', 1))
    return f"{bundle / 'manifest.json'}:{line_of(bundle, 'requests.jsonl') + 1}: requests.jsonl has another digest"


def change_the_config(bundle: Path) -> str:
    path = bundle / "config.json"
    path.write_bytes(path.read_bytes().replace(b"2000", b"9000"))
    return (
        f"{bundle / 'manifest.json'}:{line_of(bundle, 'config.json') + 1}: config.json has another"
    )


def write_no_row(bundle: Path) -> str:
    path = bundle / "decisions.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[6] = lines[6].replace(b'"took_us":', b'"took_us":"long",_":')
    path.write_bytes(b"\n".join(lines))
    seal(bundle, "one", COUNTS)
    return f"{path}:7: this line is not one of decisions: "


def write_another_type(bundle: Path) -> str:
    path = bundle / "requests.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"status":200', b'"status":"ok"')
    path.write_bytes(b"\n".join(lines))
    seal(bundle, "one", COUNTS)
    return f"{path}:2: this line is not one of requests: Expected `int | null`, got `str`"


def write_a_newer_format(bundle: Path) -> str:
    seal(bundle, "one", COUNTS, format=2, versions={"sonia": "4.7.0"}, files="elsewhere")
    return f"{bundle / 'manifest.json'}:2: this bundle was written in format 2 by SONIA 4.7.0"


def write_no_json(bundle: Path) -> str:
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"to_ms":', b'"to_ms"'))
    return f"{path}:{line_of(bundle, 'to_ms')}: "


def list_no_events(bundle: Path) -> str:
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    del manifest["files"]["events.jsonl"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    return f"{bundle / 'manifest.json'}: it lists no events.jsonl under files"


def link_outside(bundle: Path) -> str:
    (bundle / "events.jsonl").unlink()
    (bundle / "events.jsonl").symlink_to("/etc/hostname")
    return f"{bundle / 'events.jsonl'}: this is no regular file"


def make_a_pipe(bundle: Path) -> str:
    (bundle / "config.json").unlink()
    os.mkfifo(bundle / "config.json")
    return f"{bundle / 'config.json'}: this is no regular file"


def line_of(bundle: Path, text: str) -> int:
    lines = (bundle / "manifest.json").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if f'"{text}"' in line)


@pytest.mark.parametrize(
    "damage",
    [
        cut_last_line,
        add_a_line,
        remove_a_file,
        change_a_byte,
        change_the_config,
        write_no_row,
        write_another_type,
        write_a_newer_format,
        write_no_json,
        list_no_events,
        link_outside,
        make_a_pipe,
    ],
    ids=lambda damage: str(damage.__name__),
)
def test_damage_is_told_with_its_place_and_what_to_do(
    one: Path, damage: Callable[[Path], str]
) -> None:
    said = damage(one)
    questions = [read_questions()[name] for name in ("stages", "outcomes")]
    with pytest.raises(BundleError) as raised:  # noqa: PT012, SIM117 - some are found at the end
        with analysing({"": [open_bundle(one)]}, questions, Limits()) as analysis:
            for question in questions:
                analysis.ask(question)
    place, advice = str(raised.value).split("\n")
    assert place.startswith(said)
    assert "export it again" in advice or "of the release that wrote it" in advice


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, said in (("none", "there is no such bundle"), ("file", "this is no directory")):
        with pytest.raises(BundleError, match=said):
            open_bundle(tmp_path / name)


def test_fields_that_are_new_in_the_same_format_change_nothing(one: Path) -> None:
    path = one / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'{"at_ms"', b'{"new":{"a":[1]},"at_ms"'))
    seal(one, "one", COUNTS, also_new=1)
    question = read_questions()["changes"]
    with analysing({"": [open_bundle(one)]}, [question], Limits()) as analysis:
        assert analysis.ask(question).total == 5
