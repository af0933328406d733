"""Teachers: several of one network, trained before it; a training goes on with the same ones after a cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hil_nas.audio.datasets import KeywordData
from hil_nas.errors import RunError
from hil_nas.progress import Progress
from hil_nas.training.evaluate import evaluate
from hil_nas.training.feed import Feed
from hil_nas.training.network_module import NetworkModule
from hil_nas.training.recipe import Recipe
from hil_nas.training.teachers import train_teachers
from hil_nas.training.whole_training import train
from tests.test_whole_training import CONFIG, SMALL, data, network, same  # noqa: F401  (data is a fixture)

TAUGHT = replace(SMALL, teachers=2, teacher_share=0.7)


def test_each_has_weights_of_its_own_and_has_learned(data: KeywordData) -> None:  # noqa: F811
    recipe = replace(TAUGHT, epochs=12)
    seen: list[Progress] = []
    teachers = train_teachers(network(), CONFIG, data, recipe, seed=0, progress=seen.append)
    assert len(teachers) == 2 and not any(x.training for x in teachers) and len(seen) == round(0.7 * 12)
    states = [torch.cat([x.flatten() for x in teacher.parameters()]) for teacher in teachers]
    assert not torch.equal(*states)
    student = train(network(), CONFIG, data, replace(recipe, epochs=1), seed=0)
    feed = Feed(CONFIG, data, recipe, student.scale, None, torch.device("cpu"))
    for teacher in teachers:
        assert evaluate(teacher, feed.validation, feed.validation_labels).accuracy > 0.6
    assert train_teachers(network(), CONFIG, data, replace(recipe, teachers=0), seed=0) == []


def test_they_hear_other_batches_than_the_training_they_teach(
    data: KeywordData, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    heard: list[np.ndarray] = []
    made = Feed.batch

    def batch(self: Feed, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        features, labels = made(self, *args)
        heard.append(features.numpy().copy())
        return features, labels

    monkeypatch.setattr(Feed, "batch", batch)
    train_teachers(network(), CONFIG, data, TAUGHT, seed=0)
    by_teachers = len(heard)
    train(network(), CONFIG, data, TAUGHT, seed=0)
    assert 0 < by_teachers < len(heard)
    assert not any(np.array_equal(x, y) for x in heard[:by_teachers] for y in heard[by_teachers:])


def test_a_cut_off_training_goes_on_with_the_same_teachers(data: KeywordData, tmp_path: Path) -> None:  # noqa: F811
    def taught(checkpoints: Path | None, recipe: Recipe = TAUGHT, stop_at: str = "") -> list[NetworkModule]:
        def cut(progress: Progress) -> None:
            if progress.task == stop_at and progress.done == 1:
                raise KeyboardInterrupt

        path = None if checkpoints is None else checkpoints / "teachers.pt"
        return train_teachers(network(), CONFIG, data, recipe, seed=3, progress=cut, checkpoint=path, resume=True)

    whole = taught(None)
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path, stop_at="training teachers")
    again = taught(tmp_path)
    for one, other in zip(whole, again, strict=True):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    student, resumed = (train(network(), CONFIG, data, TAUGHT, seed=3, teachers=x) for x in (whole, again))
    assert same(student, resumed)
    assert not same(student, train(network(), CONFIG, data, TAUGHT, seed=3))
    with pytest.raises(RunError, match="network was"):
        taught(tmp_path, replace(TAUGHT, teachers=3))


def test_a_student_of_other_teachers_is_another(data: KeywordData, tmp_path: Path) -> None:  # noqa: F811
    teachers, path = train_teachers(network(), CONFIG, data, TAUGHT, seed=0), tmp_path / "train.pt"
    train(network(), CONFIG, data, TAUGHT, seed=0, teachers=teachers, checkpoint=path)
    with pytest.raises(RunError, match="teachers"):
        train(network(), CONFIG, data, TAUGHT, seed=0, teachers=teachers[:1], checkpoint=path, resume=True)
