"""A model as a stream beside its sliding windows, over real speech: every byte of every answer, and cycles of each.

    python tests/bench_stream.py [MODEL.tflite [MINUTES [FRONT_END]]]

Any quantised model that can stream; without one, a chain with random weights. Speech is that of LibriSpeech in
../shared/data/librispeech, by the model's own front end, or by the one that is named where it has none. Windows are
answered by TensorFlow Lite Micro, steps by the engine on this machine and, as a .tflite, by TensorFlow Lite Micro too,
for every period of up to half a second; cycles are the modelled ones of nucleo-l4r5@virtual, the network's alone.

MLPerf Tiny's streaming wakeword is str_ww_ref_model.tflite in benchmark/training/streaming_wakeword/trained_models
of its repository, mlcommons/tiny; logmel:1024/512/40 gives features of the form that it reads.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from deploy_harness import build_engine
from streams import by_tflm, equal_windows, features_of_audio, streamed, windows_of

from hil_nas.deploy.graph import QuantGraph
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.stream import Stream, step_tflite, stream_of
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_front_end, read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.hosts import open_device
from hil_nas.errors import InputError
from hil_nas.front_ends import parse_front_end
from hil_nas.network import INPUT, Layer, Network
from hil_nas.workflows.measure import FEATURE_SCALE, FEATURE_ZERO_POINT
from hil_nas.workflows.verify import host_library

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT.parent / "shared" / "data" / "librispeech"
BOARD = "nucleo-l4r5@virtual"
LONGEST_PERIOD_MS = 500
CHAIN = Network(
    (49, 13, 1),
    (
        Layer("reshape", (INPUT,), shape=(49, 1, 13)),
        Layer("conv", (0,), 48, (5, 1), (2, 1), padding="valid", relu=True),
        Layer("depthwise", (1,), kernel=(9, 1), padding="valid", relu=True),
        Layer("conv", (2,), 64, relu=True),
        Layer("depthwise", (3,), kernel=(5, 1), padding="valid", relu=True),
        Layer("conv", (4,), 64, relu=True),
        Layer("average_pool", (5,), kernel=(11, 1), stride=(11, 1), padding="valid"),
        Layer("fully_connected", (6,), 12),
    ),
)


def network_cycles(device: Device, graph: QuantGraph) -> int:
    device.load_model({"plans": lower(graph).to_bytes()}, "flash")
    elements = graph.tensors[graph.input].elements
    device.set_input(np.random.default_rng(0).integers(-128, 128, elements, dtype=np.int8))
    return int(device.run("network", warmups=1, runs=1).network_cycles[0])


def streams_of(graph: QuantGraph, most: int) -> list[Stream]:
    """For every number of new frames, up to so many, by which the model can stream."""
    found, refusals = [], []
    for frames in range(1, most + 1):
        try:
            found.append(stream_of(graph, frames))
        except InputError as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def main() -> int:
    model = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else write_tflite(random_graph(CHAIN, 1))
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    graph = read_tflite(model)
    source = graph.tensors[graph.input]
    own = read_front_end(model)
    front_end = own or parse_front_end(sys.argv[3] if len(sys.argv) > 3 else "mfcc:480/320/24/13/256")
    scale, zero_point = (source.scale, source.zero_point) if own else (FEATURE_SCALE, FEATURE_ZERO_POINT)
    host, files = host_library(ROOT / "boards", ROOT / "build"), sorted(SPEECH.glob("*.flac"))
    heard = features_of_audio(files, round(60 * minutes), front_end, host, scale, zero_point)
    windows = windows_of(heard, front_end.frames)
    expected = Tflm(model).run(windows.reshape(len(windows), *source.shape[1:]))
    print(f"{front_end}: {len(heard)} frames, {len(np.unique(expected, axis=0))} different answers of {len(windows)}")
    opened = open_device(BOARD, boards_dir=ROOT / "boards", build_dir=ROOT / "build")
    with tempfile.TemporaryDirectory() as folder, opened as device:
        engine, hz = build_engine(Path(folder), ROOT / "boards", ROOT / "build"), device.identify().clock_hz
        whole = network_cycles(device, graph)
        hop_ms = front_end.hop_samples / front_end.clip.sample_rate_hz * 1e3
        for stream in streams_of(graph, int(LONGEST_PERIOD_MS / hop_ms)):
            equal = equal_windows(stream, streamed(stream, heard, engine), expected)
            assert equal_windows(stream, by_tflm(step_tflite(model, stream.frames), heard), expected) == equal
            step = network_cycles(device, stream.step)
            period_ms = stream.frames * hop_ms
            load = [x / hz / period_ms * 1e3 for x in (whole, step)]
            print(
                f"every {period_ms:3.0f} ms: {equal} windows equal to the bit; {stream.state_bytes:,} bytes of state;"
                f" network {step:,} cycles a step, {whole:,} a window; load {load[1]:.1%}, {load[0]:.1%}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
