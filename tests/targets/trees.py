"""Servers that are not the process that was started. Standard library only.

`wrapped PORT` waits for a child that listens; `preforked PORT` listens itself and lets children answer that have written
over their environment; `detached PORT` starts a child that leaves its session, loses its parent and its environment. All of
them also start a helper that listens to nobody and takes off whatever it can be known by. `left PORT` starts nothing but such
a child, and ends. `supervising PORT CHILD_PORT` listens itself and starts a `plain CHILD_PORT` again whenever that ends, which it does
after it was asked for `/end`.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path


def forget_environment() -> None:
    """Write over the environment as servers do that put a title there."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    ctypes.memset(start, 0, end - start)


def detach(act: object) -> int:
    """Fork twice, with a session between; returns the id of the process that remains."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            forget_environment()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            os.write(write, str(os.getpid()).encode())
            os.close(write)
            os.close(read)
            act()  # type: ignore[operator]
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))


def answer(server: socket.socket, helper: int) -> None:
    """Tell every client who answers."""
    while True:
        client, _ = server.accept()
        with client:
            asked = client.recv(65536)
            body = json.dumps({"pid": os.getpid(), "helper": helper}).encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
        if asked.startswith(b"GET /end "):
            os._exit(3)


def supervise(port: str) -> None:
    """Start a server again and again."""
    while True:
        subprocess.run([sys.executable, __file__, "plain", port], check=False)


def main() -> None:
    """Listen on a port of 127.0.0.1 in one of the ways."""
    how, port = sys.argv[1], int(sys.argv[2])
    if how == "left":
        left = socket.create_server(("127.0.0.1", port))
        detach(lambda: answer(left, 0))
        return
    if how == "plain":
        answer(socket.create_server(("127.0.0.1", port)), 0)
    if how == "supervising":
        threading.Thread(target=supervise, args=sys.argv[3:], daemon=True).start()
        answer(socket.create_server(("127.0.0.1", port)), 0)
    helper = detach(signal.pause)
    server = socket.create_server(("127.0.0.1", port))
    if how == "detached":
        detach(lambda: answer(server, helper))
    elif os.fork() == 0:
        if how == "preforked":
            forget_environment()
        answer(server, helper)
    if how != "preforked":
        server.close()
    signal.pause()


main()
