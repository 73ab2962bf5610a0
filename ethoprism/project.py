"""Project: the manifest and the paths of a project folder, nothing else.

``ethoprism.toml`` holds what colleagues must share: schema version, backbone, windows, pooling and
the ethogram. ``recordings.csv`` lists the recordings. Both are replaced atomically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ethoprism import registry
from ethoprism.crops import WHOLE, Crop
from ethoprism.errors import ProjectError, VideoError
from ethoprism.ethogram import Ethogram
from ethoprism.files import replacing, write_text
from ethoprism.frame_index import FrameIndex, load_index, save_index
from ethoprism.frame_source import Reader
from ethoprism.recording import FFMPEG, Recording, check_name, open_recording
from ethoprism.recording_table import Entry, read_entries, write_entries
from ethoprism.safety import load_npy, read_text
from ethoprism.timing import read_frame_times, write_frame_times

SCHEMA_VERSION = 1
MANIFEST = "ethoprism.toml"
RECORDINGS = "recordings.csv"
FLOAT32 = "float32"


@dataclass(frozen=True)
class Settings:
    """What a project's members share about extraction."""

    backbone: str = "prism-nano"
    weights: str = ""
    """A checkpoint file of the user's own, or empty for the released or packaged weights."""
    hop: int | None = None
    step: int = 1
    pooling: int | None = None
    crop: str = WHOLE
    """How frames are cut, as `ethoprism.crops.Crop` writes it."""
    precision: str = FLOAT32
    """Arithmetic of the backbone; a manifest that says nothing means float32."""


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
        write_entries(folder / RECORDINGS, project.entries)
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
            data = tomlkit.parse(read_text(manifest)).unwrap()
        except (TOMLKitError, OSError, ValueError, RecursionError) as error:
            raise ProjectError(
                f"{manifest} cannot be read", expected="valid TOML", found=str(error)
            ) from error
        _check_version(manifest, data.get("schema_version"))
        tables = {name: data.get(name, {}) for name in ("extraction", "ethogram")}
        for name, table in tables.items():
            if not isinstance(table, dict):
                raise ProjectError(
                    f"{manifest} cannot be read", expected=f"a table [{name}]", found=repr(table)
                )
        settings = _settings(manifest, tables["extraction"])
        ethogram = Ethogram.from_dict(tables["ethogram"])
        return cls(folder, settings, ethogram, read_entries(folder / RECORDINGS))

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

    def tokens_path(self, digest: str, unit: str) -> Path:
        return self.folder / "tokens" / digest / f"{unit}.zarr"

    def probe_folder(self, name: str) -> Path:
        return self.folder / "probes" / check_name(name, "probe")

    def prediction_path(self, probe: str, unit: str) -> Path:
        return self.folder / "predictions" / check_name(probe, "probe") / f"{unit}.zarr"

    def tracks_path(self, recording: str) -> Path:
        return self.folder / "tracks" / f"{recording}.csv"

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

    def video_path(self, recording: str) -> Path:
        """Where the video of a recording should lie."""
        return self._resolve(self.entry(recording).path)

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
        try:
            there = path.exists()
        except OSError:  # a name that no disk can hold
            there = False
        if not there:
            raise ProjectError(
                f"The video of {recording!r} is not where it was", expected=str(path), remedy=remedy
            )
        reader: Reader = registry.load("readers", entry.reader)
        if reader.content_key(path) != entry.content_key:
            raise ProjectError(
                f"The video of {recording!r} is not the file that was added",
                expected=f"content {entry.content_key[:12]}…",
                found=f"another file at {path}",
                remedy="Put the original back, or add this one under another id.",
            )
        found = Recording(
            entry.id,
            path,
            entry.n_frames,
            entry.height,
            entry.width,
            np.empty(0),
            entry.content_key,
            None,
            entry.reader,
            entry.array,
        )
        return self._with_times(entry, found)

    def frame_times(self, recording: str) -> np.ndarray:
        """Presentation times of a recording's frames, in seconds; the video need not be there."""
        times = self._cached_times(self.entry(recording))
        return self.recording(recording).frame_times if times is None else times

    def with_settings(self, settings: Settings) -> Project:
        """This project with other settings of extraction."""
        self._require_current()
        project = replace(self, settings=settings)
        project._write_manifest()
        return project

    def with_recording(self, recording: Recording) -> Project:
        """This project with a recording added, or its path renewed if its content is known.

        Frame times that do not come from the file are kept in ``frame_times/<id>.csv``.
        """
        entry = Entry(
            recording.id,
            self._portable(recording.path),
            recording.content_key,
            recording.n_frames,
            recording.height,
            recording.width,
            recording.reader,
            recording.array,
            "table" if recording.times_from else "",
        )
        entries = self._entries_now()
        known = {e.id: e for e in entries}
        # Some file systems take "A" and "a" for one name.
        alike = [e for e in entries if e.id.casefold() == entry.id.casefold()]
        same_content = [e for e in entries if e.content_key == entry.content_key]
        if same_content:
            times = entry.times or same_content[0].times
            entry = replace(same_content[0], path=entry.path, times=times)
        elif alike:
            raise ProjectError(
                f"The project has another recording called {alike[0].id!r}",
                found=alike[0].path,
                remedy="Give this one another name with --id.",
            )
        known[entry.id] = entry
        project = replace(self, entries=tuple(known.values()))
        if recording.times_from:
            write_frame_times(recording.frame_times, self._table_path(entry.id))
        elif entry.times:  # the path was renewed, and the table that was given stays in force
            given = read_frame_times(self._table_path(entry.id), entry.n_frames).times
            recording = replace(recording, frame_times=given)
        self._cache(replace(recording, id=entry.id))
        write_entries(self.folder / RECORDINGS, project.entries)
        return project

    def with_path(self, recording: str, path: Path) -> Project:
        """This project with the place renewed where a recording's video lies."""
        return self.with_entry(replace(self.entry(recording), path=self._portable(path)))

    def with_entry(self, entry: Entry) -> Project:
        """This project with the line of a recording replaced; a `ProjectError` if there is none."""
        self.entry(entry.id)
        entries = tuple(entry if e.id == entry.id else e for e in self._entries_now())
        project = replace(self, entries=entries)
        write_entries(self.folder / RECORDINGS, project.entries)
        return project

    def with_ethogram(self, ethogram: Ethogram) -> Project:
        """This project with another ethogram."""
        self._require_current()
        project = replace(self, ethogram=ethogram)
        project._write_manifest()
        return project

    def _entries_now(self) -> tuple[Entry, ...]:
        """The lines as they are on the disk: another program may have added some meanwhile."""
        return read_entries(self.folder / RECORDINGS)

    def _require_current(self) -> None:
        """Raise a `ProjectError` if the manifest was changed since this value was read."""
        now = Project.open(self.folder)
        if (now.settings, now.ethogram) != (self.settings, self.ethogram):
            raise ProjectError(
                f"{self.folder / MANIFEST} was changed by another program meanwhile",
                remedy="Do it again: the newer version is read first. Nothing was changed.",
            )

    def _with_times(self, entry: Entry, recording: Recording) -> Recording:
        """The recording with its times and its index, from the caches where they are sound."""
        times = self._cached_times(entry)
        if times is None and entry.times:
            times = read_frame_times(self._table_path(entry.id), entry.n_frames).times
        index = self._cached_index(entry) if entry.reader == FFMPEG else None
        if times is None or (index is None and entry.reader == FFMPEG):
            opened, _ = open_recording(
                recording.path,
                entry.id,
                accept_damaged=True,
                reader=entry.reader,
                array=entry.array,
                frame_times=times,
            )
            self._cache(opened)
            times, index = opened.frame_times, opened.index
        given = "given" if entry.times else ""
        return replace(recording, frame_times=times, index=index, times_from=given)

    def _cached_times(self, entry: Entry) -> np.ndarray | None:
        cache, table = self._times_path(entry.id), self._table_path(entry.id)
        try:
            if entry.times and table.stat().st_mtime_ns > cache.stat().st_mtime_ns:
                return None  # the table was edited since
            times = load_npy(cache, (entry.n_frames,), np.float64)
        except (ValueError, OSError):
            return None  # a cache; it is made anew
        return times if np.isfinite(times).all() and (np.diff(times) >= 0).all() else None

    def _cached_index(self, entry: Entry) -> FrameIndex | None:
        try:
            index = load_index(self._index_path(entry.id), entry.n_frames)
        except VideoError:
            return None  # a cache; it is made anew
        size = (index.n_frames, index.height, index.width)
        return index if size == (entry.n_frames, entry.height, entry.width) else None

    def _cache(self, recording: Recording) -> None:
        with replacing(self._times_path(recording.id)) as path, path.open("wb") as file:
            np.save(file, recording.frame_times, allow_pickle=False)
        if recording.index is not None:
            save_index(recording.index, self._index_path(recording.id))

    def _times_path(self, recording: str) -> Path:
        return self.folder / "frame_times" / f"{recording}.npy"

    def _table_path(self, recording: str) -> Path:
        return self.folder / "frame_times" / f"{recording}.csv"

    def _index_path(self, recording: str) -> Path:
        return self.folder / "frame_times" / f"{recording}.index.npz"

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
            "extraction": {
                k: v for k, v in vars(self.settings).items() if v not in (None, "", WHOLE, FLOAT32)
            },
            "ethogram": self.ethogram.to_dict(),
        }
        for name, value in tables.items():
            if name not in document or document[name].unwrap() != value:
                document[name] = value
        write_text(self.folder / MANIFEST, tomlkit.dumps(document))


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
        "crop": str,
        "precision": str,
    }
    for name, value in table.items():
        if name not in fields or not isinstance(value, fields[name]) or isinstance(value, bool):
            raise ProjectError(
                f"{manifest} has an extraction setting that cannot be used",
                expected=", ".join(f"{k}: {v.__name__}" for k, v in fields.items()),
                found=f"{name} = {value!r}",
            )
    return Settings(**{**table, "crop": Crop.parse(table.get("crop", WHOLE)).text})
