"""The user's own thresholds lie beside the probe; the learnt ones stay and can be gone back to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ethoprism.errors import InputError, ProjectError
from ethoprism.probe.checkpoint import (
    DECISION,
    Probe,
    forget_decision,
    load_held_out,
    load_probe,
    save_decision,
    save_probe,
)


def _own(probe: Probe):
    names = probe.behaviours
    return replace(
        probe.decision,
        thresholds=dict.fromkeys(names, 0.75),
        low=dict.fromkeys(names, 0.5),
        min_bout=dict.fromkeys(names, 9),
    )


def test_own_thresholds_are_used_and_the_learnt_ones_come_back(tmp_path: Path, probe: Probe):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    card = (folder / "card.json").read_bytes()
    assert load_probe(folder).learnt is None
    own = _own(probe)
    save_decision(folder, own)
    loaded = load_probe(folder)
    assert (loaded.decision, loaded.learnt, loaded.digest) == (own, probe.decision, probe.digest)
    assert load_probe(folder, own=False).decision == probe.decision
    assert (folder / "card.json").read_bytes() == card
    forget_decision(folder)
    forget_decision(folder)
    assert load_probe(folder).decision == probe.decision


def test_training_again_forgets_them(tmp_path: Path, probe: Probe):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    save_decision(folder, _own(probe))
    save_probe(load_probe(folder), folder)
    assert load_probe(folder).decision == probe.decision


def test_a_decision_that_does_not_fit_is_not_saved(tmp_path: Path, probe: Probe):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    own = _own(probe)
    for wrong in (
        replace(own, thresholds={"other": 0.5}),
        replace(own, thresholds={**own.thresholds, "rare": float("nan")}),
        replace(own, low={"rare": 0.9}),
        replace(own, min_bout={**own.min_bout, "rare": -1}),
    ):
        with pytest.raises(InputError, match="does not fit"):
            save_decision(folder, wrong)
    assert not (folder / DECISION).exists()


@pytest.mark.parametrize(
    "change",
    [
        {"probe": "0" * 64},
        {"decision": {}},
        {"decision": []},
        {"decision": {"thresholds": {"rare": 0.5}, "min_bout": {"rare": 1}}},
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_remedy(
    tmp_path: Path, probe: Probe, change: dict[str, object]
):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    save_decision(folder, _own(probe))
    path = folder / DECISION
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ProjectError, match="Delete that file"):
        load_probe(folder)


def test_cards_from_before_there_was_more_than_thresholds_load(tmp_path: Path, probe: Probe):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    card = json.loads((folder / "card.json").read_text())
    old = {k: card["decision"][k] for k in ("thresholds", "min_bout", "exclusive")}
    (folder / "card.json").write_text(json.dumps({**card, "decision": old}))
    loaded = load_probe(folder).decision
    assert (loaded.thresholds, loaded.low, loaded.chains) == (probe.decision.thresholds, {}, ())


def test_what_was_said_of_held_out_rows_is_kept_for_its_probe(tmp_path: Path, probe: Probe):
    folder = tmp_path / "p"
    save_probe(probe, folder)
    (found,) = load_held_out(folder, probe)
    (mine,) = probe.held_out
    assert (found.recording, found.subject) == ("c", "")
    for name in ("probability", "covered", "states"):
        assert (getattr(found, name) == getattr(mine, name)).all()
    with pytest.raises(ProjectError, match="another probe"):
        load_held_out(folder, replace(probe, subject="x"))
