"""What a start makes is no garbage, and what comes after it may be."""

import gc
import subprocess
import sys

from service import collector


def test_a_start_is_not_collected_and_what_follows_is() -> None:
    try:
        collector.begin_start()
        assert not gc.isenabled()
        collector.end_start()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        gc.enable()


def test_a_process_that_serves_collects() -> None:
    code = (
        "import gc, socket, uvicorn; from service.collector import begin_start;"
        " from service.internal import runner;"
        " uvicorn.Server.run = lambda *_, **__: print(gc.isenabled(), gc.get_freeze_count() > 1000);"
        " begin_start(); runner.serve_on(None, socket.socket())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "True True\n", done.stderr
