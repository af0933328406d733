"""Measuring a device that makes up its counts: what is kept, resumed, refused and reported."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil_nas import cli
from hil_nas.cost.arena import arena_bytes
from hil_nas.cost.blob import plan_bytes
from hil_nas.deploy.plan import Plan, PlanOperator
from hil_nas.device.replies import FrontEndInfo, Identity, MemoryUse, PlanInfo
from hil_nas.device.run_counts import OperatorCycles, RunCounts, StageCycles
from hil_nas.errors import InputError, LinkError
from hil_nas.front_ends import KINDS
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.latency.kernel_work import is_executed
from hil_nas.latency.measurements import Measurements, NetworkRow, network_id
from hil_nas.latency.model import LatencyModel
from hil_nas.latency.store import Store
from hil_nas.network import Network
from hil_nas.progress import Progress
from hil_nas.report.profile_page import profile_page
from hil_nas.workflows import fitting, footprint, fresh_networks, measure, measurement_plan, network_sampling, profile

IDENTITY = Identity(
    board="nucleo_l4r5", clock_hz=120_000_000, clock_kind="modelled", engine="plans", build="a" * 16,
    kernels="b" * 16, versions="cmsis-nn 4.0.0", host="virtual", pool_bytes=570_000, store_bytes=900_000,
    input_bytes=27_648, clock_error_percent=5.0,
)  # fmt: skip
CONFIGS = tuple(Mfcc(400, hop, mel, c) for hop in (160, 200, 320) for mel in (20, 40) for c in (8, 16))


STACK_BYTES = {"conv": 900, "softmax": 1100}


def front_end_sizes(tables: bytes) -> FrontEndInfo:
    """What a board reads in the header of the tables."""
    kind, samples, window, hop, columns, fft_size, mel_bins = struct.unpack_from("<I 4x 4I 8x 2I", tables, 16)
    name = next(x.kind for x in KINDS.values() if x.number == kind)
    return FrontEndInfo(name, 1 + (samples - window) // hop, columns, 16 + 5 * max(2 * fft_size, 8 * mel_bins))


def made_up_cycles(operator: PlanOperator) -> int:
    taps = math.prod(operator.kernel) * (operator.in_shape[2] if operator.kind == "conv" else 1)
    return 800 + 3 * math.prod(operator.out_shape) * max(taps, 1)


class FakeDevice:
    """Answers like a device; `fails_after` networks it goes silent, for good or a number of `times`."""

    def __init__(self, identity: Identity = IDENTITY, fails_after: int = 10**9, times: int = 10**9) -> None:
        self.identity, self.fails_after, self.times, self.loaded = identity, fails_after, times, 0
        self.reset()

    def __enter__(self) -> FakeDevice:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.plan = None

    def identify(self) -> Identity:
        return self.identity

    def load_model(self, forms: Mapping[str, bytes], where: str) -> PlanInfo:
        assert where in ("flash", "ram")
        if self.loaded == self.fails_after and self.times:
            self.times -= 1
            raise LinkError("no answer within 2 s")
        self.loaded += where == "flash"
        self.where, self.plan = where, Plan.from_bytes(forms["plans"])
        return PlanInfo(len(self.plan.operators), self.plan.arena_bytes, self.plan.input_bytes, self.plan.output_bytes)

    def reset(self) -> None:
        self.plan: Plan | None = None
        self.front_end: FrontEndInfo | None = None
        self.front_end_bytes, self.stack_bytes = 0, 300

    def unload(self, slot: str) -> None:
        if slot == "plan":
            self.plan = None
        else:
            self.front_end, self.front_end_bytes = None, 0

    def load_front_end(self, data: bytes, where: str) -> FrontEndInfo:
        """Takes the sizes where `boards/src/front_end.c` finds them."""
        assert where == "flash"
        self.front_end_bytes = len(data)
        self.front_end = front_end_sizes(data)
        return self.front_end

    def memory(self) -> MemoryUse:
        plan, end = self.plan, self.front_end
        features = end.frames * end.columns if end else 0
        return MemoryUse(
            arena_bytes=plan.arena_bytes if plan else 0,
            front_end_scratch_bytes=end.scratch_bytes if end else 0,
            front_end_tables_bytes=self.front_end_bytes,
            front_end_tables_where="flash",
            plan_bytes=len(plan.to_bytes()) if plan else 0,
            plan_where="flash",
            audio_bytes=32000 if end else 0,
            listen_bytes=0,
            io_bytes=max(features, plan.input_bytes if plan else 0),
            static_bytes=2000,
            stack_bytes=self.stack_bytes,
            image_bytes=90_000,
        )

    def set_input(self, values: np.ndarray) -> None:
        assert self.plan is not None and values.size == self.plan.input_bytes and values.dtype == np.int8

    def set_audio(self, samples: np.ndarray) -> None:
        assert samples.shape == (16000,) and samples.dtype == np.int16

    def run(self, what: str, warmups: int, runs: int) -> RunCounts:
        if what == "frontend":
            assert self.front_end is not None
            names = KINDS[self.front_end.kind].stages
            stages = tuple(StageCycles(x, 15 * self.front_end_bytes) for x in names)
            return RunCounts((90 * self.front_end_bytes,) * runs, (), (), stages)
        assert self.plan is not None
        self.stack_bytes = max(self.stack_bytes, *(STACK_BYTES.get(x.kind, 500) for x in self.plan.operators))
        cost = 5 if self.where == "flash" else 4
        operators = tuple(OperatorCycles(x.kind, cost * made_up_cycles(x)) for x in self.plan.operators)
        return RunCounts((), (sum(x.cycles for x in operators) + 120,) * runs, operators)


@cache
def few_corners() -> list[Network]:
    return measurement_plan.corners()[::16]


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of a second: what they choose from is little."""
    monkeypatch.setattr(measurement_plan, "front_ends", lambda: CONFIGS)
    monkeypatch.setattr(measurement_plan, "CANDIDATES", 60)
    corners = few_corners()
    monkeypatch.setattr(measurement_plan, "corners", lambda: corners)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeDevice], None]:
    make_small(monkeypatch)

    def install(device: FakeDevice) -> None:
        monkeypatch.setattr(profile, "open_device", lambda target, **folders: device)
        monkeypatch.setattr(fresh_networks, "open_device", lambda target, **folders: device)

    return install


def run(tmp_path: Path, **values: Any) -> profile.ProfileResult:
    folders = {"boards_dir": tmp_path, "build_dir": tmp_path, "models_dir": tmp_path / "latency_models"}
    return profile.profile("nucleo-l4r5@virtual", **{**folders, "networks": 12, **values})


def test_a_profile_leaves_a_model_that_answers(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    steps: list[Progress] = []
    result = run(tmp_path, progress=steps.append)
    assert result.folder == tmp_path / "latency_models" / "nucleo-l4r5@virtual"
    assert (result.networks, result.measured_networks, result.front_ends) == (12, 12, len(CONFIGS))
    assert [x.done for x in steps if x.task == "networks"] == list(range(1, 13))
    model = LatencyModel.load(result.folder, expected=measure.provenance_of(IDENTITY))
    network = measurement_plan.networks(12, 0, lambda x: fitting.is_measured(x, IDENTITY))[3]
    assert model.network_cycles(network) > 0 and model.overhead_cycles == 120
    prefixes = ("", "macs_linear_", "look_up_")
    names = (
        "network_mean_error_percent", "network_worst_error_percent", "networks_within_5_percent",
        "networks_within_10_percent", "network_rank_correlation",
        "operator_mean_error_percent", "front_end_mean_error_percent",
    )  # fmt: skip
    assert set(result.report) == {p + n for p in prefixes for n in names}
    assert all(math.isfinite(x) for x in result.report.values())


def test_an_interrupted_profile_measures_only_what_is_missing(
    tmp_path: Path, use: Callable[[FakeDevice], None]
) -> None:
    whole = tmp_path / "whole"
    use(FakeDevice())
    run(whole)
    use(FakeDevice(fails_after=5))
    with pytest.raises(LinkError):
        run(tmp_path)
    second = FakeDevice()
    use(second)
    assert run(tmp_path).measured_networks == second.loaded == 7
    rows = "latency_models/nucleo-l4r5@virtual/measurements.csv"
    assert (tmp_path / rows).read_bytes() == (whole / rows).read_bytes()


def test_a_board_that_goes_away_pauses_a_profile(
    tmp_path: Path, use: Callable[[FakeDevice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once between two front ends and once at a network: the rows are those of a board that stayed."""
    use(FakeDevice())
    run(tmp_path / "whole")
    use(device := FakeDevice(fails_after=5, times=2))
    load, loads = device.load_front_end, []

    def lost(tables: bytes, where: str) -> FrontEndInfo:
        loads.append(tables)
        if len(loads) == 4:
            raise LinkError("device disconnected")
        return load(tables, where)

    monkeypatch.setattr(device, "load_front_end", lost)
    steps: list[Progress] = []
    result = run(tmp_path, progress=steps.append)
    assert [x.note for x in steps if x.task == "waiting for the board"] == [
        "device disconnected", "no answer within 2 s", "no answer within 2 s",
    ]  # fmt: skip
    assert result.networks == 12 and len(loads) == len(CONFIGS) + 1
    rows = "latency_models/nucleo-l4r5@virtual/measurements.csv"
    assert (tmp_path / rows).read_bytes() == (tmp_path / "whole" / rows).read_bytes()


def test_a_longer_plan_keeps_what_a_shorter_one_measured(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    run(tmp_path, networks=6)
    assert run(tmp_path, networks=9).measured_networks == 3


def test_other_kernels_are_not_mixed_in(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    run(tmp_path, networks=3)
    use(FakeDevice(replace(IDENTITY, build="c" * 16)))
    run(tmp_path, networks=4)  # another image around the same kernels goes on
    use(FakeDevice(replace(IDENTITY, kernels="d" * 16)))
    with pytest.raises(InputError, match="kernels") as caught:
        run(tmp_path, networks=5)
    assert "b" * 16 in str(caught.value) and "d" * 16 in str(caught.value)
    use(FakeDevice(replace(IDENTITY, kernels="d" * 16, versions="cmsis-nn 4.0.0;gcc 13")))
    with pytest.raises(InputError, match="versions 'cmsis-nn 4.0.0', this is 'cmsis-nn 4.0.0;gcc 13'") as caught:
        run(tmp_path, networks=5)  # what tells a person more than a hash
    folder = tmp_path / "latency_models" / "nucleo-l4r5@virtual"
    assert caught.value.hint == f"move {folder} away and measure anew with `hil_nas profile`"
    folder.rename(tmp_path / "away")
    assert run(tmp_path, networks=3).networks == 3


def test_silicon_is_timed_several_times(use: Callable[[FakeDevice], None]) -> None:
    identity = replace(IDENTITY, clock_kind="silicon", host="serial")
    network = measurement_plan.published()[0]
    total, operators = measure.measure_network(FakeDevice(identity), identity, network)  # type: ignore[arg-type]
    assert len(total.cycles) == 5 and total.arena_bytes == arena_bytes(network)
    assert [x.operator for x in operators] == [x for x in network.operators() if is_executed(x)]


def test_fresh_networks_are_measured_and_not_kept(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    result = run(tmp_path, networks=40)
    before = (result.folder / "measurements.csv").read_bytes()
    folders = {"boards_dir": tmp_path, "build_dir": tmp_path, "models_dir": tmp_path / "latency_models"}
    report = fresh_networks.evaluate("nucleo-l4r5@virtual", networks=5, **folders)
    assert (result.folder / "measurements.csv").read_bytes() == before
    assert (report["networks"], report["tiny_networks"], report["darts_networks"]) == (10, 5, 5)
    outside = [report[f"{x}_networks_outside_range"] for x in network_sampling.OF_SPACE]
    assert report["networks_outside_range"] == sum(outside)
    for name in ("network_mean_error_percent", "macs_linear_network_mean_error_percent"):
        assert report[name] == pytest.approx((report[f"tiny_{name}"] + report[f"darts_{name}"]) / 2)
    assert not any("front_end" in x for x in report if x.startswith(tuple(network_sampling.OF_SPACE)))
    assert report["ram_under_bytes"] == report["flash_under_bytes"] == report["flash_over_bytes"] == 0
    assert report["ram_over_bytes"] in (0, 200)  # a network without a softmax goes less deep
    assert report["network_mean_error_percent"] <= report["network_worst_error_percent"]


def test_memory_that_is_promised_too_low_is_said_in_bytes(use: Callable[[FakeDevice], None]) -> None:
    device, network, config = FakeDevice(), measurement_plan.published()[0], Mfcc(640, 320, 40, 10)
    said = footprint.measure_footprint(device, [config])  # type: ignore[arg-type]
    product, used = fresh_networks.FreshNetwork("tiny", network, config), device.memory()
    exact = replace(used, arena_bytes=arena_bytes(network), plan_bytes=plan_bytes(network))
    assert set(fresh_networks.memory_errors(said, [product], [exact]).values()) == {0.0}
    wrong = fresh_networks.memory_errors(
        said,
        [product] * 2,
        [replace(exact, stack_bytes=exact.stack_bytes + 24), replace(exact, image_bytes=exact.image_bytes - 900)],
    )
    assert wrong["ram_under_bytes"] == 24 and wrong["ram_over_bytes"] == 0
    assert wrong["flash_under_bytes"] == 0 and wrong["flash_over_bytes"] == 900
    assert wrong["flash_over_percent"] == pytest.approx(100 * 900 / (exact.flash_bytes - 900))


def test_a_run_leaves_a_page_with_its_figures(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    folders = {"boards_dir": tmp_path, "build_dir": tmp_path, "models_dir": tmp_path / "latency_models"}
    result, folder = profile.run_profile(
        "nucleo-l4r5@virtual", runs_dir=tmp_path / "runs", page=profile_page, networks=12, **folders
    )
    assert folder.name.endswith("-profile-nucleo-l4r5-virtual")
    assert json.loads((folder / "result.json").read_text()) == result and result["status"] == "complete"
    page = (folder / "report.html").read_text()
    assert page.count('class="chart"') == 3
    assert "at 120 MHz, and within 5 % of silicon" in page and "flash costs 25.0 %" in page
    paths = ("dsp_average_pool", "dsp_1x1", "dsp_im2col_words", "dsp_fully_connected", "mfcc")
    assert all(f'<th scope="row">{x}</th>' in page for x in paths) and "front_end_fft" in page


def test_instructions_are_no_time_on_the_page(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    counted = {"clock_kind": "instructions", "clock_error_percent": None}
    use(FakeDevice(replace(IDENTITY, board="mps2_an386", host="qemu", **counted)))
    notes: list[str] = []
    folders = {"boards_dir": tmp_path, "build_dir": tmp_path, "models_dir": tmp_path / "latency_models"}
    _, folder = profile.run_profile(
        "mps2-an386@qemu", runs_dir=tmp_path, page=profile_page, networks=12,
        progress=lambda x: notes.append(x.note), **folders,
    )  # fmt: skip
    shown = re.sub("<svg.*?</svg>|<style>.*?</style>", "", (folder / "report.html").read_text(), flags=re.S)
    assert "instructions, which are no time" in shown and "instructions each" in shown
    assert not re.search(r"\bms\b|MHz|cycles", shown)
    assert any("M instructions" in x for x in notes) and not any("cycles" in x for x in notes)


def test_fresh_networks_are_told_apart_by_how_near_the_model_says_it_is(
    tmp_path: Path, use: Callable[[FakeDevice], None]
) -> None:
    use(FakeDevice())
    known = Store(run(tmp_path, networks=40).folder).read()
    model = LatencyModel.fit(known)
    fresh = fresh_networks.fresh_products("tiny", 40, 0, IDENTITY, known)
    drawn = [x for x in fresh if all(model.outside(y) is None for y in x.network.operators())][:6]
    exact = Measurements(networks=tuple(
        NetworkRow(network_id(x.network), 1, (round(model.network_cycles(x.network)),)) for x in drawn
    ))  # fmt: skip
    beyond = replace(exact, networks=tuple(
        replace(y, cycles=(round(y.cycles[0] / (1 + 1.1 * model.network_spread(x.network))),)) if i < 3 else y
        for i, (x, y) in enumerate(zip(drawn, exact.networks, strict=True))
    ))  # fmt: skip
    name = "networks_within_spread_percent"
    assert fresh_networks.trust(model, [x.network for x in drawn], exact)[name] == 100
    assert fresh_networks.trust(model, [x.network for x in drawn], beyond)[name] == 50


@pytest.mark.parametrize("also", [[], ["--evaluate"]])
@pytest.mark.parametrize("option", [["--port", "/dev/ttyACM7"], ["--flash"]])
def test_port_and_flash_reach_the_board(
    also: list[str], option: list[str], tmp_path: Path, boards_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left_in = [y for x in ("--build", "--models", "--runs") for y in (x, str(tmp_path))]
    board = ["--board", "nucleo-l4r5@virtual", "--boards", str(boards_dir)]
    assert cli.main(["profile", *board, *option, *also, *left_in]) == 1
    assert "has no serial port" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_evaluating_without_a_model_says_what_to_do(tmp_path: Path, use: Callable[[FakeDevice], None]) -> None:
    use(FakeDevice())
    with pytest.raises(InputError, match="hil_nas profile"):
        fresh_networks.evaluate("nucleo-l4r5@virtual", boards_dir=tmp_path, build_dir=tmp_path, models_dir=tmp_path)


@pytest.fixture(autouse=True, scope="module")
def few_candidates() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement_plan, "CANDIDATES", 160)
        yield
