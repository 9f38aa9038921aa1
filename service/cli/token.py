"""`sonia token`: issue, rotate, revoke and list tokens, with or without a running gateway.

The commands write the database themselves. A running gateway learns of it through the token
epoch, which it looks at on every request, so that revoking takes effect before the command ends.
"""

import argparse
from functools import partial
from typing import TYPE_CHECKING, Final

from service.cli.shared import Commands, Parser, add_command, duration_ms, print_json, print_line
from service.state import StateDir

if TYPE_CHECKING:
    from service.auth.tokens import Change, Issued
    from service.control import Control
    from service.effects import Cause

EXAMPLES: Final = """\
sonia token issue --role operator --name alice --ttl 8h
sonia token rotate tok_0123 --window 30s     both secrets work for 30 s, then only the new one
sonia token revoke tok_0123                  at once, whatever window is open
sonia token list --json"""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command and its four actions."""
    command = add_command(
        commands, Parser(add_help=False), "token", act, "Manage tokens.", EXAMPLES
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    issue = actions.add_parser("issue", parents=[common], help="issue a token and show it once")
    issue.add_argument("--role", required=True, choices=("operator", "observer"))
    issue.add_argument("--name", default="", help="whose it is")
    issue.add_argument(
        "--ttl", type=duration_ms, help="how long it lives, such as 8h (default: for ever)"
    )
    rotate = actions.add_parser("rotate", parents=[common], help="give a token a new secret")
    rotate.add_argument("id")
    rotate.add_argument("--window", type=duration_ms, help="how long the old secret still works")
    revoke = actions.add_parser("revoke", parents=[common], help="end a token at once")
    revoke.add_argument("id")
    listing = actions.add_parser("list", parents=[common], help="list all tokens")
    for action in (issue, rotate, revoke, listing):
        action.add_argument("--json", action="store_true", help="print JSON")


def act(options: argparse.Namespace) -> int:
    """Open the state directory and do one thing to its tokens."""
    state = StateDir(options.state.absolute())
    if options.action == "list":
        _list(state, options)
        return 0
    from service.control import open_control

    control = open_control(state)
    try:
        CHANGES[options.action](control, options)
    finally:
        control.close()
    return 0


def _change(control: "Control", action: str, target: str) -> "tuple[Cause, Change]":
    from service.auth.tokens import Change
    from service.effects import system_cause
    from service.ids import random_id

    request_id = random_id("cli")
    change = Change(control.clock.now_ms(), request_id, control.epoch.bump)
    return system_cause("cli", action, request_id, target), change


def _issue(control: "Control", options: argparse.Namespace) -> None:
    from service.auth import tokens
    from service.ids import random_id
    from service.keys import new_secret

    cause, change = _change(control, "token.issue", "")
    new = tokens.NewToken(options.role, options.name, options.ttl)
    run = partial(tokens.issue, new=new, secret=new_secret(), new_id=random_id, change=change)
    _show(control.storage.change_now(cause, run), options.json)


def _rotate(control: "Control", options: argparse.Namespace) -> None:
    from service.auth import rotation
    from service.keys import new_secret

    window_ms = options.window
    if window_ms is None:
        window_ms = round(control.settings.auth.rotation_window_s * 1000)
    cause, change = _change(control, "token.rotate", options.id)
    run = partial(
        rotation.rotate,
        token_id=options.id,
        window_ms=window_ms,
        secret=new_secret(),
        change=change,
    )
    _show(control.storage.change_now(cause, run), options.json)


def _revoke(control: "Control", options: argparse.Namespace) -> None:
    from service.auth import rotation

    cause, change = _change(control, "token.revoke", options.id)
    run = partial(rotation.revoke, token_id=options.id, change=change)
    control.storage.change_now(cause, run)
    if options.json:
        print_json({"id": options.id, "revoked": True})
    else:
        print_line(f"{options.id} is revoked.")


def _list(state: StateDir, options: argparse.Namespace) -> None:
    from service.auth import tokens
    from service.clock import read_mark, wall_ms
    from service.storage.database import look_at

    now_ms = max(wall_ms(), read_mark(state.clock))
    found = look_at(state.database, partial(tokens.list_all, now_ms=now_ms))
    if options.json:
        print_json({"items": found})
        return
    for token in found:
        works = "works" if token.live_secrets else "over"
        print_line(f"{token.id}  {token.role:8}  {works:5}  {token.source:9}  {token.name}")


def _show(issued: "Issued", as_json: bool) -> None:
    if as_json:
        print_json(issued)
    else:
        print_line(f"{issued.id} ({issued.role}), shown this once:")
        print_line(f"  {issued.token}")


CHANGES: Final = {"issue": _issue, "rotate": _rotate, "revoke": _revoke}
