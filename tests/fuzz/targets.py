"""What is fuzzed: how sound files are made, and how they are opened."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import video_samples

from ethoprism import registry
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import EthoPrismError, InputError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.exchange import bouts_csv, frames_csv
from ethoprism.exchange.spec import FrameLabels, ImportRequest
from ethoprism.frame_source import Reader
from ethoprism.prediction import Decision, Prediction, load_prediction, save_prediction
from ethoprism.project import Project, Settings
from ethoprism.recording import Recording, open_frames, open_recording
from ethoprism.tokens import TokenKey, TokenStore

N_FRAMES = 12
SIZE = (64, 48)


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes
    ----------
    make
        Writes sound files, each into a folder of its own below the given one.
    run
        Opens the case in a folder as a user's command would.
    prepare
        Makes what ``run`` needs besides the case.
    """

    make: Callable[[Path], None]
    run: Callable[[Path], None]
    prepare: Callable[[], object] = object

    def seeds(self) -> list[dict[str, bytes]]:
        """The sound files, as relative path → content."""
        with tempfile.TemporaryDirectory() as folder:
            self.make(Path(folder))
            return [
                {
                    p.relative_to(seed).as_posix(): p.read_bytes()
                    for p in sorted(seed.rglob("*"))
                    if p.is_file()
                }
                for seed in sorted(Path(folder).iterdir())
            ]


def _folder(root: Path, name: str) -> Path:
    path = root / name
    path.mkdir()
    return path


def _only(folder: Path) -> Path:
    """The case's one file or folder; the last by name, where a sample lies beside others."""
    return next(iter(sorted(folder.iterdir(), reverse=True)), folder / "nothing")


# --- recordings


def _videos(root: Path) -> None:
    samples = (
        ("v.mp4", "libx264", "yuv420p", {"preset": "ultrafast"}),
        ("b.mp4", "libx264", "yuv420p", {"bf": "2", "preset": "veryfast"}),
        ("v.mkv", "libx264", "yuv420p", {"preset": "ultrafast"}),
        ("v.mov", "mpeg4", "yuv420p", {}),
        ("v.avi", "mjpeg", "yuvj420p", {}),
        ("w.avi", "mpeg4", "yuv420p", {}),
        ("v.ts", "mpeg2video", "yuv420p", {}),
        ("v.webm", "libvpx", "yuv420p", {"deadline": "realtime"}),
        ("v.h264", "libx264", "yuv420p", {"preset": "ultrafast"}),
        ("v.flv", "flv", "yuv420p", {}),
        ("v.gif", "gif", "rgb8", {}),
    )
    for name, codec, pixels, options in samples:
        sample = video_samples.Sample(name, codec, pixels, options, size=SIZE)
        # A container or codec that this build of FFmpeg lacks is left out.
        with suppress(Exception):
            base = Fraction(1, 100) if name.endswith("gif") else Fraction(1, 25)
            video_samples.write(
                _folder(root, name.replace(".", "_")), sample, N_FRAMES, time_base=base
            )


def _open_recording(path: Path, reader: str = "") -> None:
    times = None
    for array in ("", "video", "frames"):
        try:
            recording, _ = open_recording(
                path, "r", accept_damaged=True, reader=reader, array=array, frame_times=times
            )
        except EthoPrismError:
            if array == "frames":
                raise
            continue
        with closing(open_frames(recording)) as frames:
            for number in sorted({0, len(frames) // 2, len(frames) - 1}):
                np.asarray(frames[number])
            for _, _ in frames.frames(0, min(len(frames), 20)):
                pass
        return


def _run_video(folder: Path) -> None:
    _open_recording(_only(folder), "ffmpeg")


def _frames() -> np.ndarray:
    """uint8 ``[frames, 8, 10]``."""
    return np.random.default_rng(0).integers(0, 255, (5, 8, 10)).astype(np.uint8)


def _make_images(root: Path) -> None:
    from PIL import Image

    for ending in ("png", "jpg", "tif", "bmp", "webp"):
        folder = _folder(_folder(root, ending), "images")
        for i, picture in enumerate(_frames()[:3]):
            Image.fromarray(picture).save(folder / f"f{i}.{ending}")


def _make_tiff(root: Path) -> None:
    import tifffile

    tifffile.imwrite(_folder(root, "a") / "s.tif", _frames(), photometric="minisblack")
    options = {"photometric": "minisblack", "compression": "zlib", "bigtiff": True}
    tifffile.imwrite(_folder(root, "b") / "s.tif", _frames(), **options)
    tifffile.imwrite(
        _folder(root, "c") / "s.ome.tif", _frames(), ome=True, metadata={"axes": "TYX"}
    )
    tifffile.imwrite(_folder(root, "d") / "s.tif", _frames(), imagej=True, metadata={"axes": "TYX"})


def _make_zarr(root: Path) -> None:
    import zarr

    for version in (2, 3):
        group = zarr.create_group(_folder(root, str(version)) / "s.zarr", zarr_format=version)
        group.create_array("video", data=_frames(), chunks=(2, 8, 10))
    zarr.create_array(_folder(root, "single") / "s.zarr", data=_frames(), zarr_format=3)


def _make_hdf5(root: Path) -> None:
    import h5py

    for name, options in (("a", {}), ("b", {"chunks": (2, 8, 10), "compression": "gzip"})):
        with h5py.File(_folder(root, name) / "s.h5", "w") as file:
            file.create_dataset("video", data=_frames(), **options)
            file["video"].attrs["bits_per_pixel"] = 8
    with h5py.File(_folder(root, "c") / "s.h5", "w", libver="latest") as file:
        file.create_dataset("group/video", data=_frames(), chunks=(1, 8, 10), shuffle=True)


def _make_fmf(root: Path) -> None:
    head = struct.pack("<IIIQQ", 1, 8, 10, 88, 5)
    body = b"".join(struct.pack("<d", i / 25) + f.tobytes() for i, f in enumerate(_frames()))
    (_folder(root, "a") / "s.fmf").write_bytes(head + body)
    head = struct.pack("<II5sI", 3, 5, b"MONO8", 8) + struct.pack("<IIQQ", 8, 10, 88, 5)
    (_folder(root, "b") / "s.fmf").write_bytes(head + body)


def _make_ufmf(root: Path) -> None:
    for version, layout in ((2, "<4sIIHHB"), (4, "<4sIQHHBB")):
        fixed = (0,) if version == 4 else ()
        head = struct.pack(layout, b"ufmf", version, 0, 10, 8, *fixed, 5) + b"MONO8"
        back = b"\0\4mean" + struct.pack("<cHHd", b"B", 10, 8, 0.0) + _frames()[0].tobytes()
        frames = b""
        for i in range(5):
            count = struct.pack("<H" if version == 2 else "<I", 1)
            box = struct.pack("<4H", 1, 1, 3, 2) + bytes(6)
            frames += b"\1" + struct.pack("<d", i / 25) + count + box
        (_folder(root, f"v{version}") / "s.ufmf").write_bytes(head + back + frames)


def _make_norpix(root: Path) -> None:
    head = bytearray(1024)
    head[:28] = struct.pack("<I", 0xFEED) + "Norpix seq".encode("utf-16-le").ljust(24, b"\0")
    struct.pack_into("<i", head, 28, 3)
    struct.pack_into("<9I", head, 548, 10, 8, 8, 8, 80, 100, 5, 0, 88)
    struct.pack_into("<d", head, 584, 25.0)
    body = b"".join(f.tobytes() + struct.pack("<IHH", i, 0, 0) for i, f in enumerate(_frames()))
    (_folder(root, "a") / "s.seq").write_bytes(bytes(head) + body)


def _samples_of(reader: str) -> Callable[[Path], None]:
    """The samples that the tests of the readers are made with."""

    def make(root: Path) -> None:
        cases = import_module("readers.format_samples").CASES
        for i, (name, sample) in enumerate(sorted(cases.values(), key=lambda case: case[0])):
            if name == reader:
                sample(_folder(root, f"{i:03d}"))

    return make


def _read_by(name: str) -> Callable[[Path], None]:
    """Open a case with the reader in the module of this name."""

    def run(folder: Path) -> None:
        reader: Reader = import_module(f"ethoprism.readers.{name}").READER
        path = _only(folder)
        reader.matches(path)
        key = reader.content_key(path)
        try:
            contents, array = reader.inspect(path, ""), ""
        except InputError:
            contents, array = reader.inspect(path, "video"), "video"
        times = np.arange(contents.n_frames, dtype=float)
        size = (contents.n_frames, contents.height, contents.width)
        recording = Recording("r", path, *size, times, key, None, reader.name, array)
        with closing(reader.open(recording)) as frames:
            for _, frame in frames.frames(0, min(len(frames), 6)):
                assert frame is None or frame.shape == (*size[1:], 3)
            with suppress(EthoPrismError):
                np.asarray(frames[len(frames) - 1])

    return run


def _make_times(root: Path) -> None:
    rows = [f"{i},{i / 25}" for i in range(N_FRAMES)]
    (_folder(root, "a") / "t.csv").write_text("\n".join(["frame,time_s", *rows]))
    rows = [f"{i * 40000}\t{j}" for i in range(N_FRAMES) for j in (0, 1)]
    (_folder(root, "b") / "t.tsv").write_text("\n".join(["time_us\tlevel", *rows]))
    rows = [f"2024-05-01T12:00:00.{i * 40:03d}" for i in range(N_FRAMES)]
    (_folder(root, "c") / "t.txt").write_text("\n".join(rows))


def _run_times(folder: Path) -> None:
    from ethoprism.timing import read_frame_times

    times = read_frame_times(_only(folder), N_FRAMES).times
    assert times.shape == (N_FRAMES,) and (np.diff(times) >= 0).all()


# --- projects


@cache
def _key() -> TokenKey:
    return TokenKey("prism-nano", "ab" * 32, "float32", False, 1, 64, 4, 8, 8, 4, 1, 2)


def _ethogram() -> Ethogram:
    return Ethogram((Behaviour("walk", key="w"), Behaviour("groom", key="g")), (("walk", "groom"),))


def _project(root: Path) -> Project:
    """A project with one recording, labels, tokens, a probe and a prediction."""
    project = Project.create(root, Settings(), _ethogram())
    sample = video_samples.Sample("v.mp4", "mpeg4", size=SIZE)
    recording, _ = open_recording(video_samples.write(root, sample, N_FRAMES), "r")
    return project.with_recording(recording)


def _make_manifest(root: Path) -> None:
    seed = _folder(root, "seed")
    _project(seed)
    for path in list(seed.rglob("*")):
        if path.is_file() and path.name not in ("ethoprism.toml", "recordings.csv"):
            path.unlink()


def _run_manifest(folder: Path) -> None:
    project = Project.open(folder)
    for name in project.recording_ids:
        for path in (project.tokens_path("k", name), project.tracks_path(name)):
            assert path.resolve().is_relative_to(folder.resolve()), path
        with suppress(EthoPrismError):
            project.recording(name)
    registry_name = project.settings.backbone
    with suppress(EthoPrismError):
        registry.load("backbones", registry_name)
    project.with_ethogram(project.ethogram.with_names(["new"]))
    Project.open(folder)


def _make_caches(root: Path) -> None:
    _project(_folder(root, "seed"))
    for name in ("ethoprism.toml", "recordings.csv", "v.mp4"):
        (root / "seed" / name).unlink()


def _run_caches(folder: Path) -> None:
    _project_around(folder).recording("r")


@cache
def _sound_project() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        _project(Path(name))
        return {p.name: p.read_bytes() for p in Path(name).iterdir() if p.is_file()}


def _project_around(folder: Path) -> Project:
    """A sound manifest, list of recordings and video beside the case's files."""
    for name, data in _sound_project().items():
        (folder / name).write_bytes(data)
    return Project.open(folder)


def _make_tokens(root: Path) -> None:
    _folder(root, "seed")
    store = TokenStore.create(root / "seed" / "r.zarr", _key(), N_FRAMES, "content")
    values = np.random.default_rng(0).normal(size=store.shape)
    store.write_block(0, values.astype(np.float32), np.ones(store.n_rows, bool))


def _run_tokens(folder: Path) -> None:
    store = TokenStore.open(folder / "r.zarr", _key(), N_FRAMES, "content")
    store.require_complete()
    store.tokens()
    store.valid()


def _make_prediction(root: Path) -> None:
    probability = np.random.default_rng(0).random((N_FRAMES, 2)).astype(np.float32)
    covered = np.ones(N_FRAMES, bool)
    save_prediction(
        Prediction("r", "", ("walk", "groom"), probability, covered, "p", "b", "c"),
        _folder(root, "seed") / "r.zarr",
    )


def _run_prediction(folder: Path) -> None:
    load_prediction(folder / "r.zarr", probe="p", content_key="c", n_frames=N_FRAMES)


def _make_probe(root: Path) -> None:
    from ethoprism.probe.checkpoint import Probe, save_decision, save_probe
    from ethoprism.probe.decisions import Timeline
    from ethoprism.probe.model import ProbeShape
    from ethoprism.probe.predict import build, parameters_of

    key, shape = _key(), ProbeShape(_key().width, 2, 1)
    names = ("walk", "groom")
    decision = Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 2), (names,))
    parameters = _probe_parameters(build, parameters_of, shape)
    training = {"seed": 0, "held_out": "validation"}
    probe = Probe("p", names, _ethogram(), "", key, shape, decision, parameters, training, {})
    save_probe(probe, _folder(root, "seed"))
    p = np.linspace(0, 1, 2 * N_FRAMES, dtype=np.float32).reshape(N_FRAMES, 2)
    seen = Timeline("r", "", p, np.ones(N_FRAMES, bool), (p > 0.5).astype(np.int8))
    # The smaller files beside it, which are few of all bytes, have a seed of their own.
    folder = _folder(root, "decided")
    save_probe(replace(probe, held_out=(seen,)), folder)
    save_decision(folder, replace(decision, thresholds=dict.fromkeys(names, 0.3)))


def _probe_parameters(build: Callable, parameters_of: Callable, shape: object) -> dict:
    from flax import nnx

    from ethoprism.probe.model import ProbeNetwork

    del build
    return parameters_of(ProbeNetwork(shape, rngs=nnx.Rngs(0)))  # type: ignore[arg-type]


def _run_probe(folder: Path) -> None:
    from ethoprism.probe.checkpoint import HELD_OUT, load_held_out, load_probe
    from ethoprism.probe.predict import build

    probe = load_probe(folder)
    build(probe.shape, dict(probe.parameters))
    if (folder / HELD_OUT).exists():
        load_held_out(folder, probe)


def _make_annotations(root: Path) -> None:
    from ethoprism.store import AnnotationStore

    with AnnotationStore(_folder(root, "seed") / "annotations.sqlite", {"r": N_FRAMES}) as store:
        row = {"recording": "r", "subject": "", "behaviour": "walk", "start_frame": 1}
        store.add(
            bout_table([{**row, "stop_frame": 5, "comment": "one"}]),
            span_table([{**row, "stop_frame": 9}]),
            description="import",
        )
        store.add(bout_table([{**row, "stop_frame": 3}]), description="second")
        store.undo()


def _run_annotations(folder: Path) -> None:
    from ethoprism.annotation import frame_states
    from ethoprism.store import AnnotationStore

    mirror = folder / "mirror"
    with AnnotationStore(folder / "annotations.sqlite", {"r": N_FRAMES}, mirror) as store:
        frame_states(store.bouts("r"), store.spans("r"), ["walk"], N_FRAMES)
        store.history()
        store.redo()
        store.undo()


# --- checkpoints


_LAYOUT = {"params/a/kernel": (4, 3), "params/b/w": (2, 2, 2)}


def _make_weights(root: Path) -> None:
    from ethoprism.backbones.weights import write_safetensors

    values = {k: np.ones(shape, np.float32) for k, shape in _LAYOUT.items()}
    np.savez(_folder(root, "a") / "w.npz", **values)  # type: ignore[arg-type]
    np.savez_compressed(_folder(root, "b") / "w.npz", **values)  # type: ignore[arg-type]
    write_safetensors(_folder(root, "c") / "w.safetensors", values)


def _run_weights(folder: Path) -> None:
    from ethoprism.backbones.weights import read_parameters

    for _ in read_parameters(_only(folder), _LAYOUT):
        pass


# --- labels


def _times() -> np.ndarray:
    return np.arange(N_FRAMES) / 25


def _request() -> ImportRequest:
    return ImportRequest({"r": N_FRAMES}, lambda name: _times(), annotator="me")


def _labels() -> FrameLabels:
    states = np.random.default_rng(0).integers(-1, 2, (N_FRAMES, 2)).astype(np.int8)
    covered = (states != -1).any(axis=1)
    names = ("walk", "-groom")
    return FrameLabels("r", "=a", _times(), names, states, covered, None, "manual")


def _make_frames(root: Path) -> None:
    frames_csv.write(_folder(root, "a") / "r.csv", [_labels()])
    probability = np.full((N_FRAMES, 2), 0.25, np.float32)
    frames_csv.write(_folder(root, "b") / "r.csv", [replace(_labels(), probability=probability)])


def _make_bouts(root: Path) -> None:
    bouts_csv.write(_folder(root, "a") / "r.csv", [_labels()])
    text = "behaviour,start_s,stop_s,comment\nwalk,0.1,0.2,x\n"
    (_folder(root, "b") / "r.csv").write_text(text)
    text = "behaviour\tstart_frame\tstop_frame\nwalk\t1\t2\n"
    (_folder(root, "c") / "r.tsv").write_text(text)


def _import(name: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        plan = registry.load("exchange", name).read(_only(folder), _request())
        for behaviour in plan.behaviours:
            Behaviour(behaviour)
        for table in (plan.bouts, plan.spans):
            assert (table["stop_frame"] <= N_FRAMES).all() and (table["start_frame"] >= 0).all()

    return run


# --- tracks


def _make_tracks(root: Path) -> None:
    import h5py

    points = np.random.default_rng(0).random((2, 2, 3, N_FRAMES)) * 40
    with h5py.File(_folder(root, "a") / "t.h5", "w") as file:
        file["tracks"] = points
        file["track_names"] = [b"one", b"two"]
    header = ["scorer,m,m,m", "bodyparts,nose,nose,nose", "coords,x,y,likelihood"]
    rows = [f"{i},{i}.5,3,0.9" for i in range(N_FRAMES)]
    (_folder(root, "b") / "t.csv").write_text("\n".join(header + rows))
    header = ["scorer,m,m", "individuals,a,a", "bodyparts,nose,nose", "coords,x,y"]
    rows = [f"{i},{i}.5,3" for i in range(N_FRAMES)]
    (_folder(root, "c") / "t.csv").write_text("\n".join(header + rows))
    rows = ["frame,id,x,y,width,height"] + [f"{i},m1,{i},2,10,5" for i in range(N_FRAMES)]
    (_folder(root, "d") / "t.csv").write_text("\n".join(rows))
    rows = ["frame,subject,x,y,left,top,right,bottom"] + [
        f"{i},m1,{i},2,1,1,9,9" for i in range(N_FRAMES)
    ]
    (_folder(root, "e") / "t.csv").write_text("\n".join(rows))


def _run_tracks(folder: Path) -> None:
    from ethoprism.tracks import load_tracks, read_tracks

    path = _only(folder)
    try:
        read_tracks(path, N_FRAMES)
    finally:
        if path.suffix == ".csv":
            with suppress(EthoPrismError):
                load_tracks(path, N_FRAMES)


TARGETS: dict[str, Target] = {
    "video": Target(_videos, _run_video),
    "images": Target(_make_images, _read_by("images")),
    "tiff": Target(_make_tiff, _read_by("tiff")),
    "zarr": Target(_make_zarr, _read_by("zarr_array")),
    "hdf5": Target(_make_hdf5, _read_by("hdf5")),
    "fmf": Target(_make_fmf, _read_by("fmf")),
    "ufmf": Target(_make_ufmf, _read_by("ufmf")),
    "norpix": Target(_make_norpix, _read_by("norpix")),
    "imgstore": Target(_samples_of("imgstore"), _read_by("imgstore")),
    "nwb": Target(_samples_of("nwb"), _read_by("nwb")),
    "frame times": Target(_make_times, _run_times),
    "manifest": Target(_make_manifest, _run_manifest),
    "frame caches": Target(_make_caches, _run_caches, lambda: _sound_project()),
    "annotations": Target(_make_annotations, _run_annotations),
    "tokens": Target(_make_tokens, _run_tokens),
    "prediction": Target(_make_prediction, _run_prediction),
    "probe": Target(_make_probe, _run_probe),
    "checkpoint": Target(_make_weights, _run_weights),
    "frames-csv": Target(_make_frames, _import("frames-csv")),
    "bouts-csv": Target(_make_bouts, _import("bouts-csv")),
    "tracks": Target(_make_tracks, _run_tracks),
}
