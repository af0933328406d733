"""An hour of audio through everything that listens: all decisions must be the same.

    .venv/bin/python tests/bench_listen.py RUN [--board nucleo-l4r5@virtual] [--minutes 60]

RUN is a run's folder, without which nothing is done; its thresholds are lowered to 0.25, so that much is heard. The
audio is what lies in ../shared/data/librispeech, then made noise. It goes through the host's listening, the export as a
program here and, in the firmware, a board; the export runs in QEMU too where that is installed, over the first minute.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from listened_export import board_words, export_words, listen_on, speech_and_noise, words_of

from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.decisions import ONE
from hil_nas.device.firmware import find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.listening.choice import with_threshold
from hil_nas.progress import silent
from hil_nas.workflows.finished_run import FinishedRun
from hil_nas.workflows.listen import host_listener, listening_of

ROOT = Path(__file__).resolve().parent.parent
BOARDS, BUILD, SPEECH = ROOT / "boards", ROOT / "build", ROOT.parent / "shared" / "data" / "librispeech"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--board", default="nucleo-l4r5@virtual")
    parser.add_argument("--minutes", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.run is None:
        print("no run folder was named: nothing to listen by")
        return 0
    tuned = listening_of(FinishedRun.read(arguments.run), None, silent)
    listening = replace(tuned, decisions=with_threshold(tuned.decisions, ONE // 4))
    rate_hz, labels = listening.front_end.clip.sample_rate_hz, listening.decisions.labels
    samples = speech_and_noise(SPEECH, 60 * arguments.minutes, rate_hz)
    host = host_listener(listening, BOARDS, BUILD)
    expected = host.push(samples)
    words = words_of(expected, labels, rate_hz)
    print(f"host: {len(expected):,} decisions {listening.way} in {arguments.minutes} min, {len(words)} words heard")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "export"
        export_c(home, listening, BOARDS, find_third_party())
        subprocess.run(["make", "-s"], cwd=home, check=True)
        soundfile.write(Path(scratch) / "all.wav", samples, rate_hz)
        begin_s = time.monotonic()
        equal = export_words(home, Path(scratch) / "all.wav") == words
        print(f"export here: words {'equal' if equal else 'DIFFER'}, in {time.monotonic() - begin_s:.1f} s")
        if shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc"):
            soundfile.write(Path(scratch) / "minute.wav", samples[: 60 * rate_hz], rate_hz)
            first = [x for x in words if float(x[0]) <= 60]
            same = export_words(home, Path(scratch) / "minute.wav", make=("CROSS=arm-none-eabi-",)) == first
            print(f"export on a Cortex-M4F in QEMU, a minute: {len(first)} words {'equal' if same else 'DIFFER'}")
            equal &= same
    with open_device(arguments.board, boards_dir=BOARDS, build_dir=BUILD) as device:
        device.load_plan(listening.plan.to_bytes())
        device.load_front_end(listening.blob)
        device.load_listening(listening.packed())
        host.restart()
        begin_s, decisions, differing, minute = time.monotonic(), [], 0, 60 * rate_hz
        for number, piece in enumerate(np.split(samples, range(minute, len(samples), minute)), start=1):
            more, other = listen_on(device, host, piece)
            decisions, differing = decisions + more, differing + other
            took_s = time.monotonic() - begin_s
            print(f"{arguments.board}: {number} min in {took_s:.0f} s, {differing} decisions differ", flush=True)
    equal &= differing == 0 and board_words(decisions, labels, rate_hz) == words
    cycles = [x.cycles for x in decisions[1:]]
    print(f"{len(decisions):,} decisions, median {statistics.median_low(cycles):,}, worst {max(cycles):,} cycles")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
