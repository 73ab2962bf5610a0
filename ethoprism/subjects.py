"""Subjects and regions of a project: which crops its recordings have, and where they lie."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ethoprism.annotation import runs
from ethoprism.crops import (
    OF_REGION,
    Crop,
    CropPath,
    Focus,
    Place,
    Region,
    crop_size,
    cut,
    follow_path,
)
from ethoprism.errors import InputError, ProjectError
from ethoprism.progress import Progress
from ethoprism.project import Entry, Project
from ethoprism.recording import check_name, open_frames
from ethoprism.tracks import Track, load_tracks, write_tracks

if TYPE_CHECKING:
    from ethoprism.follow import Followed


@dataclass(frozen=True)
class Unit:
    """What tokens and predictions are of: a recording, or one subject of it."""

    recording: str
    subject: str = ""

    @property
    def name(self) -> str:
        """Names the unit's files: ``recording`` or ``recording@subject``; ids hold no ``@``."""
        return f"{self.recording}@{self.subject}" if self.subject else self.recording


def units(
    project: Project, crop: str, recordings: Sequence[str] = (), subject: str = ""
) -> list[Unit]:
    """The units of recordings, all by default, for a crop as `Crop.text` says it.

    Parameters
    ----------
    project
        The project.
    crop
        How frames are cut.
    recordings
        Ids; all by default.
    subject
        Where crops follow subjects, only this one.

    Raises
    ------
    ProjectError
        If crops follow subjects and a recording has no tracks, or none has that subject.
    """
    names = [project.entry(name).id for name in recordings or project.recording_ids]
    if Crop.parse(crop).kind != "subject":
        return [Unit(name) for name in names]
    found = [Unit(name, track.subject) for name in names for track in tracks_of(project, name)]
    chosen = [unit for unit in found if subject in ("", unit.subject)]
    if not chosen:
        raise ProjectError(
            f"No recording has a subject {subject!r}",
            expected=", ".join(dict.fromkeys(unit.subject for unit in found)),
        )
    return chosen


def place_of(project: Project, unit: Unit, crop: str) -> Place | None:
    """Where the frames of a unit are cut, or which part's tokens are kept; None for whole frames.

    Raises
    ------
    ProjectError
        As `crop_path`.
    """
    if Crop.parse(crop).kind == "focus":
        entry = project.entry(unit.recording)
        return Focus(_region(entry), entry.height, entry.width)
    return crop_path(project, unit, crop)


def crop_path(project: Project, unit: Unit, crop: str) -> CropPath | None:
    """Where the frames of a unit are cut, and a focus is cut out to be seen; None for whole frames.

    Raises
    ------
    ProjectError
        If the recording has no region, or no track of the subject.
    """
    how, entry = Crop.parse(crop), project.entry(unit.recording)
    if how.kind == "subject":
        track = _track(project, unit)
        size = how.size_px or crop_size(track.lengths.astype(np.float64), how.margin)
        times = project.frame_times(unit.recording)
        return follow_path(track.centres.astype(np.float64), times, size)
    if how.kind in OF_REGION:
        return CropPath.from_region(_region(entry), entry.n_frames)
    return None


def _region(entry: Entry) -> Region:
    if not entry.region:
        raise ProjectError(
            f"{entry.id!r} has no region",
            remedy=f"Run: ethoprism region PROJECT LEFT,TOP,WIDTH,HEIGHT -r {entry.id}",
        )
    return Region.parse(entry.region).check_inside(entry.height, entry.width)


def set_region(project: Project, recording: str, region: Region | None) -> Project:
    """This project with a recording's region set, or with None taken away."""
    entry = project.entry(recording)
    if region is not None:
        region.check_inside(entry.height, entry.width)
    return project.with_entry(replace(entry, region=region.text if region else ""))


def tracks_of(project: Project, recording: str) -> tuple[Track, ...]:
    """The tracks of a recording; a `ProjectError` that names the remedy if it has none."""
    path = project.tracks_path(recording)
    if not path.is_file():
        raise ProjectError(
            f"{recording!r} has no tracks",
            expected=str(path),
            remedy=f"Run: ethoprism track import PROJECT FILE -r {recording} (or: ethoprism track "
            "follow PROJECT, for a single animal)",
        )
    return load_tracks(path, project.entry(recording).n_frames)


def save_tracks(
    project: Project, recording: str, tracks: Sequence[Track], *, overwrite: bool = False
) -> None:
    """Keep the tracks of a recording; tracks that it had are put aside, never overwritten.

    Raises
    ------
    ProjectError
        If the recording has tracks and ``overwrite`` is false.
    """
    path = project.tracks_path(recording)
    for track in tracks:
        if len(track.centres) != project.entry(recording).n_frames:
            raise InputError(
                f"The track of {track.subject!r} is not of this recording",
                expected=f"{project.entry(recording).n_frames} frames",
                found=str(len(track.centres)),
            )
    if path.exists():
        if not overwrite:
            require_no_tracks(project, recording)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        path.rename(path.with_name(f"{path.stem}.before-{stamp}{path.suffix}"))
    write_tracks(tracks, path)


def _track(project: Project, unit: Unit) -> Track:
    tracks = tracks_of(project, unit.recording)
    for track in tracks:
        if track.subject == unit.subject:
            return track
    raise ProjectError(
        f"{unit.recording!r} has no track of {unit.subject!r}",
        expected=", ".join(track.subject for track in tracks),
    )


def require_no_tracks(project: Project, recording: str) -> None:
    """Raise a `ProjectError` that names the remedy if a recording has tracks."""
    if project.tracks_path(project.entry(recording).id).exists():
        raise ProjectError(
            f"{recording!r} has tracks already",
            found=str(project.tracks_path(recording)),
            remedy="Add --replace. The old ones are kept beside the new ones.",
        )


def follow_animal(
    project: Project, recording: str, subject: str
) -> Generator[Progress, None, Followed]:
    """Follow the one animal of a recording, within its region if it has one."""
    from ethoprism.follow import follow

    check_name(subject, "subject")
    entry = project.entry(recording)
    region = Region.parse(entry.region) if entry.region else None
    with closing(open_frames(project.recording(recording))) as frames:
        return (yield from follow(frames, subject, region))


def track_table(tracks: Sequence[Track]) -> pd.DataFrame:
    """What tracks hold: frames seen, the longest gap, and the usual length of the animal."""
    rows = []
    for track in tracks:
        gaps = np.diff(runs(~track.seen), axis=1)
        lengths = track.lengths[np.isfinite(track.lengths)]
        rows.append(
            {
                "subject": track.subject,
                "seen": int(track.seen.sum()),
                "of": len(track.seen),
                "longest gap (frames)": int(gaps.max()) if len(gaps) else 0,
                "length (px)": float(np.median(lengths)) if len(lengths) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def crop_pictures(
    project: Project, recording: str, crop: str, n: int = 12
) -> list[tuple[str, list[tuple[str, np.ndarray]]]]:
    """Crops of each unit of a recording at ``n`` moments spread over it, with captions."""
    entry = project.entry(recording)
    moments = np.unique(np.linspace(0, entry.n_frames - 1, n).round().astype(int)).tolist()
    found = project.recording(recording)
    rows = []
    with closing(open_frames(found)) as frames:
        for unit in units(project, crop, [recording]):
            path = crop_path(project, unit, crop)
            pictures = []
            for number in moments:
                picture = np.asarray(frames[number])
                caption = f"{number} · {found.frame_times[number]:.1f} s"
                if path is not None:
                    top, left = path.top_left[number].tolist()
                    picture = cut(picture, top, left, path.size)
                    caption += "" if path.valid[number] else " · gap"
                pictures.append((caption, picture))
            rows.append((unit.subject or recording, pictures))
    return rows
