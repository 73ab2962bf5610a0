"""Plans that cannot be, and what stays together in a project's recordings."""

from __future__ import annotations

import pytest

from ethoprism.errors import InputError
from ethoprism.training import TrainingPlan, require_sound


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (TrainingPlan(split="frames"), "Frames cannot be split one by one"),
        (TrainingPlan(split="days"), "no split 'days'"),
        (TrainingPlan(head="huge"), "no head 'huge'"),
        (TrainingPlan(loss="hinge"), "no loss 'hinge'"),
        (TrainingPlan(split="pattern"), "needs a pattern"),
        (TrainingPlan(pattern="x"), "needs a pattern"),
        (TrainingPlan(folds=1), "so few folds"),
        (TrainingPlan(ensemble=0), "so few folds"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_read(plan: TrainingPlan, words: str):
    with pytest.raises(InputError, match=words):
        require_sound(plan)


def test_the_usual_plan_is_sound():
    require_sound(TrainingPlan())
    require_sound(TrainingPlan(split="pattern", pattern="^mouse", folds=3, ensemble=2))
