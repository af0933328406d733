"""Sizes and times as people write them, and networks and configurations from outside."""

from __future__ import annotations

import pytest

from hil_nas.errors import InputError
from hil_nas.front_ends import paper_grid, parse_front_end
from hil_nas.network import INPUT, Layer, Network
from hil_nas.units import count_unit, format_bytes, format_bytes_like, format_seconds_like, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256k", 262144), ("1.5M", 1572864), ("4096B", 4096), ("12 bytes", 12), ("8KiB", 8192), ("3mb", 3 * 1024**2),
        (" 1 B ", 1), ("2MiB", 2 * 1024**2), ("0.5k", 512),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    actual = parse_bytes(text)
    assert actual == size and type(actual) is int


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("0.1s", 0.1), ("2 S", 2.0), ("800us", 8e-4)])
def test_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("size", "limit", "text"),
    [
        (42_500, "20k", "41.6k"), (20_480, "20k", "20k"), (20_481, "20k", "20.1k"), (42_500, "20000B", "42,500 bytes"),
        (1_300_000, "1M", "1.24M"), (1_300_000, "1.25M", "1.24M"), (1_300_000, "1000k", "1269.6k"),
        (2000, "1.3k", "2k"), (700, "512b", "700 bytes"), (9000, "0.5k", "9,000 bytes"), (700_000, "640KiB", "683.6k"),
    ],
)  # fmt: skip
def test_sizes_are_told_as_the_limit_was_written(size: int, limit: str, text: str) -> None:
    assert format_bytes_like(size, parse_bytes(limit)) == text
    if "," not in text:
        assert parse_bytes(text) >= size


@pytest.mark.parametrize(
    ("seconds", "limit", "text"),
    [
        (0.027344, "10ms", "27.35ms"), (0.01, "10ms", "10ms"), (0.0100001, "10ms", "10.01ms"),
        (0.0273, "0.01s", "27.3ms"), (0.0273, "800us", "27300us"), (1.23456, "1s", "1.235s"),
        (0.5, "2s", "0.5s"), (0.0415, "41.5ms", "41.5ms"),
    ],
)  # fmt: skip
def test_times_are_told_as_the_limit_was_written(seconds: float, limit: str, text: str) -> None:
    assert format_seconds_like(seconds, parse_seconds(limit)) == text
    assert parse_seconds(text) >= seconds * (1 - 1e-9)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0b", "64", "4096", "64bb", "5byteb", "0.5b", "-1k", "12q", "1k k", "nan", "256kk", "inf"],
)
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["50", "0ms", "ms", "-5ms", "5 minutes"])
def test_a_time_needs_its_unit(text: str) -> None:
    with pytest.raises(InputError):
        parse_seconds(text)


def test_sizes_are_told_in_the_unit_that_fits() -> None:
    sizes = (0, 1023, 1024, 12_345, 1024**2 - 1, 1024**2, 5_000_000)
    assert [format_bytes(x) for x in sizes] == [
        "0 B", "1023 B", "1.0 KiB", "12.1 KiB", "1024.0 KiB", "1.00 MiB", "4.77 MiB"
    ]  # fmt: skip


def test_only_instructions_are_called_so() -> None:
    kinds = ("silicon", "modelled", "instructions", "host")
    assert [count_unit(x) for x in kinds] == ["cycles", "cycles", "instructions", "cycles"]


def test_the_papers_grid() -> None:
    frames = [x.frames for x in paper_grid()]
    assert frames == [157, 157, 79, 79, 97, 97, 49, 49]
    assert {x.fft_size for x in paper_grid()} == {512, 1024}
    assert all(parse_front_end(str(x)) == x for x in paper_grid())


@pytest.mark.parametrize("text", ["400/200/40", "400/200/40/x", "10/200/40/10", "400/200/40/41", "400/0/40/10"])
def test_other_configurations_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_front_end(text)


def test_a_network_survives_json_and_refuses_what_does_not_fit() -> None:
    layers = (Layer("conv", (INPUT,), 8, (10, 4), (2, 2), relu=True), Layer("fully_connected", (0,), 12))
    network = Network((49, 10, 1), layers)
    assert network.shapes == ((25, 5, 8), (1, 1, 12))
    assert Network.from_json(network.to_json()) == network
    with pytest.raises(InputError, match="layer 0"):
        Network((49, 10, 1), (Layer("add", (INPUT, INPUT, INPUT)),))
    with pytest.raises(InputError, match="not earlier layers"):
        Network((49, 10, 1), (Layer("fully_connected", (1,), 12),))
    with pytest.raises(InputError, match="is no kind of layer"):
        Network.from_json({"input_shape": [49, 10, 1], "layers": [{"kind": "lstm", "inputs": [-1]}]})
