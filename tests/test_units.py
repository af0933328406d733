"""Sizes and times as people write them, and networks and configurations from outside."""

from __future__ import annotations

import pytest

from hil_nas.errors import InputError
from hil_nas.mfcc import MfccConfig, paper_grid
from hil_nas.network import INPUT, Layer, Network
from hil_nas.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(("text", "size"), [("256k", 262144), ("1.5M", 1572864), ("4096", 4096), ("8KiB", 8192)])
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("0.1s", 0.1), ("800us", 0.0008)])
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1k", "12q", "1k k", "nan", "256kk", "inf"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["50", "0ms", "ms", "-5ms", "5 minutes"])
def test_a_time_needs_its_unit(text: str) -> None:
    with pytest.raises(InputError):
        parse_seconds(text)


def test_the_papers_grid() -> None:
    frames = [x.frames for x in paper_grid()]
    assert frames == [157, 157, 79, 79, 97, 97, 49, 49]
    assert {x.fft_size for x in paper_grid()} == {512, 1024}
    assert all(MfccConfig.parse(str(x)) == x for x in paper_grid())


@pytest.mark.parametrize("text", ["400/200/40", "400/200/40/x", "10/200/40/10", "400/200/40/41", "400/0/40/10"])
def test_other_configurations_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        MfccConfig.parse(text)


def test_a_network_survives_json_and_refuses_what_does_not_fit() -> None:
    layers = (Layer("conv", (INPUT,), 8, (10, 4), (2, 2), relu=True), Layer("dense", (0,), 12))
    network = Network((49, 10, 1), layers)
    assert network.shapes == ((25, 5, 8), (1, 1, 12))
    assert Network.from_json(network.to_json()) == network
    with pytest.raises(InputError, match="layer 0"):
        Network((49, 10, 1), (Layer("add", (INPUT, INPUT, INPUT)),))
    with pytest.raises(InputError, match="not earlier layers"):
        Network((49, 10, 1), (Layer("dense", (1,), 12),))
    with pytest.raises(InputError, match="is no kind of layer"):
        Network.from_json({"input_shape": [49, 10, 1], "layers": [{"kind": "lstm", "inputs": [-1]}]})
