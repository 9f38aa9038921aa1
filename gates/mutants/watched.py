"""What is seen of a run of tests while the lines that it executes are watched."""

from msgspec import Struct

from gates.run.lines import Lines


class Execution(Struct, frozen=True, kw_only=True):
    """One test: how long it took with the fixtures of its own, and the lines that were executed meanwhile."""

    id: str
    seconds: float
    lines: Lines


class Watched(Struct, frozen=True, kw_only=True):
    """What a run of tests executed: each test that passed, and `imported` what was executed before the first one
    began. `red` are tests that did not pass, `shared_s` is how long it took to set up what tests share."""

    tests: list[Execution]
    imported: Lines
    red: list[str]
    shared_s: float
