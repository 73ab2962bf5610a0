"""The threshold assistant shows what thresholds do, and puts the chosen ones beside the probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from probe_samples import ETHOGRAM, KEY, NAMES

from ethoprism.errors import InputError, LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Decision
from ethoprism.probe.checkpoint import Probe, load_probe, save_probe
from ethoprism.probe.decisions import Timeline
from ethoprism.probe.model import ProbeShape
from ethoprism.project import Project, Settings
from ethoprism.thresholds import CHOICES, choices, set_thresholds, source_of, table, with_threshold

ROWS = 2000


def _probe() -> Probe:
    """A probe whose held-out rows have noisy probabilities; ``rare`` never occurs in them."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.random((ROWS // 20, 3)) < 0.3, 20, axis=0)
    truth[:, 2] = False
    p = np.clip(rng.normal(0.35 + 0.3 * truth, 0.15), 0, 1).astype(np.float32)
    item = Timeline("r", "", p, np.ones(ROWS, bool), truth.astype(np.int8))
    decision = Decision(
        dict.fromkeys(NAMES, 0.5),
        dict.fromkeys(NAMES, 1),
        low={"still": 0.25},
        min_gap=dict.fromkeys(NAMES, 1),
    )
    return Probe(
        "p",
        NAMES,
        ETHOGRAM,
        "",
        KEY,
        ProbeShape(32, 3, 1),
        decision,
        {},
        {"held_out": "validation"},
        held_out=(item,),
    )


def test_from_missing_to_over_calling():
    probe = _probe()
    found = choices(probe, probe.held_out)
    assert {c.behaviour for c in found} == {"still", "moving"}
    mine = {c.choice: c for c in found if c.behaviour == "moving"}
    assert list(mine) == [*CHOICES, "in use"]
    # Told of frames that they were not chosen on, so a little less than was wanted.
    assert mine["miss"].precision > 0.85
    assert mine["over-call"].recall > 0.85
    assert all(mine[name].nested for name in CHOICES)
    assert not mine["in use"].nested
    assert mine["miss"].reached
    assert mine["over-call"].reached
    scale = [mine[c] for c in ("rather-miss", "balanced", "rather-over")]
    assert [c.threshold for c in scale] == sorted((c.threshold for c in scale), reverse=True)
    assert [c.called_share for c in scale] == sorted(c.called_share for c in scale)
    assert max(c.f1 for c in mine.values()) == mine["balanced"].f1
    assert {c.true_bouts for c in mine.values()} == {mine["in use"].true_bouts}
    assert mine["in use"].threshold == 0.5
    assert len(table(found)) == 2 * (len(CHOICES) + 1)


def test_what_is_shown_is_what_the_threshold_does():
    probe = _probe()
    (item,) = probe.held_out
    found = choices(probe, [item])
    choice = next(c for c in found if (c.behaviour, c.choice) == ("moving", "in use"))
    called = item.probability[:, 1] >= np.float32(choice.threshold)
    truth = item.states[:, 1] == 1
    assert choice.precision == pytest.approx(truth[called].mean())
    assert choice.recall == pytest.approx(called[truth].mean())
    assert choice.called_share == pytest.approx(called.mean())


def test_a_choice_that_no_threshold_reaches_says_so():
    probe = _probe()
    (item,) = probe.held_out
    blind = replace(item, probability=np.full_like(item.probability, 0.5))
    found = {c.choice: c for c in choices(probe, [blind]) if c.behaviour == "moving"}
    assert not found["miss"].reached
    assert found["over-call"].recall == 1


def test_the_low_threshold_moves_with_the_high_one():
    decision = with_threshold(_probe().decision, "still", 0.8)
    assert (decision.thresholds["still"], decision.low["still"]) == (0.8, pytest.approx(0.4))
    assert decision.thresholds["moving"] == 0.5
    decision.require_sound(NAMES)


def test_choices_are_put_into_use_and_taken_back(tmp_path: Path, probe: Probe):
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    folder = project.probe_folder("probe")
    save_probe(probe, folder)
    used = set_thresholds(project, "probe", {"rare": "over-call", "moving": "0.125"})
    found = choices(used, probe.held_out)
    over = next(c for c in found if (c.behaviour, c.choice) == ("rare", "over-call"))
    assert used.decision.thresholds["rare"] == pytest.approx(over.threshold)
    assert used.decision.thresholds["moving"] == 0.125
    assert used.decision.thresholds["still"] == probe.decision.thresholds["still"]
    assert load_probe(folder).learnt == probe.decision
    set_thresholds(project, "probe", {"rare": "learnt"})
    assert load_probe(folder).decision.thresholds["rare"] == probe.decision.thresholds["rare"]
    assert set_thresholds(project, "probe", {"moving": "learnt"}).learnt is None
    assert "not cross-validated" in source_of(used)
    with pytest.raises(InputError, match="does not predict 'x'"):
        set_thresholds(project, "probe", {"x": "miss"})
    with pytest.raises(InputError, match=r"'2' is no choice.*over-call"):
        set_thresholds(project, "probe", {"rare": "2"})
    blank = [
        replace(t, states=np.where(t.states == 1, 0, t.states).astype(np.int8))
        for t in probe.held_out
    ]
    save_probe(replace(probe, held_out=tuple(blank)), folder)
    with pytest.raises(LabelError, match="does not occur in the held-out frames"):
        set_thresholds(project, "probe", {"rare": "miss"})


def test_figures_are_of_frames_that_a_threshold_was_not_chosen_on():
    """On noise, the best threshold looks better where it was chosen than elsewhere."""
    rng = np.random.default_rng(3)
    inside, outside = [], []
    for _ in range(8):
        truth = np.zeros((200, 3), np.int8)
        truth[rng.choice(200, 20, replace=False), 1] = 1
        p = rng.random((200, 3)).astype(np.float32)
        item = Timeline("r", "", p, np.ones(200, bool), truth)
        probe = replace(_probe(), held_out=(item,))
        (told,) = (
            c
            for c in choices(probe, probe.held_out)
            if (c.behaviour, c.choice) == ("moving", "balanced")
        )
        called = p[:, 1] >= told.threshold
        hits = int((called & (truth[:, 1] == 1)).sum())
        inside.append(2 * hits / (int(called.sum()) + 20))
        outside.append(told.f1)
        assert told.nested
        assert told.true_bouts >= 10
    assert np.mean(outside) < np.mean(inside) - 0.02


def test_a_behaviour_in_one_stretch_only_is_told_of_the_frames_that_chose_it():
    truth = np.zeros((500, 3), np.int8)
    truth[10:30, 1] = 1
    p = np.clip(truth * 0.6 + 0.2, 0, 1).astype(np.float32)
    item = Timeline("r", "", p, np.ones(500, bool), truth)
    probe = replace(_probe(), held_out=(item,))
    found = choices(probe, probe.held_out)
    assert found
    assert not any(c.nested for c in found)
    assert {c.f1 for c in found if c.choice == "balanced"} == {1.0}
