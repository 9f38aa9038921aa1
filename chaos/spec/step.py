"""What all steps have in common: their options, what they send and what they expect."""

from collections.abc import Collection, Mapping
from typing import ClassVar, Final

from msgspec import Struct

from chaos.spec.units import Duration


def yaml_name(field: str) -> str:
    """`as_` in Python is `as` in YAML."""
    return field.rstrip("_")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=yaml_name):
    """Base of everything that is read from YAML: unknown keys are errors."""


FORM: Final = 1
"""The form in which specs are written."""


class SpecFile(Spec, frozen=True, kw_only=True):
    """Base of what a file of YAML holds. `form` is the form in which it is written; another one is refused.

    `arguments` is the key of a mapping in the file whose values stand for `{name}` in all of it.
    """

    arguments: ClassVar[str | None] = None

    form: int = FORM


class Bearer(Spec, frozen=True, kw_only=True):
    """An actor made up on the spot: a bearer token under a label, `role` for the record."""

    bearer: str
    label: str
    role: str | None = None


class Expect(Spec, frozen=True, kw_only=True):
    """A subset match on what was recorded; see `chaos.spec.matching` for what a value may be.

    `status`, `headers` and `json` speak of an HTTP answer, `text` of its body as text; `exit`, `output` and
    `errors` of a command or a started process; `ready` of a started process; `close` of a WebSocket's
    close code, `outcome` of a request (ok, error, info); `accepted` of a hammer.
    """

    status: int | str | None = None
    headers: dict[str, object] | None = None
    json: object = None
    text: str | None = None
    exit: int | str | None = None
    output: object = None
    errors: object = None
    ready: bool | None = None
    close: int | str | None = None
    outcome: str | None = None
    accepted: int | str | None = None


class Send(Spec, frozen=True, kw_only=True):
    """One HTTP request: a method as key with the path, or `method` and `path` that come from variables.

    `path_params` replaces what is still in braces in the path; `*` stands for every name.
    """

    get: str | None = None
    head: str | None = None
    post: str | None = None
    put: str | None = None
    patch: str | None = None
    delete: str | None = None
    options: str | None = None
    method: str | None = None
    path: str | None = None
    path_params: dict[str, str] | None = None
    headers: dict[str, str] | None = None
    json: object = None
    body: str | None = None
    as_: str | Bearer | None = None

    def target(self) -> tuple[str, str]:
        """(method, path) as written; ValueError unless exactly one way of naming them is used."""
        verbs = ("get", "head", "post", "put", "patch", "delete", "options")
        named = [
            (verb.upper(), path) for verb in verbs if (path := getattr(self, verb)) is not None
        ]
        if self.method is not None and self.path is not None:
            named.append((self.method, self.path))
        if len(named) != 1 or (self.method is None) != (self.path is None):
            raise ValueError(
                "name exactly one method with its path, like `get: /readyz`, or `method` and `path`"
            )
        return named[0]


class Defaults(Spec, frozen=True, kw_only=True):
    """Options of all steps below, as far as they send requests and do not say otherwise themselves."""

    as_: str | Bearer | None = None
    to: str | None = None
    via: str | None = None
    within: Duration | None = None


class Step(Spec, frozen=True, kw_only=True):
    """Options of every step. A kind adds one field named like itself.

    `at` is an offset from the start of the step it stands under; `to` a process that is talked to
    directly, `via` a link that is gone through instead; `must` stops the scenario when `expect` fails;
    `capture` maps variables to places in the answer (`$.id`, `$.items[0].id`); `exclusive` runs the step
    with nothing of the session beside it.
    """

    at: Duration | None = None
    name: str | None = None
    as_: str | Bearer | None = None
    to: str | None = None
    via: str | None = None
    within: Duration | None = None
    expect: Expect | None = None
    must: bool = False
    capture: dict[str, str] = {}
    exclusive: bool = False
    defaults: Defaults | None = None

    def given(self) -> Collection[str]:
        """Variables that are set once it is over, besides those that it captures."""
        return ()

    def bound(self) -> Mapping[str, object]:
        """Variables of the steps inside of it, each with the list of what it will be, or a text that stands for the list; its kind `keeps`."""
        return {}

    def problem(self) -> str | None:
        """Why this step could never be carried out, whatever the target does, or None."""
        return None

    def passes(self) -> int | None:
        """How often its steps are repeated, as far as that is known before a run; None of a step that repeats nothing."""
        return None

    def least_s(self) -> float:
        """How long it takes at the least, the steps inside of it left out."""
        return 0.0
