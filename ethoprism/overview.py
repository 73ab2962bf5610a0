"""The recordings of a project at a glance: length, tokens, labels, predictions, problems.

`ethoprism info` and the napari plugin show the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ethoprism import workflow
from ethoprism.annotation import PRESENT, UNOBSERVED, frame_states
from ethoprism.crops import Crop
from ethoprism.errors import EthoPrismError
from ethoprism.progress import Progress
from ethoprism.project import Entry, Project, Settings
from ethoprism.recording import edge_times
from ethoprism.store import AnnotationStore
from ethoprism.subjects import Unit, tracks_of
from ethoprism.tokens import TokenKey


@dataclass(frozen=True)
class TokenShare:
    """How far the tokens of a unit are extracted: ``share`` from 0 to 1."""

    key: TokenKey
    unit: Unit
    share: float


@dataclass(frozen=True)
class RecordingState:
    """What a project holds of one recording.

    Attributes
    ----------
    entry
        Its line in the project.
    seconds
        Its duration by its frame times; None where these cannot be read.
    subjects
        Those that have tracks.
    bouts
        Number of labelled bouts.
    observed
        Frames in which any behaviour was observed.
    present
        Frames in which each behaviour is labelled present; behaviours without any are left out.
    tokens
        Tokens of the project's settings, of each unit that has or should have some.
    other_tokens
        Tokens that other settings made.
    predictions
        Probes that predicted the recording.
    problem
        Why its video cannot be used; empty where it can.
    """

    entry: Entry
    seconds: float | None
    subjects: tuple[str, ...]
    bouts: int
    observed: int
    present: tuple[tuple[str, int], ...]
    tokens: tuple[TokenShare, ...]
    other_tokens: tuple[TokenShare, ...]
    predictions: tuple[str, ...]
    problem: str

    @property
    def all_tokens(self) -> tuple[TokenShare, ...]:
        """Tokens of these and of other settings."""
        return (*self.tokens, *self.other_tokens)

    @property
    def token_share(self) -> float:
        """Share of the tokens that are there, over all units."""
        return sum(t.share for t in self.tokens) / len(self.tokens) if self.tokens else 0.0

    @property
    def observed_share(self) -> float:
        """Share of the frames in which any behaviour was observed."""
        return self.observed / self.entry.n_frames


def overview(
    project: Project, recordings: Sequence[str] = (), *, check: bool = True
) -> Generator[Progress, None, tuple[RecordingState, ...]]:
    """The states of recordings, all by default.

    Parameters
    ----------
    project, recordings
        Which project; which of its recordings.
    check
        Whether to read the videos, up to 32 MB of each, to notice that one was changed.

    Yields
    ------
    Progress in recordings.
    """
    chosen = [project.entry(name) for name in recordings or project.recording_ids]
    keys = workflow.known_keys(project)
    current = current_keys(project.settings, keys)
    made = []
    with workflow.open_annotations(project, "read") as store:
        for number, entry in enumerate(chosen):
            yield Progress(number, len(chosen), entry.id)
            made.append(_state(project, entry, store, keys, current, check))
    yield Progress(len(chosen), len(chosen))
    return tuple(made)


def states_at(
    bouts: pd.DataFrame, spans: pd.DataFrame, behaviours: Sequence[str], frame: int
) -> np.ndarray:
    """Row ``frame`` of `frame_states` of anybody, without making the others: int8 ``[behaviours]``.

    The time that it takes does not grow with the recording's length.
    """
    tables = []
    for table in (bouts, spans):
        here = (table["start_frame"] <= frame) & (table["stop_frame"] > frame)
        # Anybody is absent only where all who have labels are, so each subject stays in sight.
        kept = table.loc[here | ~table["subject"].duplicated()]
        there = here.loc[kept.index].astype("int64")
        tables.append(kept.assign(start_frame=0, stop_frame=there))
    here_bouts, here_spans = tables
    return frame_states(here_bouts, here_spans, behaviours, 1)[0]


def current_keys(settings: Settings, keys: Sequence[TokenKey]) -> list[TokenKey]:
    """Those of ``keys`` that a project's settings would make.

    The weights' digest is not looked at, so that no backbone has to be loaded; keys that differ
    in it are all among them.
    """
    return [
        key
        for key in keys
        if key.backbone == settings.backbone
        and key.crop == settings.crop
        and key.precision == settings.precision
        and key.step == settings.step
        and key.hop == (max(key.length // 2, 1) if settings.hop is None else settings.hop)
        and (settings.pooling is None or key.pooling == settings.pooling)
        and (settings.pooling is not None or key.pooling == min(4, key.grid))
    ]


def _state(
    project: Project,
    entry: Entry,
    store: AnnotationStore,
    keys: Sequence[TokenKey],
    current: Sequence[TokenKey],
    check: bool,
) -> RecordingState:
    names, problems = project.ethogram.names, []
    bouts, spans = store.bouts(entry.id), store.spans(entry.id)
    states = frame_states(bouts, spans, names, entry.n_frames)
    seconds = None
    try:
        if check:
            project.recording(entry.id)
        elif not project.video_path(entry.id).exists():
            project.recording(entry.id)  # which says what to do
    except EthoPrismError as error:
        problems.append(str(error))
    try:
        edges = edge_times(project.frame_times(entry.id))
        seconds = float(edges[-1] - edges[0])
    except EthoPrismError as error:
        problems.append(str(error))
    subjects = _subjects(project, entry)
    shares = [share for key in keys for share in _shares(project, key, entry.id)]
    mine = [share for share in shares if share.key in current]
    expected = [Unit(entry.id)]
    if Crop.parse(project.settings.crop).kind == "subject":
        expected = [Unit(entry.id, subject) for subject in subjects]
    for key in current:
        there = {share.unit for share in mine if share.key == key}
        mine += [TokenShare(key, unit, 0.0) for unit in expected if unit not in there]
    present = (states == PRESENT).sum(axis=0)
    return RecordingState(
        entry,
        seconds,
        subjects,
        len(bouts),
        int((states != UNOBSERVED).any(axis=1).sum()),
        tuple((name, int(n)) for name, n in zip(names, present, strict=True) if n),
        tuple(mine),
        tuple(share for share in shares if share.key not in current),
        _predicted_by(project, entry.id),
        " ".join(dict.fromkeys(problems)),
    )


def _subjects(project: Project, entry: Entry) -> tuple[str, ...]:
    if not project.tracks_path(entry.id).is_file():
        return ()
    try:
        return tuple(track.subject for track in tracks_of(project, entry.id))
    except EthoPrismError:
        return ()  # `ethoprism doctor` says what is wrong with it


def _shares(project: Project, key: TokenKey, recording: str) -> list[TokenShare]:
    """How far the tokens of a recording, or of each of its subjects, are extracted."""
    shares = []
    for path in sorted(project.tokens_path(key.digest, recording).parent.glob("*.zarr")):
        name, _, subject = path.stem.partition("@")
        if name == recording:
            unit = Unit(recording, subject)
            try:
                done = workflow.open_tokens(project, key, unit).done
            except EthoPrismError:
                continue  # of a former region or track, which extraction refuses with the remedy
            shares.append(TokenShare(key, unit, float(np.mean(done))))
    return shares


def _predicted_by(project: Project, recording: str) -> tuple[str, ...]:
    """Names of the project's probes that have predicted a recording."""
    found = []
    for card in sorted((project.folder / "probes").glob("*/card.json")):
        folder = project.folder / "predictions" / card.parent.name
        if any(path.stem.partition("@")[0] == recording for path in folder.glob("[!.]*.zarr")):
            found.append(card.parent.name)
    return tuple(found)
