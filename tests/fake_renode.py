"""A Renode for tests: of the real one's start, Monitor and endings what a host depends on, and a board in Python.

Like the real one it opens its Monitor to the network where nothing else is asked for, and dies where that port is
taken; stays at its prompt behind an error in the script, and executes no more of it; ends with its standard input. An
error is what a script says behind `fails:`, an end in the middle of a command what it says behind `dies:`.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from pathlib import Path

from device_fake import FakeBoard

MONITOR_PORT = "FAKE_RENODE_MONITOR_PORT"  # 1234 of the real one
held: list[socket.socket] = []


def fail(command: str, reason: str) -> None:
    print(f"There was an error executing command '{command}'\n{reason}\n(machine-0) ", end="", flush=True)
    threading.Event().wait()


def monitor() -> None:
    if "--console" in sys.argv:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    else:
        held.append(socket.create_server(("127.0.0.1", int(os.environ[MONITOR_PORT]))))


def serve(server: socket.socket, last_words: str | None) -> None:
    client, board = server.accept()[0], FakeBoard()
    client.sendall(bytes(board.out))
    while data := client.recv(4096):
        if last_words and b"hil memory" in data:
            print(last_words, flush=True)
            os._exit(3)
        board.out.clear()
        board.write(data)
        client.sendall(bytes(board.out))


def main() -> None:
    if "--version" in sys.argv:
        print("Renode v1.16.1.12345")
        return
    monitor()
    setup = sys.argv[sys.argv.index("-e") + 1]
    print(f"(monitor) {setup.replace('; ', ';  ')}", flush=True)
    match = re.search(r"\$port=([0-9]+); include @(\S+)(?:; echo \"(.*)\")?$", setup)
    assert match
    port, script, echo = int(match.group(1)), Path(match.group(2)), match.group(3)
    platform = script.read_text()
    print("12:00:00.0000 [INFO] Including script(s)", flush=True)
    if "nonsense:" in platform:
        print("Could not tokenize here:\n    nonsense\n    ^\n(machine-0) 12:00:00.1000 [WARNING] Monitor", flush=True)
        threading.Event().wait()
    if "fails:" in platform:
        fail("machine LoadPlatformDescription @some_board.repl", platform.split("fails:")[1].strip())
    try:
        server = socket.create_server(("127.0.0.1", port))
    except OSError:
        reason = f"Unable to create '0.0.0.0:{port}' socket:[AddressAlreadyInUse] Address already in use"
        fail('emulation CreateServerSocketTerminal $port "uart" false', reason)
    if echo:
        print(echo, flush=True)
    serve(server, platform.split("dies:")[1].strip() if "dies:" in platform else None)
    threading.Event().wait()


if __name__ == "__main__":
    main()
