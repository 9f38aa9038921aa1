"""The gateway is killed again and again under load; what its clients were told is compared with what is there.

Clients keep their own history: what they asked for, and what was answered. A task that was acknowledged is there once, as it was
answered; one that was asked for is there at the most once, however often a key was used again; none is there that nobody
asked for, and the audit log is whole.
"""

import random
import subprocess
import threading
import time
from pathlib import Path

import apsw
import msgspec

from service.storage.database import look_at
from tests.service.running import (
    Gateway,
    State,
    accepts,
    environment,
    free_port,
    new_state,
    run_gateway,
    sonia,
)

CLIENTS = 4
TASKS = "SELECT json_extract(payload, '$.k'), id, status FROM tasks"


class Asked(msgspec.Struct):
    """What a client wants to be there: a task with this name, and what it was told."""

    name: str
    key: str | None
    ids: set[str] = set()
    cancelled: bool = False
    cancel_asked: bool = False


class Client:
    """Asks for tasks one after the other, until nobody answers; asks again for what it knows nothing of, if it has a key."""

    def __init__(self, number: int, seed: int) -> None:
        self.asked: list[Asked] = []
        self.wrong: list[str] = []
        self.answered = 0
        self._number = number
        self._chance = random.Random(f"{seed} {number}")

    def talk(self, gateway: Gateway) -> None:
        """Until the gateway is gone."""
        try:
            for one in [one for one in self.asked[-3:] if one.key and not one.ids]:
                self._make(gateway, one)
            while True:
                name = f"{self._number}-{len(self.asked)}"
                key = name if self._chance.random() < 0.5 else None
                self.asked.append(Asked(name, key))
                self._make(gateway, self.asked[-1])
                if self._chance.random() < 0.3:
                    self._cancel(gateway, self._chance.choice(self.asked[-5:]))
        except OSError:
            return

    def _make(self, gateway: Gateway, one: Asked) -> None:
        named = {"Idempotency_Key": one.key} if one.key else {}
        answer = gateway.operator(
            "POST", "/tasks", {"kind": "note", "payload": {"k": one.name}}, **named
        )
        if answer.status == 201:
            one.ids.add(answer.json["id"])
            self.answered += 1
        elif answer.status not in (409, 503):
            self.wrong.append(f"{one.name} was answered with {answer.status}")

    def _cancel(self, gateway: Gateway, one: Asked) -> None:
        for task_id in one.ids:
            one.cancel_asked = True
            answer = gateway.operator("POST", f"/tasks/{task_id}/cancel")
            if answer.status == 200:
                one.cancelled = True
            elif answer.status not in (409, 503):
                self.wrong.append(f"the end of {one.name} was answered with {answer.status}")


def problems(clients: list[Client], found: list[tuple[str, str, str]]) -> list[str]:
    """What of the tasks that are there cannot be."""
    wrong = [problem for client in clients for problem in client.wrong]
    there: dict[str, list[tuple[str, str]]] = {}
    for name, task_id, status in found:
        there.setdefault(name, []).append((task_id, status))
    asked = {one.name: one for client in clients for one in client.asked}
    wrong += [f"invented: {name}" for name in there if name not in asked]
    for name, one in asked.items():
        kept = there.get(name, [])
        ids = {task_id for task_id, _ in kept}
        if len(kept) > 1:
            wrong.append(f"doubled: {name} is there {len(kept)} times")
        if not one.ids <= ids:
            wrong.append(f"lost: {name} was answered as {one.ids}")
        for _, status in kept:
            allowed = {"cancelled"} if one.cancelled else {"queued"}
            if one.cancel_asked:
                allowed.add("cancelled")
            if status not in allowed:
                wrong.append(f"{name} is {status}, and may be {allowed}")
    return wrong


def kill_again_and_again(directory: Path, seed: int, cycles: int) -> list[str]:
    """What was wrong after so many kills, each at a moment that chance chooses: at work, or in every fifth cycle while it starts."""
    chance = random.Random(seed)
    state = new_state(directory / "state", "audit: {checkpoint_every: 5}\n")
    clients = [Client(number, seed) for number in range(CLIENTS)]
    for cycle in range(cycles):
        answers = None if cycle % 5 == 1 else chance.randint(1, 60)
        if stuck := _live(state, clients, answers, chance):
            return [f"seed {seed}, cycle {cycle}: {stuck}"]
        if wrong := problems(clients, look_at(state.directory.database, _tasks)):
            return [f"seed {seed}, cycle {cycle}: {problem}" for problem in wrong]
    verified = sonia(state, "audit", "verify")
    return [] if verified.returncode == 0 else [f"seed {seed}: {verified.stdout}{verified.stderr}"]


def _tasks(connection: apsw.Connection) -> list[tuple[str, str, str]]:
    return [(str(name), str(id_), str(status)) for name, id_, status in connection.execute(TASKS)]


def _live(
    state: State, clients: list[Client], answers: int | None, chance: random.Random
) -> str | None:
    """One life of the gateway, killed once it has given so many answers, or while it starts; what was wrong with it."""
    port = free_port()
    process = subprocess.Popen(run_gateway(state), env=environment(port))
    try:
        if answers is None:
            time.sleep(chance.uniform(0, 1))
            return None
        gateway = Gateway(state, port, process)
        while not accepts(port):
            if process.poll() is not None:
                return f"the gateway does not start, but exits with {process.returncode}"
            time.sleep(0.01)
        talking = [threading.Thread(target=client.talk, args=(gateway,)) for client in clients]
        for thread in talking:
            thread.start()
        enough = sum(client.answered for client in clients) + answers
        while sum(client.answered for client in clients) < enough:
            if not any(thread.is_alive() for thread in talking):
                return "nobody is answered any more"
            time.sleep(0.002)
        process.kill()
        for thread in talking:
            thread.join()
        return None
    finally:
        process.kill()
        process.wait()
