"""The training loop: it learns, repeats itself to the bit, and goes on where it was cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hil_nas.audio.augment import AS_RECORDED, Augmentation
from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import features_of, training_scale
from hil_nas.audio.splits import SPLITS
from hil_nas.baselines import ds_cnn
from hil_nas.errors import DivergedError, InputError, RunError
from hil_nas.front_ends import ClipFormat
from hil_nas.front_ends.host import HostFrontEnd, build_host_library
from hil_nas.front_ends.log_mel import LogMel
from hil_nas.front_ends.mfcc import Mfcc
from hil_nas.network import INPUT, Layer, Network
from hil_nas.progress import Progress
from hil_nas.training.branches import BranchedConvolution
from hil_nas.training.evaluate import evaluate
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import Convolution, NetworkModule
from hil_nas.training.recipe import Recipe, learning_rate
from hil_nas.training.whole_training import Epoch, TrainResult, train

CONFIG = Mfcc(640, 640, 20, 8)
SMALL = Recipe(epochs=3, device_epochs=1, batch=16, warmup_epochs=0.5)


def toy_clips(count: int, seed: int) -> Clips:
    """Class 0 is a tone that rises in pitch, class 1 one that falls, class 2 is noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    time_s = np.arange(16000) / 16000
    rows = []
    for label in labels:
        slope = {0: 1500.0, 1: -1500.0, 2: 0.0}[int(label)] * rng.uniform(0.8, 1.2)
        tone = np.sin(2 * np.pi * ((2000 - slope / 2) * time_s + slope * time_s**2 / 2 + rng.uniform()))
        noise = rng.normal(size=16000) * (1.0 if label == 2 else 0.1)
        rows.append(0.2 * ((label != 2) * tone + noise))
    return Clips(np.clip(np.round(np.stack(rows) * 32767), -32767, 32767).astype(np.int16), labels)


@pytest.fixture(scope="module")
def data() -> KeywordData:
    noise = np.random.default_rng(9).normal(0, 500, 40000).astype(np.int16)
    return KeywordData("toy", ("rise", "fall", "silence"), toy_clips(96, 0), toy_clips(48, 1), toy_clips(3, 2), noise)


@pytest.fixture(scope="module")
def front_end(boards_dir: Path, build_dir: Path) -> HostFrontEnd:
    return HostFrontEnd(build_host_library(boards_dir, build_dir / "host"))


def network() -> Network:
    layers = (
        Layer("reshape", (INPUT,), shape=(CONFIG.frames, 1, CONFIG.coefficients)),
        Layer("conv", (0,), 8, (3, 1), (2, 1), relu=True),
        Layer("depthwise", (1,), kernel=(3, 1), relu=True),
        Layer("conv", (2,), 8, relu=True),
        Layer("fully_connected", (3,), 3),
    )
    return Network((CONFIG.frames, CONFIG.coefficients, 1), layers)


def state_of(result: TrainResult) -> list[torch.Tensor]:
    return list(result.module.state_dict().values())


def same(a: TrainResult, b: TrainResult) -> bool:
    return all(map(torch.equal, state_of(a), state_of(b))) and a.epochs == b.epochs


def test_it_learns_what_can_be_learnt(data: KeywordData) -> None:
    result = train(network(), CONFIG, data, replace(SMALL, epochs=8, learning_rate=1e-2))
    assert result.best.accuracy >= 0.9
    assert result.epochs[-1].loss < 0.6 * result.epochs[0].loss
    assert result.best.accuracy == max(x.accuracy for x in result.epochs)


def test_it_learns_from_log_mel_energies_and_from_shorter_clips(data: KeywordData, front_end: HostFrontEnd) -> None:
    clip = ClipFormat(16_000, 12_000)
    log_mel = LogMel(640, 640, 20, clip=clip)
    layers = (Layer("conv", (INPUT,), 8, (5, 5), (2, 2), relu=True), Layer("fully_connected", (0,), 3))
    recipe = replace(SMALL, epochs=6, learning_rate=1e-2)
    splits = {x: Clips(data.split(x).samples[:, 2000:14_000], data.split(x).labels) for x in SPLITS}
    shorter = replace(data, clip=clip, **splits)
    result = train(Network((*log_mel.shape, 1), layers), log_mel, shorter, recipe, front_end=front_end)
    assert result.best.accuracy >= 0.9 and result.best.device_features


def test_a_whole_training_has_branches_where_its_recipe_says_so(data: KeywordData) -> None:
    branched, plain = (train(network(), CONFIG, data, replace(SMALL, epochs=1, branches=x)) for x in (True, False))
    assert isinstance(branched.module.layers[1], BranchedConvolution)
    assert type(plain.module.layers[1]) is Convolution
    assert [None if x is None else x[0].shape for x in branched.module.fold()] == [
        None if x is None else x[0].shape for x in plain.module.fold()
    ]


def test_a_batch_holds_the_clips_asked_for_in_their_order(data: KeywordData) -> None:
    recipe, indices = replace(SMALL, augmentation=AS_RECORDED), np.random.default_rng(3).permutation(96)[:50]
    feed = Feed(CONFIG, data, recipe, training_scale(CONFIG, data.train), None, torch.device("cpu"))
    features, labels = feed.batch(indices, torch.Generator().manual_seed(0), False)
    assert torch.equal(features, features_of(data.train.take(indices), feed.torch))
    assert labels.tolist() == data.train.labels[indices].tolist()


def test_words_stand_as_far_off_the_middle_as_the_data_says(data: KeywordData) -> None:
    """Where that is further than the recipe moves them."""

    def heard(offset_ms: float, shift_ms: float) -> torch.Tensor:
        moved = replace(data, offset_ms=offset_ms)
        recipe = Recipe(augmentation=Augmentation(shift_ms=shift_ms))
        feed = Feed(CONFIG, moved, recipe, training_scale(CONFIG, data.train), None, torch.device("cpu"))
        return feed.batch(np.arange(8), torch.Generator().manual_seed(0), False)[0]

    assert torch.equal(heard(250.0, 100.0), heard(0.0, 250.0)) and torch.equal(heard(50.0, 100.0), heard(0.0, 100.0))
    assert not torch.equal(heard(250.0, 100.0), heard(0.0, 100.0))


def test_shuffled_labels_are_not_learnt(data: KeywordData) -> None:
    rng = np.random.default_rng(0)
    shuffled = replace(data, train=Clips(data.train.samples, rng.permutation(data.train.labels)))
    result = train(network(), CONFIG, shuffled, SMALL)
    assert min(x.loss for x in result.epochs) > 0.95 * np.log(3)


def test_a_seed_decides_every_bit(data: KeywordData) -> None:
    first, again, other = (train(network(), CONFIG, data, SMALL, seed=x) for x in (1, 1, 2))
    assert same(first, again) and not same(first, other)


@pytest.mark.parametrize("cut_after", [1, 2])
def test_a_training_that_was_cut_off_ends_in_the_same_bits(
    data: KeywordData, front_end: HostFrontEnd, tmp_path: Path, cut_after: int
) -> None:
    whole = train(network(), CONFIG, data, SMALL, front_end=front_end)
    path = tmp_path / "checkpoint.pt"

    def cut(progress: Progress) -> None:
        if progress.done == cut_after:
            raise KeyboardInterrupt

    told: list[Epoch] = []

    def tell(epoch: Epoch) -> None:
        assert told or not path.exists(), "told before the checkpoint that skips it"
        told.append(epoch)

    with pytest.raises(KeyboardInterrupt):
        train(network(), CONFIG, data, SMALL, front_end=front_end, checkpoint=path, progress=cut, on_epoch=tell)
    seen: list[int] = []
    resumed = train(
        network(), CONFIG, data, SMALL, front_end=front_end, checkpoint=path, resume=True,
        progress=lambda x: seen.append(x.done), on_epoch=tell,
    )  # fmt: skip
    assert same(whole, resumed) and tuple(told) == whole.epochs
    assert seen == list(range(cut_after + 1, SMALL.epochs + 1))
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"


def test_the_last_epochs_train_on_the_device_s_features(data: KeywordData, front_end: HostFrontEnd) -> None:
    result = train(network(), CONFIG, data, SMALL, front_end=front_end)
    assert [x.device_features for x in result.epochs] == [False, False, True]
    assert result.best.epoch == 3


def test_a_loss_that_is_not_finite_ends_the_training_before_its_checkpoint(data: KeywordData, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(DivergedError, match="the loss is (nan|inf) in epoch 1 of 3 of the training"):
        train(network(), CONFIG, data, replace(SMALL, learning_rate=1e30), checkpoint=path)
    assert not path.exists()


def test_a_checkpoint_of_another_training_is_refused(data: KeywordData, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(network(), CONFIG, data, SMALL, checkpoint=path)
    with pytest.raises(RunError, match="seed was 0, is 5"):
        train(network(), CONFIG, data, SMALL, seed=5, checkpoint=path, resume=True)
    with pytest.raises(RunError, match=f"recipe.batch was {SMALL.batch}, is 8"):
        train(network(), CONFIG, data, replace(SMALL, batch=8), checkpoint=path, resume=True)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match="is damaged"):
        train(network(), CONFIG, data, SMALL, checkpoint=path, resume=True)


def test_a_checkpoint_runs_nothing_it_holds(data: KeywordData, tmp_path: Path) -> None:
    path, touched = tmp_path / "checkpoint.pt", tmp_path / "touched"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (touched,))

    torch.save({"version": 1, "identity": "{}", "module": Trap()}, path)
    with pytest.raises(RunError, match="is damaged"):
        train(network(), CONFIG, data, SMALL, checkpoint=path, resume=True)
    assert not touched.exists()


def test_what_does_not_fit_together_is_refused(data: KeywordData) -> None:
    with pytest.raises(InputError, match=r"reads \(25, 8, 1\), mfcc:640/320/20/8 gives \(49, 8, 1\)"):
        train(network(), Mfcc(640, 320, 20, 8), data, SMALL)
    with pytest.raises(InputError, match="12 outputs, the data 3 classes"):
        train(ds_cnn((25, 8, 1)), CONFIG, data, SMALL)
    with pytest.raises(InputError, match="16,000 samples at 16,000 Hz, mfcc.* hears 16,000 samples at 8,000 Hz"):
        train(network(), replace(CONFIG, clip=ClipFormat(8_000, 16_000)), data, SMALL)


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [learning_rate(step, 100, 10, 0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == rates[9] == rates[10] == 0.5
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False)) and rates[-1] < 1e-3


def test_evaluation_counts_by_true_class_and_keeps_the_mode() -> None:
    module = NetworkModule(Network((1, 1, 3), (Layer("fully_connected", (INPUT,), 3),)))
    with torch.no_grad():
        module.layers[0].weight.copy_(torch.eye(3))
    answers = torch.tensor([0, 0, 1, 2, 2, 2])
    features = torch.eye(3)[answers].reshape(6, 1, 1, 3)
    result = evaluate(module.train(), features, torch.tensor([0, 1, 1, 2, 2, 0]))
    assert result.confusion.tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 2]]
    assert result.accuracy == pytest.approx(4 / 6) and result.clips == 6
    assert module.training
