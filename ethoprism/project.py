"""Project: the manifest and the paths of a project folder, nothing else.

``ethoprism.toml`` holds what colleagues must share: schema version, backbone, windows, pooling and
the ethogram. ``recordings.csv`` lists the recordings. Both are replaced atomically.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ethoprism.errors import ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.files import replacing, write_text
from ethoprism.recording import Recording, check_name, content_key, open_recording

SCHEMA_VERSION = 1
MANIFEST = "ethoprism.toml"
_RECORDING_COLUMNS: tuple[str, ...] = (
    "id",
    "path",
    "content_key",
    "n_frames",
    "height",
    "width",
)


@dataclass(frozen=True)
class Settings:
    """What a project's members share about extraction."""

    backbone: str = "prism-nano"
    weights: str = ""
    """A checkpoint file of the user's own, or empty for the released or packaged weights."""
    hop: int | None = None
    step: int = 1
    pooling: int | None = None


@dataclass(frozen=True)
class Entry:
    """A line of ``recordings.csv``: a recording without its frame times."""

    id: str
    path: str
    content_key: str
    n_frames: int
    height: int
    width: int


@dataclass(frozen=True)
class Project:
    """A project folder. Edits write the files and return the new value."""

    folder: Path
    settings: Settings
    ethogram: Ethogram
    entries: tuple[Entry, ...]

    @classmethod
    def create(cls, folder: Path, settings: Settings, ethogram: Ethogram) -> Project:
        """A new, empty project in ``folder``; a `ProjectError` if one lies there already."""
        if (folder / MANIFEST).exists():
            raise ProjectError(
                f"{folder} is a project already",
                remedy="Go on with it, or choose another folder. Nothing was changed.",
            )
        project = cls(folder, settings, ethogram, ())
        project._write_manifest()
        project._write_recordings()
        return project

    @classmethod
    def open(cls, folder: Path) -> Project:
        """The project in ``folder``; a `ProjectError` if its files are absent or unreadable."""
        manifest = folder / MANIFEST
        if not manifest.is_file():
            raise ProjectError(
                f"{folder} is not a project",
                expected=f"a folder with a file {MANIFEST}",
                remedy=f"Make one with: ethoprism init {folder}",
            )
        try:
            data = tomlkit.parse(manifest.read_text(encoding="utf-8")).unwrap()
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise ProjectError(
                f"{manifest} cannot be read", expected="valid TOML", found=str(error)
            ) from error
        _check_version(manifest, data.get("schema_version"))
        settings = _settings(manifest, data.get("extraction", {}))
        ethogram = Ethogram.from_dict(data.get("ethogram", {}))
        return cls(folder, settings, ethogram, _read_recordings(folder / "recordings.csv"))

    @property
    def recording_ids(self) -> tuple[str, ...]:
        """Ids of the recordings, in the order in which they were added."""
        return tuple(entry.id for entry in self.entries)

    @property
    def n_frames(self) -> dict[str, int]:
        """Frames of each recording by id."""
        return {entry.id: entry.n_frames for entry in self.entries}

    @property
    def annotations_path(self) -> Path:
        return self.folder / "annotations.sqlite"

    @property
    def mirror_folder(self) -> Path:
        return self.folder / "annotations"

    def tokens_path(self, digest: str, recording: str) -> Path:
        return self.folder / "tokens" / digest / f"{recording}.zarr"

    def probe_folder(self, name: str) -> Path:
        return self.folder / "probes" / check_name(name, "probe")

    def prediction_path(self, probe: str, recording: str) -> Path:
        return self.folder / "predictions" / check_name(probe, "probe") / f"{recording}.zarr"

    @property
    def exports_folder(self) -> Path:
        return self.folder / "exports"

    def entry(self, recording: str) -> Entry:
        """The line of a recording; a `ProjectError` that lists what there is if it is unknown."""
        for entry in self.entries:
            if entry.id == recording:
                return entry
        raise ProjectError(
            f"The project has no recording {recording!r}",
            expected=", ".join(self.recording_ids) or "recordings added with: ethoprism add",
        )

    def recording(self, recording: str) -> Recording:
        """A recording with its frame times, from the cache where the file is unchanged.

        Raises
        ------
        ProjectError
            If the file is gone, or holds something else than when it was added.
        """
        entry = self.entry(recording)
        path = self._resolve(entry.path)
        remedy = "If it moved, run: ethoprism add PROJECT NEW_PATH (it is known by its content)."
        if not path.is_file():
            raise ProjectError(
                f"The video of {recording!r} is not where it was", expected=str(path), remedy=remedy
            )
        if content_key(path) != entry.content_key:
            raise ProjectError(
                f"The video of {recording!r} is not the file that was added",
                expected=f"content {entry.content_key[:12]}…",
                found=f"another file at {path}",
                remedy="Put the original back, or add this one under another id.",
            )
        return Recording(
            entry.id,
            path,
            entry.n_frames,
            entry.height,
            entry.width,
            self._frame_times(entry, path),
            entry.content_key,
        )

    def with_recording(self, recording: Recording) -> Project:
        """This project with a recording added, or its path renewed if its content is known."""
        entry = Entry(
            recording.id,
            self._portable(recording.path),
            recording.content_key,
            recording.n_frames,
            recording.height,
            recording.width,
        )
        known = {e.id: e for e in self.entries}
        same_content = [e for e in self.entries if e.content_key == entry.content_key]
        if same_content:
            entry = replace(entry, id=same_content[0].id)
        elif entry.id in known:
            raise ProjectError(
                f"The project has another recording called {entry.id!r}",
                found=known[entry.id].path,
                remedy="Give this one another name with --id.",
            )
        known[entry.id] = entry
        project = replace(self, entries=tuple(known.values()))
        self._cache_times(entry.id, recording.frame_times)
        project._write_recordings()
        return project

    def with_ethogram(self, ethogram: Ethogram) -> Project:
        """This project with another ethogram."""
        project = replace(self, ethogram=ethogram)
        project._write_manifest()
        return project

    def _frame_times(self, entry: Entry, path: Path) -> np.ndarray:
        cache = self._times_path(entry.id)
        if cache.is_file():
            try:
                times = np.load(cache, allow_pickle=False)
                if times.shape == (entry.n_frames,) and times.dtype == np.float64:
                    return times
            except (ValueError, OSError, EOFError):
                pass  # a cache; it is made anew
        opened, _ = open_recording(path, entry.id, accept_damaged=True)
        self._cache_times(entry.id, opened.frame_times)
        return opened.frame_times

    def _cache_times(self, recording: str, times: np.ndarray) -> None:
        with replacing(self._times_path(recording)) as path, path.open("wb") as file:
            np.save(file, times, allow_pickle=False)

    def _times_path(self, recording: str) -> Path:
        return self.folder / "frame_times" / f"{recording}.npy"

    def _portable(self, path: Path) -> str:
        """The path relative to the project where the video lies in or beside the project."""
        absolute, folder = path.resolve(), self.folder.resolve()
        if absolute.is_relative_to(folder):
            return absolute.relative_to(folder).as_posix()
        if absolute.is_relative_to(folder.parent):
            return f"../{absolute.relative_to(folder.parent).as_posix()}"
        return absolute.as_posix()

    def _resolve(self, path: str) -> Path:
        return (self.folder.resolve() / path).resolve()

    def _write_manifest(self) -> None:
        path = self.folder / MANIFEST
        if path.is_file():  # what people wrote beside our tables, comments too, is kept
            document = tomlkit.parse(path.read_text(encoding="utf-8"))
        else:
            document = tomlkit.document()
            document.add(tomlkit.comment("What the members of this project share."))
        tables = {
            "schema_version": SCHEMA_VERSION,
            "extraction": {k: v for k, v in vars(self.settings).items() if v not in (None, "")},
            "ethogram": self.ethogram.to_dict(),
        }
        for name, value in tables.items():
            if name not in document or document[name].unwrap() != value:
                document[name] = value
        write_text(self.folder / MANIFEST, tomlkit.dumps(document))

    def _write_recordings(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(_RECORDING_COLUMNS), lineterminator="\n")
        writer.writeheader()
        for entry in self.entries:
            writer.writerow(asdict(entry))
        write_text(self.folder / "recordings.csv", text.getvalue())


def _check_version(manifest: Path, version: object) -> None:
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ProjectError(
            f"{manifest} has a schema that this EthoPrism does not know",
            expected=f"schema_version {SCHEMA_VERSION} or older",
            found=repr(version),
            remedy="Update EthoPrism. Nothing was changed.",
        )


def _settings(manifest: Path, table: Mapping[str, Any]) -> Settings:
    fields = {
        "backbone": str,
        "weights": str,
        "hop": int,
        "step": int,
        "pooling": int,
    }
    for name, value in table.items():
        if name not in fields or not isinstance(value, fields[name]) or isinstance(value, bool):
            raise ProjectError(
                f"{manifest} has an extraction setting that cannot be used",
                expected=", ".join(f"{k}: {v.__name__}" for k, v in fields.items()),
                found=f"{name} = {value!r}",
            )
    return Settings(**table)


def _read_recordings(path: Path) -> tuple[Entry, ...]:
    if not path.is_file():
        raise ProjectError(f"{path} is missing", remedy="Restore it, or add the recordings anew.")
    entries: list[Entry] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if set(reader.fieldnames or ()) != set(_RECORDING_COLUMNS):
            raise ProjectError(
                f"{path} has other columns than it should",
                expected=", ".join(_RECORDING_COLUMNS),
                found=", ".join(reader.fieldnames or ()) or "none",
            )
        for row in reader:
            try:
                entry = Entry(
                    check_name(row["id"], "recording"),
                    row["path"],
                    row["content_key"],
                    *(int(row[name]) for name in ("n_frames", "height", "width")),
                )
            except (ValueError, TypeError) as error:
                raise ProjectError(
                    f"Line {reader.line_num} of {path} cannot be read", found=str(error)
                ) from error
            if entry.id in {e.id for e in entries}:
                raise ProjectError(f"{path} lists {entry.id!r} twice")
            entries.append(entry)
    return tuple(entries)
