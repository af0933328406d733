"""What all kinds of front end have in common: names, shapes, clips of other lengths and rates, costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from front_end_signals import bounds, oracle

from hil_nas.errors import InputError, UnsupportedError
from hil_nas.front_ends import KINDS, ONE_SECOND, ClipFormat, FrontEnd, parse_front_end, search_grid, transforms
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mel import MelFrontEnd, sectors_read
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.front_ends.scale import int8_quantisation
from hil_nas.kernels.flash_cache import sectors_of, sweep
from hil_nas.latency.measurements import FrontEndRow, Measurements
from hil_nas.latency.model import LatencyModel

EIGHT_KHZ = ClipFormat(8_000, 12_000)
OTHERS = (
    Mfcc(200, 100, 23, 13, clip=EIGHT_KHZ),
    LogMel(250, 80, 40, clip=EIGHT_KHZ),
    Mfcc(200, 100, 24, 13, fft_points=128, clip=EIGHT_KHZ),
    Mfcc(400, 200, 40, 10, clip=ClipFormat(16_000, 8_000)),
)
EVERY = (*search_grid(), *(x for kind in KINDS.values() for x in kind.to_measure()), *OTHERS)


def test_a_name_says_everything() -> None:
    assert str(Mfcc(400, 200, 40, 13)) == "mfcc:400/200/40/13" and str(LogMel(400, 200, 40)) == "logmel:400/200/40"
    assert str(OTHERS[0]) == "mfcc:200/100/23/13@8000/12000"
    assert parse_front_end(" 400/200/40/13") == Mfcc(400, 200, 40, 13)
    assert str(Mfcc(400, 200, 24, 13, fft_points=256)) == "mfcc:400/200/24/13/256"
    assert parse_front_end("logmel:400/200/40/512") == LogMel(400, 200, 40), "one name for one front end"
    assert all(parse_front_end(str(x)) == x for x in EVERY)
    assert len({str(x) for x in EVERY}) == len(set(EVERY))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "mfcc:window/hop/mel/coefficients"),
        ("logmel:400/200/40/256/13", "logmel:window/hop/mel[/FFT points]"),
        ("logmel:400/200", "logmel:window/hop/mel"),
        ("plp:400/200/40", "mfcc:window/hop/mel/coefficients[/FFT points] or logmel:window/hop/mel[/FFT points]"),
        ("mfcc:mfcc:400/200/40/13", "no known kind"),
        ("mfcc:400/200/40/13@", "no front end of the kind mfcc"),
        ("mfcc:400/200/40/13@8000", "no front end of the kind mfcc"),
        ("mfcc:400/200/40/13@8000/1", "a clip of 1 samples"),
        ("mfcc:400/200/40/13@1/8000", "a sample rate of 1 Hz"),
        ("mfcc:400/200/40/13@8000/300", "a window of 400 samples is not in 64 to 300"),
        ("logmel:400/200/3", "3 mel bins"),
        ("mfcc:400/200/40/13/500", "an FFT of 500 points for a window of 400 samples (512 points or 256"),
        ("mfcc:400/200/40/13/128", "an FFT of 128 points for a window of 400 samples (512 points or 256"),
        ("mfcc:128/200/40/13/64", "an FFT of 64 points for a window of 128 samples (128 points do"),
        ("logmel:400/200/127/256", "127 mel bins are more than an FFT of 256 points has bins for (take 126"),
        ("mfcc:400/200/40/13/256/1", "window/hop/mel/coefficients[/FFT points]"),
    ],
)
def test_another_name_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        parse_front_end(text)
    assert words in str(error.value)


@pytest.mark.parametrize("front_end", [*OTHERS, Mfcc(401, 97, 40, 13)], ids=str)
def test_frames_are_those_that_lie_inside_the_audio(front_end: FrontEnd) -> None:
    for samples in (front_end.window_samples - 1, front_end.window_samples, 8_000, front_end.clip.samples):
        starts = range(0, samples, front_end.hop_samples)
        assert front_end.frames_in(samples) == sum(x + front_end.window_samples <= samples for x in starts)
    assert front_end.shape == (front_end.frames_in(front_end.clip.samples), front_end.columns)


def test_fewer_coefficients_are_part_of_more_and_fewer_mel_bins_are_not() -> None:
    mixed = (LogMel(400, 200, 40), Mfcc(400, 200, 40, 13), LogMel(400, 200, 20), Mfcc(400, 200, 40, 20))
    assert transforms(mixed) == (LogMel(400, 200, 40), Mfcc(400, 200, 40, 20), LogMel(400, 200, 20))
    other_clip = replace(mixed[1], clip=EIGHT_KHZ)
    assert transforms((mixed[1], other_clip)) == (mixed[1], other_clip)


def test_a_kind_without_a_gradient_says_so() -> None:
    with pytest.raises(UnsupportedError, match="logmel has no gradient"):
        LogMel(400, 200, 40).continuous()


@pytest.mark.parametrize("front_end", OTHERS, ids=str)
def test_clips_of_other_rates_and_lengths(front_end: MelFrontEnd, boards_dir: Path, build_dir: Path) -> None:
    """C source and torch against float64, filters up to that rate's Nyquist frequency."""
    torch = pytest.importorskip("torch")
    host = HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))
    clips = np.random.default_rng(0).normal(0, 2000, (4, front_end.clip.samples)).astype(np.int16)
    expected = oracle(front_end, clips)
    scale, zero_point = int8_quantisation(float(expected.min()), float(expected.max()))
    blob = front_end.blob(scale, zero_point)
    features = host.features(blob, clips)
    assert features.shape == (4, *front_end.shape) == (4, *host.shape(blob))
    assert host.scratch_bytes(blob) == front_end.scratch_bytes
    low, high = bounds(front_end, clips)
    steps = features.astype(float) - zero_point
    assert np.all(steps > low / scale - 0.51) and np.all(steps < high / scale + 0.51)
    assert np.abs(front_end.module()(torch.from_numpy(clips)).numpy() - expected).max() < 0.01 * scale
    with pytest.raises(InputError, match=f"int16 .clips, {front_end.clip.samples}"):
        host.features(blob, np.zeros((1, ONE_SECOND.samples), np.int16))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda x: x.kind)
def test_a_measurement_plan_spans_what_is_drawn(kind: type[FrontEnd]) -> None:
    """Cycles made of the counts themselves, an FFT's some ten thousand: the regression finds the others'."""
    rng = np.random.default_rng(1)
    costs = {
        stage: [rng.uniform(1, 30) * (1000 if x.startswith("fft") else 1) for x in counts]
        for stage, counts in kind.to_measure()[0].work().items()
    }

    def cycles(front_end: FrontEnd) -> dict[str, int]:
        return {x: round(np.dot(costs[x], list(counts.values()))) for x, counts in front_end.work().items()}

    rows = tuple(FrontEndRow(x, (sum(cycles(x).values()),), tuple(cycles(x).items())) for x in kind.to_measure())
    model = LatencyModel.fit(Measurements(front_ends=rows))
    for front_end in (kind.drawn(rng) for _ in range(100)):
        expected = cycles(front_end)
        assert model.front_end_cycles(front_end) == pytest.approx(sum(expected.values()), rel=0.01)
        assert model.stage_cycles(front_end) == pytest.approx(expected, rel=0.06)
    assert {name for counts in kind.to_measure()[0].work().values() for name in counts} == set(kind.counted)


def test_a_log_mel_does_what_an_mfcc_does_but_for_the_cosine_transform() -> None:
    cepstrum, energies = Mfcc(400, 200, 40, 40).work(), LogMel(400, 200, 40).work()
    assert {x: energies[x] for x in energies if x != "quantise"} == {x: cepstrum[x] for x in cepstrum if x != "dct"}
    assert list(cepstrum) == list(Mfcc.stages) and list(energies) == list(LogMel.stages)


@pytest.mark.parametrize("table_bytes", [64, 192, 256, 640, 2048])
def test_sectors_of_tables_are_those_of_the_caches_own_model(table_bytes: int) -> None:
    """A stage sweeps its table and two lines of headers for each of four frames, and finds others cached later."""
    headers = range(1 << 20, (1 << 20) + 8)
    misses = sweep([*headers, *sectors_of(0, table_bytes)]).times(4)
    read = sectors_read(table_bytes, frames=4 * 20, groups=20)
    assert read == 20 * (misses.sectors - (8 if table_bytes <= 192 else 32))
