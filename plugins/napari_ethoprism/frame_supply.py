"""FrameSupply: frames of one recording, decoded in a thread of its own and kept; no Qt.

Whoever shows frames asks with `want` and never waits for a decoder. The newest wish wins: a frame
that nobody waits for any more is given up on the way; what was decoded until then is kept. When all
is there, the frames around the playhead are decoded ahead, in the direction in which it moved last.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from av.video.frame import VideoFrame

from ethoprism.errors import EthoPrismError, VideoError
from ethoprism.frame_source import FrameSource
from ethoprism.recording import Recording, open_frames
from ethoprism.video import FrameReader, RgbConverter
from napari_ethoprism.frame_cache import FrameCache, budget, prefetch_order

_log = logging.getLogger(__name__)

_FURTHEST = 120  # frames that are decoded ahead at most
_CONVERTED = 8  # frames ahead that are made ready to be shown as well

Passed = Callable[[int, Any], None]
"""Called with a frame's number and the frame as the decoder gave it, or None if it is damaged."""


class Decoder(Protocol):
    """What a supply decodes with. It is opened, used and closed in the thread of the supply."""

    def decode_to(self, n: int, passed: Passed) -> None:
        """Decode frame ``n``; ``passed`` gets it and all frames on the way, and may raise."""
        ...

    def glimpse(self, n: int, wanted: Callable[[], bool]) -> Any:
        """Frame ``n`` sooner than by `decode_to`, which then confirms it; None where it is not."""
        ...

    def converter(self) -> Callable[[Any], np.ndarray]:
        """A function from a frame as it was decoded to RGB; for one thread."""
        ...

    def why(self, n: int) -> str:
        """Why frame ``n``, which was given as None, cannot be shown."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class VideoDecoder:
    """Frames of a video stream, kept as the codec gave them."""

    def __init__(self, reader: FrameReader):
        self._reader = reader
        self.decode_to = reader.decode_to
        self.glimpse = reader.glimpse
        self.close = reader.close

    def converter(self) -> Callable[[Any], np.ndarray]:
        """To RGB, by the way that all frames of the library go."""
        return RgbConverter(self._reader.turns)

    def why(self, n: int) -> str:
        """As the reader says it."""
        return str(self._reader.damage(n))


class SourceDecoder:
    """Frames of any other source, each read on its own."""

    def __init__(self, source: FrameSource):
        self._source = source
        self._why: dict[int, str] = {}
        self.close = source.close

    def decode_to(self, n: int, passed: Passed) -> None:
        """Frame ``n`` alone."""
        try:
            frame = self._source[n]
        except VideoError as error:
            self._why[n] = str(error)
            frame = None
        passed(n, frame)

    def glimpse(self, n: int, wanted: Callable[[], bool]) -> None:
        """None: there is no quicker way."""

    def converter(self) -> Callable[[Any], np.ndarray]:
        """Nothing is to be converted."""
        return np.asarray

    def why(self, n: int) -> str:
        """As the source said it."""
        return self._why.get(n, f"Frame {n} cannot be read.")


def open_decoder(recording: Recording) -> Decoder:
    """The decoder of a recording.

    Raises
    ------
    VideoError
        If the file cannot be read, or is not the one that was imported.
    """
    source = open_frames(recording)
    return VideoDecoder(source) if isinstance(source, FrameReader) else SourceDecoder(source)


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame that can be shown: uint8 ``[height, width, 3]``, and why it is black, or empty."""

    rgb: np.ndarray
    problem: str = ""


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A frame as the codec gave it; None where it cannot be shown, with the reason."""

    frame: Any
    problem: str = ""

    @property
    def nbytes(self) -> int:
        if isinstance(self.frame, VideoFrame):
            return sum(plane.buffer_size for plane in self.frame.planes)
        return 0 if self.frame is None else self.frame.nbytes


class _GivenUpError(Exception):
    """Another frame is wanted, or none any more."""


class FrameSupply:
    """Frames of one recording for one place that shows them. Close it.

    Parameters
    ----------
    opener
        Opens the decoder; called in the supply's thread.
    shape
        ``(n_frames, height, width, 3)``.
    arrived
        Called with the number of a frame that was wanted and can be shown now, in the supply's
        thread.
    capacity
        Bytes of memory for frames.
    furthest
        Frames that are decoded ahead at most.
    """

    def __init__(
        self,
        opener: Callable[[], Decoder],
        shape: tuple[int, int, int, int],
        arrived: Callable[[int], None],
        capacity: int | None = None,
        furthest: int = _FURTHEST,
    ):
        capacity = budget() if capacity is None else capacity
        self._opener, self._shape, self._arrived = opener, shape, arrived
        self._furthest = furthest
        self._decoded: FrameCache[_Decoded] = FrameCache(capacity * 3 // 4, lambda d: d.nbytes)
        self._pictures: FrameCache[Picture] = FrameCache(capacity // 4, lambda p: p.rgb.nbytes)
        self._changed = threading.Condition()
        self._wish: int | None = None
        self._forward = True
        self._closed = False
        self._resting = True
        self._failure = ""
        self._failed_for: int | None = None
        self._convert: Callable[[Any], np.ndarray] | None = None  # of those who ask
        self._thread: threading.Thread | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that the frames take."""
        return self._decoded.nbytes + self._pictures.nbytes

    def want(self, n: int) -> None:
        """Ask for a frame; an earlier wish is dropped."""
        with self._changed:
            if n == self._wish:
                return
            if self._wish is not None:
                self._forward = n > self._wish
            self._wish = n
            self._failed_for = None
            self._resting = False
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._work, name="ethoprism frames", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def picture(self, n: int, timeout: float = 0.0) -> Picture | None:
        """Frame ``n`` if it is there, or is so within ``timeout`` seconds; nothing is decoded."""
        with self._changed:
            found = self._ready(n)
            if found is None and timeout > 0:
                self._changed.wait_for(lambda: self._has(n) or self._closed, timeout)
                found = self._ready(n)
            return found

    def settle(self, timeout: float) -> bool:
        """Wait until nothing is left to decode, ahead of the playhead neither; whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._resting, timeout)

    def has(self, n: int) -> bool:
        """Whether frame ``n`` can be shown at once."""
        with self._changed:
            return self._has(n)

    def problem(self, n: int) -> str:
        """Why frame ``n`` cannot be shown; empty where it can, and where that is not known yet."""
        decoded = self._decoded.get(n)
        if decoded is not None:
            return decoded.problem
        return self._failure if self._failed_for == n else ""

    def nearest(self, n: int) -> int | None:
        """The number nearest to ``n`` of the frames that are kept."""
        found = (self._decoded.nearest(n), self._pictures.nearest(n))
        kept = [number for number in found if number is not None]
        return min(kept, key=lambda number: abs(number - n), default=None)

    def close(self) -> None:
        """End the thread, close the file and free the memory."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
        self._decoded.clear()
        self._pictures.clear()

    def _has(self, n: int) -> bool:
        return n in self._pictures or n in self._decoded or self._failed_for == n

    def _ready(self, n: int) -> Picture | None:
        found = self._pictures.get(n)
        if found is not None:
            self._decoded.get(n)  # it counts as used
            return found
        decoded = self._decoded.get(n)
        if decoded is not None and (decoded.frame is None or self._convert is not None):
            return self._show(n, decoded, self._convert)
        if self._failed_for == n:
            return Picture(np.zeros(self._shape[1:], np.uint8), self._failure)
        return None

    def _show(self, n: int, decoded: _Decoded, convert: Any) -> Picture:
        if decoded.frame is None:
            picture = Picture(np.zeros(self._shape[1:], np.uint8), decoded.problem)
        else:
            picture = Picture(convert(decoded.frame))
        self._pictures.put(n, picture)
        return picture

    # What follows runs in the thread.

    def _work(self) -> None:
        decoder: Decoder | None = None
        convert: Any = None
        try:
            while (task := self._next()) is not None:
                n, wished = task
                try:
                    if decoder is None:
                        decoder = self._opener()
                        convert = decoder.converter()
                        self._convert = decoder.converter()
                    self._fetch(decoder, convert, n, wished)
                except Exception as error:  # the thread must go on, and the reason be told
                    self._fail(error)
                    if decoder is not None:
                        decoder.close()
                        decoder = None
        finally:
            if decoder is not None:
                decoder.close()

    def _next(self) -> tuple[int, bool] | None:
        """The frame to see to, and whether it is wished for; None when all is over."""
        with self._changed:
            while not self._closed:
                wish = self._wish
                if wish is not None and self._failed_for != wish:
                    kept = self._pictures.get(wish), self._decoded.get(wish)
                    if None in kept:
                        return wish, True
                    ahead = self._ahead(wish)
                    if ahead is not None:
                        return ahead, False
                self._resting = True
                self._changed.notify_all()
                self._changed.wait()
            return None

    def _ahead(self, playhead: int) -> int | None:
        """The next frame to decode ahead. Those that are there are kept from being dropped."""
        order = prefetch_order(playhead, self._forward, self._shape[0], self._reach)
        for offset, n in enumerate(order):
            if self._decoded.get(n) is None:
                return n
            if offset < self._ready_ahead and self._pictures.get(n) is None:
                return n
        return None

    @property
    def _capacity(self) -> int:
        """Frames that fit into the memory, by those that are there."""
        kept = len(self._decoded)
        each = self._decoded.nbytes / kept if kept else 0.0
        return int(self._decoded.capacity / max(each, 1.0, self._shape[1] * self._shape[2]))

    @property
    def _reach(self) -> int:
        return min(self._furthest, self._capacity // 5)

    @property
    def _ready_ahead(self) -> int:
        size = int(np.prod(self._shape[1:]))
        return min(_CONVERTED, self._pictures.capacity // size - 2)

    def _fetch(self, decoder: Decoder, convert: Any, n: int, wished: bool) -> None:
        lookback = max(self._capacity // 2, 1)

        def passed(number: int, frame: Any) -> None:
            if number > n - lookback:
                problem = "" if frame is not None else decoder.why(number)
                self._decoded.put(number, _Decoded(frame, problem))
            if self._closed or (number != n and self._outdated(n, wished)):
                raise _GivenUpError

        shown = self._pictures.get(n) is not None
        decoded = self._decoded.get(n)
        if decoded is None:
            if wished and not shown:
                shown = self._glimpse(decoder, convert, n)
            try:
                decoder.decode_to(n, passed)
            except _GivenUpError:
                return
            decoded = self._decoded.get(n)
        if decoded is not None and (not shown or decoded.frame is None):
            self._show(n, decoded, convert)
            self._announce(n)

    def _glimpse(self, decoder: Decoder, convert: Any, n: int) -> bool:
        """Show frame ``n`` before all that leads to it is decoded, where that is possible."""
        frame = decoder.glimpse(n, lambda: self._wish == n and not self._closed)
        if frame is not None:
            self._pictures.put(n, Picture(convert(frame)))
            self._announce(n)
        return frame is not None

    def _announce(self, n: int) -> None:
        with self._changed:
            self._changed.notify_all()
            wished = n == self._wish
        if wished and not self._closed:
            self._arrived(n)

    def _outdated(self, n: int, wished: bool) -> bool:
        """Whether decoding frame ``n`` has become a detour."""
        wish = self._wish
        if wished or wish is None:
            return wish != n
        return wish not in self._pictures and wish not in self._decoded

    def _fail(self, error: Exception) -> None:
        """Nothing is tried again until another frame is wanted."""
        known = isinstance(error, EthoPrismError)
        text = (
            str(error) if known else f"The frame cannot be read ({type(error).__name__}: {error})."
        )
        if not known:
            _log.error("decoding failed", exc_info=error)
        with self._changed:
            self._failure = text
            self._failed_for = self._wish
            self._changed.notify_all()
            wish = self._wish
        if wish is not None and not self._closed:
            self._arrived(wish)
