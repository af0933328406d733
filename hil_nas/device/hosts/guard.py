"""Runs a program that must not outlive whoever started it: `python guard.py PROGRAM ARGUMENT...`.

Standard input is a pipe whose other end the starter holds and never writes to. It closes with that process, however
that ends; then the program's whole process group is ended, for what is on PATH may be a script that starts another.
The program has the same standard input. Where this process is killed, the kernel kills the program (PR_SET_PDEATHSIG,
which is safe here: no thread but this one starts it).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

END_S = 3.0  # between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Starts the program; returns its status once it has ended, by itself or with the starter."""
    libc = ctypes.CDLL(None)
    program = subprocess.Popen(
        command, close_fds=False, process_group=0,
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )  # fmt: skip
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # the program's own: only its end may close them
    ended = os.pidfd_open(program.pid)
    ready, _, _ = select.select([0, ended], [], [])
    if ended not in ready:
        os.killpg(program.pid, signal.SIGTERM)
        select.select([ended], [], [], END_S)
    os.killpg(program.pid, signal.SIGKILL)  # what it has started as well; until wait() the number is its own
    status = program.wait()
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
