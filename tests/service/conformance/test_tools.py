"""Tools and confirmations, with all processes there."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from syrupy.assertion import SnapshotAssertion

from tests.service.conformance.conversation import Conversation
from tests.service.running import until
from tests.service.stack import Stack

MOST_OUTPUT = 65_536
MOST_RESULT = 16_161
CALLS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("written", "file.write", {"path": "notes/a.txt", "content": "grüße\n"}),
    ("extended", "file.write", {"path": "notes/a.txt", "content": "more", "append": True}),
    ("read", "file.read", {"path": "notes/a.txt"}),
    ("read to its last byte", "file.read", {"path": "notes/a.txt", "max_bytes": 12}),
    ("read but for it", "file.read", {"path": "notes/../notes/a.txt", "max_bytes": 11}),
    ("read into a letter", "file.read", {"path": "notes/a.txt", "max_bytes": 3}),
    ("replaced by nothing", "file.write", {"path": "notes/a.txt", "content": ""}),
    ("read when empty", "file.read", {"path": "notes/a.txt", "max_bytes": 1}),
    ("not there", "file.read", {"path": "notes/b.txt"}),
    ("a directory read", "file.read", {"path": "notes"}),
    ("a directory written", "file.write", {"path": "notes", "content": "x"}),
    ("the workspace itself", "file.read", {"path": "."}),
    ("led out", "file.read", {"path": "../keys.json"}),
    ("led out absolutely", "file.read", {"path": "/etc/hostname"}),
    ("led through a file", "file.read", {"path": "notes/a.txt/b"}),
    ("an unknown tool", "file.delete", {"path": "notes/a.txt"}),
    ("an unknown argument", "file.read", {"path": "notes/a.txt", "mode": "r"}),
    ("no path", "file.read", {"path": ""}),
    ("no bytes", "file.read", {"path": "notes/a.txt", "max_bytes": 0}),
)
COMMANDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("a command", {"command": "printf out; printf err >&2"}),
    ("one that fails", {"command": "printf out; exit 3"}),
    ("one that is killed", {"command": "kill -9 $$"}),
    ("one that takes too long", {"command": "printf begun; sleep 9", "timeout_s": 2.5}),
    ("one that leaves somebody behind", {"command": "sleep 9 & printf done"}),
    ("its surroundings", {"command": "env | cut -d= -f1 | grep -v -e ^_$ -e PWD -e SHLVL | sort"}),
    ("no input", {"command": "cat; basename $(pwd)"}),
    ("output that is no text", {"command": "printf 'a\\377b'"}),
    ("a large file", {"command": "head -c 20000 /dev/zero | tr '\\0' a > big.txt"}),
)


def execute(talk: Conversation, name: str, tool: str, arguments: object) -> dict[str, object]:
    found = talk.ask(name, f"POST /v1/tools/{tool}/execute", {"arguments": arguments})
    assert isinstance(found, dict)
    return found


def test_files(stack: Stack, talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    talk = talk_to_all
    talk.ask("tools", "GET /v1/tools", who="observer")
    for name, tool, arguments in CALLS:
        execute(talk, name, tool, arguments)
    call = {"arguments": {"path": "notes/a.txt"}, "session_id": "ses_none"}
    talk.ask("in no session", "POST /v1/tools/file.read/execute", call)
    stack.links["tools"].cut()
    until(lambda: stack.dependency("tools") == "down")
    again = {"arguments": {"path": "away.txt", "content": "back"}}
    line, headers = "POST /v1/tools/file.write/execute", {"Idempotency-Key": "away"}
    talk.ask("while the tools are away", line, again, headers=headers)
    stack.links["tools"].heal()
    stack.await_up("tools")
    talk.ask("while they are back", line, again, headers=headers)
    talk.ask("once more", line, again, headers=headers)
    talk.told += _files(talk.state.directory.workspace("workspace"))
    assert talk.said == snapshot


def test_commands(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    talk = talk_to_all
    policy = "PUT /v1/policies/guarded_high"
    talk.ask("allowed", policy, {"decision": "allow"}, headers={"If-Match": '"1"'})
    for name, arguments in COMMANDS:
        execute(talk, name, "shell.run", arguments)
    talk.ask("asked for again", policy, {"decision": "confirm"}, headers={"If-Match": '"2"'})
    for size in (MOST_RESULT, MOST_RESULT + 1):
        read = {"path": "big.txt", "max_bytes": size}
        run = execute(talk, "a large result", "file.read", read)["run_id"]
        talk.told.pop()
        kept = "json_extract(result, '$.omitted_bytes'), length(result) > 16000"
        talk.stored(f"SELECT {kept} FROM tool_runs WHERE id = '{run}'")
    asked = execute(talk, "question", "shell.run", {"command": "printf no >&2; exit 3"})
    decision = {"decision": "approve"} | {
        key: asked[key] for key in ("confirmation_id", "args_sha256")
    }
    talk.ask("forbidden", policy, {"decision": "deny"}, headers={"If-Match": '"3"'})
    talk.ask("approved against the policy", "POST /approve", decision)
    talk.ask("asked for once more", policy, {"decision": "confirm"}, headers={"If-Match": '"4"'})
    talk.ask("approved and failed", "POST /approve", decision)
    assert talk.said == snapshot


def test_output_is_kept_to_a_size(talk_to_all: Conversation) -> None:
    kept = []
    for size in (MOST_OUTPUT, MOST_OUTPUT + 1):
        command = f"head -c {size} /dev/zero | tr '\\0' a"
        asked = execute(talk_to_all, "asked", "shell.run", {"command": command})
        decision = {"decision": "approve"} | {
            key: asked[key] for key in ("confirmation_id", "args_sha256")
        }
        result = talk_to_all.ask("done", "POST /approve", decision)["run"]["result"]
        kept.append((len(result["stdout"]), result["truncated"]))
    assert kept == [(MOST_OUTPUT, False), (MOST_OUTPUT, True)]


def test_confirmations(talk_to_all: Conversation, snapshot: SnapshotAssertion) -> None:
    talk = talk_to_all

    def question(name: str, command: str) -> tuple[str, str]:
        asked = execute(talk, name, "shell.run", {"command": command})
        return str(asked["confirmation_id"]), str(asked["args_sha256"])

    def decide(
        name: str, confirmation: str, decision: str, sha256: str | None, path: str = "/approve"
    ) -> None:
        body = {"confirmation_id": confirmation, "decision": decision}
        talk.ask(name, f"POST {path}", body | ({} if sha256 is None else {"args_sha256": sha256}))

    first, sha256 = question("question", "printf ran; printf ran >> ran.txt")
    talk.ask("shown", f"GET /v1/confirmations/{first}", who="observer")
    talk.ask("none", "GET /v1/confirmations/conf_none", who="observer")
    decide("without a hash", first, "approve", None)
    decide("by another hash", first, "approve", "0" * 64)
    decide("neither", first, "perhaps", sha256)
    decide("approved", first, "approve", sha256)
    decide("approved again", first, "approve", sha256, "/v1/approve")
    decide("nothing approved", "conf_none", "approve", sha256)
    talk.ask("approved one shown", f"GET /v1/confirmations/{first}", who="observer")
    second, _ = question("second question", "printf denied >> ran.txt")
    decide("denied", second, "deny", None)
    decide("denied again", second, "deny", None)
    talk.ask("denied one shown", f"GET /v1/confirmations/{second}", who="observer")
    execute(talk, "what ran", "file.read", {"path": "ran.txt"})
    talk.stored(
        "SELECT tool, CAST(args AS TEXT), args_sha256, status, decided_by, expires_at_ms - created_at_ms FROM confirmations"
        f" WHERE id IN ('{first}', '{second}') ORDER BY seq"
    )
    talk.stored(
        f"SELECT tool, status, result FROM tool_runs WHERE confirmation_id = '{first}' ORDER BY seq"
    )
    assert talk.said == snapshot


def test_a_decision_with_a_key_is_made_once(
    talk_to_all: Conversation, snapshot: SnapshotAssertion
) -> None:
    """While it is on its way the same key is told so; afterwards it is answered as before."""
    talk = talk_to_all
    late = Conversation(talk.state, talk.ports)
    asked = execute(
        talk,
        "question",
        "shell.run",
        {"command": "echo >> begun; until test -e go; do sleep 0.01; done"},
    )
    decision = {"decision": "approve"} | {
        key: asked[key] for key in ("confirmation_id", "args_sha256")
    }
    headers = {"Idempotency-Key": "slow"}
    with ThreadPoolExecutor(1) as thread:
        begun = talk.state.directory.workspace("workspace") / "begun"
        slow = thread.submit(late.ask, "made", "POST /approve", decision, headers=headers)
        until(begun.exists)
        talk.ask("too early", "POST /approve", decision, headers=headers)
        begun.with_name("go").touch()
        slow.result()
    talk.ask("made", "POST /approve", decision, headers=headers)
    assert begun.read_text() == "\n"
    denied = execute(talk, "second question", "shell.run", {"command": "true"})["confirmation_id"]
    for name in ("denied", "denied again"):
        deny = {"confirmation_id": denied, "decision": "deny"}
        talk.ask(name, "POST /approve", deny, headers={"Idempotency-Key": "deny"})
    assert talk.said == snapshot


def test_a_lost_tool_may_have_run(
    stack: Stack, talk_to_all: Conversation, snapshot: SnapshotAssertion
) -> None:
    """Its answer is lost on the way: nobody says that it did not run."""
    talk = talk_to_all
    asked = execute(talk, "question", "shell.run", {"command": "echo >> lost; sleep 5"})
    decision = {"decision": "approve"} | {
        key: asked[key] for key in ("confirmation_id", "args_sha256")
    }
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(talk.ask, "lost", "POST /approve", decision)
        until((talk.state.directory.workspace("workspace") / "lost").exists)
        stack.links["tools"].cut()
        answer.result()
    stack.links["tools"].heal()
    stack.await_up("tools")
    assert talk.said == snapshot


def _files(workspace: Path) -> list[str]:
    """Every file below the workspace with its mode and size."""
    found = [path for path in sorted(workspace.rglob("*")) if path.is_file()]
    return [
        f"{path.relative_to(workspace)} {path.stat().st_mode & 0o777:o} {path.stat().st_size}"
        for path in found
    ]
