"""Hosts that are programs of their own: QEMU and Renode, their UART on a socket.

Both count instructions, not cycles.
"""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

from serial import SerialException

from hil_nas.device.boards import Board
from hil_nas.device.hosts.process import (
    Child,
    SocketPort,
    find_program,
    free_port,
    is_older,
    program_version,
    start_on_socket,
)
from hil_nas.device.hosts.running import Running
from hil_nas.device.link import ENDING_S
from hil_nas.device.protocol import shown
from hil_nas.errors import InputError, LinkError, MissingToolError

QEMU_HINT = "install it: apt-get install qemu-system-arm"
RENODE_HINT = "install Renode 1.16 or later from https://github.com/renode/renode/releases and put it on PATH"
RENODE_OLDEST = (1, 16)  # an older one reads a cycle counter that lags behind its instructions
BOOT_S = 60.0
_READY = b"m-ready\r\n"
_MAX_BOOT_BYTES = 10_000
_STARTED = "hil_nas: the script has run"
_FAILED = re.compile(r"^(There was an error executing command .*)\n+(.+)\n", re.MULTILINE)
_PROMPT = re.compile(r"^\([^()\n]+\) ", re.MULTILINE)
_LOGGED = re.compile(r"[0-9:.]+ \[")
_TAKEN = "AddressAlreadyInUse"
_PORTS = 5  # tried, where somebody takes one before Renode does


def start_qemu(board: Board, elf: Path, build_dir: Path) -> Running:
    """Run the firmware in QEMU, whose -icount makes its clocks count instructions.

    Raises:
        MissingToolError: where qemu-system-arm is not installed.
        LinkError: where it ends or does not boot.
    """
    log = build_dir / "hosts" / f"{board.name}-qemu-{time.time_ns()}.log"
    child, port = start_on_socket(lambda uart: qemu_command(board, elf, uart), log)
    with child:
        return _booted(child, port)


def qemu_command(board: Board, elf: Path, uart: int) -> list[str]:
    """The command line of QEMU for a board, its UART on a descriptor that is a connected socket."""
    if board.qemu is None:
        raise InputError(f"board '{board.name}' has no [qemu] table")
    return [
        find_program("qemu-system-arm", QEMU_HINT),
        *("-M", board.qemu.machine, "-icount", f"shift={board.qemu.icount_shift}"),
        *("-display", "none", "-monitor", "none", "-nodefaults"),
        *("-chardev", f"socket,id=uart,fd={uart}", "-serial", "chardev:uart"),
        *("-kernel", str(elf)),
    ]


def start_renode(board: Board, elf: Path, boards_dir: Path, build_dir: Path) -> Running:
    """Run the firmware in Renode on the board's own platform file, `boards/<name>/<name>.resc`.

    Raises:
        MissingToolError: where renode is not installed, or too old to count.
        LinkError: where it ends, does not take the platform file, or does not boot.
    """
    script = boards_dir / board.name / f"{board.name}.resc"
    if not script.is_file():
        raise InputError(f"board '{board.name}' has no platform for Renode at {script}")
    program = _find_renode()
    for _ in range(_PORTS):
        port = free_port()
        log = build_dir / "hosts" / f"{board.name}-renode-{port}.log"
        with Child(renode_command(program, script, elf, port), log) as child:
            if _await_script(child):
                return _booted(child, _connected(child, port))
        child.release()
    raise LinkError(f"{_PORTS} TCP ports were free and taken before Renode had them", hint="try again")


def renode_command(program: str, script: Path, elf: Path, port: int) -> list[str]:
    """The command line of Renode.

    Its Monitor is on standard input, which has to stay open: without `--console` it would listen to the whole network
    on port 1234. The script's errors then go to the log, and what stands behind an error is not executed.
    """
    setup = f'$bin=@{_path(elf)}; $port={port}; include @{_path(script)}; echo "{_STARTED}"'
    return [program, "--disable-gui", "--plain", "--console", "-e", setup]


def _find_renode() -> str:
    path = find_program("renode", RENODE_HINT)
    version = program_version(path)
    if version and is_older(version, RENODE_OLDEST):
        raise MissingToolError(f"{path} is Renode {version}, whose counts are not exact", hint=RENODE_HINT)
    return path


def _path(path: Path) -> str:
    return str(path.resolve()).replace(" ", r"\ ")


def _await_script(child: Child) -> bool:
    """Wait until Renode has run the whole script, so that what listens on the port is Renode; false where somebody
    else does.
    """
    end = time.monotonic() + BOOT_S
    while True:
        words = child.words()
        failed = _FAILED.search(words)
        if failed is not None and _TAKEN in words:
            return False
        if failed is not None:
            said = ": ".join(shown(x) for x in failed.groups())
            raise LinkError(f"Renode says: {said}", hint=f"its output is in {child.log}")
        if re.search(f"^{_STARTED}$", words, re.MULTILINE):  # the line that says it, not the command
            return True
        if len(_PROMPT.findall(words)) > 1:  # behind the first stands the command
            answer = [x for x in words.partition(_STARTED)[2].splitlines()[1:] if x and not _LOGGED.match(x)]
            message = f"Renode has not run its script and says: {shown(next(iter(answer), 'nothing'))}"
            raise LinkError(message, hint=f"its output is in {child.log}")
        child.alive(0.05)
        if time.monotonic() > end:
            raise LinkError(f"Renode has not run its script within {BOOT_S:g} s", hint=f"its output is in {child.log}")


def _connected(child: Child, port: int) -> SocketPort:
    try:
        return SocketPort(socket.create_connection(("127.0.0.1", port)))
    except OSError as error:
        child.alive(ENDING_S)
        raise LinkError(f"Renode's port {port} does not open: {error}", hint=f"its output is in {child.log}") from error


def _booted(child: Child, port: SocketPort) -> Running:
    """Wait for the boot text's end: bytes for a UART that is not on yet are lost in Renode, and in QEMU they
    keep those behind them waiting for good.
    """
    end = time.monotonic() + BOOT_S
    heard = bytearray()
    port.timeout = 0.1
    try:
        while _READY not in heard:
            if time.monotonic() > end or len(heard) > _MAX_BOOT_BYTES:
                message = f"no 'm-ready' within {BOOT_S:g} s of the start"
                raise LinkError(message, hint=f"the emulator has written {child.log}")
            heard += port.read(1)
    except BaseException as error:  # Ctrl-C as well
        port.close()
        if isinstance(error, SerialException):
            child.alive(ENDING_S)
            raise LinkError(f"the port to the board failed: {error}") from error
        raise
    return Running(port, child.release, child.alive)
