"""What a whole training learns from beside labels: networks of the same kind that were trained before it.

Their mean says more of a clip than its label does, where they heard it augmented otherwise than the network they
teach. Of validation and test clips of Speech Commands (a subset, 2,874 of them) two searched networks recognised 94.5
and 94.2 % alone, 94.6 and 94.4 % taught, 94.2 and 94.2 % by teachers of the very same batches. Another chain, three
seeds each: 93.8 % alone, 94.3 % by teachers of 25 epochs, 94.6 % of 40, 94.4 % by three of 2.4 times the parameters,
93.7 % by mixup alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hil_nas.audio.datasets import KeywordData
from hil_nas.audio.features import training_scale
from hil_nas.front_ends import FrontEnd
from hil_nas.learning.accelerator import accelerator
from hil_nas.network import Network
from hil_nas.progress import Progress, Reporter, silent
from hil_nas.training.branches import BranchedConvolution
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import Convolution, NetworkModule
from hil_nas.training.recipe import Recipe
from hil_nas.training.side_by_side import train_side_by_side
from hil_nas.training.whole_training import fingerprint


def train_teachers(
    network: Network,
    config: FrontEnd,
    data: KeywordData,
    recipe: Recipe,
    *,
    seed: int,
    progress: Reporter = silent,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: torch.device | None = None,
) -> list[NetworkModule]:
    """Trains the recipe's teachers of a network side by side, each from weights of its own; in evaluation mode.

    Args:
        recipe: of the training that they will teach.
        checkpoint, resume, device: as of `train`.

    Raises:
        RunError: for a checkpoint that is damaged or of another training.
    """
    if not recipe.teachers:
        return []
    device = device or accelerator()
    scale, own = training_scale(config, data.train), recipe.of_teachers()
    convolution = BranchedConvolution if recipe.branches else Convolution
    batches, *weights = np.random.default_rng([seed, 6]).integers(2**62, size=1 + recipe.teachers).tolist()
    generators = [torch.Generator().manual_seed(x) for x in weights]
    modules = [NetworkModule(network, x, convolution).to(device) for x in generators]
    train_side_by_side(
        modules, Feed(config, data, own, scale, None, device), own, seed=batches,
        identity=fingerprint([network] * recipe.teachers, config, data, own, seed, scale, False),
        told=lambda done: progress(Progress("training teachers", done, own.epochs, f"{recipe.teachers} at {config}")),
        checkpoint=checkpoint, resume=resume,
    )  # fmt: skip
    return [x.eval() for x in modules]
