"""What other queues on SQLite take in: `peer_queues.py huey|persist-queue|dbos CLIENTS SECONDS` prints durable tasks per second.

Run by an interpreter of an environment that has them (requirements/queues.txt), with nothing of this project.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

PAYLOAD = {"kind": "note", "payload": {}}


def _work(payload: object) -> object:
    return payload


def huey(directory: Path) -> Callable[[], object]:
    """With `fsync`, as without it nothing is durable."""
    from huey import SqliteHuey  # noqa: PLC0415 - one of the three is wanted

    queue = SqliteHuey("bench", filename=str(directory / "huey.db"), fsync=True)

    work = queue.task()(_work)
    return lambda: work(PAYLOAD)


def persist_queue(directory: Path) -> Callable[[], object]:
    """Its queue in SQLite, with a commit for each."""
    from persistqueue import SQLiteQueue  # noqa: PLC0415 - one of the three is wanted

    queue = SQLiteQueue(str(directory), multithreading=True, auto_commit=True)
    return lambda: queue.put(PAYLOAD)


def dbos(directory: Path) -> Callable[[], object]:
    """Its client, which enqueues workflows that nobody runs meanwhile."""
    from dbos import DBOS, DBOSClient  # noqa: PLC0415 - one of the three is wanted

    url = f"sqlite:///{directory / 'dbos.db'}"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False})
    DBOS.launch()
    DBOS.destroy()
    client = DBOSClient(system_database_url=url)
    options = {"queue_name": "bench", "workflow_name": "work"}
    return lambda: client.enqueue(options, PAYLOAD)


PEERS = {"huey": huey, "persist-queue": persist_queue, "dbos": dbos}


def main(name: str, clients: int, for_s: int) -> None:
    """Let so many threads enqueue for so long, each one task after the other."""
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as directory:
        enqueue = PEERS[name](Path(directory))
        enqueue()
        done = [0] * clients
        began_s = time.perf_counter()

        def client(index: int) -> None:
            while time.perf_counter() - began_s < for_s:
                enqueue()
                done[index] += 1

        threads = [threading.Thread(target=client, args=(index,)) for index in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sum(done) / (time.perf_counter() - began_s), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
