"""What a verification counts, on a board that answers as the host does but where it is told to differ."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil_nas.audio.clips import Clips
from hil_nas.budget import Budget
from hil_nas.deploy.front_end_metadata import attach_front_end
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.synthetic import random_graph
from hil_nas.deploy.tflite_writer import write_tflite
from hil_nas.device.boards import Power
from hil_nas.device.replies import ClockKind, Identity, MemoryUse
from hil_nas.device.run_counts import OperatorCycles, RunCounts, StageCycles
from hil_nas.errors import InputError
from hil_nas.front_ends import ONE_SECOND
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network
from hil_nas.progress import Progress
from hil_nas.workflows import verify as module
from hil_nas.workflows.measure import energy_of, latency_ms
from hil_nas.workflows.memory_lines import flash_lines, ram_lines
from hil_nas.workflows.verify import Model, drawn_clips, name_of, noise, verify

CONFIG = Mfcc(640, 640, 20, 4)
NETWORK = Network((CONFIG.frames, CONFIG.coefficients, 1), (Layer("fully_connected", (INPUT,), 3),))
PLAIN = write_tflite(random_graph(NETWORK, 0))
MODEL = attach_front_end(PLAIN, CONFIG)
IDENTITY = Identity(
    "nucleo_l4r5",
    120_000_000,
    "modelled",
    "plans",
    "b" * 16,
    "k" * 16,
    "gcc",
    "virtual",
    600_000,
    1_500_000,
    27_648,
    clock_error_percent=5.0,
)
# powers of two, so that a sum names its lines
MEMORY = MemoryUse(1, 2, 4, "ram", 8, "flash", 16, 0, 32, 64, 128, 256)
OPERATORS = (OperatorCycles("fully_connected", 599_000),)


def clips(count: int) -> Any:
    return np.random.default_rng(1).integers(-20_000, 20_000, (count, 16000)).astype(np.int16)


class Host:
    """A front end that needs no compiler: the clip's first samples."""

    def features(self, blob: bytes, heard: Any) -> Any:
        assert blob
        values = heard[:, : CONFIG.frames * CONFIG.coefficients] >> 8
        return values.astype(np.int8).reshape(-1, CONFIG.frames, CONFIG.coefficients)


class Board:
    """Answers as the host does; `spoil(slot, number, values)` may change what is read after so many runs."""

    def __init__(self, spoil: Any = lambda slot, number, values: values, **identity: Any) -> None:
        self.spoil, self.oracle = spoil, Tflm(MODEL)
        self.identity = replace(IDENTITY, **identity)
        self.ran: list[tuple[str, int, int]] = []
        self.inputs: list[bytes] = []
        self.slots: dict[str, Any] = {}

    def identify(self) -> Identity:
        return self.identity

    def reset(self) -> Identity:
        return self.identity

    def memory(self) -> MemoryUse:
        return MEMORY

    def unload(self, slot: str) -> None:
        self.slots.pop("front end" if slot == "frontend" else slot, None)

    def load_model(self, model: dict[str, bytes], where: str) -> None:
        self.slots |= {"model": model, "model where": where}

    def load_front_end(self, blob: bytes, where: str) -> None:
        self.slots |= {"front end": blob, "front end where": where}

    def set_audio(self, clip: Any) -> None:
        self.slots["features"] = Host().features(b"x", clip[None])[0]
        self.inputs.append(clip.tobytes())

    def set_input(self, values: Any) -> None:
        self.slots["features"] = values.reshape(CONFIG.frames, CONFIG.coefficients)
        self.inputs.append(values.tobytes())

    def run(self, what: str, warmups: int, runs: int) -> RunCounts:
        self.ran.append((what, warmups, runs))
        self.slots["output"] = self.oracle.run(self.slots["features"][None, ..., None])[0]
        front_end = (900_000, 100_000, 300_000, 200_000, 400_000) if what == "all" else ()
        stages = (StageCycles("fft", 290_000),) if what == "all" else ()
        return RunCounts(front_end, (600_000, 900_000, 500_000, 700_000, 400_000), OPERATORS, stages)

    def read(self, slot: str) -> Any:
        return self.spoil(slot, len(self.ran), self.slots[slot].copy())


def verified(board: Board, model: bytes = MODEL, budget: Budget | None = None, **more: Any) -> module.Verification:
    device: Any = board
    host: Any = Host()
    return verify(device, Model.read(model), host, budget=budget or Budget(), **more)


def test_a_board_that_answers_as_the_host_is_right() -> None:
    board, steps = Board(), list[Progress]()
    heard = clips(3)
    result = verified(board, clips=heard, progress=steps.append)
    assert result.ok and result.bits_equal and result.differing_bytes == 0 and result.missed == ()
    assert (result.compared, result.clips_compared, result.front_end) == ("features and logits", 3, str(CONFIG))
    assert result.accuracy is None  # nobody said what the clips are
    # timed on the first clip with one warm-up, then every clip once
    assert board.ran == [("all", 1, 5), *[("all", 0, 1)] * 3]
    assert board.inputs == [x.tobytes() for x in (heard[0], *heard)]
    assert [(x.done, x.total) for x in steps] == [(1, 3), (2, 3), (3, 3)]
    # in flash, as a product has them
    assert board.slots["model where"] == board.slots["front end where"] == "flash"
    assert board.slots["model"]["tflm"] == MODEL and board.slots["front end"]


def test_medians_of_the_counts_become_time_by_the_boards_clock() -> None:
    result = verified(Board(), clips=clips(1))
    assert (result.front_end_cycles, result.network_cycles) == (300_000, 600_000)
    assert result.operators == (("fully_connected", 599_000),) and result.stages == (("fft", 290_000),)
    assert result.latency_ms == pytest.approx(7.5)  # 900,000 cycles at 120 MHz
    assert result.clock == {"kind": "modelled", "hz": 120_000_000, "error_percent": 5.0}
    assert result.board == "nucleo_l4r5@virtual"
    assert (result.engine, result.build) == ("plans", "b" * 16)
    assert verified(Board(clock_hz=60_000_000), clips=clips(1)).latency_ms == pytest.approx(15.0)


def test_every_byte_that_differs_counts() -> None:
    def spoil(slot: str, number: int, values: Any) -> Any:
        flat = values.reshape(-1)
        if slot == "features" and number == 2:  # of the first clip
            flat[[0, 7, 50]] += 1
        if slot == "output" and number == 4:  # of the last
            flat[1] -= 3
        return values

    result = verified(Board(spoil), clips=clips(3))
    assert result.differing_bytes == 4 and not result.bits_equal and not result.ok
    assert result.to_json()["bits_equal"] is False


def test_accuracy_is_of_the_boards_own_answers() -> None:
    answers = np.array([[9, 0, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0]], np.int8)

    def spoil(slot: str, number: int, values: Any) -> Any:
        return answers[number - 2] if slot == "output" else values

    result = verified(Board(spoil), clips=clips(4), labels=np.array([0, 1, 1, 0]))
    assert result.accuracy == 0.75 and result.differing_bytes > 0


@pytest.mark.parametrize(
    ("budget", "missed"),
    [
        (Budget(max_latency_s=7.6e-3), []),
        (Budget(max_latency_s=7.4e-3), ["latency"]),  # 5 ms of it are the network's
        (Budget(max_ram_bytes=1 + 2 + 4 + 16 + 32 + 64 + 128, max_flash_bytes=8 + 256), []),
        (Budget(max_ram_bytes=1 + 2 + 4 + 16 + 32 + 64 + 127), ["RAM"]),
        (Budget(max_flash_bytes=8 + 255), ["flash"]),
    ],
)
def test_front_end_and_network_hold_a_limit_together(budget: Budget, missed: list[str]) -> None:
    result = verified(Board(), budget=budget, clips=clips(1))
    assert [x.split()[0] for x in result.missed] == missed and result.ok == (not missed) and result.bits_equal
    assert Budget(**result.limits) == budget


def test_a_model_without_a_front_end_is_compared_on_random_inputs() -> None:
    board, steps = Board(), list[Progress]()
    result = verified(board, PLAIN, count=4, progress=steps.append)
    assert result.ok and (result.compared, result.clips_compared, result.front_end) == ("logits", 4, None)
    assert board.ran == [("network", 1, 5), *[("network", 0, 1)] * 4] and "front end" not in board.slots
    assert len(set(board.inputs[1:])) == 4 and result.accuracy is None
    assert result.front_end_cycles is None and result.latency_ms == pytest.approx(5.0)
    assert [(x.done, x.total) for x in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    again, other = Board(), Board()
    verified(again, PLAIN, count=4)
    verified(other, PLAIN, count=4, seed=1)
    assert again.inputs == board.inputs and not set(other.inputs[1:]) & set(board.inputs[1:])
    values = np.frombuffer(b"".join(board.inputs), np.int8)
    assert values.min() == -128 and values.max() == 127  # the whole of int8
    with pytest.raises(InputError, match="names no front end, so audio cannot be run"):
        verified(Board(), PLAIN, clips=clips(1))


def test_bits_of_a_model_without_a_front_end_count_too() -> None:
    def spoil(slot: str, number: int, values: Any) -> Any:
        assert slot == "output"
        return values if number in (2, 4) else values ^ 1

    assert verified(Board(spoil), PLAIN, count=4).differing_bytes == 2 * 3


def test_without_clips_a_front_end_hears_seeded_noise() -> None:
    board = Board()
    result = verified(board, count=5, seed=3)
    assert board.inputs[1:] == [x.tobytes() for x in noise(5, 3, ONE_SECOND)] and result.clips_compared == 5
    assert result.accuracy is None


def test_noise_is_of_many_levels_and_saturates_as_a_microphone_does() -> None:
    heard = noise(200, 0, ONE_SECOND)
    assert heard.shape == (200, 16000) and heard.dtype == np.int16 and np.array_equal(heard, noise(200, 0, ONE_SECOND))
    assert not np.array_equal(heard, noise(200, 1, ONE_SECOND))
    spread = heard.astype(float).std(1)
    assert spread.min() < 3 and spread.max() > 10_000
    assert abs(np.log10(np.median(spread)) - 2.1) < 0.4  # even on a log scale from 1 to 10 ** 4.2
    loudest = heard[spread.argmax()]
    # of a normal distribution of that level, some hundreds lie beyond int16: at its ends, and nowhere else
    assert np.sum((loudest == 32767) | (loudest == -32768)) > 100


@pytest.mark.parametrize(("plan", "tables"), list(product(["ram", "flash"], repeat=2)))
def test_the_lines_of_memory_add_up(plan: Any, tables: Any) -> None:
    memory = replace(MEMORY, plan_where=plan, front_end_tables_where=tables)
    uploaded = {"network plan and weights": (8, plan), "front-end tables": (4, tables)}
    assert ram_lines(memory) == {
        "network arena": 1, "front-end scratch": 2, "audio": 16, "input and output of the wire": 32,
        "firmware data and bss": 64, "stack, deepest": 128, **{k: v for k, (v, x) in uploaded.items() if x == "ram"},
    }  # fmt: skip
    assert flash_lines(memory) == {"firmware image": 256, **{k: v for k, (v, x) in uploaded.items() if x == "flash"}}
    assert sum(ram_lines(memory).values()) == memory.ram_bytes
    assert sum(flash_lines(memory).values()) == memory.flash_bytes
    assert "audio" not in ram_lines(replace(memory, audio_bytes=0))


def test_what_is_told_of_memory_is_the_boards() -> None:
    result = verified(Board(), clips=clips(1)).to_json()
    assert result["ram_bytes"] == sum(result["ram"].values()) == MEMORY.ram_bytes
    assert result["flash_bytes"] == sum(result["flash"].values()) == MEMORY.flash_bytes


def test_silicon_needs_no_host_in_its_name() -> None:
    assert name_of(replace(IDENTITY, host="serial")) == "nucleo_l4r5"
    assert name_of(replace(IDENTITY, host="renode")) == "nucleo_l4r5@renode"


@pytest.mark.parametrize("count", [7, 20, 50])
def test_labelled_clips_are_drawn_from_the_test_split(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    places = np.arange(300, 320)
    test = Clips(np.repeat(places.astype(np.int16)[:, None], 16000, 1), places % 7)
    requests = []

    def load(folder: Path, words: Any, clip: Any, progress: Any) -> Any:
        requests.append((folder, words))
        return test, "findings"

    monkeypatch.setattr(module, "load_test_split", load)
    drawn, findings = drawn_clips(Path("words"), ("a",), ONE_SECOND, count, 0)
    numbers = drawn.samples[:, 0]
    assert findings == "findings" and len(set(numbers)) == min(count, 20) and set(numbers) <= set(range(300, 320))
    assert np.array_equal(drawn.labels, numbers % 7) and drawn.samples.shape[1] == 16000
    assert np.array_equal(drawn.samples, drawn_clips(Path("words"), (), ONE_SECOND, count, 0)[0].samples)
    other = {int(x) for x in drawn_clips(Path("words"), (), ONE_SECOND, count, 1)[0].samples[:, 0]}
    assert (other != {int(x) for x in numbers}) == (count < 20)
    assert requests == [(Path("words"), ("a",)), (Path("words"), None), (Path("words"), None)]


@pytest.mark.parametrize(
    ("kind", "power", "expected_mj"),
    [("modelled", Power(40.0, "a page"), 0.2), ("instructions", Power(40.0, "a page"), None), ("modelled", None, None)],
)
def test_energy_is_time_at_the_published_power_and_nothing_without_either(
    kind: ClockKind, power: Power | None, expected_mj: float | None
) -> None:
    identity = replace(IDENTITY, clock_kind=kind, power=power)
    energy = energy_of(identity, latency_ms(kind, identity.clock_hz, 600_000))
    assert (energy and energy["mj"]) == (expected_mj and pytest.approx(expected_mj))  # 5 ms
