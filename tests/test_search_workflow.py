"""The main job on toy words, whole: searched, trained, verified on the virtual board; resumed to the same bytes."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hil_nas.baselines import baseline
from hil_nas.budget import Budget
from hil_nas.candidates.halving import ALONE, BEHIND_SUPERNET, LAST
from hil_nas.config import BaselineConfig, SearchConfig
from hil_nas.cost.macs import network_macs
from hil_nas.deploy.tflite import read_front_end, read_tflite
from hil_nas.device.device import Device
from hil_nas.errors import InfeasibleError, InputError, RunError
from hil_nas.front_ends import parse_front_end
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.nas.costs.network_limits import Cost
from hil_nas.nas.darts.settings import PC_DARTS, DartsSettings
from hil_nas.nas.darts.space import DartsSpace
from hil_nas.nas.spaces import KINDS
from hil_nas.nas.tiny.settings import TinySettings
from hil_nas.network import Network
from hil_nas.progress import Progress, silent
from hil_nas.report.page import search_page
from hil_nas.runs import read_result
from hil_nas.workflows import search_board
from hil_nas.workflows.baseline import run_baseline
from hil_nas.workflows.finish import Folders
from hil_nas.workflows.search import run_search
from tests.tones import KEYWORDS, PITCHES_HZ, write_tones

ROOT = Path(__file__).resolve().parent.parent
KEYS = {
    "schema", "version", "status", "board", "clock", "limits", "measured", "predicted", "limits_held", "bits_equal",
    "clips_compared", "accuracy_int8", "accuracy_float",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "tiny", replace(KINDS["tiny"], settings=partial(TinySettings, rounds=20)))
        yield


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    write_tones(folder)
    return folder


@pytest.fixture(scope="module")
def base(words: Path) -> SearchConfig:
    return SearchConfig(
        budget=Budget(256 * 1024, None, 0.020),
        words=KEYWORDS,
        data=str(words),
        grid=(Mfcc(400, 200, 40, 20), Mfcc(640, 320, 40, 20)),
        search_epochs=5,
        candidates=2,
        train_epochs=3,
        measure_every=2,
        clips=50,
    )


def folders(runs: Path) -> Folders:
    return Folders(ROOT / "boards", ROOT / "build", ROOT / "latency_models", runs)


def run(
    config: SearchConfig, runs: Path, *, resume: bool = False, progress: Any = silent
) -> tuple[dict[str, Any], Path]:
    return run_search(config, folders(runs), name="test", resume=resume, page=search_page, progress=progress)


@pytest.fixture(scope="module")
def finished(base: SearchConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    return run(base, tmp_path_factory.mktemp("runs"))


def test_the_result_says_what_was_promised(finished: tuple[dict[str, Any], Path]) -> None:
    result, folder = finished
    assert set(result) >= KEYS
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["status"] == "complete" and result["limits_held"] and result["bits_equal"]
    assert result["clips_compared"] >= min(50, result["test_clips"])
    assert result["board"] == "nucleo_l4r5@virtual"
    assert result["clock"] == {"kind": "modelled", "hz": 120_000_000, "error_percent": 5.0}
    for key in ("latency_ms", "ram_bytes", "flash_bytes"):
        assert result["predicted"][key] == pytest.approx(result["measured"][key], rel=0.05)
    measured, spread = result["measured"], result["predicted"]["network_spread_percent"] / 100
    # the spread is what most networks lie within, not a bound
    assert spread > 0
    assert result["predicted"]["network_cycles"] == pytest.approx(measured["network_cycles"], rel=3 * spread)
    assert measured["latency_ms"] == pytest.approx(measured["front_end_ms"] + measured["network_ms"])
    assert measured["latency_ms"] <= 20 and measured["ram_bytes"] <= 256 * 1024
    operators = sum(cycles for _, cycles in result["operators"])
    assert operators == pytest.approx(measured["network_cycles"], rel=0.05)


def test_the_folder_holds_what_a_person_takes_home(finished: tuple[dict[str, Any], Path]) -> None:
    result, folder = finished
    for name in ("config.json", "environment.json", "metrics.jsonl", "network.json", "model.tflite", "plan.bin"):
        assert (folder / name).stat().st_size > 0
    assert (folder / "export" / "Makefile").is_file()
    page = (folder / "report.html").read_text()
    assert page.count('class="chart"') >= 5 and "Limits against measured" in page and "Candidates: " in page
    assert "Gamma: " in page and "Alpha: " in page
    assert ("The worst clips" in page) == (result["accuracy_int8"] < 1)


def test_the_best_candidate_that_holds_the_limits_is_trained(
    base: SearchConfig, finished: tuple[dict[str, Any], Path]
) -> None:
    result, folder = finished
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    ranked = [x for x in lines if x["phase"] == "candidates"]
    networks = {json.dumps([x["front_end"], x["genotype"]]) for x in ranked}
    assert len(networks) == len(ranked) > 3 and [x["derived"] for x in ranked].count(True) == 1
    last, others = ranked[:LAST], ranked[LAST:]
    for group, epochs in ((last, BEHIND_SUPERNET.last_epochs), (others, BEHIND_SUPERNET.epochs)):
        assert {x["trained_epochs"] for x in group} == {epochs}
        assert [x["loss"] for x in group] == sorted(x["loss"] for x in group)
    (rank,) = (x["epoch"] for x in ranked if x["derived"])
    assert result["derived"] == {"rank": rank, "of": len(ranked)}
    assert result["ranking"]["networks"] == len(ranked)
    assert set(result["ranking"]["kendall_tau"]) == {"supernet", "score", "parameters", "macs", "cycles"}
    assert all(x["supernet_loss"] > 0 for x in ranked)
    assert result["front_end"] == ranked[0]["front_end"]
    assert result["measured"]["latency_ms"] == pytest.approx(ranked[0]["cycles"] / 120e3, rel=0.02)


def test_whatever_comes_between_a_search_ends_in_the_same_bytes(
    base: SearchConfig, finished: tuple[dict[str, Any], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board goes away under the first network that is measured, and Ctrl-C comes in every part of the search."""
    measure, lost = search_board.measure_network, []
    steps: list[Progress] = []

    def unplugged(opened: Device, *rest: Any) -> Any:
        if not lost:
            lost.append(opened)
            opened._link.close()
        return measure(opened, *rest)

    monkeypatch.setattr(search_board, "measure_network", unplugged)
    for task, done in (("searching", 3), ("training candidates", 1), ("training", 1)):

        def interrupt(step: Progress, at: tuple[str, int] = (task, done)) -> None:
            steps.append(step)
            if (step.task, step.done) == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(base, tmp_path, resume=task != "searching", progress=interrupt)
        kept = any(tmp_path.glob("*/candidates-*.pt"))
        assert kept == (task == "training candidates")  # as long as a training goes on from them
    result, folder = run(base, tmp_path, resume=True)
    assert lost and [x for x in steps if x.task == "waiting for the board"]
    assert not any(folder.glob("candidates-*.pt")) and [folder] == list(tmp_path.iterdir())
    expected, uninterrupted = finished
    for name in ("network.json", "model.tflite", "plan.bin"):
        assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes(), name
    for key in ("accuracy_int8", "accuracy_float", "confusion", "predicted", "front_end", "ram", "flash"):
        assert result[key] == expected[key], key
    # a cycle counter with fractions behind it rounds by where it stood
    assert result["measured"]["latency_ms"] == pytest.approx(expected["measured"]["latency_ms"], rel=1e-5)


def test_a_configuration_found_by_gradient_is_measured_and_kept_over_a_resume(
    base: SearchConfig, tmp_path: Path
) -> None:
    def interrupt(step: Progress) -> None:
        if (step.task, step.done) == ("searching", 1):
            raise KeyboardInterrupt

    config = replace(base, grid=(), candidates=0, train_epochs=1, measure_every=0)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, progress=interrupt)
    (folder,) = tmp_path.iterdir()
    settled = json.loads((folder / "front_end.json").read_text())["front_end"]
    result, folder = run(config, tmp_path, resume=True)
    assert result["status"] == "complete" and result["limits_held"] and result["front_end"] == settled
    assert str(read_front_end((folder / "model.tflite").read_bytes())) == settled
    measured = json.loads((folder / "footprint.json").read_text())["front_end_cycles"]
    assert measured == {settled: pytest.approx(result["measured"]["front_end_cycles"], rel=0.01)}
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert "Window and hop over their search" in (folder / "report.html").read_text()
    assert [x["epoch"] for x in lines if x["phase"] == "configuration"] == list(range(1, base.search_epochs + 1))


def test_resume_refuses_another_configuration(base: SearchConfig, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no incomplete search run"):
        run(replace(base, seed=1), tmp_path, resume=True)


def test_limits_that_cannot_be_met_name_the_nearest_and_leave_nothing(base: SearchConfig, tmp_path: Path) -> None:
    config = replace(base, budget=Budget(8 * 1024, None, None))
    for grid in (base.grid, ()):
        with pytest.raises(InfeasibleError, match=r"RAM [\d.]+k at least .*, the limit is 8k"):
            run(replace(config, grid=grid), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_networks_with_most_parameters_go_the_same_way(
    base: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hil_nas.workflows.search.ALONE", replace(ALONE, epochs=1, last_epochs=2))
    result, folder = run(replace(base, strategy="parameters", train_epochs=1), tmp_path)
    assert result["status"] == "complete" and result["limits_held"] and result["bits_equal"]
    assert result["ranking"]["kendall_tau"]["supernet"] is None and result["derived"]["of"] > 3
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {x["phase"] for x in lines} == {"candidates", "train"} and not (folder / "search.pt").exists()


def test_a_front_end_without_a_price_breaks_the_limit_that_it_was_not_counted_in(
    base: SearchConfig, tmp_path: Path
) -> None:
    config = replace(base, price_front_end=False, budget=Budget(None, None, 0.012), candidates=0, train_epochs=1)
    result, folder = run(config, tmp_path)
    assert result == read_result(folder)
    assert result["status"] == "missed" and not result["limits_held"] and result["bits_equal"]
    (missed,) = result["limits_missed"]
    assert re.fullmatch(r"latency is [\d.]+ms, the limit 12ms", missed)
    assert result["measured"]["network_ms"] <= 12 < result["measured"]["front_end_ms"]


def test_cells_go_the_same_way(base: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hil_nas.workflows.search.BEHIND_SUPERNET", replace(BEHIND_SUPERNET, epochs=1, rounds=1))
    config = replace(
        base, space="darts", budget=Budget(None, None, 0.070), candidates=1, train_epochs=1,
        grid=(Mfcc(400, 200, 40, 10), Mfcc(640, 320, 40, 10)),
    )  # fmt: skip
    result, folder = run(config, tmp_path)
    assert result["status"] == "complete" and result["limits_held"] and result["bits_equal"]
    assert result["measured"]["latency_ms"] <= 70
    assert result["predicted"]["latency_ms"] == pytest.approx(result["measured"]["latency_ms"], rel=0.05)
    network = Network.from_json(json.loads((folder / "network.json").read_text())["network"])
    cells = DartsSpace().cells
    assert sum(x.kind == "concatenation" for x in network.layers) == cells
    phases = [x["stage"] for x in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if "stage" in x]
    assert phases[0] == "warm-up" and len(phases) == 5
    subprocess.run(["make", "-s", "-C", folder / "export"], check=True, capture_output=True)


def test_the_papers_protocol_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own size on a few toy words, for which its batches are too large; stopped once the supernet is trained.

    The network is large, and the board that measured it in the search does not try it again before its training.
    """
    (tmp_path / "words").mkdir()
    write_tones(tmp_path / "words", 16)
    config = SearchConfig(
        preset="paper", words=tuple(PITCHES_HZ), data=str(tmp_path / "words"), grid=(Mfcc(640, 320, 40, 10),),
        search_epochs=5,
    )  # fmt: skip
    monkeypatch.setitem(PC_DARTS, "batch", 16)
    monkeypatch.setattr(search_board.SearchBoard, "cost", lambda *_: Cost(0.0, 0, 0))

    def interrupt(step: Progress) -> None:
        if step.task == "training":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "runs", progress=interrupt)
    (folder,) = (tmp_path / "runs").iterdir()
    network = Network.from_json(json.loads((folder / "network.json").read_text())["network"])
    assert network.output_shape == (1, 1, len(PITCHES_HZ))  # neither silence nor unknown
    assert sum(x.kind == "concatenation" for x in network.layers) == 8
    assert network.layers[0].kind == "conv" and network.layers[0].out_channels == 16


def test_the_papers_protocol_is_filled_in() -> None:
    config = SearchConfig(preset="paper", data="speech_commands")
    assert (config.space, config.search_epochs, config.train_epochs, config.candidates) == ("darts", 50, 100, 0)
    assert len(config.words) == len(set(config.words)) == 35 and len(config.grid) == 8
    settings = KINDS["paper"].settings(epochs=config.search_epochs, measure_every=config.measure_every)
    assert isinstance(settings, DartsSettings) and settings.drawn == 0
    assert (settings.warmup_epochs, settings.batch, settings.weight_rate, settings.alpha_rate) == (15, 256, 0.1, 6e-4)
    assert SearchConfig(preset="paper", data="x", search_epochs=5, train_epochs=1).train_epochs == 1
    with pytest.raises(InputError, match="learns from Speech Commands"):
        SearchConfig(preset="paper")
    with pytest.raises(InputError, match="expected one of tiny, darts"):
        SearchConfig(space="cells")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"gamma_ratio": 3.0, "search_epochs": 9}, {"gamma_ratio": 3.0, "epochs": 9}),
        ({"space": "darts", "measure_every": 3}, {"measure_every": 3, "gamma_ratio": 2.0}),
    ],
)
def test_what_a_search_is_asked_reaches_its_settings(
    base: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any],
    given: dict[str, Any],
) -> None:
    def seen(start: Any, *args: Any, **more: Any) -> None:
        assert {x: getattr(start.args[1], x) for x in given} == given
        raise KeyboardInterrupt

    monkeypatch.setattr("hil_nas.workflows.search.search", seen)
    with pytest.raises(KeyboardInterrupt):
        run(replace(base, budget=Budget(), candidates=0, align="pad", **options), tmp_path)


def test_kinds_of_front_end_compete(base: SearchConfig, tmp_path: Path) -> None:
    """One supernet over both, and one over log-mel alone: trained, priced, measured, with equal bits."""
    log_mel = parse_front_end("logmel:640/640/20")
    grid = (log_mel, parse_front_end("mfcc:640/640/20/10"))
    quick = replace(base, grid=grid, candidates=0, train_epochs=1)
    result, folder = run(quick, tmp_path)
    assert result["status"] == "complete" and result["bits_equal"] and result["front_end"] in map(str, grid)
    epochs = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(set(x["gammas"]) == set(map(str, grid)) for x in epochs if x["phase"] == "search")
    alone, folder = run(replace(quick, grid=(log_mel,)), tmp_path / "alone")
    assert alone["status"] == "complete" and alone["bits_equal"] and alone["front_end"] == str(log_mel)
    assert read_front_end((folder / "model.tflite").read_bytes()) == log_mel
    for key in ("latency_ms", "ram_bytes", "flash_bytes"):
        assert alone["predicted"][key] == pytest.approx(alone["measured"][key], rel=0.05)


@pytest.mark.parametrize(
    ("name", "front_end"), [("ds-cnn", (480, 320, 40, 10)), ("ds-tc-resnet", (480, 160, 80, 40))]
)
def test_a_published_network_goes_the_same_way(
    base: SearchConfig, tmp_path: Path, name: str, front_end: tuple[int, int, int, int]
) -> None:
    config = BaselineConfig(name, words=base.words, data=base.data, train_epochs=1, clips=50)
    result, folder = run_baseline(config, folders(tmp_path), resume=False, page=search_page, progress=silent)
    assert result["status"] == "complete" and result["bits_equal"] and result["front_end"] == str(Mfcc(*front_end))
    assert result["macs"] == network_macs(baseline(name, 5)[0])
    assert read_front_end((folder / "model.tflite").read_bytes()) == Mfcc(*front_end)
    assert (folder / "export" / "Makefile").is_file() and "<svg" in (folder / "report.html").read_text()


def test_an_unknown_published_network_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of: ds-cnn, micronet-kws-s, ds-tc-resnet"):
        BaselineConfig("resnet")


# streams


@pytest.fixture(scope="module")
def listening(base: SearchConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    budget = Budget(max_ram_bytes=128 * 1024, max_load=0.05)
    config = replace(base, budget=budget, listen_s=0.06, grid=(*base.grid, Mfcc(640, 160, 40, 13)), align="auto")
    return run(config, tmp_path_factory.mktemp("streams"))


def test_the_limits_of_a_stream_hold_for_one_decision(listening: tuple[dict[str, Any], Path]) -> None:
    result, folder = listening
    assert result["status"] == "complete" and result["limits_held"] and result["bits_equal"]
    assert json.loads((folder / "config.json").read_text())["grid"] == ["mfcc:640/320/40/20", "mfcc:640/160/40/13"]
    figures, measured, predicted = result["listen"], result["measured"], result["predicted"]
    hop = parse_front_end(result["front_end"]).hop_samples
    assert (figures["period_ms"], figures["frames"]) == (60.0, 960 // hop)
    assert result["limits"]["max_latency_ms"] == pytest.approx(3.0)  # 5 % of 60 ms
    assert measured["latency_ms"] == pytest.approx(figures["cycles_per_decision"] / 120e3) and 0 < figures["load"]
    assert figures["load"] == pytest.approx(measured["latency_ms"] / 60) and figures["load"] <= 0.05
    assert figures["median_cycles_per_decision"] <= figures["cycles_per_decision"]
    assert figures["decisions"] > 10 * result["clips_compared"] and figures["differing_decisions"] == 0
    for key in ("latency_ms", "ram_bytes", "flash_bytes"):
        assert predicted[key] == pytest.approx(measured[key], rel=0.05)
    assert measured["latency_ms"] > 0.6 * 3.0  # the limit is used


def test_a_streams_folder_has_its_step(listening: tuple[dict[str, Any], Path]) -> None:
    result, folder = listening
    network = Network.from_json(json.loads((folder / "network.json").read_text())["network"])
    assert all(x.padding == "valid" for x in network.layers if x.kind in ("conv", "depthwise", "average_pool"))
    step, kinds = read_tflite((folder / "stream.tflite").read_bytes()), [x for x, _ in result["operators"]]
    assert step.tensors[step.input].elements == result["listen"]["frames"] * network.input_shape[1]
    assert kinds.count("delay") > 1 and kinds[-1] == "fully_connected"
    page = (folder / "report.html").read_text()
    assert "delay" in page and "Limits against measured" in page


def test_a_clock_without_time_knows_no_load(base: SearchConfig, tmp_path: Path) -> None:
    config = replace(base, board="mps2-an386@qemu", budget=Budget(max_load=0.1), listen_s=0.06, align="auto")
    with pytest.raises(InputError, match="counts instructions, so --max-load means nothing"):
        run(config, tmp_path)
    assert not list(tmp_path.iterdir())
