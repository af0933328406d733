"""From a network's description to what a person takes home: trained, quantised, with its figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hil_nas.audio.clips import Clips
from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import DeviceFeatures, features_of, labels_of
from hil_nas.deploy.convert import to_tflite
from hil_nas.deploy.reference import Tflm
from hil_nas.deploy.tflite import attach_front_end
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter
from hil_nas.runs import Run
from hil_nas.training.evaluate import Evaluation, count, evaluate
from hil_nas.training.recipe import Recipe
from hil_nas.training.result import TrainResult
from hil_nas.training.tune import tune_for_int8
from hil_nas.training.whole_training import train

CALIBRATION_CLIPS = 500
MOST_LOST = 0.003  # of validation accuracy by converting to int8; beyond it the network is tuned with rounding


@dataclass(frozen=True, eq=False)
class Product:
    """A finished model with its accuracies, all on the device's own int8 features.

    Attributes:
        model: the .tflite, its front end in its metadata; tuned with rounding where that was better.
        int8_validation: on the validation split, by TFLM's kernels.
        float_test, int8_test: on the test split, as training gave it and by TFLM's kernels.
        test_answers: int8 logits (n, classes) behind `int8_test`.
    """

    model: bytes
    int8_validation: Evaluation
    float_test: Evaluation
    int8_test: Evaluation
    test_answers: npt.NDArray[np.int8]


def make_product(
    network: Network,
    config: FrontEnd,
    data: KeywordData,
    host: HostFrontEnd,
    run: Run,
    recipe: Recipe,
    *,
    seed: int,
    progress: Reporter,
) -> Product:
    """Trains from scratch, converts to int8 and measures both; goes on from `run`'s checkpoints where there are any."""
    trained = train(
        network, config, data, recipe, seed=seed, front_end=host, progress=progress,
        checkpoint=run.path("train.pt"), resume=True,
        on_epoch=lambda epoch: run.log({"phase": "train", **asdict(epoch)}),
    )  # fmt: skip
    progress(Progress("quantising", 0, 1))
    representative = calibration_features(data, config, host, trained)
    model = convert(network, config, trained, representative)
    exact, rounded, _ = _both(model, config, host, trained, data.validation)
    progress(Progress("quantising", 1, 1, f"validation {exact.accuracy:.1%}, int8 {rounded.accuracy:.1%}"))
    if exact.accuracy - rounded.accuracy > MOST_LOST:
        tuned = tune_for_int8(
            trained, config, data, representative, recipe, seed=seed, front_end=host, progress=progress
        )  # fmt: skip
        tuned_model = convert(network, config, tuned, representative)
        tuned_rounded = _both(tuned_model, config, host, trained, data.validation)[1]
        if tuned_rounded.accuracy > rounded.accuracy:
            model, rounded = tuned_model, tuned_rounded
    float_test, int8_test, answers = _both(model, config, host, trained, data.test)
    return Product(model, rounded, float_test, int8_test, answers)


def calibration_features(data: KeywordData, config: FrontEnd, host: HostFrontEnd, trained: TrainResult) -> Tensor:
    """Training clips as the device hears them, float (n, frames, coefficients, 1)."""
    chosen = np.linspace(0, len(data.train) - 1, min(CALIBRATION_CLIPS, len(data.train))).astype(np.int64)
    return features_of(data.train.take(chosen), DeviceFeatures(config, trained.scale, host))


def convert(network: Network, config: FrontEnd, trained: TrainResult, representative: Tensor) -> bytes:
    """The int8 .tflite of a trained network, with its front end in its metadata."""
    return attach_front_end(to_tflite(network, trained.module.fold(), representative.numpy()), config)


def int8_answers(
    model: bytes, config: FrontEnd, host: HostFrontEnd, clips: npt.NDArray[np.int16]
) -> npt.NDArray[np.int8]:
    """What the board answers to clips (n, samples), from the same C front end and TFLM's kernels: (n, classes)."""
    oracle = Tflm(model)
    blob = config.blob(oracle.input_scale, oracle.input_zero_point)
    return oracle.run(host.features(blob, clips)[..., None])


def _both(
    model: bytes, config: FrontEnd, host: HostFrontEnd, trained: TrainResult, clips: Clips
) -> tuple[Evaluation, Evaluation, npt.NDArray[np.int8]]:
    """Float and int8 on the same clips, and the int8 logits."""
    features = features_of(clips, DeviceFeatures(config, trained.scale, host))
    exact = evaluate(trained.module, features, labels_of(clips))
    answers = int8_answers(model, config, host, clips.samples)
    return exact, count(clips.labels, answers.argmax(axis=1), answers.shape[1]), answers
