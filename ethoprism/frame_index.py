"""FrameIndex: which packet of the file becomes which frame, and which frames it leans on.

The index is the one place where a frame's number is decided. Packets are counted in the order of
the file, frames in the order of presentation; everything that reads pixels maps one to the other
through these tables and never counts decoded frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import VideoError
from ethoprism.files import replacing
from ethoprism.safety import ZIP_ERRORS, npz_headers

NO_VALUE = int(np.iinfo(np.int64).min)
"""Stands for a timestamp or a byte position that the container does not state."""

_MOST_BYTES = 2**34  # of an index, unpacked: some 100 million packets


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The packets of one video stream and the frames that they become.

    Attributes
    ----------
    stream
        Index of the video stream within its container.
    height, width
        Size of the frames in pixels as they are displayed.
    turns
        Quarter turns counterclockwise from the decoded to the displayed frame, as `numpy.rot90`
        counts them.
    pts, dts
        int64 ``(n_packets,)``: presentation and decoding timestamps in ticks of the stream's time
        base, as the container states them; `NO_VALUE` where it states none.
    pos
        int64 ``(n_packets,)``: where the packet lies in the file, in bytes; `NO_VALUE` if unknown.
    size
        int64 ``(n_packets,)``: bytes of the packet.
    is_key
        bool ``(n_packets,)``: decoding can be entered at this packet.
    is_corrupt
        bool ``(n_packets,)``: the container itself calls the packet damaged.
    frame
        int64 ``(n_packets,)``: the frame that the packet becomes, or −1 if it shows none (cut off
        by an edit list, the second field of a frame, a placeholder).
    frame_times
        float64 ``(n_frames,)``: seconds at which each frame is presented, never decreasing.
    """

    stream: int
    height: int
    width: int
    turns: int
    pts: np.ndarray
    dts: np.ndarray
    pos: np.ndarray
    size: np.ndarray
    is_key: np.ndarray
    is_corrupt: np.ndarray
    frame: np.ndarray
    frame_times: np.ndarray

    @property
    def n_packets(self) -> int:
        """Packets of the stream."""
        return len(self.frame)

    @property
    def n_frames(self) -> int:
        """Frames of the stream."""
        return len(self.frame_times)

    @property
    def decoded_size(self) -> tuple[int, int]:
        """Height and width of a frame before it is turned."""
        return (self.width, self.height) if self.turns % 2 else (self.height, self.width)

    @cached_property
    def packet_of(self) -> np.ndarray:
        """int64 ``(n_frames,)``: the packet that becomes each frame."""
        packets = np.flatnonzero(self.frame >= 0)
        return packets[np.argsort(self.frame[packets])]

    @cached_property
    def moment(self) -> np.ndarray:
        """int64 ``(n_frames,)``: counts distinct times, so that frames of equal time are equal."""
        return np.concatenate([[0], np.cumsum(np.diff(self.frame_times) > 0)])

    @cached_property
    def base(self) -> np.ndarray:
        """int64 ``(n_packets,)``: the key packet from which each packet can be decoded.

        That is the last key packet before it, except for the leading pictures of an open group:
        they follow a key packet in the file but are shown before it and lean on the group before.
        """
        keys = self._keys
        at = np.searchsorted(keys, np.arange(self.n_packets), side="right") - 1
        while True:
            leading = (self.frame >= 0) & (self.frame < self.frame[keys[at]]) & (at > 0)
            if not leading.any():
                return keys[at]
            at = np.where(leading, at - 1, at)

    def entry_before(self, packet: int) -> int:
        """The last key packet before ``packet``; the first packet if there is none."""
        at = int(np.searchsorted(self._keys, packet, side="left")) - 1
        return int(self._keys[max(at, 0)])

    def matches(self, packet: int, pts: int | None, pos: int | None, size: int) -> bool:
        """Whether a packet read from the file is the one that the index calls ``packet``.

        Positions decide where the container states them: some demuxers derive timestamps, and
        derive others after a seek.
        """
        if packet >= self.n_packets or self.size[packet] != size:
            return False
        known_pos = int(self.pos[packet])
        if pos is not None and known_pos != NO_VALUE:
            return pos == known_pos
        known_pts = int(self.pts[packet])
        return pts is None or known_pts == NO_VALUE or pts == known_pts

    def find(self, pts: int | None, pos: int | None, size: int) -> int | None:
        """The one packet with these marks, or None if there is none or more than one."""
        if pos is not None:
            found = _equal(self.pos, self._by_pos, pos)
        elif pts is not None:
            found = _equal(self.pts, self._by_pts, pts)
        else:
            return None
        found = found[self.size[found] == size]
        if len(found) > 1 and pts is not None:
            # Several packets may share a position: in ASF, or where an edit list repeats a part.
            found = found[self.pts[found] == pts]
        return int(found[0]) if len(found) == 1 else None

    @cached_property
    def _keys(self) -> np.ndarray:
        keys = np.flatnonzero(self.is_key)
        # Decoding can always be entered at the start of the file, whatever lies there.
        return keys if len(keys) and keys[0] == 0 else np.concatenate([[0], keys]).astype(np.int64)

    @cached_property
    def _by_pos(self) -> np.ndarray:
        return np.argsort(self.pos, kind="stable")

    @cached_property
    def _by_pts(self) -> np.ndarray:
        return np.argsort(self.pts, kind="stable")


@dataclass(frozen=True)
class Picture:
    """How a file's pictures are to be displayed.

    Attributes
    ----------
    pixel_format
        As FFmpeg names it: ``yuv420p``, ``gray``, ``yuv422p10le``.
    colour_range
        ``limited``, ``full`` or ``unspecified``.
    colour_matrix
        ``BT.601``, ``BT.709``, ``BT.2020``, ``RGB``, ``other`` or ``unspecified``.
    rotation
        Degrees counterclockwise by which the file asks players to turn the picture.
    pixel_aspect
        Width of a pixel over its height.
    interlaced
        Whether a frame is made of two fields of different moments.
    """

    pixel_format: str = ""
    colour_range: str = "unspecified"
    colour_matrix: str = "unspecified"
    rotation: int = 0
    pixel_aspect: float = 1.0
    interlaced: bool = False


@dataclass(frozen=True)
class Findings:
    """What came to light while a file was indexed.

    Attributes
    ----------
    container_frames
        Frames that the container states, or None if it states no number.
    missing_timestamps
        Frames for which the container states no time of presentation.
    tick
        Seconds of one unit of the container's timestamps.
    damage
        Sentences about content that is lost.
    notes
        Sentences about anything else that a user should know.
    picture
        How the pictures are to be displayed.
    """

    container_frames: int | None
    missing_timestamps: int
    tick: float
    damage: tuple[str, ...]
    notes: tuple[str, ...]
    picture: Picture = field(default_factory=Picture)


def save_index(index: FrameIndex, path: Path) -> None:
    """Write an index as a NumPy archive, whole or not at all."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(index, f.name)) for f in fields(index)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_index(path: Path, n_frames: int | None = None) -> FrameIndex:
    """The index that `save_index` wrote, of a recording with ``n_frames`` where they are known.

    Raises
    ------
    VideoError
        If the file is absent or is no such archive. It is a cache: delete it and import anew.
    """
    try:
        return FrameIndex(**_sound_values(path, n_frames))
    except (OSError, ValueError, KeyError, *ZIP_ERRORS) as error:
        raise VideoError(
            f"The frame index {path} cannot be read",
            found=str(error),
            remedy="Delete it and import the recording again.",
        ) from error


def _sound_values(path: Path, n_frames: int | None) -> dict[str, Any]:
    """The fields of an index; a ``ValueError`` where they do not belong together."""
    headers = npz_headers(path, _MOST_BYTES)
    shapes = {name: shape for name, (shape, _) in headers.items()}
    whole = {f.name for f in fields(FrameIndex) if f.type == "int"}
    packets = [f.name for f in fields(FrameIndex) if f.name not in whole | {"frame_times"}]
    if n_frames is not None and shapes["frame_times"] != (n_frames,):
        raise ValueError(f"it is of {shapes['frame_times']} frames")
    (n_packets,) = shapes["frame"] if len(shapes["frame"]) == 1 else (-1,)
    if any(shapes[name] != (n_packets,) for name in packets) or any(shapes[name] for name in whole):
        raise ValueError("its tables do not have one length")
    if n_frames is not None and n_packets > 4 * n_frames + 1000:
        raise ValueError(f"it states {n_packets:,} packets for {n_frames:,} frames")
    with np.load(path, allow_pickle=False) as archive:
        values: dict[str, Any] = {f.name: archive[f.name] for f in fields(FrameIndex)}
    for name in packets:
        if values[name].dtype != (np.bool_ if name.startswith("is_") else np.int64):
            raise ValueError(f"{name} is {values[name].dtype}")
    times, frame = values["frame_times"], values["frame"]
    if times.dtype != np.float64 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError("its times are not in order")
    if not np.array_equal(np.sort(frame[frame >= 0]), np.arange(len(times))):
        raise ValueError("its packets do not become its frames")
    return values | {name: int(values[name]) for name in whole}


def _equal(values: np.ndarray, order: np.ndarray, value: int) -> np.ndarray:
    """The indices at which ``values`` equals ``value``, given the order that sorts it."""
    first = int(np.searchsorted(values, value, side="left", sorter=order))
    last = int(np.searchsorted(values, value, side="right", sorter=order))
    return order[first:last]
