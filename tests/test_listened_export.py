"""20 s through the host, the export here and in QEMU, and the virtual board; `bench_listen.py` takes an hour."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from listened_export import board_words, export_words, listen_on, speech_and_noise, words_of
from test_deploy_c_export import make
from test_listening_host import streamable

from hil_nas.deploy.c_export import export_c
from hil_nas.deploy.decisions import ONE, Decisions
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.listening import Listening, sliding_windows
from hil_nas.deploy.lower import lower
from hil_nas.deploy.stream import stream_of
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.firmware import find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.front_ends import parse_front_end
from hil_nas.workflows.listen import host_listener

SECONDS, PERIOD_FRAMES = 20, 4
WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "lamp", "music")


def listening(stream: bool) -> Listening:
    front_end = parse_front_end("mfcc:480/320/40/10")
    window = random_graph(streamable(), 3)
    decisions = Decisions(WORDS, (ONE // 8,) * len(WORDS), 320 * PERIOD_FRAMES, 2, 1)
    windows = sliding_windows(attach_front_end(write_tflite(window), front_end), decisions)
    if not stream:
        return windows
    steps = lower(stream_of(window, PERIOD_FRAMES).step)
    return replace(windows, plan=steps, warm_up=-(-front_end.frames // PERIOD_FRAMES) - 1, stream=True)


@pytest.mark.parametrize("stream", [False, True], ids=["windows", "stream"])
def test_all_that_listens_decides_alike(stream: bool, tmp_path: Path, boards_dir: Path, build_dir: Path) -> None:
    model, samples = listening(stream), speech_and_noise(Path("nowhere"), SECONDS)
    host = host_listener(model, boards_dir, build_dir)
    words = words_of(host.push(samples), WORDS, 16_000)
    assert len(words) > 20 and len({x[1] for x in words}) > 1
    export_c(tmp_path / "export", model, boards_dir, find_third_party())
    make(tmp_path / "export")
    soundfile.write(tmp_path / "all.wav", samples, 16_000)
    assert export_words(tmp_path / "export", tmp_path / "all.wav") == words
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("needs arm-none-eabi-gcc")
    if shutil.which("qemu-system-arm"):
        assert export_words(tmp_path / "export", tmp_path / "all.wav", make=("CROSS=arm-none-eabi-",)) == words
    with open_device("nucleo-l4r5@virtual", boards_dir=boards_dir, build_dir=build_dir) as device:
        device.load_plan(model.plan.to_bytes())
        device.load_front_end(model.blob)
        device.load_listening(model.packed())
        host.restart()
        decisions, differing = listen_on(device, host, samples)
    assert differing == 0 and board_words(decisions, WORDS, 16_000) == words
