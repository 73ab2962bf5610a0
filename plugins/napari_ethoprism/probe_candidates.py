"""Candidates of the review: read from a project's predictions and labels; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ethoprism import edits, workflow
from ethoprism.annotation import frame_states
from ethoprism.edit_rows import Change, Labelled
from ethoprism.errors import LabelError
from ethoprism.prediction import Decision
from ethoprism.project import Project
from ethoprism.subjects import Unit
from ethoprism.suggest import review_bouts
from napari_ethoprism.probe_run import read_saved
from napari_ethoprism.review import Candidate


def find_candidates(
    project: Project,
    probe: str,
    decision: Decision | None,
    recordings: Sequence[str],
    count: int = 60,
) -> tuple[Candidate, ...]:
    """The bouts of a probe's predictions that are most worth a look, best first; takes seconds.

    Parameters
    ----------
    project, probe
        Whose predictions.
    decision
        Thresholds and smoothing; the probe's own without one.
    recordings
        Those without predictions are passed over.
    count
        Candidates at most.
    """
    with workflow.open_annotations(project, "read") as store:
        known = {str(n): int(c) for n, c in store.bouts().groupby("behaviour").size().items()}
    found: list[tuple[float, Candidate]] = []
    for recording in recordings:
        saved = read_saved(project, probe, recording)
        used = saved.probe.decision if decision is None else decision
        for prediction in saved.predictions:
            subject = prediction.subject
            bouts, spans = workflow.unit_labels(project, Unit(recording, subject))
            states = frame_states(
                bouts,
                spans,
                prediction.behaviours,
                len(prediction.covered),
                subject or None,
            )
            table = review_bouts(prediction, used, states, count=count, known_bouts=known)
            columns = {name: i for i, name in enumerate(prediction.behaviours)}
            for row in table.to_dict("records"):
                name, start = str(row["behaviour"]), int(row["start_frame"])
                length = int(row["stop_frame"]) - start
                if length < used.min_bout[name]:
                    continue  # it would be dropped, or is a matter of a bout's edge
                candidate = Candidate(
                    recording,
                    subject,
                    name,
                    start,
                    int(row["stop_frame"]),
                    float(row["mean_p"]),
                    float(used.thresholds[name]),
                    str(row["reason"]),
                    int(states[start, columns[name]]),
                )
                found.append((float(row["score"]), candidate))
    order = np.argsort([-score for score, _ in found], kind="stable") if found else []
    return tuple(found[i][1] for i in order[:count])


def subjects_of(labels: Labelled) -> tuple[str, ...]:
    """The subjects that the labels of a recording name; the empty one stands for nobody."""
    return tuple(sorted({str(n) for t in (labels.bouts, labels.spans) for n in t["subject"]}))


def accepted(labels: Labelled, candidate: Candidate, subject: str) -> Change:
    """The edit that takes up a candidate; ``subject`` is the focal one.

    A candidate of nobody in particular belongs to a subject where the labels name subjects: labels
    of nobody beside theirs would make everything else unobserved.

    Raises
    ------
    LabelError
        If it is not clear whose bout it is.
    """
    named = [name for name in subjects_of(labels) if name]
    whose = candidate.subject
    if not whose and named:
        whose = subject if subject in named else named[0] if len(named) == 1 else ""
        if not whose:
            raise LabelError(
                "It is not clear whose bout this is",
                expected=f"one of {', '.join(named)}",
                remedy="Choose the subject, then accept.",
            )
    return edits.accept_bout(labels, (candidate.start, candidate.stop), candidate.behaviour, whose)


def rejected(labels: Labelled, candidate: Candidate) -> Change:
    """The edit that says that a candidate is none: absent, in everybody where nobody is named."""
    frames, behaviour = (candidate.start, candidate.stop), candidate.behaviour
    whose = [candidate.subject] if candidate.subject else list(subjects_of(labels)) or [""]
    changes = [edits.reject_bout(labels, frames, behaviour, name) for name in whose]
    described = edits.reject_bout(labels, frames, behaviour, candidate.subject).description
    return edits.combined(changes, described)


def relabelled(labels: Labelled, candidate: Candidate, behaviour: str, subject: str) -> Change:
    """The edit that says that a candidate is another behaviour; see `accepted` for the subject."""
    taken = accepted(labels, replace(candidate, behaviour=behaviour), subject)
    if candidate.behaviour in labels.group(behaviour):
        return taken  # it is cut away and observed with its group
    described = f"Relabelled {candidate.behaviour!r} as {behaviour!r}"
    return edits.combined([rejected(labels, candidate), taken], described)
