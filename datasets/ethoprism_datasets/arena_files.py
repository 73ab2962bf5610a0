"""Simulated recordings on disk: the video, its labels as bouts and as frames, and the tracks.

Every file is written under a temporary name and renamed. A card with the seed, the appearance and
the version of the simulation comes first: what lies beside it was made from these numbers, and a
recording is whole when all its files are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from ethoprism.errors import InputError, StorageError
from ethoprism.progress import Progress
from ethoprism_datasets.arena_appearance import Appearance
from ethoprism_datasets.arena_render import render
from ethoprism_datasets.arena_truth import ArenaTruth, simulate

VERSION = 2
"""Raised when the same seed and appearance come to give another recording."""

ENCODER = {
    "preset": "ultrafast",
    "tune": "fastdecode",
    "crf": "22",
    "bf": "2",
    "b_adapt": "0",
    "g": "50",
}
"""Fast to write and to read; with B-frames, as most cameras' files have them."""

REPORT_EVERY = 50
"""Frames between two reports of progress."""


@dataclass(frozen=True)
class RecordingFiles:
    """Where the files of one recording lie."""

    video: Path
    bouts: Path
    frames: Path
    tracks: Path
    card: Path

    @classmethod
    def of(cls, out_dir: Path, name: str) -> RecordingFiles:
        """The paths of the recording ``name`` in a folder."""
        endings = (".mp4", ".bouts.csv", ".frames.csv", ".tracks.csv", ".card.json")
        return cls(*(out_dir / f"{name}{ending}" for ending in endings))

    def all(self) -> tuple[Path, ...]:
        """Every path, in the order in which they are written."""
        return (self.card, self.video, self.bouts, self.frames, self.tracks)


def write_recording(
    out_dir: Path,
    name: str,
    seed: int,
    *,
    n_frames: int = 1500,
    appearance: Appearance | None = None,
) -> RecordingFiles:
    """The files of one simulated recording, once they are written.

    Parameters
    ----------
    out_dir
        Folder; made where it is missing.
    name
        The recording's name, which its files and its tables carry.
    seed
        The same seed and appearance give the same files on the same machine.
    n_frames
        Length; 1500 frames are a minute at the default rate.
    appearance
        How it looks; the default where it is not given.

    Raises
    ------
    InputError
        If the name cannot be a file's, or the folder holds another recording of that name.
    StorageError
        If the files cannot be written.
    """
    steps = recording_steps(out_dir, name, seed, n_frames=n_frames, appearance=appearance)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def recording_steps(
    out_dir: Path,
    name: str,
    seed: int,
    *,
    n_frames: int = 1500,
    appearance: Appearance | None = None,
) -> Generator[Progress, None, RecordingFiles]:
    """Write one recording as `write_recording` does, yielding progress in frames.

    A recording that is there already, made from the same numbers, is left as it is.
    """
    out_dir = Path(out_dir)
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(
            "A recording cannot have this name",
            expected="a plain file name without folders",
            found=repr(name),
        )
    look = appearance or Appearance()
    paths = RecordingFiles.of(out_dir, name)
    card = _card(seed, n_frames, look)
    if _is_there(paths, card):
        yield Progress(n_frames, n_frames, f"{name}: there already")
        return paths
    yield Progress(0, n_frames, f"{name}: simulating")
    truth = simulate(seed, n_frames, appearance=look)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _write(paths.card, lambda part: part.write_text(card, encoding="utf-8"))
        yield from _write_video(truth, paths.video, name)
        _write(paths.bouts, lambda part: truth.bouts(name).to_csv(part, index=False))
        _write(paths.frames, lambda part: truth.frames().to_csv(part, index=False))
        tracks = truth.tracks(name)
        _write(paths.tracks, lambda part: tracks.to_csv(part, index=False, float_format="%.3f"))
    except OSError as error:
        raise StorageError(
            f"The recording {name} could not be written to {out_dir}",
            found=str(error),
            remedy="Free some space or choose another folder; finished recordings are kept.",
        ) from error
    yield Progress(n_frames, n_frames, f"{name}: written")
    return paths


def _card(seed: int, n_frames: int, look: Appearance) -> str:
    content = {
        "dataset": "arena",
        "version": VERSION,
        "seed": seed,
        "n_frames": n_frames,
        "appearance": asdict(look),
    }
    return json.dumps(content, indent=1) + "\n"


def _is_there(paths: RecordingFiles, card: str) -> bool:
    """Whether the recording is there and whole; an error if it is another one of that name."""
    if not paths.card.exists():
        if paths.video.exists():
            raise InputError(
                f"{paths.video} is there already, and nothing says that it is simulated",
                remedy="Choose another folder, or remove the file.",
            )
        return False
    if paths.card.read_text(encoding="utf-8") != card:
        raise InputError(
            f"{paths.card.parent} holds another recording named {paths.video.stem}",
            expected="one of the same seed, length, appearance and version",
            found=f"what {paths.card.name} says",
            remedy="Choose another folder or name, or remove that recording.",
        )
    return all(path.exists() for path in paths.all())


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name and rename it."""
    part = _partial(path)
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _write_video(truth: ArenaTruth, path: Path, name: str) -> Generator[Progress, None, None]:
    part = _partial(path)
    try:
        for done in _encode(truth, part):
            yield Progress(done, truth.n_frames, f"{name}: rendering")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _encode(truth: ArenaTruth, path: Path) -> Generator[int, None, None]:
    """Render and encode all frames, yielding how many are done now and then."""
    import av

    look = truth.appearance
    rate = Fraction(look.frame_rate).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = look.width, look.height, "yuv420p"
        # The number of threads enters the encoder's decisions; one makes the same file everywhere,
        # and leaves the other cores to whoever makes several recordings at once.
        stream.codec_context.thread_count = 1
        # Encoding leaves the interpreter free, so the next frame is drawn meanwhile.
        with ThreadPoolExecutor(max_workers=1) as beside:
            packets = beside.submit(list)
            for index, image in enumerate(render(truth)):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, 1 / rate
                container.mux(packets.result())
                packets = beside.submit(stream.encode, frame)
                if (index + 1) % REPORT_EVERY == 0:
                    yield index + 1
            container.mux(packets.result())
        container.mux(stream.encode(None))
