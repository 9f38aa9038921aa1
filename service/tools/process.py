"""The tools process: its handlers, and how it is started."""

import asyncio
from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec
from litestar import post

from service.auth.roles import Role
from service.errors import Forbidden, NotFound, ProblemError, StartRefused, Unprocessable
from service.http.guards import require_role
from service.ids import random_id
from service.internal.app import InternalApp, internal_app
from service.internal.runner import serve
from service.internal.start import Checked
from service.keys import Link
from service.messages.tools import ExecuteTool, ToolOutcome
from service.settings import Confinement, ToolsSettings
from service.tools.execution import BadArguments, NotApproved, UnknownTool, execute
from service.tools.shell import missing_for_confinement
from service.tools.workspace import Workspace, require_apart, require_private

AT_ONCE: Final = 8
CONFINEMENT: Final = "SONIA_TOOLS_CONFINEMENT"


class Busy(ProblemError):
    """As many tools run as may run at once; this one did not."""

    status: ClassVar[int] = 429
    title: ClassVar[str] = "Too many requests"
    default_code: ClassVar[str] = "tools_busy"


class Slots:
    """How many calls may run at once. One too many is told so and not kept waiting: its caller would give up."""

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def __aenter__(self) -> None:
        if self._free.locked():
            raise Busy("all tool slots are taken; nothing was run")
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


@post("/internal/tools/{name:str}/execute", guards=[require_role(Role.SERVICE)], status_code=200)
async def execute_tool(
    name: str, data: ExecuteTool, workspace: Workspace, slots: Slots, max_run_s: float
) -> ToolOutcome:
    """Run a tool once and say what became of it. Errors (4xx) mean that nothing was run."""
    try:
        async with slots:
            return await execute(name, data, workspace, max_run_s)
    except UnknownTool as error:
        raise NotFound(f"there is no tool {name!r}", "unknown_tool") from error
    except BadArguments as error:
        raise Unprocessable(str(error), "bad_arguments") from error
    except NotApproved as error:
        raise Forbidden(str(error), "approval_required") from error


def tools_app(workspace: Workspace, max_run_s: float, link: Link) -> InternalApp:
    """The application of the tools process; no tool runs longer than `max_run_s` seconds."""
    provided = {"workspace": workspace, "slots": Slots(AT_ONCE), "max_run_s": max_run_s}
    return internal_app([execute_tool], provided, link, random_id)


def required_confinement(settings: ToolsSettings, environ: Mapping[str, str]) -> ToolsSettings:
    """The settings, with the confinement that the environment names in place of theirs.

    Raises StartRefused where commands must be confined and the kernel cannot.
    """
    text = environ.get(CONFINEMENT, settings.confinement)
    try:
        confinement = Confinement(text)
    except ValueError as error:
        raise StartRefused(
            f"{CONFINEMENT} is neither required nor not_required: {text!r}", "set it to one of them"
        ) from error
    missing = missing_for_confinement()
    if missing and confinement is Confinement.REQUIRED:
        raise StartRefused(
            f"commands cannot be confined here, the kernel lacks {'; '.join(missing)}",
            "use one that has it, or let commands"
            " read and change all that SONIA can, by `tools: {confinement: not_required}` in sonia.yaml",
        )
    return msgspec.structs.replace(settings, confinement=confinement)


def run(checked: Checked) -> None:
    """Serve until told to end. Raises StartRefused, before anything listens."""
    settings = required_confinement(checked.settings.tools, checked.environ)
    try:
        workspace = Workspace(checked.state.workspace(settings.workspace), settings)
    except OSError as error:
        raise StartRefused(
            f"the tools' workspace cannot be used: {error}",
            "make it a directory of the user that SONIA runs as, or correct tools.workspace",
        ) from error
    require_apart(workspace.root, checked.state)
    if settings.confinement is Confinement.REQUIRED:
        require_private(checked.state)
    app = tools_app(workspace, settings.timeout_s, checked.link)
    serve(app, checked)
