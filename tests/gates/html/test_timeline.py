"""The picture of a run."""

from xml.etree import ElementTree as ET

from gates.html.timeline import SLOTS, Life, Slot, Timeline, Window, describe, draw

SVG = "{http://www.w3.org/2000/svg}"


def fault(name: str = "outage", on: float | None = 2000.0, **changes: object) -> Window:
    later = None if on is None else on + 500
    columns: dict[str, object] = {
        "name": name,
        "on_ms": on,
        "proven_ms": later,
        "off_ms": None if later is None else later + 1000,
        "clean_ms": None if later is None else later + 1100,
        "proven": True,
    }
    return Window(**(columns | changes))  # type: ignore[arg-type]


def slot(outcome: str = "answered", at: float = 1500.0, took: float | None = 5.0) -> Slot:
    slowest = None if took is None else took * 40
    return Slot(
        outcome=outcome, at_ms=at, count=3, fastest_ms=took, median_ms=took, slowest_ms=slowest
    )


def timeline(**changes: object) -> Timeline:
    columns: dict[str, object] = {
        "began_ms": 1000.0,
        "ended_ms": 9000.0,
        "slots": [slot()],
        "windows": [],
        "lives": [],
    }
    return Timeline(**(columns | changes))  # type: ignore[arg-type]


def elements(drawn: str, kind: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(drawn).iter() if kind in e.get("class", "").split()]


def test_a_proven_fault_is_shaded_from_its_proof_until_it_is_asked_off() -> None:
    drawn = draw(timeline(windows=[fault()]))
    (window,) = elements(drawn, "b-window")
    (shade,) = elements(drawn, "b-shade")
    start, width = float(window.get("x", "")), float(window.get("width", ""))
    outer, whole = float(shade.get("x", "")), float(shade.get("width", ""))
    assert outer < start
    assert start + width < outer + whole


def test_a_fault_that_is_not_proven_says_so_and_has_no_window() -> None:
    drawn = draw(timeline(windows=[fault(proven=False, proven_ms=None)]))
    assert not elements(drawn, "b-window")
    assert "outage (not proven)" in drawn


def test_faults_at_the_same_time_stand_in_rows_of_their_own() -> None:
    drawn = draw(timeline(windows=[fault("one"), fault("two"), fault("three", on=7000.0)]))
    rows = [float(text.get("y", "")) for text in elements(drawn, "t-fault")]
    assert rows[0] != rows[1]
    assert rows[2] == rows[0]


def test_a_name_at_the_right_edge_stands_before_its_bar() -> None:
    drawn = draw(timeline(windows=[fault("x" * 30, on=7000.0)]))
    (text,) = elements(drawn, "t-fault")
    assert "a-end" in text.get("class", "").split()


def test_a_fault_that_was_never_switched_on_is_not_drawn() -> None:
    assert not elements(draw(timeline(windows=[fault(on=None)])), "b-edge")


def test_outcomes_differ_in_shape() -> None:
    kinds = ("answered", "refused", "failed", "lost")
    drawn = draw(timeline(slots=[slot(kind) for kind in kinds]))
    shapes = set()
    for kind in kinds:
        mark = next(
            e for e in elements(drawn, f"p-{kind}") if "p-span" not in e.get("class", "").split()
        )
        shapes.add(mark.get("d", "").partition(" ")[2].lstrip("0123456789."))
    assert len(shapes) == 4


def test_a_request_without_an_end_stands_at_the_top() -> None:
    drawn = draw(timeline(slots=[slot("lost", took=None), slot("answered")]))
    (lost,) = elements(drawn, "p-lost")
    answered = next(e for e in elements(drawn, "p-answered") if "h0" in e.get("d", ""))
    height = float(lost.get("d", "").split(" ")[1].split("m")[0])
    assert height < float(answered.get("d", "").split(" ")[1].split("h")[0])


def test_nothing_that_was_sent_is_said_so() -> None:
    assert "no requests" in draw(timeline(slots=[]))


def test_a_process_that_was_killed_ends_with_a_mark() -> None:
    lives = [
        Life(process="memory", started_ms=500.0, exited_ms=4000.0, early=True),
        Life(process="memory", started_ms=4500.0, exited_ms=9000.0, early=False),
    ]
    drawn = draw(timeline(lives=lives))
    assert len(elements(drawn, "b-life")) == 2
    assert len(elements(drawn, "p-lost")) == 1


def test_an_end_after_the_picture_has_no_mark() -> None:
    life = Life(process="memory", started_ms=500.0, exited_ms=9001.0, early=True)
    drawn = draw(timeline(lives=[life]))
    assert elements(drawn, "b-life")
    assert not elements(drawn, "p-lost")


def test_the_picture_is_told_in_words() -> None:
    told = describe(timeline(windows=[fault()], slots=[slot(), slot("failed")]))
    assert told == (
        "Requests from 1 s to 9 s: 3 answered, 3 failed (5xx); faults: outage from 2 s to 3.5 s"
    )
    assert ET.fromstring(draw(timeline())).get("aria-label", "").startswith("Requests from 1 s")


def test_a_full_picture_is_small() -> None:
    kinds = ("answered", "refused", "failed", "lost")
    slots = [slot(kind, 1000.0 + 50 * n) for kind in kinds for n in range(SLOTS)]
    assert len(draw(timeline(slots=slots))) < 30_000


def test_hostile_names_stay_text() -> None:
    name = '"><script>alert(1)</script>\x00'
    drawn = draw(
        timeline(
            windows=[fault(name)],
            lives=[Life(process=name, started_ms=0.0, exited_ms=1.0, early=True)],
        )
    )
    root = ET.fromstring(drawn)
    assert not [e for e in root.iter() if e.tag.removeprefix(SVG) == "script"]
    assert '"><script>' in "".join(root.itertext())
