"""The test clips that a finished model got most wrong, kept in its run folder to be looked at and listened to."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil_nas.audio.clips import Clips
from hil_nas.deploy.graph import QuantGraph
from hil_nas.errors import RunError
from hil_nas.front_ends import FrontEnd
from hil_nas.front_ends.host import HostFrontEnd

NAME = "worst_clips.npz"
MOST, MOST_AUDIO_BYTES = 6, 200_000


@dataclass(frozen=True, eq=False)
class WorstClips:
    """The worst first.

    Attributes:
        places: (n,) in the test split.
        labels: (n,) what was spoken.
        posteriors: float32 (n, classes), of the int8 logits.
        samples: int16 (n, samples).
        features: int8 (n, frames, coefficients), as the device makes them.
        sample_rate_hz: int64 ().
    """

    places: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    posteriors: npt.NDArray[np.float32]
    samples: npt.NDArray[np.int16]
    features: npt.NDArray[np.int8]
    sample_rate_hz: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def to_bytes(self) -> bytes:
        """As `worst_clips.npz`."""
        content = io.BytesIO()
        np.savez_compressed(content, **asdict(self))
        return content.getvalue()

    @classmethod
    def read(cls, path: Path) -> WorstClips:
        """
        Raises:
            RunError: for a file that `to_bytes` did not write.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                return cls(**dict(arrays))
        except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
            hint = "remove that file; the report is then made without clips"
            raise RunError(f"{path} is damaged: {error}", hint=hint) from None


def worst_clips(
    answers: npt.NDArray[np.int8], test: Clips, graph: QuantGraph, front_end: FrontEnd, host: HostFrontEnd
) -> WorstClips:
    """Those of the wrong answers whose own class has the least posterior; at most six, and 200 kB of audio.

    Args:
        answers: int8 logits (n, classes) of the test clips.
        graph: of the model that gave them.
    """
    source, target = graph.tensors[graph.input], graph.tensors[graph.output]
    posteriors = _softmax((answers.astype(np.float64) - target.zero_point) * target.scale)
    own = posteriors[np.arange(len(answers)), test.labels]
    wrong = np.flatnonzero(answers.argmax(axis=1) != test.labels)
    most = min(MOST, MOST_AUDIO_BYTES // (2 * test.samples.shape[1]))
    worst = wrong[np.argsort(own[wrong], kind="stable")][:most]
    samples = test.samples[worst]
    features = host.features(front_end.blob(source.scale, source.zero_point), samples)
    return WorstClips(
        worst, test.labels[worst], posteriors[worst].astype(np.float32), samples, features,
        np.array(front_end.clip.sample_rate_hz),
    )  # fmt: skip


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
