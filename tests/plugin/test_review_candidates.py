"""What a decision of the review does to the labels, and whose labels it is."""

from __future__ import annotations

import pandas as pd
import pytest

pytest.importorskip("napari")

from ethoprism.annotation import bout_table, frame_states, span_table
from ethoprism.edit_rows import Change, Labelled
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from napari_ethoprism.probe_candidates import (
    accepted,
    rejected,
    relabelled,
    subjects_of,
)
from napari_ethoprism.review import Candidate

ETHOGRAM = Ethogram().with_names(["walk", "groom", "rest"]).with_exclusive(["walk", "rest"])
NAMES = ETHOGRAM.names
WALK = Candidate("r", "", "walk", 20, 30, 0.6, 0.5, "uncertain")


def labelled(*subjects: str) -> Labelled:
    """100 frames observed for everything, with a walk at 0 to 10, for each subject."""
    rows: list[dict[str, object]] = []
    spans: list[dict[str, object]] = []
    for subject in subjects:
        who: dict[str, object] = {"recording": "r", "subject": subject, "start_frame": 0}
        rows.append({**who, "behaviour": "walk", "stop_frame": 10})
        spans += [{**who, "behaviour": name, "stop_frame": 100} for name in NAMES]
    return _labelled(bout_table(rows), span_table(spans))


def _labelled(bouts: pd.DataFrame, spans: pd.DataFrame) -> Labelled:
    return Labelled("r", bouts, spans, ETHOGRAM, "", 100)


def after(labels: Labelled, change: Change) -> Labelled:
    arguments = change.arguments()
    tables = []
    for name, old in (("bouts", labels.bouts), ("spans", labels.spans)):
        new = arguments[f"add_{name}"]
        kept = old.drop(index=list(arguments[f"remove_{name}"]))
        made = bout_table if name == "bouts" else span_table
        tables.append(made(pd.concat([kept] + ([] if new is None else [new]), ignore_index=True)))
    return _labelled(*tables)


def states(labels: Labelled, subject: str | None = None) -> pd.DataFrame:
    table = frame_states(labels.bouts, labels.spans, NAMES, 100, subject)
    return pd.DataFrame(table, columns=list(NAMES))


def test_nobody_in_particular_where_labels_name_nobody():
    labels = labelled("")
    done = after(labels, accepted(labels, WALK, "fly1"))
    assert subjects_of(done) == ("",)
    assert list(done.bouts["source"]) == ["manual", "curated"]
    assert (states(done, "")["walk"][20:30] == 1).all()


def test_the_focal_subject_where_labels_name_several():
    labels = labelled("fly1", "fly2")
    done = after(labels, accepted(labels, WALK, "fly2"))
    assert subjects_of(done) == ("fly1", "fly2")
    assert (states(done, "fly2")["walk"][20:30] == 1).all()
    assert (states(done, "fly1")["walk"][20:30] == 0).all()
    assert (states(done)["walk"][40:] == 0).all()  # still absent, not unobserved


def test_the_only_subject_needs_no_choice():
    labels = labelled("fly1")
    assert set(after(labels, accepted(labels, WALK, "")).bouts["subject"]) == {"fly1"}


def test_it_asks_rather_than_guesses():
    with pytest.raises(LabelError, match="fly1, fly2"):
        accepted(labelled("fly1", "fly2"), WALK, "")


def test_a_rejected_bout_is_absent_in_everybody():
    labels = labelled("fly1", "fly2")
    called = Candidate("r", "", "walk", 5, 15, 0.9, 0.5, "uncertain")
    done = after(labels, rejected(labels, called))
    for subject in ("fly1", "fly2"):
        assert (states(done, subject)["walk"][5:15] == 0).all()
        assert (states(done, subject)["walk"][:5] == 1).all()


def test_rejecting_where_nobody_looked_marks_it_observed():
    labels = _labelled(bout_table(), span_table())
    done = after(labels, rejected(labels, WALK))
    seen = states(done, "")
    assert (seen["walk"][20:30] == 0).all() and (seen["walk"][:20] == -1).all()
    assert (seen["groom"] == -1).all()


@pytest.mark.parametrize("behaviour", ["groom", "rest"])
def test_another_behaviour_takes_its_place(behaviour: str):
    labels = _labelled(bout_table(), span_table())
    done = after(labels, relabelled(labels, WALK, behaviour, ""))
    seen = states(done, "")
    assert (seen[behaviour][20:30] == 1).all() and (seen["walk"][20:30] == 0).all()
    assert list(done.bouts["source"]) == ["curated"]
