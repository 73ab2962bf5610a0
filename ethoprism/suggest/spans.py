"""What to label next in a project: spans of its recordings, ranked, with the reason for each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ethoprism import workflow
from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.errors import InputError, ProjectError
from ethoprism.prediction import Prediction, load_prediction
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.scoring import unseen_frames
from ethoprism.subjects import Unit, units
from ethoprism.suggest.choose import Evidence, choose
from ethoprism.suggest.evidence import similarity_to_examples, window_evidence
from ethoprism.suggest.unfound import Checked, bout_counts, estimate_unfound
from ethoprism.suggest.windows import cut_windows, flatten, row_vectors, window_means
from ethoprism.tokens import TokenKey

if TYPE_CHECKING:  # imports jax
    from ethoprism.probe.checkpoint import Probe

WINDOW_S = 4.0
SPAN_COLUMNS = (
    "rank",
    "recording",
    "subject",
    "start_frame",
    "stop_frame",
    "start_s",
    "stop_s",
    "behaviour",
    "reason",
    "score",
)


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What to label next.

    Attributes
    ----------
    spans
        Table with `SPAN_COLUMNS`, best first.
    unfound
        See `ethoprism.suggest.unfound.estimate_unfound`.
    labelled_s
        Seconds in which somebody observed every behaviour, of all units together.
    total_s
        Seconds of all units together.
    basis
        One sentence: on what the ranking rests.
    """

    spans: pd.DataFrame
    unfound: pd.DataFrame
    labelled_s: float
    total_s: float
    basis: str


@dataclass(frozen=True, eq=False)
class _Unit:
    """One unit: what is known of it, its windows, and what the probe says of it."""

    unit: Unit
    times: np.ndarray
    states: np.ndarray
    prediction: Prediction | None
    split: np.ndarray | None  # how far an ensemble's networks differ, [frames, behaviours]
    windows: np.ndarray  # of what is not labelled
    labelled: np.ndarray  # windows of what is
    vectors: np.ndarray
    labelled_vectors: np.ndarray


def suggest_next(
    project: Project,
    probe: Probe | None = None,
    *,
    count: int = 20,
    seconds: float = WINDOW_S,
    recordings: Sequence[str] = (),
    key: TokenKey | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Suggestions]:
    """The spans to label next, and how much is still unfound; the generator's result.

    Parameters
    ----------
    project
        With tokens of its recordings.
    probe
        Whose predictions say where to look; without one, spans are chosen that are unlike each
        other and unlike what is labelled. Recordings without a prediction of it are predicted.
    count
        Spans at most.
    seconds
        Length of a span.
    recordings
        Ids; all that have tokens by default.
    key
        Which tokens to use where there is no probe; those that fit the project's settings by
        default.
    seed
        Decides among equals, and draws the intervals.

    Raises
    ------
    ProjectError
        If there are no tokens.
    InputError
        If nothing is left to label.
    """
    if count < 1 or seconds <= 0:
        raise InputError(
            "Nothing was asked for",
            expected="one span or more, of more than 0 seconds",
            found=f"{count} spans of {seconds:g} s",
        )
    key = probe.key if probe is not None else key or usual_key(project)
    behaviours = probe.behaviours if probe is not None else project.ethogram.names
    found = units_with_tokens(project, key, recordings, probe.subject if probe else "")
    known = []
    for unit in found:
        prediction = None
        if probe is not None:
            prediction = yield from _prediction(project, probe, unit)
        known.append(
            (yield from _known(project, key, unit, behaviours, seconds, prediction, probe))
        )
    if not any(len(u.windows) for u in known):
        raise InputError(
            "Everything is labelled",
            found=f"{len(found)} recordings or subjects without an unlabelled stretch of "
            f"{seconds / 4:g} s",
            remedy="Add recordings, or ask for shorter spans with --seconds.",
        )
    yield Progress(0, 1, "choosing")
    counts = bout_counts([u.states for u in known], len(behaviours))
    spans = _spans(known, probe, behaviours, counts, count, seed)
    unfound = _unfound(known, probe, behaviours, counts, seed)
    lengths = [_seconds(u.times) for u in known]
    looked = [(u.states != UNOBSERVED).all(axis=1) & bool(behaviours) for u in known]
    yield Progress(1, 1, "choosing")
    return Suggestions(
        spans,
        unfound,
        float(sum((s * m).sum() for s, m in zip(lengths, looked, strict=True))),
        float(sum(s.sum() for s in lengths)),
        _basis(probe, sum(len(u.labelled) for u in known)),
    )


def usual_key(project: Project) -> TokenKey:
    """The key of the project's tokens that fits its settings best; a `ProjectError` without any."""
    s = project.settings
    wanted = {"backbone": s.backbone, "hop": s.hop, "step": s.step, "pooling": s.pooling}
    keys = workflow.known_keys(project)
    if not keys:
        raise ProjectError("The project has no tokens", remedy="Run: ethoprism extract PROJECT")

    def fit(key: TokenKey) -> int:
        same = sum(getattr(key, name) == value for name, value in wanted.items())
        return same + 10 * ((key.crop == s.crop) + (key.precision == s.precision))

    return max(keys, key=fit)


def units_with_tokens(
    project: Project, key: TokenKey, recordings: Sequence[str] = (), subject: str = ""
) -> list[Unit]:
    """The units whose tokens are there; asked for by name, those that lack them are an error."""
    if recordings:
        return units(project, key.crop, recordings, subject)
    here = []
    for name in project.recording_ids:
        stores = project.tokens_path(key.digest, name).parent.glob("*.zarr")
        if any(s.stem.partition("@")[0] == name for s in stores):
            here.extend(units(project, key.crop, [name], subject))
    here = [u for u in here if project.tokens_path(key.digest, u.name).exists()]
    if not here:
        raise ProjectError(
            f"The project has no tokens with {key.label}", remedy="Run: ethoprism extract PROJECT"
        )
    return here


def _prediction(
    project: Project, probe: Probe, unit: Unit
) -> Generator[Progress, None, Prediction]:
    """The saved prediction, made where it is missing or of another probe."""
    entry = project.entry(unit.recording)
    path = project.prediction_path(probe.name, unit.name)
    for again in (False, True):
        try:
            return load_prediction(
                path, probe=probe.digest, content_key=entry.content_key, n_frames=entry.n_frames
            )
        except ProjectError:
            if again:
                raise
            yield from workflow.predict_recordings(project, probe, [unit.recording])
    raise AssertionError


def _known(
    project: Project,
    key: TokenKey,
    unit: Unit,
    behaviours: Sequence[str],
    seconds: float,
    prediction: Prediction | None,
    probe: Probe | None,
) -> Generator[Progress, None, _Unit]:
    store = workflow.open_tokens(project, key, unit)
    n_frames = project.entry(unit.recording).n_frames
    times = np.asarray(project.frame_times(unit.recording), np.float64)
    states = workflow.unit_states(project, unit, behaviours, probe.subject if probe else "")
    open_frames = np.ones(n_frames, bool)
    if behaviours:
        open_frames = (states == UNOBSERVED).any(axis=1)
    covered = np.repeat(store.valid(), key.step)[:n_frames]
    rate = 1 / max(float(np.median(np.diff(times))), 1e-6) if n_frames > 1 else 1.0
    length = max(1, round(seconds * rate))
    windows = cut_windows(open_frames & covered, length)
    labelled = cut_windows(~open_frames & covered, length)
    split = None
    if probe is not None and probe.shape.members > 1:
        from ethoprism.probe.predict import disagreement

        split = yield from disagreement(probe, project.recording(unit.recording), store)
    rows = yield from row_vectors(store)
    return _Unit(
        unit,
        times,
        states,
        prediction,
        split,
        windows,
        labelled,
        window_means(rows, windows, key.step),
        window_means(rows, labelled, key.step),
    )


def _spans(
    known: Sequence[_Unit],
    probe: Probe | None,
    behaviours: Sequence[str],
    counts: np.ndarray,
    count: int,
    seed: int,
) -> pd.DataFrame:
    owner = np.repeat(np.arange(len(known)), [len(u.windows) for u in known])
    windows = np.concatenate([u.windows for u in known])
    both = [u.vectors for u in known] + [u.labelled_vectors for u in known]
    vectors = flatten(np.concatenate(both))
    candidates, labelled = vectors[: len(owner)], vectors[len(owner) :]
    names = behaviours if probe is not None else ()
    evidence = _evidence(known, candidates, labelled, probe, names, counts)
    chosen = choose(evidence, count, seed=seed)
    rows = []
    for rank, index in enumerate(chosen.index.tolist()):
        u = known[int(owner[index])]
        start, stop = windows[index].tolist()
        column = int(chosen.behaviour[rank])
        rows.append(
            {
                "rank": rank + 1,
                "recording": u.unit.recording,
                "subject": u.unit.subject,
                "start_frame": start,
                "stop_frame": stop,
                "start_s": float(u.times[start]),
                "stop_s": float(u.times[stop - 1]),
                "behaviour": behaviours[column] if column >= 0 else "",
                "reason": chosen.reason[rank],
                "score": float(chosen.score[rank]),
            }
        )
    return pd.DataFrame(rows, columns=list(SPAN_COLUMNS))


def _evidence(
    known: Sequence[_Unit],
    candidates: np.ndarray,
    labelled: np.ndarray,
    probe: Probe | None,
    behaviours: Sequence[str],
    counts: np.ndarray,
) -> Evidence:
    shape = (len(candidates), len(behaviours))
    unsure, likely, split = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    similarity = np.zeros(shape)
    row = 0
    for u in known:
        for start, stop in u.windows.tolist():
            if probe is not None and u.prediction is not None:
                p = u.prediction.probability[start:stop]
                unsure[row], likely[row] = window_evidence(p, probe.decision.thresholds, behaviours)
                unlabelled = (u.states[start:stop] == UNOBSERVED).mean(axis=0)
                unsure[row] *= unlabelled
                likely[row] *= unlabelled
                if u.split is not None:
                    split[row] = u.split[start:stop].mean(axis=0) * unlabelled
            row += 1
    if behaviours and len(labelled):
        present = np.concatenate([_present(u) for u in known])
        similarity = similarity_to_examples(candidates, labelled, present, counts)
    return Evidence(
        candidates,
        labelled,
        unsure,
        likely,
        split,
        similarity,
        counts if behaviours else np.zeros(0, np.int64),
    )


def _present(u: _Unit) -> np.ndarray:
    rows = [(u.states[a:b] == PRESENT).any(axis=0) for a, b in u.labelled.tolist()]
    return np.array(rows, bool).reshape(-1, u.states.shape[1])


def _unfound(
    known: Sequence[_Unit],
    probe: Probe | None,
    behaviours: Sequence[str],
    counts: np.ndarray,
    seed: int,
) -> pd.DataFrame:
    checked, unlabelled = [], []
    for u in known:
        states = u.states.copy()
        if probe is None or u.prediction is None:
            p, covered = np.full(states.shape, 0.5, np.float32), np.ones(len(states), bool)
        else:
            p, covered = u.prediction.probability, u.prediction.covered
            states[~unseen_frames(probe, u.unit.recording, len(states))] = UNOBSERVED
        states[~covered] = UNOBSERVED
        checked.append(Checked(states, p))
        nobody = (u.states == UNOBSERVED) & covered[:, None]
        unlabelled.append(np.where(nobody, p, np.nan))
    return estimate_unfound(checked, unlabelled, behaviours, found_bouts=counts.tolist(), seed=seed)


def _seconds(times: np.ndarray) -> np.ndarray:
    gaps = np.diff(times)
    return np.append(gaps, np.median(gaps) if len(gaps) else 0.0)[: len(times)]


def _basis(probe: Probe | None, labelled: int) -> str:
    if probe is None:
        return (
            "Without a probe, spans were chosen that are typical of different kinds of moments"
            + (", unlike what is labelled." if labelled else ".")
        )
    differ = ", where its networks differ" if probe.shape.members > 1 else ""
    return (
        f"Spans were chosen where the probe {probe.name!r} is unsure{differ} or may have found a "
        "rare behaviour, of different kinds of moments."
    )
