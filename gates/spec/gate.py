"""A gate as it is written in YAML."""

from typing import Literal

from chaos.spec.step import Defaults, Spec, SpecFile, Step
from gates.spec.assertion import Assertion, Named


class Defect(Spec, frozen=True, kw_only=True):
    """A small edit of the system under test that must turn exactly the assertions in `fails` red.

    `replace` must occur exactly once in `file`, or, with `in`, in the definition of that name
    (`Registry.verify`). `may_fail` lists assertions that are left undecided; `racing` says that it shows by
    timing, so it must be red with five seeds of five.
    """

    defect: str
    file: str
    in_: str | None = None
    replace: str
    with_: str
    fails: list[str]
    may_fail: list[str] = []
    racing: bool = False


class DataFile(Spec, frozen=True, kw_only=True):
    """A fixed table that stands in a file below the directory of specs; its rows are filled in when it is read."""

    from_: str


class Gate(SpecFile, frozen=True, kw_only=True):
    """One gate of a release; `gate` is its file's name.

    `needs` are the processes of the target that are started, all of them when absent; `exits` those that may end by
    themselves, which is UNKNOWN otherwise; `control` must
    pass before anything else; `isolation: shared` lets gates that only read share one started stack;
    `exclusive` runs the gate with nothing beside it, which every gate with a latency limit needs;
    `guards` are the files, folders and definitions (`FILE:NAME`) that implement the claim, where mutants are drawn;
    `defaults` are options of all steps; `data` fixed tables, which steps know as `{data.NAME}`;
    `golden` allows assertions that compare a whole body with a literal.
    """

    gate: str
    id: str
    class_: Literal["floor", "delta"]
    epic: str = ""
    severity: Literal["blocker", "major", "minor"] = "blocker"
    title: str
    why: str
    target: str
    needs: list[str] = []
    exits: list[str] = []
    config: dict[str, object] = {}
    isolation: Literal["own", "shared"] = "own"
    exclusive: bool = False
    nominal_ports: bool = False
    guards: list[str] = []
    golden: bool = False
    defaults: Defaults | None = None
    control: list[Step]
    scenario: list[Step] = []
    with_: dict[str, Named] = {}
    data: dict[str, list[dict[str, object]] | DataFile] = {}
    assert_: list[Assertion]
    host: list[Assertion] = []
    falsified_by: list[Defect] = []

    @property
    def ever_alone(self) -> bool:
        """Whether it has to be alone, as a whole or at a step."""
        return self.exclusive or self.later_alone

    @property
    def later_alone(self) -> bool:
        """Whether it has to be alone at a step."""
        return any(step.exclusive for step in (*self.control, *self.scenario))
