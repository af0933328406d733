"""`python tests/bench_hosts.py [INPUTS] [MODEL.tflite ...] [BOARD@HOST ...]`: every host that is here, on each model.

Bits against TensorFlow Lite Micro's kernels on this machine, counts of the host's own clock, and what the link does:
bytes a second of an upload to flash, and inferences a second, each an input sent, a run, the same once more with probes
between the operators, and the output read. A board on its serial port is measured where it is named; it is flashed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hil_nas.baselines import ds_cnn
from hil_nas.deploy.lower import lower
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite import read_tflite
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.device import Device
from hil_nas.device.firmware import build_firmware, find_third_party
from hil_nas.device.hosts import open_device
from hil_nas.target import BoardTarget
from hil_nas.units import count_unit
from hil_nas.workflows.doctor import examine

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"boards_dir": ROOT / "boards", "build_dir": ROOT / "build"}
PUBLISHED = ROOT.parent / "shared" / "data" / "mlperf_tiny" / "kws_ref_model.tflite"
INPUTS = 25


@dataclass(frozen=True)
class Case:
    """A model with inputs, and the logits that TFLM gives for them."""

    name: str
    plan: bytes
    inputs: np.ndarray
    expected: np.ndarray


def case(name: str, model: bytes, count: int) -> Case:
    oracle = Tflm(model)
    inputs = np.random.default_rng(1).integers(-128, 128, (count, *oracle.input_shape), dtype=np.int8)
    return Case(name, lower(read_tflite(model)).to_bytes(), inputs, oracle.run(inputs))


def measure(device: Device, one: Case) -> str:
    """The figures of one model on one host, as a row."""
    identity = device.identify()
    begin_s = time.perf_counter()
    device.load_plan(one.plan)
    upload_s = time.perf_counter() - begin_s
    begin_s, differing = time.perf_counter(), 0
    for values, logits in zip(one.inputs, one.expected, strict=True):
        device.set_input(values)
        device.run("network", warmups=0, runs=1)
        differing += not np.array_equal(device.read("output"), logits)
    each_s = (time.perf_counter() - begin_s) / len(one.inputs)
    count = device.run("network", warmups=1, runs=5).network_median_cycles
    bits = f"equal {len(one.inputs)}/{len(one.inputs)}" if not differing else f"{differing} DIFFER"
    counted = "no counter" if identity.clock_kind == "host" else f"{count:,} {count_unit(identity.clock_kind)}"
    return f"{bits:>15}{counted:>26} {identity.clock_kind:13}{len(one.plan) / upload_s / 1e3:9.0f}{1 / each_s:9.1f}"


def main(words: list[str]) -> None:
    count = next((int(x) for x in words if x.isdigit()), INPUTS)
    models = {Path(x).name: Path(x).read_bytes() for x in words if x.endswith(".tflite")}
    if not models and PUBLISHED.is_file():
        models = {PUBLISHED.name: PUBLISHED.read_bytes()}
    cases = [case(*x, count) for x in (models or {"ds_cnn, random": write_tflite(random_graph(ds_cnn(), 1))}).items()]
    named = [x for x in words if not x.isdigit() and not x.endswith(".tflite")]
    here = [x.target for x in examine(FOLDERS["boards_dir"]).hosts if not x.missing and "@" in x.target]
    print(f"{'host':22}{'start':>8}  {'model':22}{'bits':>15}{'network':>26} {'clock':13}{'upload':>9}{'through':>9}")
    print(f"{'':22}{'s':>8}  {'':22}{'':>15}{'':>26} {'':13}{'kB/s':>9}{'per s':>9}")
    for target in named or here:
        build_firmware(BoardTarget.parse(target).board, *FOLDERS.values(), find_third_party())
        begin_s = time.perf_counter()
        with open_device(target, **FOLDERS, flash="@" not in target) as device:
            start_s = time.perf_counter() - begin_s
            for one in cases:
                print(f"{target:22}{start_s:8.2f}  {one.name:22}{measure(device, one)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
