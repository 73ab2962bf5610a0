"""Hostile videos, and whether frame n is the same frame on every path: the table of the manual.

    python tests/video_matrix.py docs/video-matrix.md

Each video shows its frames' numbers in its pixels. They are read back from sequential reading, from
random access, from the layer of a napari viewer whose slider stands at n, and from row n of a CSV
that was made of tokens of the frames.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import video_samples as vs
from av.video.stream import VideoStream
from video_samples import OPEN_GOP, SHORT, Sample

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.backbones.spec import BackboneCard
from ethoprism.errors import VideoError
from ethoprism.exchange.frames_csv import FORMAT as FRAMES_CSV
from ethoprism.exchange.spec import FrameLabels
from ethoprism.extract import extract, token_key
from ethoprism.recording import ImportReport, Recording, open_frames, open_recording
from ethoprism.tokens import TokenStore

N = 40
BITS = 12
COLUMNS = ("sequential", "random", "GUI", "CSV")


@dataclass(frozen=True)
class Case:
    """A video, and the number that each of its frames must show: None where it must be lost."""

    title: str
    path: Path
    numbers: list[int]
    damaged: bool = False


def cases(folder: Path) -> Iterator[Case]:
    """All videos, made one by one."""
    for sample in vs.SAMPLES:
        pixels = sample.pixels.replace("yuvj", "yuv")
        title = f"{sample.name}: {sample.codec.removeprefix('lib')}, {pixels}"
        yield Case(title, vs.write(folder, sample, N), list(range(N)))
    rng = np.random.default_rng(3)
    ticks = (9000 + 90 * np.cumsum(rng.integers(10, 120, N))).tolist()
    for name in ("variable.mp4", "variable.mkv", "variable.ts"):
        path = vs.write(
            folder,
            Sample(name, "libx264", options=SHORT),
            N,
            ticks=ticks,
            time_base=Fraction(1, 90000),
        )
        yield Case(f"{name}: variable rate", path, list(range(N)))
    ticks = np.repeat(np.arange(N // 2) * 40, 2).tolist()
    path = vs.write(
        folder,
        Sample("equal.mkv", "mjpeg", "yuvj420p"),
        N,
        ticks=ticks,
        time_base=Fraction(1, 1000),
    )
    yield Case("equal.mkv: two frames at one time", path, list(range(N)))
    shifted = {"avoid_negative_ts": "disabled"}
    path = vs.write(folder, Sample("edit.mp4", "libx264", "yuv420p", SHORT, shifted), N, shift=-10)
    yield Case("edit.mp4: an edit list cuts 10 frames off", path, list(range(10, N)))
    path = vs.write(folder, Sample("first.mkv", "libx264", "yuv420p", SHORT, shifted), N, shift=-10)
    yield Case("first.mkv: no timestamps on the first 10 frames", path, list(range(N)))
    yield _turned(folder)
    yield _unordered(folder)
    yield _packed(folder)
    yield from _broken(folder)


def _turned(folder: Path) -> Case:
    """The picture is stored upside down, and the file asks for half a turn."""
    path, numbers = folder / "turned.mp4", list(range(N))
    plain = folder / "upside_down.mp4"
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=SHORT)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = vs.WIDTH, vs.HEIGHT, "yuv420p"
        for n in numbers:
            picture = np.ascontiguousarray(np.rot90(vs.picture(n), 2))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        assert isinstance(stream, VideoStream)
        stream.set_display_rotation(180)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return Case("turned.mp4: rotation flag of 180°", path, numbers)


def _unordered(folder: Path) -> Case:
    """Decoding timestamps that go back: those of every fifth packet are set 120 ms earlier."""
    source = vs.write(folder, Sample("ordered.ts", "libx264", options=SHORT), N)
    content = bytearray(source.read_bytes())
    start, n = 0, 0
    while (start := content.find(b"\0\0\1\xe0", start)) >= 0:
        # ISO/IEC 13818-1, 2.4.3.7: both timestamps follow where the two flags are set.
        if content[start + 7] >> 6 == 3:
            n += 1
            if n % 5 == 0:
                _write_dts(content, start + 14, _read_dts(content, start + 14) - 120 * 90)
        start += 4
    path = folder / "unordered.ts"
    path.write_bytes(content)
    return Case("unordered.ts: decoding timestamps that go back", path, list(range(N)))


def _read_dts(content: bytearray, at: int) -> int:
    a, b, c, d, e = content[at : at + 5]
    return (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1


def _write_dts(content: bytearray, at: int, ticks: int) -> None:
    parts = (0x11 | (ticks >> 30 & 7) << 1, ticks >> 22 & 255, (ticks >> 15 & 127) << 1 | 1)
    content[at : at + 5] = bytes((*parts, ticks >> 7 & 255, (ticks & 127) << 1 | 1))


def _packed(folder: Path) -> Case:
    """MPEG-4 in AVI as DivX wrote it: a B-frame shares the chunk of the frame it leans on.

    A chunk that says "not coded" then stands where the B-frame would.
    """
    plain = vs.write(folder, Sample("unpacked.avi", "mpeg4", options={"g": "20"}, bframes=1), N)
    path = folder / "packed.avi"
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        source = old.streams.video[0]
        pictures = [bytes(packet) for packet in old.demux(video=0) if packet.size]
        made_by = pictures[0][pictures[0].index(b"Lavc") :][:13]
        stream = new.add_stream_from_template(source)
        chunks: list[bytes] = []
        for picture in pictures:
            picture = picture.replace(made_by, b"DivX503b1393p")  # "p": packed
            kind = picture[picture.index(b"\0\0\1\xb6") + 4] >> 6
            if kind == 2:
                chunks[-1] += picture
                chunks.append(b"\0\0\1\xb6\x50\x4f")
            else:
                chunks.append(picture)
        for n, chunk in enumerate(chunks):
            packet = av.Packet(chunk)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = n
            packet.is_keyframe = chunk[chunk.index(b"\0\0\1\xb6") + 4] >> 6 == 0
            new.mux(packet)
    return Case("packed.avi: MPEG-4 with packed B-frames", path, list(range(N)))


def _broken(folder: Path) -> Iterator[Case]:
    for name, codec, pixels, options in (
        ("corrupt.mp4", "libx264", "yuv420p", SHORT),
        ("corrupt_open.mkv", "libx264", "yuv420p", OPEN_GOP),
        ("corrupt.avi", "mjpeg", "yuvj420p", {}),
        ("corrupt.mov", "prores_ks", "yuv422p10le", {}),
    ):
        whole = vs.write(folder, Sample(f"whole_{name}", codec, pixels, options), N)
        table = vs.packet_table(whole)
        _, position, size, _ = table[N // 2 + 3]
        path = vs.damage(whole, position + 16, size - 16, name)
        yield Case(f"{name}: a corrupted packet in the middle", path, list(range(N)), True)
    for name in ("truncated.mkv", "truncated.avi"):
        codec = "mpeg4" if name.endswith("avi") else "libx264"
        options = {"g": "20"} if codec == "mpeg4" else SHORT
        whole = vs.write(folder, Sample(f"whole_{name}", codec, "yuv420p", options, bframes=0), N)
        path = vs.cut(whole, 0.7, name)
        yield Case(f"{name}: cut off at 70 % of its bytes", path, list(range(N)), True)


class NumberBackbone:
    """Tokens that are the brightness of patches: the number can be read from them again."""

    card = BackboneCard("number", "0" * 64, 4, 48, 12, 1, "float32", trained=False)

    def spatial(self, frames: Any, *, shared: bool = False) -> jax.Array:
        """Means of 4 × 4 pixels, 0 to 1."""
        patches = jnp.asarray(frames, jnp.float32).reshape(-1, 12, 4, 12, 4, 3)
        return (patches.mean(axis=(2, 4, 5)) / 255).reshape(-1, 144, 1)

    def temporal(
        self, features: Any, padding: Any, kept: Any = None, positions: Any = None
    ) -> jax.Array:
        """The tokens, unchanged."""
        return features if kept is None else features[:, kept[0] : kept[1]]


def shown(case: Case, image: np.ndarray | None) -> int | None:
    """The number in a picture."""
    return None if image is None else vs.number_in(image)


def sequential(recording: Recording) -> list[int | None]:
    """Numbers by reading from the first frame to the last."""
    with closing(open_frames(recording)) as frames:
        return [None if f is None else vs.number_in(f) for _, f in frames.frames()]


def at_random(recording: Recording) -> list[int | None]:
    """Numbers by asking for single frames in random order."""
    found: list[int | None] = [None] * recording.n_frames
    with closing(open_frames(recording)) as frames:
        for n in random.Random(1).sample(range(recording.n_frames), recording.n_frames):
            try:
                found[n] = vs.number_in(frames[n])
            except VideoError:
                continue
    return found


def in_csv(recording: Recording, folder: Path) -> tuple[list[int | None], list[float]]:
    """Numbers and times in the rows of a CSV made of the frames' tokens."""
    backbone = NumberBackbone()
    key = token_key(backbone.card, pooling=12)
    path = folder / f"{recording.id}.zarr"
    for _ in extract(recording, backbone, key, path):
        pass
    store = TokenStore.open(path, key, recording.n_frames, recording.content_key)
    covered = store.valid()
    grid = store.tokens().astype(np.float32).reshape(-1, 2, 6, 6, 2)[:, :, 1:5]
    bits = grid.mean(axis=(2, 4)).reshape(-1, BITS) > 0.49
    states = np.where(bits, PRESENT, ABSENT).astype(np.int8)
    states[~covered] = UNOBSERVED
    names = tuple(f"bit{i}" for i in range(BITS))
    labels = FrameLabels(
        recording.id,
        "",
        recording.frame_times,
        names,
        states,
        covered,
        bits.astype(np.float32),
        "automated",
    )
    assert FRAMES_CSV.write is not None
    FRAMES_CSV.write(folder / "out.csv", [labels])
    table = pd.read_csv(folder / "out.csv")
    assert table["frame"].tolist() == list(range(recording.n_frames))
    values = table[list(names)]
    weights = 2 ** np.arange(BITS)
    numbers: list[int | None] = [
        None if row.isna().any() else int(row.to_numpy(int) @ weights)
        for _, row in values.iterrows()
    ]
    return numbers, table["time_s"].tolist()


def in_viewer(viewer: Any, path: Path, recording: Recording) -> list[int | None]:
    """Numbers that the layer shows with the slider at each frame; None where it is said to be lost.

    A damaged file is opened by the library, since the plugin's reader refuses it. Frames are
    decoded in a thread of their own, as in the workbench; the layer is read once that is at rest.
    """
    from napari.layers import Image
    from qtpy.QtWidgets import QApplication

    from napari_ethoprism._layers import picture_problem
    from napari_ethoprism._reader import recording_layer
    from napari_ethoprism.live_video import LiveVideo

    viewer.layers.clear()
    live = LiveVideo(viewer)
    data, options, _ = recording_layer(recording)
    layer = viewer.add_layer(Image(cast(Any, data), **options))
    found: list[int | None] = []
    for n in range(recording.n_frames):
        viewer.dims.set_current_step(0, n)
        assert data.settle(60)
        QApplication.processEvents()  # the layer is told of what has arrived
        assert data.pending is None and not data.outdated
        problem = picture_problem(viewer)
        found.append(None if problem else vs.number_in(np.asarray(layer._slice.image.raw)))
    viewer.layers.clear()
    live.close()
    data.close()
    return found


def verdict(case: Case, found: list[int | None]) -> str:
    """``exact``, or ``N lost, reported``, or ``WRONG``."""
    expected = case.numbers[: len(found)]
    wrong = [n for n, (a, b) in enumerate(zip(found, expected, strict=True)) if a not in (None, b)]
    lost = [n for n, number in enumerate(found) if number is None]
    if wrong or (not case.damaged and (lost or len(found) != len(case.numbers))):
        return "WRONG"
    return f"{len(lost)} lost, the rest exact" if lost else "exact"


def row(case: Case, viewer: Any, folder: Path) -> dict[str, str]:
    """The table's row of a case."""
    recording, report = open_recording(case.path, "r", accept_damaged=True)
    by_sequence = sequential(recording)
    in_rows, times = in_csv(recording, folder)
    (folder / "r.zarr").rename(folder / f"{case.path.name}.zarr")
    found = {
        "sequential": verdict(case, by_sequence),
        "random": verdict(case, at_random(recording)),
        "GUI": verdict(case, in_viewer(viewer, case.path, recording)),
        "CSV": verdict(case, in_rows),
    }
    if len({*found.values()}) > 1 or times != recording.frame_times.tolist():
        found["CSV"] = "WRONG" if times != recording.frame_times.tolist() else found["CSV"]
    return {"video": case.title, **found, "report": _said(report)}


def _said(report: ImportReport) -> str:
    words = []
    if report.damage:
        words.append("damage")
    if report.variable_rate:
        words.append("variable rate")
    if report.duplicates:
        words.append(f"{len(report.duplicates)} equal times")
    if report.gaps:
        words.append(f"{len(report.gaps)} gaps")
    if report.missing_timestamps:
        words.append(f"{report.missing_timestamps} times missing")
    if report.picture.rotation:
        words.append(f"turned by {report.picture.rotation}°")
    if report.picture.interlaced:
        words.append("interlaced")
    return ", ".join(words) or "–"


HEADER = f"""# Hostile videos

Videos of {N} frames, made for the purpose: each frame shows its own number in its pixels. The
number is read back from reading the frames in sequence, from asking for single frames in random
order, from a napari viewer whose slider stands at frame n, and from row n of a CSV made of tokens
of the frames. *Exact* means that frame n shows n on that path and has the container's time. A frame
that is lost is said to be lost on that path: it is None in sequence, an error at random, a black
picture with a sentence in the viewer, and an empty row that is not covered in the CSV. Nothing
behind it shifts. The last column is what the import says of the file.

`python tests/video_matrix.py docs/video-matrix.md` makes this table; the tests check that it is
true.

What no reader can tell: a few changed bytes in FFV1 without checksums, VP8, VP9 or HEVC, and now
and then in H.264, decode to a wrong picture without an error. A transport stream or a raw stream
that is cut off between two packets looks like a shorter one, for it states no length. Both move no
other frame.

"""


def table_of(make_viewer: Callable[[], Any], folder: Path) -> tuple[str, list[dict[str, str]]]:
    """The page, and its rows."""
    viewer = make_viewer()
    rows = [row(case, viewer, folder) for case in cases(folder)]
    columns = ("video", *COLUMNS, "report")
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(r[c] for c in columns) + " |" for r in rows]
    return HEADER + "\n".join(lines) + "\n", rows


def main() -> None:
    import napari

    with tempfile.TemporaryDirectory() as folder:
        page, _ = table_of(lambda: napari.Viewer(show=False), Path(folder))
    Path(sys.argv[1]).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
