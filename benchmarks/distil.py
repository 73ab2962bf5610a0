"""Does a teacher help a small student? Distilled, without a teacher, and from labels alone.

    python benchmarks/distil.py [--stores FOLDER ...] [--seeds N] [--quick] [--json]

One student (`prism-pico`), from the same untrained parameters, is trained in four ways:

- ``distilled``: to say what EfficientNet-Lite0 says of the arena's clips, single frames first, and
  how each patch moves.
- ``motion``: to say how each patch of the same clips moves, without a teacher.
- ``labels``: end to end on the labelled windows that the probe gets, and no others.
- ``untrained``: not at all.

All trained ones see about as many patches (frames × patches seen × clips × steps), so they take
about as long. Then the encoder is frozen and a probe (logistic regression on the mean, mean
absolute change, maximum and deviation of a window's tokens) learns the six behaviours of the arena
from 5 and from 20 bouts of each. It is measured by the mean average precision on recordings of
other seeds. Looks of these recordings lie outside of what the clips were drawn from
(`backbone_data.HELD_OUT`). ``labels`` is trained on 20 bouts only, and measured half-way and at the
end, with its own head as well; the best of the four, as measured on the test recordings, counts.

Each seed draws its own batches, masks and bouts; students of the same seed share the bouts, so
differences are paired. Intervals of differences are 95 % (Student's t over the seeds).

``--student prism-nano`` takes the packaged weights (or ``--weights``) as the distilled student, so
that only ``labels`` is trained, for 200 steps of 16 windows. There is one distilled student then:
its seeds differ in the bouts alone.

``--stores`` are stores of clips with targets of EfficientNet-Lite0; without it they are made in
``--cache``, where finished students' scores are kept, too. ``--quick`` trains a smaller student for
a few steps: it shows that this runs, not what it would find.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from backbone_data import ArenaSize, Windows, arena_windows
from scipy.stats import t as student_t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ethoprism.backbones.encoder import NANO, EncoderConfig
from ethoprism.backbones.nano import NAME, PACKAGED, untrained_parameters
from ethoprism.backbones.pico import PICO
from ethoprism.backbones.weights import read_parameters
from ethoprism.files import write_json
from ethoprism.pretrain.batches import Supply, flipped
from ethoprism.pretrain.clips import ClipStore, write_stores
from ethoprism.pretrain.cutting import dataset_clips
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.recipe import layout_of
from ethoprism.pretrain.student import Parameters, encode
from ethoprism.pretrain.targets import add_targets
from ethoprism.pretrain.train import optimiser, train
from ethoprism_datasets.arena import BEHAVIOURS

SHOTS = (5, 20)
STRENGTH = 0.01
"""C of the logistic regressions, as in `backbone.py`."""
RATE = 1e-3
CHUNK = 16


@dataclass(frozen=True)
class Amount:
    """How much is trained and measured."""

    frames: Phase
    films: Phase
    arena: ArenaSize
    clips: int = 1200
    config: EncoderConfig = PICO
    seeds: int = 3
    labels: Phase | None = None

    def patches(self) -> int:
        """Patches that a student sees in training."""
        frames, films = self.frames, self.films
        alone = frames.steps * frames.batch * frames.kept
        return alone + films.steps * films.batch * films.kept * self.config.frames

    def without_teacher(self) -> Phase:
        """Clips without a teacher, of as many patches."""
        films = self.films
        steps = round(self.patches() / (films.batch * films.kept * self.config.frames))
        return replace(films, steps=steps, teacher=0.0)

    def supervised(self) -> Phase:
        """Labelled windows, whole, of as many patches."""
        if self.labels is not None:
            return self.labels
        batch, every = self.films.batch, self.config.grid**2
        steps = round(self.patches() / (batch * every * self.config.frames))
        return replace(self.films, name="labels", steps=max(steps, 1), kept=every)


FULL = Amount(
    Phase("frames", 150, 32, 32, single=True, schedule="constant", rate=RATE),
    Phase("clips", 120, 16, 22, rate=RATE, warmup=15),
    ArenaSize(train=8, test=5, seconds=50.0, test_seconds=25.0, bouts=40, per_bout=2),
)
NANO_LABELS = Phase("labels", 200, 16, 64, rate=5e-4, warmup=20)
QUICK = Amount(
    Phase("frames", 4, 8, 32, single=True, schedule="constant", rate=RATE, warmup=2),
    Phase("clips", 4, 4, 22, rate=RATE, warmup=2),
    ArenaSize(train=2, test=1, seconds=25.0, test_seconds=8.0, bouts=20, per_bout=1),
    clips=16,
    config=EncoderConfig(18, (8, 8, 8), 48, 1, 1, 3, 96, input_size=144),
    seeds=1,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stores", type=Path, nargs="*", help="clips with targets")
    parser.add_argument("--student", choices=("prism-pico", NAME), default="prism-pico")
    parser.add_argument("--weights", type=Path, help="of a prism-nano that was distilled")
    parser.add_argument("--seeds", type=int)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "ethoprism-distil"
    )
    parser.add_argument("--quick", action="store_true", help="a few steps of one seed")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    amount = QUICK if options.quick else FULL
    distilled = None
    if options.student == NAME:
        labels = replace(NANO_LABELS, steps=4) if options.quick else NANO_LABELS
        amount = replace(amount, config=NANO, labels=labels)
        distilled = options.weights or PACKAGED
    threadpool_limits(1)
    jax.config.update("jax_compilation_cache_dir", str(options.cache / "compiled"))
    stores = [] if distilled else _stores(options.stores, options.cache, amount)
    learnt, test = arena_windows(options.cache, amount.config.input_size, amount.arena)
    data = Data(amount, stores, learnt, test, options.cache, distilled)
    made = f"{sum(map(len, stores))} clips, {amount.patches():,} patches a training"
    print(
        f"{data.parameters:,} parameters; {distilled or made}; {len(test.index)} windows to be"
        " measured on",
        flush=True,
    )
    scores: dict[str, dict[int, list[float]]] = {}
    ways = ("untrained", "labels") if distilled else ("untrained", "motion", "labels")
    for seed in range(options.seeds or amount.seeds):
        for way in (*ways, "distilled"):
            for n, score in _kept(way, seed, data).items():
                scores.setdefault(way, {}).setdefault(n, []).append(score)
    result = _summary(scores, test)
    if options.json:
        print(json.dumps(result))


@dataclass(frozen=True)
class Data:
    """What students are trained and measured on."""

    amount: Amount
    stores: Sequence[ClipStore]
    learnt: Windows
    test: Windows
    cache: Path
    distilled: Path | None = None

    @property
    def config(self) -> EncoderConfig:
        return self.amount.config

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(shape)) for shape in layout_of(self.config).values())

    def start(self) -> dict[str, np.ndarray]:
        return dict(untrained_parameters(layout_of(self.config)))

    def digest(self) -> str:
        weights = hashlib.sha256(self.distilled.read_bytes() if self.distilled else b"").hexdigest()
        text = f"{self.amount} {[str(store.folder) for store in self.stores]} {weights}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _kept(way: str, seed: int, data: Data) -> dict[int, float]:
    """Scores of one student for each number of bouts; kept in the cache."""
    file = data.cache / f"{data.digest()}-{way}-{seed}.json"
    if not file.is_file():
        began, used = time.perf_counter(), time.process_time()
        found = _scores(way, seed, data)
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        write_json(file, {"scores": found, "seconds": wall, "cpu_seconds": cpu})
    about = json.loads(file.read_text())
    found = {int(n): float(v) for n, v in about["scores"]}
    shown = ", ".join(f"{n} bouts {v:.3f}" for n, v in found.items())
    print(
        f"  seed {seed} {way:10} {shown}; {about['seconds']:.0f} s, {about['cpu_seconds']:.0f} s"
        " of CPU with compiling",
        flush=True,
    )
    return found


def _scores(way: str, seed: int, data: Data) -> list[tuple[int, float]]:
    """Mean average precision of a student trained in one way, for each number of bouts."""
    amount, start = data.amount, data.start()
    if way == "labels":
        return [(SHOTS[-1], _from_labels(start, seed, data, SHOTS[-1]))]
    if way == "distilled" and data.distilled is not None:
        start = dict(read_parameters(data.distilled, layout_of(data.config)))
    elif way != "untrained":
        phases = (
            (amount.frames, amount.films) if way == "distilled" else (amount.without_teacher(),)
        )
        supply = Supply(data.stores, data.config.grid, seed)
        folder = data.cache / f"{data.digest()}-{way}-{seed}"
        for _ in train(data.config, supply, phases, start, folder):
            pass
        start = dict(read_parameters(folder / "student.safetensors", layout_of(data.config)))
    x, z = (_described(start, windows, data.config) for windows in (data.learnt, data.test))
    return [(n, _probed(x, z, data.learnt, data.test, _rows(data.learnt, n, seed))) for n in SHOTS]


def _stores(given: Sequence[Path] | None, cache: Path, amount: Amount) -> list[ClipStore]:
    from ethoprism.backbones.efficientnet import efficientnet_lite0

    if given:
        return [ClipStore.open(path) for path in given]
    clips, grid = amount.clips, amount.config.grid
    each = min(clips, 300)
    task = write_stores(
        cache / f"clips-{each}",
        lambda seed: dataset_clips("arena", seed=seed),
        clips,
        seed=5000,
        per_store=each,
    )
    stores = _finished(task)
    _finished(add_targets(efficientnet_lite0(), stores, grid=grid))
    return stores


def _finished(task: Any) -> Any:
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


# The probe


@partial(jax.jit, static_argnames=("config", "dtype"))
def _pooled(
    parameters: Parameters, frames: Any, config: EncoderConfig, dtype: str = "float32"
) -> Any:
    """``[windows, 4 · width]`` of bytes ``[windows, frames, size, size, 3]``."""
    tokens = encode(parameters, config, frames.astype(jnp.float32) / 255.0, dtype=dtype)
    over = (1, 2)
    change = jnp.abs(jnp.diff(tokens, axis=1)).mean(axis=over)
    parts = [tokens.mean(axis=over), change, tokens.max(axis=over), tokens.std(axis=over)]
    return jnp.concatenate(parts, axis=1)


def _described(start: dict[str, np.ndarray], windows: Windows, config: EncoderConfig) -> np.ndarray:
    parameters, rows = {k: jnp.asarray(v) for k, v in start.items()}, []
    for at in range(0, len(windows.index), CHUNK):
        index = windows.index[at : at + CHUNK]
        filled = np.concatenate([index, np.repeat(index[-1:], CHUNK - len(index), axis=0)])
        rows.append(np.asarray(_pooled(parameters, np.asarray(windows.frames[filled]), config)))
    return np.concatenate(rows)[: len(windows.index)]


def _rows(learnt: Windows, n: int, seed: int) -> np.ndarray:
    """Windows of ``n`` bouts of each behaviour."""
    rng, bouts = np.random.default_rng([seed, n]), []
    for b in range(len(BEHAVIOURS)):
        own = np.unique(learnt.group[learnt.group // 10_000 == b])
        bouts.extend(rng.permutation(own)[:n].tolist())
    return np.flatnonzero(np.isin(learnt.group, bouts))


def _probed(
    x: np.ndarray, z: np.ndarray, learnt: Windows, test: Windows, rows: np.ndarray
) -> float:
    scaled = StandardScaler().fit(x[rows])
    x, z = np.asarray(scaled.transform(x[rows])), np.asarray(scaled.transform(z))
    said = np.zeros(test.truth.shape)
    for b in range(len(BEHAVIOURS)):
        known = learnt.truth[rows, b]
        if known.any() and not known.all():
            model = LogisticRegression(C=STRENGTH, max_iter=500).fit(x, known)
            said[:, b] = model.decision_function(z)
    return _precision(test.truth, said)


def _precision(truth: np.ndarray, said: np.ndarray) -> float:
    """Mean over the behaviours of the average precision."""
    shown = [b for b in range(truth.shape[1]) if truth[:, b].any()]
    return float(np.mean([average_precision_score(truth[:, b], said[:, b]) for b in shown]))


# From labels alone


def _from_labels(start: dict[str, np.ndarray], seed: int, data: Data, n: int) -> float:
    """Encoder and head trained together; the best of the head and of a probe on the encoder."""
    learnt, test, config = data.learnt, data.test, data.config
    rows, phase = _rows(learnt, n, seed), data.amount.supervised()
    parameters = {k: jnp.asarray(v) for k, v in start.items()}
    parameters["head/kernel"] = jnp.zeros((4 * config.width, len(BEHAVIOURS)))
    parameters["head/bias"] = jnp.zeros(len(BEHAVIOURS))
    transform = optimiser(phase)
    moments = transform.init(parameters)
    step = _labels_step(transform, config)
    best = 0.0
    for number in range(phase.steps):
        rng = np.random.default_rng([seed, n, number])
        frames, truth = _labelled(learnt, rng.choice(rows, phase.batch), rng)
        parameters, moments, _ = step(parameters, moments, frames, truth)
        if number + 1 in (phase.steps // 2, phase.steps):
            named = {k: np.asarray(v) for k, v in parameters.items()}
            head = [named.pop(f"head/{part}") for part in ("kernel", "bias")]
            z = _described(named, test, config)
            x = np.zeros((len(learnt.index), z.shape[1]), np.float32)
            x[rows] = _described(named, replace(learnt, index=learnt.index[rows]), config)
            own = _precision(test.truth, z @ head[0] + head[1])
            best = max(best, own, _probed(x, z, learnt, test, rows))
    return best


def _labels_step(
    transform: optax.GradientTransformation, config: EncoderConfig
) -> Callable[..., Any]:
    def loss(parameters: Parameters, frames: Any, truth: Any) -> Any:
        logits = _pooled(parameters, frames, config, "bfloat16") @ parameters["head/kernel"]
        logits = logits + parameters["head/bias"]
        return optax.sigmoid_binary_cross_entropy(logits, truth).mean()

    @jax.jit
    def step(parameters: Parameters, moments: Any, frames: Any, truth: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(parameters, frames, truth)
        updates, moments = transform.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, value

    return step


def _labelled(
    learnt: Windows, picked: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Windows mirrored, turned by quarters, and in other light, as in distillation."""
    none = np.zeros((8, 2, 2, 4), np.float32)
    windows = [np.asarray(learnt.frames[learnt.index[i]]) for i in picked]
    frames = np.stack([flipped(w, none, none, rng)[0] for w in windows]).astype(np.float32)
    clips = (len(frames), 1, 1, 1, 1)
    gain, offset = np.exp(rng.uniform(-0.5, 0.5, clips)), 255 * rng.normal(0.0, 0.1, clips)
    frames = ((frames - 127.5) * gain + 127.5 + offset).astype(np.float32)
    return frames, learnt.truth[picked].astype(np.float32)


# What comes out


def _summary(scores: dict[str, dict[int, list[float]]], test: Windows) -> dict[str, Any]:
    chance = _precision(test.truth, np.zeros(test.truth.shape))
    result: dict[str, Any] = {"chance": round(chance, 4)}
    print(f"Mean average precision (chance {chance:.3f}):")
    for n in scores["distilled"]:
        for way, found in scores.items():
            if n not in found:
                continue
            values = np.array(found[n])
            result[f"map_{way}_{n}"] = round(float(values.mean()), 4)
            result[f"map_{way}_{n}_seeds"] = [round(float(v), 4) for v in values]
            line = f"  {n:3} bouts {way:10} {values.mean():.3f} [{values.min():.3f},"
            print(f"{line} {values.max():.3f}]{_gain(result, scores, way, n)}")
    return result


def _gain(
    result: dict[str, Any], scores: dict[str, dict[int, list[float]]], way: str, n: int
) -> str:
    """How much better the distilled student is than another, with its interval."""
    if way == "distilled":
        return ""
    gains = np.array(scores["distilled"][n]) - np.array(scores[way][n])
    mean = float(gains.mean())
    result[f"gain_over_{way}_{n}"] = round(mean, 4)
    if len(gains) < 2:
        return f"  distilled {mean:+.3f}"
    half = float(student_t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5)
    result[f"gain_over_{way}_{n}_interval"] = [round(mean - half, 4), round(mean + half, 4)]
    return f"  distilled {mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


if __name__ == "__main__":
    main()
