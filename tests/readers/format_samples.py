"""Small recordings in every format, written from the formats' descriptions, not by the readers.

Each function writes frames and times and gives what a reader has to find: the path, the frames as
uint8 RGB and the times.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from video_samples import HEIGHT, WIDTH, Sample, picture, write

N = 9
SIZE = (WIDTH, HEIGHT)
EPOCH = 1_600_000_000.0
TIMES = EPOCH + np.cumsum([0.0, 0.04, 0.041, 0.039, 0.04, 0.5, 0.04, 0.04, 0.04])


@dataclass(frozen=True)
class Written:
    """What a reader has to find."""

    path: Path
    frames: np.ndarray
    times: np.ndarray | None
    array: str = ""
    exact: bool = True


def colour(n: int = N) -> np.ndarray:
    """uint8 ``[n, height, width, 3]``; the channels differ, so that an exchange shows."""
    frames = np.stack([picture(k) for k in range(n)])
    frames[..., 1] //= 2
    frames[..., 2] //= 3
    return frames


def grey(n: int = N) -> np.ndarray:
    """uint8 ``[n, height, width]``."""
    return np.stack([picture(k)[:, :, 0] for k in range(n)])


def rgb(frames: np.ndarray) -> np.ndarray:
    """Grey frames as RGB."""
    return np.repeat(frames[..., np.newaxis], 3, axis=-1)


def fmf(folder: Path, version: int = 3, stated: int = N) -> Written:
    frames = grey()
    height, width = frames.shape[1:]
    rest = struct.pack("<IIQQ", height, width, 8 + height * width, stated)
    if version == 1:
        head = struct.pack("<I", 1) + rest
    else:
        head = struct.pack("<II", 3, 5) + b"MONO8" + struct.pack("<I", 8) + rest
    body = b"".join(struct.pack("<d", t) + f.tobytes() for t, f in zip(TIMES, frames, strict=True))
    path = folder / "movie.fmf"
    path.write_bytes(head + body)
    return Written(path, rgb(frames), TIMES)


def norpix_header(
    version: int, kind: int, depth: int, real: int, image: int, block: int, n: int, packed: int = 0
) -> bytes:
    head = bytearray(1024)
    struct.pack_into("<I", head, 0, 0xFEED)
    head[4:28] = "Norpix seq\0\0".encode("utf-16-le")
    struct.pack_into("<ii", head, 28, version, 1024)
    struct.pack_into("<9I", head, 548, WIDTH, HEIGHT, depth, real, image, kind, n, 0, block)
    struct.pack_into("<d", head, 584, 25.0)
    struct.pack_into("<I", head, 620, packed)
    return bytes(head)


def norpix(
    folder: Path,
    version: int = 5,
    kind: int = 100,
    depth: int = 8,
    real: int = 0,
    jpeg: bool = False,
) -> Written:
    if kind == 100 and not jpeg:
        truth = rgb(grey())
        stored = truth[..., 0]
        if depth == 16:
            stored = stored.astype("<u2") << (real - 8)
    else:
        truth = colour()
        stored = truth if kind == 400 else truth[..., ::-1]
        if kind == 500:
            stored = np.concatenate([stored, np.full((*stored.shape[:3], 1), 7, np.uint8)], axis=3)
    stamps = []
    for t in TIMES:
        micro = round((t - EPOCH) * 1e6)
        seconds, rest = divmod(micro, 10**6)
        values = (int(EPOCH) + seconds, rest // 1000, rest % 1000)
        stamps.append(struct.pack("<IHH", *values) if version >= 5 else
                      struct.pack("<IHH", *values[:2], 0))  # fmt: skip
    path = folder / "camera.seq"
    image = HEIGHT * WIDTH * depth // 8
    if jpeg:
        body, decoded = b"", []
        for frame, stamp in zip(truth, stamps, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(frame).save(buffer, "JPEG", quality=95)
            content = buffer.getvalue()
            decoded.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
            body += struct.pack("<I", len(content) + 4) + content + stamp
        head = norpix_header(version, 200, 24, 8, HEIGHT * WIDTH * 3, 0, N, packed=1)
        path.write_bytes(head + body)
        return Written(path, np.stack(decoded), TIMES)
    block = -(-(image + 8) // 512) * 512
    head = norpix_header(version, kind, depth, real or 8, image, block, N)
    start = 8192 if version >= 5 else 1024
    body = b"".join(
        (f.tobytes() + s).ljust(block, b"\0") for f, s in zip(stored, stamps, strict=True)
    )
    path.write_bytes(head.ljust(start, b"\0") + body)
    times = TIMES if version >= 5 else EPOCH + np.floor((TIMES - EPOCH) * 1000 + 1e-3) / 1000
    return Written(path, truth, times)


def _ufmf_frames(channels: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int, int, int]]]:
    """Backgrounds, frames and each frame's boxes (x, y, width, height)."""
    shape = (HEIGHT, WIDTH, channels)
    rng = np.random.default_rng(1)
    backgrounds = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    boxes = [(3 * k, 2 * k, 20, 14) for k in range(N)]
    frames = np.empty((N, *shape), np.uint8)
    for k, (x, y, w, h) in enumerate(boxes):
        frames[k] = backgrounds[int(k >= 5)]
        frames[k, y : y + h, x : x + w] = rng.integers(0, 256, (h, w, channels))
    return backgrounds, frames, boxes


def ufmf(
    folder: Path, version: int = 3, channels: int = 1, fixed: bool = False, index: bool = True
) -> Written:
    backgrounds, frames, boxes = _ufmf_frames(channels)
    coding = b"MONO8" if channels == 1 else b"RGB24"
    size = (20, 14) if fixed else (WIDTH, HEIGHT)
    location = {2: "<4sIIHH", 3: "<4sIQHH", 4: "<4sIQHH"}[version]
    head = struct.pack(location, b"ufmf", version, 0, *size)
    head += struct.pack("<B", int(fixed)) * (version == 4)
    body = head + struct.pack("<B", len(coding)) + coding
    for k, (x, y, w, h) in enumerate(boxes):
        if k in (0, 5):
            still = backgrounds[int(k == 5)].transpose(2, 0, 1)
            if k == 5:
                body += b"\0\4mean" + struct.pack("<cHHd", b"f", WIDTH, HEIGHT, TIMES[k])
                body += still.astype("<f4").tobytes()
            else:
                body += b"\0\4mean" + struct.pack("<cHHd", b"B", WIDTH, HEIGHT, TIMES[k])
                body += still.tobytes()
        pixels = frames[k, y : y + h, x : x + w].transpose(2, 0, 1)
        body += b"\1" + struct.pack("<dI" if version == 4 else "<dH", TIMES[k], 1)
        body += struct.pack("<HH", x, y) if fixed else struct.pack("<4H", x, y, w, h)
        body += pixels.tobytes()
    if index:
        body += b"\2d\0"
    path = folder / "flies.ufmf"
    path.write_bytes(body)
    return Written(path, frames if channels == 3 else np.repeat(frames, 3, axis=3), TIMES)


def ufmf_old(folder: Path) -> Written:
    rng = np.random.default_rng(2)
    background = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    body = struct.pack("<IIdII", 1, 8, TIMES[0], WIDTH, HEIGHT) + background.tobytes()
    frames = []
    for k in range(N):
        frame = background.copy()
        body += struct.pack("<dI", TIMES[k], 2)
        for x, y in ((5 * k, 3 * k), (WIDTH - 4 - k, 10)):  # the second is cut at the right edge
            w, h = min(16, WIDTH - x), min(16, HEIGHT - y)
            box = rng.integers(0, 256, (h, w), dtype=np.uint8)
            frame[y : y + h, x : x + w] = box
            body += struct.pack("<II", x, y) + box.tobytes()
        frames.append(frame)
    path = folder / "old.ufmf"
    path.write_bytes(body)
    return Written(path, rgb(np.stack(frames)), TIMES)


def images(folder: Path, ending: str = "png", *, deep: bool = False) -> Written:
    store = folder / "images"
    store.mkdir()
    truth = rgb(grey()) if deep else colour()
    decoded = []
    for k, frame in enumerate(truth):
        pixels = frame[..., 0].astype(np.uint16) * 257 if deep else frame
        name = store / f"frame_{k + 5}.{ending}"  # 5 to 13: a sort by text would put 10 first
        Image.fromarray(pixels).save(name)
        decoded.append(frame if deep else np.asarray(Image.open(name).convert("RGB")))
    return Written(store, np.stack(decoded), None)


def imgstore(folder: Path, kind: str = "png") -> Written:
    import yaml

    store = folder / "store"
    store.mkdir()
    video = kind == "mp4"
    each = 4
    metadata = {
        "__store": {
            "imgshape": [HEIGHT, WIDTH, 3],
            "imgdtype": "uint8",
            "chunksize": each,
            "format": "avc1/mp4" if video else kind,
            "class": "VideoImgStore" if video else "DirectoryImgStore",
            "version": 2,
            "encoding": None,
            "uuid": "0" * 32,
        },
        "genotype": "wild",
    }
    if video:
        metadata["__store"]["extension"] = ".mp4"
    (store / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    truth = colour()
    for chunk, first in enumerate(range(0, N, each)):
        count = min(each, N - first)
        place = store / f"{chunk:06d}"
        if video:
            write(store, Sample(f"{chunk:06d}.mp4", "libx264"), n=count)
            table = store / f"{chunk:06d}.npz"
        else:
            place.mkdir()
            table = place / "index.npz"
            for k in range(count):
                if kind == "npy":
                    np.save(place / f"{k:06d}.npy", truth[first + k][..., ::-1])
                else:
                    Image.fromarray(truth[first + k]).save(place / f"{k:06d}.{kind}")
        # The real tables hold the metadata too, as pickled objects; a reader must not load them.
        np.savez(
            table,
            frame_number=np.arange(first, first + count),
            frame_time=TIMES[first : first + count],
            encoding=np.array(None, dtype=object),
        )
    return Written(store, truth, TIMES, exact=not video)


def tiff(folder: Path, kind: str = "plain") -> Written:
    import tifffile

    path = folder / f"{kind}.tif"
    gray, rich = grey(), colour()
    if kind == "plain":
        tifffile.imwrite(path, gray, photometric="minisblack")
    elif kind == "pages":
        pages = [Image.fromarray(f) for f in rich]
        pages[0].save(path, save_all=True, append_images=pages[1:])
        gray = rich
    elif kind == "big":
        with tifffile.TiffWriter(path, bigtiff=True) as writer:
            for frame in rich:
                writer.write(frame, photometric="rgb", contiguous=False)
        gray = rich
    elif kind == "imagej":
        tifffile.imwrite(path, gray, imagej=True, metadata={"axes": "TYX"})
    elif kind == "ome":
        stack = np.ascontiguousarray(rich.transpose(0, 3, 1, 2))
        tifffile.imwrite(path, stack, ome=True, metadata={"axes": "TCYX"}, photometric="minisblack")
        gray = rich
    elif kind == "deflate":
        tifffile.imwrite(path, gray, photometric="minisblack", compression="zlib")
    elif kind == "deep":
        tifffile.imwrite(path, gray.astype(np.uint16) << 8, photometric="minisblack")
    return Written(path, gray if gray.ndim == 4 else rgb(gray), None)


def hdf5(folder: Path, kind: str = "grey") -> Written:
    import h5py

    path = folder / "frames.h5"
    gray, rich = grey(), colour()
    with h5py.File(path, "w") as file:
        if kind == "grey":
            file.create_dataset("video/frames", data=gray, chunks=(2, HEIGHT, WIDTH))
            file["video/frame_id"] = np.arange(N)
            return Written(path, rgb(gray), None)
        if kind == "channels first":
            file["a"] = rich.transpose(0, 3, 1, 2)
            file["b"] = rich[..., 0]
            return Written(path, rich, None, "a")
        if kind == "12 bits":
            file.create_dataset("x", data=gray.astype(np.uint16) << 4, compression="gzip")
            file["x"].attrs["bits_per_pixel"] = 12
            return Written(path, rgb(gray), None)
        file["x"] = gray.astype(np.float32) / 255
    return Written(path, rgb(gray), None)


def zarr(folder: Path, kind: str = "v3") -> Written:
    import zarr as library

    path = folder / "frames.zarr"
    gray, rich = grey(), colour()
    if kind in ("v2", "v3"):
        array = library.create_array(
            str(path), shape=gray.shape, dtype="uint8", chunks=(2, HEIGHT, WIDTH),
            zarr_format=2 if kind == "v2" else 3,
        )  # fmt: skip
        array[:] = gray
        return Written(path, rgb(gray), None)
    group = library.open_group(str(path), mode="w", zarr_format=3)
    if kind == "ome":
        stack = rich.transpose(0, 3, 1, 2)[:, :, np.newaxis]
        full = group.create_array("0", shape=stack.shape, dtype="uint8", chunks=(1, 3, 1, 64, 64))
        full[:] = stack
        half = stack[..., ::2, ::2]
        group.create_array("1", shape=half.shape, dtype="uint8")[:] = half
        axes = [{"name": n} for n in "tczyx"]
        scales = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": scales}
        return Written(path, rich, None)
    group.create_array("cam1/frames", shape=rich.shape, dtype="uint8")[:] = rich
    group.create_array("cam2/frames", shape=rich.shape, dtype="uint8")[:] = rich[::-1]
    return Written(path, rich[::-1], None, "cam2/frames")


def nwb(folder: Path, kind: str = "timestamps") -> Written:
    from datetime import UTC, datetime

    # pynwb makes the arguments of its classes from the schema, which type checkers cannot see.
    import pynwb

    NWBHDF5IO: Any = pynwb.NWBHDF5IO
    NWBFile: Any = pynwb.NWBFile
    ImageSeries: Any = pynwb.image.ImageSeries

    path = folder / "session.nwb"
    file = NWBFile("test", "test", datetime(2020, 1, 1, tzinfo=UTC))
    times, frames = TIMES - EPOCH + 2.5, colour()
    exact = True
    if kind == "external":
        for name, n in (("a.mp4", 5), ("b.mp4", 4)):
            write(folder, Sample(name, "libx264"), n=n)
        series = ImageSeries(
            name="camera", external_file=["a.mp4", "./b.mp4"], format="external",
            starting_frame=[0, 5], timestamps=times,
        )  # fmt: skip
        exact = False
    elif kind == "rate":
        series = ImageSeries(name="camera", data=frames, unit="n.a.", rate=25.0, starting_time=1.5)
        times = 1.5 + np.arange(N) / 25.0
    elif kind == "x first":
        series = ImageSeries(
            name="camera", data=frames.transpose(0, 2, 1, 3), unit="n.a.", timestamps=times,
            dimension=[WIDTH, HEIGHT],
        )  # fmt: skip
    else:
        series = ImageSeries(name="camera", data=frames, unit="n.a.", timestamps=times)
    file.add_acquisition(series)
    with NWBHDF5IO(path, "w") as out:
        out.write(file)
    return Written(path, frames, times, exact=exact)


CASES: dict[str, tuple[str, Callable[[Path], Written]]] = {
    "fmf 1": ("fmf", lambda f: fmf(f, 1)),
    "fmf 3": ("fmf", lambda f: fmf(f, 3, stated=0)),
    "norpix 5": ("norpix", norpix),
    "norpix 3": ("norpix", lambda f: norpix(f, 3)),
    "norpix BGR": ("norpix", lambda f: norpix(f, 5, 200, 24)),
    "norpix RGB": ("norpix", lambda f: norpix(f, 5, 400, 24)),
    "norpix BGRx": ("norpix", lambda f: norpix(f, 5, 500, 32)),
    "norpix 12 bits": ("norpix", lambda f: norpix(f, 5, 100, 16, 12)),
    "norpix JPEG": ("norpix", lambda f: norpix(f, 5, jpeg=True)),
    "ufmf 1": ("ufmf", ufmf_old),
    "ufmf 2": ("ufmf", lambda f: ufmf(f, 2)),
    "ufmf 3": ("ufmf", ufmf),
    "ufmf 3 unfinished": ("ufmf", lambda f: ufmf(f, 3, index=False)),
    "ufmf 4 RGB": ("ufmf", lambda f: ufmf(f, 4, 3)),
    "ufmf 4 fixed": ("ufmf", lambda f: ufmf(f, 4, 3, fixed=True)),
    "images png": ("images", images),
    "images 16 bits": ("images", lambda f: images(f, deep=True)),
    "images jpg": ("images", lambda f: images(f, "jpg")),
    "images webp": ("images", lambda f: images(f, "webp")),
    "images bmp": ("images", lambda f: images(f, "bmp")),
    "images tif": ("images", lambda f: images(f, "tif")),
    "imgstore png": ("imgstore", imgstore),
    "imgstore npy": ("imgstore", lambda f: imgstore(f, "npy")),
    "imgstore mp4": ("imgstore", lambda f: imgstore(f, "mp4")),
    **{
        f"tiff {kind}": ("tiff", lambda f, kind=kind: tiff(f, kind))
        for kind in ("plain", "pages", "big", "imagej", "ome", "deflate", "deep")
    },
    **{
        f"hdf5 {kind}": ("hdf5", lambda f, kind=kind: hdf5(f, kind))
        for kind in ("grey", "channels first", "12 bits", "floats")
    },
    **{
        f"zarr {kind}": ("zarr", lambda f, kind=kind: zarr(f, kind))
        for kind in ("v2", "v3", "ome", "group")
    },
    **{
        f"nwb {kind}": ("nwb", lambda f, kind=kind: nwb(f, kind))
        for kind in ("timestamps", "rate", "x first", "external")
    },
}
"""Name → the reader's name and the function that writes a sample into a folder."""
