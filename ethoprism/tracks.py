"""Tracks: where each animal is in each frame, as other programs' files say.

Read are SLEAP (analysis ``.h5`` and ``.slp``), DeepLabCut and Lightning Pose (``.csv``), and tables
of boxes (``.csv``: ``frame``, a subject, and ``left, top, right, bottom`` or ``x, y, width,
height``). A project keeps tracks in a table of its own, ``tracks/<recording>.csv``.

The formats share the checks of frames, numbers and bounds, so they stand in one module, which is
longer than most.

Coordinates are pixels of the displayed frame; frames are counted from 0. DeepLabCut's ``.h5`` is
not read: its tables may carry Python pickles, which can run code. The CSV beside it says the same.

Sources: SLEAP's "analysis HDF5" (sleap.ai/api/sleap.info.write_tracking_h5), DeepLabCut's user
guide on its output files, and Lightning Pose's "prediction CSV".
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32

from ethoprism.errors import InputError
from ethoprism.files import write_text
from ethoprism.recording import check_name, id_from_name

MIN_LIKELIHOOD = 0.5
"""Points of DeepLabCut and Lightning Pose below this likelihood count as not seen."""

MOST_VALUES = 2**28
"""Numbers that a file of tracks may hold; a header that states more is not believed."""

MOST_SUBJECTS = 200
_COLUMNS = ("frame", "subject", "x", "y", "left", "top", "right", "bottom")
_CORNERS = ("left", "top", "right", "bottom")
_ENDS = ("x0", "y0", "x1", "y1")  # corners as the simulated arena's tables name them
_NAMES = ("subject", "track", "animal", "id", "identity", "mouse", "individual")


@dataclass(frozen=True, eq=False)
class Track:
    """One animal's way through a recording.

    Attributes
    ----------
    subject
        Its name, safe as a file name.
    centres
        float32 ``(n_frames, 2)``: x and y in pixels; NaN where it was not seen.
    boxes
        float32 ``(n_frames, 4)``: left, top, right and bottom in pixels; NaN where unknown.
    """

    subject: str
    centres: Float32[np.ndarray, "n_frames 2"]
    boxes: Float32[np.ndarray, "n_frames 4"]

    @property
    def seen(self) -> np.ndarray:
        """bool ``(n_frames,)``: the animal's place is known."""
        return np.asarray(np.isfinite(self.centres).all(axis=1))

    @property
    def lengths(self) -> np.ndarray:
        """float32 ``(n_frames,)``: the longer side of the box in pixels; NaN where unknown."""
        sides = np.stack([self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1]])
        return sides.max(axis=0)


def read_tracks(
    path: Path,
    n_frames: int,
    *,
    min_likelihood: float = MIN_LIKELIHOOD,
    frame_size: tuple[int, int] | None = None,
) -> tuple[tuple[Track, ...], tuple[str, ...]]:
    """The tracks in a file, and sentences that its user should read.

    Parameters
    ----------
    path
        The file; what it is is told from its content.
    n_frames
        Frames of the recording that it belongs to. A track may end before the recording does.
    min_likelihood
        See `MIN_LIKELIHOOD`.
    frame_size
        Height and width of the recording's frames; animals that lie outside are remarked on.

    Raises
    ------
    InputError
        If the file is none of the formats, or does not fit the recording.
    """
    notes: list[str] = []
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"{path} cannot be read", found=error.strerror or str(error)) from error
    if head.startswith(b"\x89HDF\r\n"):
        named = _slp(path, n_frames) if path.suffix == ".slp" else _sleap_analysis(path)
    else:
        named = _table(path, head, n_frames, min_likelihood, notes)
    if not named:
        raise InputError(f"{path} holds no tracks")
    _require_few(path, len(named))
    tracks: list[Track] = []
    for name, points in named.items():
        subject = id_from_name(str(name))
        if subject != name:
            notes.append(f"{name!r} is called {subject!r} here.")
        if subject in {track.subject for track in tracks}:
            raise InputError(f"{path} has two tracks called {subject!r}")
        track = _track(path, subject, points, n_frames)
        if not track.seen.any():
            notes.append(f"{subject} is left out: it is seen in no frame.")
            continue
        tracks.append(track)
        outside = 0 if frame_size is None else _outside(track, *frame_size)
        if outside:
            notes.append(
                f"{subject} lies outside the frame in {outside} frames. Check that the tracks were "
                "made on this recording at this size."
            )
        unseen = int((~track.seen).sum())
        if unseen:
            notes.append(f"{subject} is not seen in {unseen} of {n_frames} frames.")
    if not tracks:
        raise InputError(f"{path} shows no animal in any frame")
    return tuple(tracks), tuple(notes)


def renamed(tracks: Sequence[Track], names: Mapping[str, str]) -> tuple[Track, ...]:
    """The tracks with other names for their subjects; an `InputError` if a name is unknown."""
    known = [track.subject for track in tracks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError(
            "There is no such track to rename",
            expected=", ".join(known),
            found=", ".join(unknown),
        )
    result = tuple(
        replace(t, subject=check_name(names.get(t.subject, t.subject), "subject")) for t in tracks
    )
    if len({track.subject for track in result}) < len(result):
        raise InputError("Two tracks would have one name", found=", ".join(names.values()))
    return result


def write_tracks(tracks: Sequence[Track], path: Path) -> None:
    """Write the table that a project keeps: one row a frame and subject, only where seen."""
    rows = []
    for track in tracks:
        frames = np.flatnonzero(track.seen)
        table = pd.DataFrame({"frame": frames, "subject": track.subject})
        table[["x", "y"]] = track.centres[frames].round(2)
        table[list(_CORNERS)] = track.boxes[frames].round(2)
        rows.append(table)
    text = io.StringIO()
    pd.concat(rows).to_csv(text, index=False, lineterminator="\n", float_format="%.2f")
    write_text(path, text.getvalue())


def load_tracks(path: Path, n_frames: int) -> tuple[Track, ...]:
    """The table that `write_tracks` wrote.

    Raises
    ------
    InputError
        If it is absent, or was changed so that it cannot be read.
    """
    table = _read_csv(path, header=0)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} lacks columns", expected=", ".join(_COLUMNS), found=", ".join(table.columns)
        )
    _require_few(path, table["subject"].nunique())
    named = {}
    for name, rows in table.groupby("subject", sort=False):
        check_name(str(name), "subject")
        frames = _frames(path, rows["frame"], n_frames)
        values = np.full((n_frames, 6), np.nan, np.float32)
        values[frames] = _numbers(path, rows[["x", "y", *_CORNERS]])
        named[str(name)] = Track(str(name), values[:, :2], values[:, 2:])
    return tuple(named.values())


def _track(path: Path, subject: str, points: np.ndarray, n_frames: int) -> Track:
    """A track from ``points [frames, nodes, 2]``; its centre is the median of the points seen.

    The median does not move when a wing or a tail is spread or lost, as a box's middle does.
    """
    if len(points) > n_frames:
        if np.isfinite(points[n_frames:]).any():
            raise InputError(
                f"{path} goes on after the recording ends",
                expected=f"at most {n_frames} frames",
                found=f"{len(points)} frames",
                remedy="Check that it belongs to this recording.",
            )
        points = points[:n_frames]
    whole = np.full((n_frames, *points.shape[1:]), np.nan, np.float32)
    whole[: len(points)] = points
    whole[~np.isfinite(whole).all(axis=2)] = np.nan
    seen = np.isfinite(whole[..., 0]).any(axis=1)
    centres = np.full((n_frames, 2), np.nan, np.float32)
    boxes = np.full((n_frames, 4), np.nan, np.float32)
    if seen.any():
        centres[seen] = np.nanmedian(whole[seen], axis=1)
    several = np.isfinite(whole[..., 0]).sum(axis=1) > 1
    if several.any():
        boxes[several, :2] = np.nanmin(whole[several], axis=1)
        boxes[several, 2:] = np.nanmax(whole[several], axis=1)
    return Track(subject, centres, boxes)


def _sleap_analysis(path: Path) -> dict[str, np.ndarray]:
    """SLEAP's analysis file: ``tracks [track, 2, node, frame]``."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            tracks = file.get("tracks")
            if not isinstance(tracks, h5py.Dataset) or tracks.ndim != 4 or tracks.shape[1] != 2:
                raise InputError(
                    f"{path} is an HDF5 file, but not SLEAP's analysis file",
                    expected="a data set 'tracks' of the shape (tracks, 2, nodes, frames)",
                    found=", ".join(sorted(file)[:10]) or "an empty file",
                    remedy="Export it from SLEAP as 'Analysis HDF5'. From DeepLabCut take the .csv"
                    " beside it: its .h5 may carry code, and is never opened.",
                )
            if (
                tracks.dtype.kind != "f"
                or np.prod(tracks.shape, dtype=float) > MOST_VALUES
                or tracks.external
                or tracks.is_virtual
            ):
                raise InputError(
                    f"{path} cannot be SLEAP's analysis file",
                    expected=f"up to {MOST_VALUES} floating-point numbers in the file itself",
                    found=f"{tracks.dtype} of the shape {tracks.shape}",
                )
            _require_few(path, tracks.shape[0])
            values = np.asarray(tracks[:], np.float32)
            names = _strings(file, "track_names", len(values))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read", found=str(error)) from error
    return {name: values[i].transpose(2, 1, 0) for i, name in enumerate(names)}


def _strings(file: object, name: str, n: int) -> list[str]:
    import h5py

    default = [f"track_{i}" for i in range(n)]
    data = file.get(name) if isinstance(file, h5py.File) else None
    if not isinstance(data, h5py.Dataset) or data.shape != (n,):
        return default
    if data.dtype.kind == "S":
        return [bytes(v).decode("utf-8", "replace") for v in data[:]]
    if h5py.check_string_dtype(data.dtype) is None:
        return default
    return [str(text) for text in data.asstr()[:]]


def _slp(path: Path, n_frames: int) -> dict[str, np.ndarray]:
    """SLEAP's own project file, through sleap-io."""
    try:
        import sleap_io
    except ModuleNotFoundError as error:
        raise InputError(
            "Reading .slp files takes the package sleap-io",
            remedy='Run: pip install "ethoprism[tracks]", or export from SLEAP as Analysis HDF5.',
        ) from error
    try:
        labels = sleap_io.load_slp(str(path), open_videos=False)  # pyright: ignore[reportCallIssue]
        last = max((int(frame.frame_idx) for frame in labels.labeled_frames), default=-1)
    except Exception as error:  # whatever sleap-io meets in a file that is none
        raise InputError(f"{path} cannot be read by sleap-io", found=str(error)) from error
    if len(labels.videos) > 1:
        raise InputError(
            f"{path} holds the poses of several videos",
            expected="those of one recording",
            found=f"{len(labels.videos)} videos",
            remedy="Export the recording's own from SLEAP as Analysis HDF5.",
        )
    _require_few(path, len(labels.tracks))
    if last >= n_frames:  # before memory is taken for every frame up to it
        raise InputError(
            f"{path} goes on after the recording ends",
            expected=f"at most {n_frames} frames",
            found=f"frame {last}",
            remedy="Check that it belongs to this recording.",
        )
    try:
        values = np.asarray(labels.numpy(), np.float32)
    except Exception as error:
        raise InputError(f"{path} cannot be read by sleap-io", found=str(error)) from error
    names = [track.name for track in labels.tracks]
    names += [f"track_{i}" for i in range(len(names), values.shape[1])]
    return {name: values[:, i] for i, name in enumerate(names)}


def _table(
    path: Path, head: bytes, n_frames: int, min_likelihood: float, notes: list[str]
) -> dict[str, np.ndarray]:
    first = head.split(b"\n", 1)[0].decode("utf-8-sig", "replace").split(",")[0].strip().strip('"')
    if first == "scorer":
        return _pose_csv(path, n_frames, min_likelihood, notes)
    return _box_csv(path, n_frames, notes)


def _pose_csv(
    path: Path, n_frames: int, min_likelihood: float, notes: list[str]
) -> dict[str, np.ndarray]:
    """DeepLabCut and Lightning Pose: rows scorer, (individuals,) bodyparts, coords, then frames."""
    table = _read_csv(path, header=None, dtype=str)
    labels = table.iloc[:4, 0].tolist()
    levels = labels.index("coords") + 1 if "coords" in labels else 0
    if labels[:levels] not in (
        ["scorer", "bodyparts", "coords"],
        ["scorer", "individuals", "bodyparts", "coords"],
    ):
        raise InputError(
            f"{path} is not DeepLabCut's or Lightning Pose's table",
            expected="rows scorer, (individuals,) bodyparts, coords",
            found=", ".join(map(str, labels)),
        )
    body = table.iloc[levels:]
    frames = _frames(path, body.iloc[:, 0], n_frames)
    header = table.iloc[:levels, 1:].ffill(axis=1)
    animals = header.iloc[1].tolist() if levels == 4 else ["animal"] * (table.shape[1] - 1)
    parts, coordinates = header.iloc[-2].tolist(), table.iloc[levels - 1, 1:].tolist()
    numbers = _numbers(path, body.iloc[:, 1:])
    cells: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for column, key in enumerate(zip(animals, parts, coordinates, strict=True)):
        animal, part, coordinate = map(str, key)
        cells.setdefault(animal, {}).setdefault(part, {})[coordinate] = numbers[:, column]
    _require_few(path, len(cells))
    named, unlikely = {}, 0
    for animal, nodes in cells.items():
        points = np.full((n_frames, len(nodes), 2), np.nan, np.float32)
        for node, values in enumerate(nodes.values()):
            if "x" not in values or "y" not in values:
                raise InputError(f"{path} has a body part without x and y", found=str(list(nodes)))
            xy = np.stack([values["x"], values["y"]], axis=1)
            low = values.get("likelihood", np.ones(len(xy))) < min_likelihood
            unlikely += int((low & np.isfinite(xy).all(axis=1)).sum())
            points[frames, node] = np.where(low[:, None], np.nan, xy)
        named[animal] = points
    if unlikely:
        notes.append(
            f"{unlikely} points are less likely than {min_likelihood:g} and count as not seen."
        )
    return named


def _box_csv(path: Path, n_frames: int, notes: list[str]) -> dict[str, np.ndarray]:
    table = _read_csv(path, header=0)
    table.columns = [str(c).strip().lower() for c in table.columns]
    corners = next((c for c in (_CORNERS, _ENDS) if set(c) <= set(table.columns)), None)
    if corners:
        boxes = _numbers(path, table[list(corners)])
    elif {"x", "y", "width", "height"} <= set(table.columns):
        x, y, w, h = _numbers(path, table[["x", "y", "width", "height"]]).T
        boxes = np.stack([x, y, x + w, y + h], axis=1)
    else:
        boxes = None
    if boxes is None or "frame" not in table.columns:
        raise InputError(
            f"{path} is no table of tracks that is known",
            expected="DeepLabCut's or Lightning Pose's CSV, or columns frame, subject and left,"
            " top, right, bottom (or x, y, width, height: x and y of the top left corner)",
            found=", ".join(table.columns[:12]),
        )
    column = next((name for name in _NAMES if name in table.columns), None)
    names = table[column].astype(str) if column else pd.Series("animal", index=table.index)
    _require_few(path, names.nunique())
    if len(table) and pd.to_numeric(table["frame"], errors="coerce").min() == 1:
        notes.append(
            "The first frame of the table is 1. Check that it counts from 0: if it counts from 1, "
            "every crop is one frame late."
        )
    named = {}
    for name in dict.fromkeys(names):
        mine = np.asarray(names == name)
        frames = _frames(path, table.loc[mine, "frame"], n_frames)
        points = np.full((n_frames, 2, 2), np.nan, np.float32)
        points[frames] = boxes[mine].reshape(-1, 2, 2)
        named[name] = points
    return named


def _read_csv(path: Path, **options: object) -> pd.DataFrame:
    try:
        return pd.read_csv(path, encoding="utf-8-sig", low_memory=False, **options)  # type: ignore[call-overload]
    except (OSError, ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise InputError(f"{path} cannot be read as a table", found=str(error)) from error


def _numbers(path: Path, table: pd.DataFrame) -> np.ndarray:
    try:
        return table.astype(np.float64).to_numpy(np.float32)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{path} has a cell that is not a number", expected="pixels", found=str(error)
        ) from error


def _outside(track: Track, height: int, width: int) -> int:
    """Frames in which the animal's centre is not within a frame of that size."""
    x, y = track.centres[track.seen].T
    return int(((x < 0) | (y < 0) | (x > width) | (y > height)).sum())


def _require_few(path: Path, n: int) -> None:
    """Checked before memory is taken for each: a column of row numbers is no column of animals."""
    if n > MOST_SUBJECTS:
        raise InputError(
            f"{path} has more tracks than animals can be told apart",
            expected=f"at most {MOST_SUBJECTS}",
            found=str(n),
            remedy="Join the pieces of each animal's track in the program that made the file.",
        )


def _frames(path: Path, column: pd.Series, n_frames: int) -> np.ndarray:
    """Frame numbers of one subject, each once and within the recording."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    sound = np.isfinite(values) & (values >= 0) & (values == np.floor(values))
    if not sound.all() or (values >= n_frames).any():
        first = values[~(sound & (values < n_frames))][0]
        raise InputError(
            f"{path} names a frame that the recording does not have",
            expected=f"whole numbers from 0 to {n_frames - 1}",
            found=f"{first:g}",
            remedy="Check that it belongs to this recording, and that it counts frames from 0.",
        )
    frames = values.astype(np.int64)
    if len(np.unique(frames)) < len(frames):
        raise InputError(f"{path} names a frame twice for one subject")
    return frames
