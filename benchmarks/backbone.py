"""What a backbone's frozen features are worth: beside the untrained one, pixels and ImageNet.

    python benchmarks/backbone.py RECORDINGS_FOLDER [--weights PATH] [--quick] [--json]

On the courting flies (pose-derived labels, six bouts of wing extension: indicative) windows of
eight frames, four apart, are described by the mean, mean absolute change, maximum and deviation of
their tokens, and a logistic regression is fitted. Each of ten blocks is predicted once, by one that
saw neither it nor a window near it. Views: a square of two body lengths that follows the male, one
of four (``wide``), and whole frames. Intervals (80 %) resample the ten blocks.

On the arena the same descriptors are learnt from 1, 5, 20 and 100 bouts of each behaviour, and the
F1 of each is measured on recordings of other seeds. All of these recordings have bodies, floors,
lenses, light and frame rates from ranges that pre-training never draws (`HELD_OUT`); mean and range
over the seeds by which the bouts are drawn.

``--weights`` is a checkpoint of `prism-nano`; without it the packaged weights are measured, if any.
``--readout probe`` fits the project's own probe on the flies in place of the regression, frame by
frame, with several seeds: for each block one probe of three networks (``--head``) that saw neither
it nor a frame near it. Its AUC compares all tested frames; figures ``within`` compare frames of one
probe only, as probes are calibrated apart. ``--quick`` measures the flies' crops only. Cut-out
frames and descriptors are kept in ``--cache`` (a folder among the temporary ones).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flies
import numpy as np
import subject_crops
from backbone_data import (
    ARENA_VERSION,
    FLY_BEHAVIOURS,
    FRAMES,
    HOP,
    MARGINS,
    QUICK,
    ArenaSize,
    Windows,
    arena_windows,
    fly_windows,
)
from flies import BLOCKS
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ethoprism import workflow
from ethoprism.backbones.efficientnet import efficientnet_lite0
from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.nano import NAME, prism_nano, untrained_parameters
from ethoprism.backbones.spec import Backbone
from ethoprism.backbones.videoprism import build_backbone
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.heads import HEADS
from ethoprism.probe.train import DEFAULT_HEAD
from ethoprism.subjects import Unit
from ethoprism_datasets.arena import BEHAVIOURS

GAP = 16
"""Frames on each side of a block from which nothing is learnt: two windows' length."""
STRENGTH = 0.01
"""C of the logistic regressions: the same for all features, and not chosen on this data."""
SHOTS = (1, 5, 20, 100)
PIXELS = 36
COMPONENTS = 64
VIEWS = (*MARGINS, "whole")
NETWORKS = 3
"""Of one probe, each stopped on another third of what is not held out."""
PROBE_CROPS = {"subject 2 lengths": "", "subject 4 lengths": "_wide", "whole": "_whole"}


@dataclass(frozen=True, eq=False)
class Contender:
    """Something that turns windows into descriptors.

    ``suffix`` ends the names of its figures; ``describe(windows)`` gives ``[windows, features]``.
    """

    label: str
    suffix: str
    size: int
    digest: str
    describe: Callable[[Windows], np.ndarray]
    backbone: Backbone | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recordings", type=Path, help="folder with the clip, labels and tracks")
    parser.add_argument("--weights", help="checkpoint of prism-nano")
    parser.add_argument("--only", action="append", help="nano, untrained, pixels or efficientnet")
    parser.add_argument(
        "--view", action="append", choices=VIEWS, help="only this view of the flies"
    )
    parser.add_argument("--readout", choices=("descriptor", "probe"), default="descriptor")
    parser.add_argument("--head", choices=HEADS, default=DEFAULT_HEAD, help="of the probe")
    parser.add_argument("--arena", action="store_true", help="measure on the arena as well")
    parser.add_argument("--seeds", type=int, default=5, help="draws of bouts, or of probes (5)")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "ethoprism-backbone"
    )
    parser.add_argument("--quick", action="store_true", help="the flies' crops, pixels left out")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    wanted = options.only or (
        ["nano", "untrained"] if options.quick else ["nano", "untrained", "pixels", "efficientnet"]
    )
    result: dict[str, Any] = {"readout": options.readout}
    threadpool_limits(1)  # small products: threads that wait for one another cost more than they do
    for name in wanted:
        contender = _contender(name, options.weights)
        if contender is None:
            continue
        began = time.perf_counter()
        result[f"backbone{contender.suffix}"] = contender.label
        if options.readout == "probe" and contender.backbone is not None:
            result |= _with_probe(contender, contender.backbone, options)
        else:
            for view in options.view or (VIEWS[:1] if options.quick else VIEWS):
                result |= _on_flies(contender, options, view)
        if options.arena:
            result |= _on_arena(contender, options)
        print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    if options.json:
        print(json.dumps(result))


# What is compared


def _contender(name: str, weights: str | None) -> Contender | None:
    if name == "pixels":
        return Contender("pixel PCA", "_pixels", PIXELS, "pixels", _pixel_descriptors)
    if name == "efficientnet":
        return _of_backbone(efficientnet_lite0(), "_efficientnet")
    if name == "untrained":
        untrained = build_backbone(
            NAME, NANO, untrained_parameters, trained=False, precision="float32", note=""
        )
        return _of_backbone(untrained, "_untrained")
    backbone = prism_nano(weights)
    return _of_backbone(backbone, "") if backbone.card.trained else None


def _of_backbone(backbone: Backbone, suffix: str) -> Contender:
    card = backbone.card
    return Contender(
        card.label,
        suffix,
        card.input_size,
        card.weights_sha256[:16],
        lambda windows: _descriptors(backbone, windows),
        backbone,
    )


def _descriptors(backbone: Backbone, windows: Windows, batch: int = 8) -> np.ndarray:
    """Mean, mean absolute change, maximum and deviation of each window's tokens."""
    spatial, rows = 32, []
    ahead: dict[int, np.ndarray] = {}
    padding = np.zeros((batch, FRAMES), bool)
    for start in range(0, len(windows.index), batch):
        index = windows.index[start : start + batch]
        index = np.concatenate([index, np.repeat(index[-1:], batch - len(index), axis=0)])
        needed = np.unique(index)
        ahead = {i: ahead[i] for i in needed.tolist() if i in ahead}
        missing = np.array([i for i in needed.tolist() if i not in ahead])
        for at in range(0, len(missing), spatial):
            which = missing[at : at + spatial]
            filled = np.concatenate([which, np.repeat(which[-1:], spatial - len(which))])
            tokens = np.asarray(backbone.spatial(np.asarray(windows.frames[filled])))
            ahead.update(zip(which.tolist(), tokens, strict=False))
        features = np.stack([[ahead[i] for i in window] for window in index.tolist()])
        tokens = np.asarray(backbone.temporal(features, padding), np.float32)
        rows.append(_pooled(tokens))
    return np.concatenate(rows)[: len(windows.index)]


def _pooled(tokens: np.ndarray) -> np.ndarray:
    """``[windows, 4 · width]`` of ``[windows, frames, tokens, width]``."""
    change = np.abs(np.diff(tokens, axis=1)).mean(axis=(1, 2))
    over = (1, 2)
    parts = [tokens.mean(axis=over), change, tokens.max(axis=over), tokens.std(axis=over)]
    return np.concatenate(parts, axis=1)


def _pixel_descriptors(windows: Windows) -> np.ndarray:
    """The same of 64 principal components of small grey frames, one token a frame."""
    grey = np.asarray(windows.frames, np.float32).mean(axis=-1).reshape(len(windows.frames), -1)
    few = np.random.default_rng(0).permutation(len(grey))[:3000]
    components = PCA(COMPONENTS, random_state=0).fit(grey[few]).transform(grey)
    return _pooled(components[windows.index][:, :, None])


def _cached(contender: Contender, windows: Windows, name: str, cache: Path) -> np.ndarray:
    path = cache / f"{name}-{contender.digest}{contender.suffix}.descriptors.npy"
    if path.is_file():
        return np.load(path)
    found = contender.describe(windows)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


# On the flies


def _on_flies(contender: Contender, options: argparse.Namespace, view: str) -> dict[str, Any]:
    windows = fly_windows(options.recordings, options.cache, view, contender.size)
    x = _cached(contender, windows, f"flies-{view}", options.cache)
    result: dict[str, Any] = {}
    ending = contender.suffix + ("" if view == "crop" else f"_{view}")
    print(f"{contender.label}, {view}", flush=True)
    for column, name in enumerate(FLY_BEHAVIOURS):
        truth = windows.truth[:, column]
        probability = _blockwise(x, truth)
        result |= _figures(name + ending, truth, probability)
    return result


def _blockwise(x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Probability of each window from a regression on the other blocks, less a gap."""
    probability = np.empty(len(x))
    for block in np.array_split(np.arange(len(x)), BLOCKS):
        near = GAP // HOP
        away = np.ones(len(x), bool)
        away[max(block[0] - near, 0) : block[-1] + 1 + near] = False
        probability[block] = _fitted(x[away], truth[away]).predict_proba(x[block])[:, 1]
    return probability


def _fitted(x: np.ndarray, truth: np.ndarray) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=500)).fit(
        x, truth
    )


def _figures(name: str, truth: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    auc, ap = roc_auc_score(truth, probability), average_precision_score(truth, probability)
    low, high = _interval(truth, lambda rows: roc_auc_score(truth[rows], probability[rows]))
    ap_low, ap_high = _interval(
        truth, lambda rows: average_precision_score(truth[rows], probability[rows])
    )
    print(
        f"  {name:32} AUC {auc:.3f} [{low:.3f}, {high:.3f}]  AP {ap:.3f} [{ap_low:.3f},"
        f" {ap_high:.3f}]  prevalence {truth.mean():.3f}",
        flush=True,
    )
    return {
        f"auc_{name}": round(float(auc), 4),
        f"auc_{name}_interval": [round(low, 4), round(high, 4)],
        f"ap_{name}": round(float(ap), 4),
        f"ap_{name}_interval": [round(ap_low, 4), round(ap_high, 4)],
    }


def _auc_within(truth: np.ndarray, probability: np.ndarray, fold: np.ndarray) -> float:
    """AUC over pairs of the same fold; NaN if no fold has both kinds."""
    right = pairs = 0.0
    for number in np.unique(fold):
        own = fold == number
        n = float(truth[own].sum() * (~truth[own]).sum())
        if n:
            right += n * float(roc_auc_score(truth[own], probability[own]))
            pairs += n
    return right / pairs if pairs else float("nan")


def _interval(
    truth: np.ndarray, score: Callable[[np.ndarray], Any], draws: int = 300
) -> tuple[float, float]:
    """80 % interval of a score of rows, over blocks drawn with replacement."""
    rng = np.random.default_rng(0)
    blocks = np.array_split(np.arange(len(truth)), BLOCKS)
    values = []
    for _ in range(draws):
        rows = np.concatenate([blocks[i] for i in rng.integers(0, BLOCKS, BLOCKS)])
        if truth[rows].any() and not truth[rows].all():
            values.append(float(score(rows)))
    low, high = np.nanpercentile(values, [10, 90])
    return float(low), float(high)


def _with_probe(
    contender: Contender, backbone: Backbone, options: argparse.Namespace
) -> dict[str, Any]:
    """The project's own probe on the flies: each of ten blocks held out once, several seeds."""
    result: dict[str, Any] = {}
    folds = [5] if options.quick else list(range(BLOCKS))
    seeds = 1 if options.quick else options.seeds
    crops = {c: v for c, v in PROBE_CROPS.items() if (v[1:] or "crop") in (options.view or VIEWS)}
    with tempfile.TemporaryDirectory() as folder:
        step = 4 if options.quick else 1
        project = subject_crops.project_of(options.recordings, Path(folder) / "p", step)
        every = list(FLY_BEHAVIOURS.values())
        truth = workflow.label_states(project, [flies.NAME], every)[flies.NAME]
        fold = np.arange(len(truth)) * BLOCKS // len(truth)
        for crop, view in list(crops.items())[: 1 if options.quick else None]:
            settings = replace(project.settings, crop=crop, backbone=backbone.card.name)
            project = project.with_settings(settings)
            flies.finish(workflow.extract_tokens(project, backbone))
            key = workflow.project_key(project, backbone)
            subject = subject_crops.MALE if crop.startswith("subject") else ""
            store = workflow.open_tokens(project, key, Unit(flies.NAME, subject))
            item = LabelledTokens(flies.NAME, store, truth[:: key.step], subject)
            runs = [
                flies.cross_validate(
                    project,
                    item,
                    folds,
                    seed,
                    every,
                    held_out=1,
                    ensemble=1 if options.quick else NETWORKS,
                    head=options.head,
                )[:2]
                for seed in range(seeds)
            ]
            print(f"{contender.label}, probe ({options.head}), {crop}, {seeds} seeds", flush=True)
            for column, name in enumerate(FLY_BEHAVIOURS):
                known = (truth[:, column] >= 0) & (runs[0][0][:, column] >= 0)
                each = [probability[known, column] for _, probability in runs]
                ending = f"{name}{contender.suffix}{view}"
                result |= _probe_figures(ending, truth[known, column] == 1, each, fold[known])
    return result


def _probe_figures(
    name: str, shown: np.ndarray, runs: Sequence[np.ndarray], fold: np.ndarray
) -> dict[str, Any]:
    """Figures of the mean over seeds' AUC, interval of the probability averaged over seeds."""
    mean = np.mean(runs, axis=0)
    result = _figures(name, shown, mean)
    each = [float(roc_auc_score(shown, run)) for run in runs]
    within = [_auc_within(shown, run, fold) for run in runs]
    result[f"auc_{name}"] = round(float(np.mean(each)), 4)
    result[f"auc_{name}_seeds"] = [round(value, 4) for value in each]
    result[f"auc_within_{name}"] = round(float(np.mean(within)), 4)
    print(
        f"  {'':32} seeds {np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f}),"
        f" within probes {np.mean(within):.3f}",
        flush=True,
    )
    return result


# On the arena


def _on_arena(contender: Contender, options: argparse.Namespace) -> dict[str, Any]:
    amount = QUICK if options.quick else ArenaSize()
    train, test = arena_windows(options.cache, contender.size, amount)
    kept = f"arena{ARENA_VERSION}-{'quick' if options.quick else 'full'}"
    x = _cached(contender, train, f"{kept}-train", options.cache)
    z = _cached(contender, test, f"{kept}-test", options.cache)
    shots = [n for n in SHOTS if n <= amount.bouts]
    result: dict[str, Any] = {}
    print(f"{contender.label}, arena: {len(x)} windows in bouts, {len(z)} to test on")
    for n in shots:
        scores = np.array([_few_shot(x, train, z, test, n, seed) for seed in range(options.seeds)])
        for b, name in enumerate(BEHAVIOURS):
            result[f"f1_arena_{name}_{n}{contender.suffix}"] = [
                round(float(v), 4) for v in (scores[:, b].mean(), *_range(scores[:, b]))
            ]
        means = scores.mean(axis=1)
        result[f"f1_arena_{n}{contender.suffix}"] = [
            round(float(v), 4) for v in (means.mean(), *_range(means))
        ]
        each = "  ".join(
            f"{b} {s:.3f}" for b, s in zip(BEHAVIOURS, scores.mean(axis=0), strict=True)
        )
        print(f"  {n:3} bouts: mean F1 {means.mean():.3f} ± {means.std():.3f}   {each}", flush=True)
    return result


def _few_shot(
    x: np.ndarray, train: Windows, z: np.ndarray, test: Windows, n: int, seed: int
) -> Sequence[float]:
    """F1 of each behaviour, learnt from ``n`` bouts of each."""
    rng = np.random.default_rng(seed)
    bouts: list[int] = []
    for b in range(len(BEHAVIOURS)):
        own = np.unique(train.group[train.group // 10_000 == b])
        bouts.extend(rng.permutation(own)[:n].tolist())
    rows = np.isin(train.group, bouts)
    scaled = StandardScaler().fit(x[rows])
    x, z = np.asarray(scaled.transform(x[rows])), np.asarray(scaled.transform(z))
    scores = []
    for b in range(len(BEHAVIOURS)):
        shown, known = test.truth[:, b], train.truth[rows, b]
        if known.all() or not known.any():  # one bout of each may show a behaviour throughout
            called = np.full(len(z), bool(known.all()))
        else:
            model = LogisticRegression(C=STRENGTH, max_iter=500).fit(x, known)
            called = np.asarray(model.predict(z), bool)
        hits = float((called & shown).sum())
        scores.append(2 * hits / max(float(called.sum() + shown.sum()), 1.0))
    return scores


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


if __name__ == "__main__":
    main()
