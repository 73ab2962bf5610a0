"""VideoArray: a recording's frames as napari slices them, one frame in memory at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import FrameSource
from ethoprism.recording import Recording, open_frames
from napari_ethoprism.frame_supply import FrameSupply, Picture, open_decoder

MOST_BYTES = 256 << 20
"""The largest block that is decoded at once: napari asks for all frames in its 3D display."""

GRACE_S = 0.02
"""How long the interface waits for a frame: one that follows another is mostly there by then."""


class VideoArray:
    """The frames of a recording as an array ``[frames, height, width, 3]``, uint8.

    The frames are those of `open_frames`, bit for bit. One that cannot be decoded is black, so that
    the picture of another frame never stands in its place, and `problem` says why.

    Once it is live, napari's own slicing never waits for a decoder: it gets a frame that is there,
    or a veiled picture, washed out so that nobody takes it for the frame, and `pending` tells which
    frame is being decoded. Everyone else who indexes the array gets exact frames, live or not.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, recording: Recording):
        self.recording = recording
        self._shape = (recording.n_frames, recording.height, recording.width, 3)
        self._lock = threading.Lock()
        self._reader: FrameSource | None = open_frames(recording)
        self._last: tuple[int, np.ndarray, str] | None = None
        self._supply: FrameSupply | None = None
        self._pending: int | None = None
        self._given: tuple[int, Picture] | None = None
        self._told: Callable[[], None] = lambda: None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_frames, height, width, 3)``."""
        return self._shape

    @property
    def live(self) -> bool:
        """Whether frames come from a thread of their own."""
        return self._supply is not None

    @property
    def pending(self) -> int | None:
        """The frame that is being decoded while a veiled picture is shown; None if it is exact."""
        return self._pending

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Frames as an array indexed by ``key`` would give them.

        Raises
        ------
        InputError
            If the frames would take more than `MOST_BYTES`.
        """
        if self._supply is not None and _by_napari(sys._getframe(1).f_globals):
            n = _whole_frame(key, len(self))
            if n is not None:
                picture = self._display(self._supply, n)
                return picture[None] if isinstance(key[0], slice) else picture
        first, *rest = key if isinstance(key, tuple) else (key,)
        if not isinstance(first, slice):
            return self._frame(range(len(self))[first])[0][tuple(rest)]
        numbers = range(*first.indices(len(self)))
        size = len(numbers) * int(np.prod(self.shape[1:]))
        if size > MOST_BYTES:
            raise InputError(
                f"{len(numbers)} frames at once would take {size / 1e9:.1f} GB of memory",
                expected=f"at most {MOST_BYTES / 1e9:.1f} GB",
                remedy="Show the recording in the 2D display, one frame at a time.",
            )
        block = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for row, n in enumerate(numbers):
            block[row] = self._frame(n)[0]
        return block[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All frames, where they fit into `MOST_BYTES`."""
        return np.asarray(self[:], dtype)

    def problem(self, n: int) -> str:
        """Why frame ``n`` cannot be shown, as one paragraph; empty where it can.

        Of a live array it is empty as well while that is not known yet.
        """
        return self._frame(n)[1] if self._supply is None else self._supply.problem(n)

    def go_live(
        self,
        arrived: Callable[[int], None],
        told: Callable[[], None],
        capacity: int | None = None,
    ) -> None:
        """Decode in a thread of its own from now on.

        Parameters
        ----------
        arrived
            Called with the number of a frame that was waited for, in that thread.
        told
            Called when `pending` has changed, by whoever sliced.
        capacity
            Bytes of memory for frames.
        """
        self.rest()
        self._told = told
        self._supply = FrameSupply(
            partial(open_decoder, self.recording), self.shape, arrived, capacity
        )

    @property
    def outdated(self) -> bool:
        """Whether napari would be given another picture than it was given last."""
        if self._supply is None:
            return False
        if self._pending is not None:
            return self._supply.has(self._pending)
        if self._given is None:
            return False
        n, picture = self._given
        return self._supply.picture(n) is not picture

    def prepare(self, n: int) -> bool:
        """Whether a live array can show frame ``n`` at once; it is fetched where it cannot."""
        if self._supply is None:
            return True
        self._supply.want(n)
        return self._supply.has(n)

    def settle(self, timeout: float) -> bool:
        """Wait until all that was asked for is decoded and confirmed; whether it is."""
        return self._supply is None or self._supply.settle(timeout)

    def rest(self) -> None:
        """End the thread, close the file and free the memory.

        Who asks for a frame afterwards opens the file again, and waits for the decoder.
        """
        if self._supply is not None:
            self._supply.close()
            self._supply = None
            self._pending = self._given = None
            self._told = lambda: None

        with self._lock:
            self._last = None
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    close = rest

    def _display(self, supply: FrameSupply, n: int) -> np.ndarray:
        """Frame ``n``, or a veiled picture while it is being decoded."""
        picture = supply.picture(n)
        supply.want(n)
        if picture is None and self._pending is None:
            picture = supply.picture(n, GRACE_S)
        self._given = None if picture is None else (n, picture)
        self._set_pending(n if picture is None else None)
        if picture is not None:
            return picture.rgb
        near = supply.nearest(n)
        near_by = None if near is None else supply.picture(near)
        return veiled(np.zeros(self.shape[1:], np.uint8) if near_by is None else near_by.rgb)

    def _set_pending(self, n: int | None) -> None:
        if n != self._pending:
            self._pending = n
            self._told()

    def _frame(self, n: int) -> tuple[np.ndarray, str]:
        """Frame ``n`` and its problem. The last one is kept: the layer and the dock both ask."""
        with self._lock:
            last = self._last
            if last is None or last[0] != n:
                if self._reader is None:
                    self._reader = open_frames(self.recording)
                try:
                    last = (n, self._reader[n], "")
                except VideoError as error:
                    last = (n, np.zeros(self.shape[1:], np.uint8), str(error))
                self._last = last
            return last[1], last[2]


def veiled(picture: np.ndarray) -> np.ndarray:
    """A picture washed out to a quarter of its contrast: it is not the frame that is asked for."""
    return (picture >> 2) + np.uint8(96)


def _by_napari(caller: dict[str, Any]) -> bool:
    """Whether it is napari that slices, in the thread of the interface.

    Only such a call may be answered with a veiled picture. Should napari slice from elsewhere one
    day, it gets exact frames, though it then waits for them.
    """
    in_interface = threading.current_thread() is threading.main_thread()
    return in_interface and str(caller.get("__name__")).startswith("napari.")


def _whole_frame(key: Any, n_frames: int) -> int | None:
    """The frame that a key selects if it selects just one and all of it.

    napari gives a slice of one frame and leaves out the colours, which are no axis to it.
    """
    if not isinstance(key, tuple) or any(part != slice(None) for part in key[1:]):
        return None
    if not isinstance(key[0], slice):
        return range(n_frames)[key[0]]
    numbers = range(n_frames)[key[0]]
    return numbers[0] if len(numbers) == 1 else None
