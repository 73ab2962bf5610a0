"""What sharing between overlapping windows saves; part of benchmarks/encoder.py.

Every window whole means that its 16 frames pass the spatial encoder and all their tokens the
temporal one. The windows' way is that of `WindowEncoder` between the ends of a recording: each
frame once in space, its part of the first temporal projections with it, and the last temporal
layer for the frames kept. Both by the same engine, in the same batches; per frame kept.

With a focus on a quarter of the frame, only that quarter's patches pass the temporal encoder; that
is compared with whole frames at the same hop.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from ethoprism import window_encoder
from ethoprism.backbones.spec import Backbone, Features
from ethoprism.crops import Focus, Region
from ethoprism.window_encoder import Cells, default_batches
from ethoprism.windows import WindowGrid

HOPS = (8, 4, 1)


class Steps:
    """The encoder's calls, each waited for.

    Parameters
    ----------
    backbone
        The encoder.
    hop
        Sampled frames between windows; the window's length to encode it whole.
    focus
        Whether only a quarter of the patches is followed in time.
    """

    def __init__(self, backbone: Backbone, hop: int, *, focus: bool = False):
        card = backbone.card
        half = Region(0, 0, card.grid // 2, card.grid // 2)
        quarter = Focus(half, card.grid, card.grid) if focus else None
        self.cells = Cells(card.grid, min(4, card.grid), quarter)
        self.batches = default_batches(card)
        self.grid = WindowGrid(100 * card.frames, card.frames, hop)
        self.kept = self.grid.kept_between if hop < card.frames else None
        self.shared = hop < card.frames
        self.backbone = backbone
        size = card.input_size
        shape = (self.batches.frames, size, size, 3)
        self.frames = np.random.default_rng(7).integers(0, 256, shape, np.uint8)
        self.padding = np.zeros((self.batches.windows, card.frames), bool)
        self.rows = np.arange(card.frames)[None] + np.arange(self.batches.windows)[:, None]
        features = backbone.spatial(self.frames, shared=self.shared)
        n = card.frames + max(self.batches.frames, self.batches.windows)
        self.ring: Features = jax.tree.map(
            lambda x: jax.numpy.zeros((n, *x.shape[1:]), x.dtype), features
        )

    def spatial(self) -> None:
        """A batch of frames into the ring."""
        features = self.backbone.spatial(self.frames, shared=self.shared)
        self.ring = window_encoder._put(self.ring, features, 0)
        jax.block_until_ready(self.ring)

    def temporal(self) -> None:
        """A batch of windows out of it."""
        features = window_encoder._take(self.ring, self.rows)
        tokens = self.backbone.temporal(features, self.padding, self.kept, self.cells.positions)
        self.cells.pool(tokens).block_until_ready()

    def cycle(self, hop: int) -> float:
        """Seconds per frame kept of the shortest run that makes whole batches of both kinds.

        Parameters
        ----------
        hop
            Frames that a window is encoded for.
        """
        in_space = hop if self.shared else self.backbone.card.frames  # frames encoded a window
        windows = self.batches.windows
        while windows * in_space % self.batches.frames:
            windows += self.batches.windows
        start = time.perf_counter()
        for _ in range(windows * in_space // self.batches.frames):
            self.spatial()
        for _ in range(windows // self.batches.windows):
            self.temporal()
        return (time.perf_counter() - start) / (windows * hop)


def speedups(
    backbone: Backbone, rounds: int, say: Callable[[str], None] = print
) -> dict[str, float | list[float]]:
    """``speedup_hop8``, ``…4``, ``…1``: medians of the rounds, and their ranges as ``…_range``.

    ``speedup_focus_hop8`` and so on: a focus on a quarter over whole frames, at the same hop.
    """
    hops = [hop for hop in HOPS if hop < backbone.card.frames]
    whole = Steps(backbone, backbone.card.frames)
    steps = {hop: Steps(backbone, hop) for hop in hops}
    focused = {hop: Steps(backbone, hop, focus=True) for hop in hops}
    for each in (whole, *steps.values(), *focused.values()):  # compiles
        each.spatial()
        each.temporal()
    ratios: dict[int, list[float]] = {hop: [] for hop in hops}
    over_whole: dict[int, list[float]] = {hop: [] for hop in hops}
    for number in range(rounds):
        of_window = whole.cycle(1)
        for hop, each in steps.items():
            seconds = each.cycle(hop)
            ratios[hop].append(of_window / hop / seconds)
            over_whole[hop].append(seconds / focused[hop].cycle(hop))
        latest = ", ".join(f"hop {hop}: {found[-1]:.2f}" for hop, found in ratios.items())
        say(f"round {number + 1}: {of_window:.2f} s a window; {latest}")
    figures: dict[str, float | list[float]] = {}
    for hop, found in ratios.items():
        figures[f"speedup_hop{hop}"] = int(100 * statistics.median(found)) / 100
        figures[f"speedup_hop{hop}_range"] = [round(min(found), 2), round(max(found), 2)]
        say(f"hop {hop}: {figures[f'speedup_hop{hop}']}x encoding every window whole")
        quarter = over_whole[hop]
        figures[f"speedup_focus_hop{hop}"] = int(100 * statistics.median(quarter)) / 100
        figures[f"speedup_focus_hop{hop}_range"] = [round(min(quarter), 2), round(max(quarter), 2)]
        say(f"  focus on a quarter: {figures[f'speedup_focus_hop{hop}']}x whole frames")
    return figures
