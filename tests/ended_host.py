"""`python -m tests.ended_host BOARD@HOST STAGE BUILD`: opens a board, says so at a stage of its work, and stays there.

    start     what was started has not booted
    command   the board is in the middle of a command
    upload    the board waits for the rest of a chunk
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from hil_nas.deploy.lower import lower
from hil_nas.deploy.synthetic import random_graph
from hil_nas.device import hosts
from hil_nas.device.hosts import emulator, open_device
from hil_nas.network import Layer, Network

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("start", "command", "upload")
NETWORK = Network((40, 40, 8), (Layer("conv", (-1,), 32, kernel=(3, 3)), Layer("conv", (0,), 8, kernel=(3, 3))))
RUNS = 10_000


def say(stage: str) -> None:
    print(stage, flush=True)


def stay(*_: object) -> NoReturn:
    say("start")
    time.sleep(600)
    raise AssertionError("nobody ended it")


def main(target: str, stage: str, build: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    if stage == "start":
        emulator._await_script = emulator._booted = hosts.check = stay  # type: ignore[assignment]
    with open_device(target, boards_dir=ROOT / "boards", build_dir=Path(build)) as device:
        plan = lower(random_graph(NETWORK, seed=1))
        device.load_plan(plan.to_bytes())
        link = device._link
        if stage == "upload":
            write, written = link._write, []

            def hold(data: bytes) -> None:
                written.append(data)
                if len(written) < 3:
                    return write(data)
                say(stage)
                time.sleep(600)

            link._write = hold  # type: ignore[method-assign]
            link.upload("hil load input ram", bytes(plan.input_bytes))
        link.upload("hil load input ram", bytes(plan.input_bytes))
        say(stage)
        device.run("network", warmups=0, runs=RUNS)


if __name__ == "__main__":
    main(*sys.argv[1:])
