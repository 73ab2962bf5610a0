"""How long probes take: to train on 10,000 labelled frames, and to predict 100,000.

    python benchmarks/probe.py [--quick] [--json]

Tokens are random, of the shapes that a `TokenStore` holds with the default pooling: 16 tokens of
192 features a frame for ``prism-nano``, of 768 for VideoPrism Base. Six behaviours, of which two
leave a trace in the tokens. Times include reading from disk, compilation, calibration, thresholds
and scores; each training runs in this process for the first time, so nothing is compiled before.
The split is by recording: four to learn from, one to stop on, one to test on, of 1,667 frames each.

Beside each time stands that of the processor (``_cpu_s``, all cores together), which says more
where the machine is shared.

``decide_1m_s`` is from probabilities of 1,000,000 frames and 30 behaviours to 50,000 bouts.

``--quick`` predicts a tenth of the frames and multiplies, and leaves the temporal head out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from flies import finish

from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.prediction import Decision, Prediction, decide
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.predict import predict
from ethoprism.probe.train import train
from ethoprism.recording import Recording
from ethoprism.tokens import TokenKey, TokenStore

NAMES = tuple(f"behaviour {i}" for i in range(6))
KEYS = {
    "": TokenKey("nano-shaped", "0" * 64, "float32", False, 1, 144, 8, 192, 8, 4, 1, 4),
    "_base": TokenKey("base-shaped", "0" * 64, "float32", False, 1, 288, 16, 768, 16, 8, 1, 4),
}
PARTS = ("train", "train", "train", "train", "validation", "test")
LABELLED = 10_000
PREDICTED = 100_000


def store_of(path: Path, key: TokenKey, rows: int, seed: int) -> tuple[TokenStore, np.ndarray]:
    """A store of random tokens, and states ``[rows, behaviours]``."""
    rng = np.random.default_rng(seed)
    bouts = np.repeat(rng.random((rows // 25 + 1, len(NAMES))) < 0.2, 25, axis=0)[:rows]
    store = TokenStore.create(path, key, rows, path.stem)
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        shape = (stop - start, key.pooling, key.pooling, key.width)
        tokens = rng.standard_normal(shape, dtype=np.float32)
        tokens[..., :2] += 1.5 * bouts[start:stop, None, None, :2]
        store.write_block(block, tokens, np.ones(stop - start, bool))
    return store, bouts.astype(np.int8)


def timed_training(data: list[LabelledTokens], head: str) -> tuple[Probe, float]:
    """A probe, and the seconds that it took."""
    segments = [
        Segment(item.recording, 0, len(item.states), part)  # type: ignore[arg-type]
        for item, part in zip(data, PARTS, strict=True)
    ]
    ethogram = Ethogram().with_names(NAMES)
    began = time.perf_counter()
    probe: Probe = finish(train(data, segments, ethogram, NAMES, name=head, head=head))
    return probe, time.perf_counter() - began


def timed_decision(frames: int = 1_000_000, behaviours: int = 30, bouts: int = 50_000) -> float:
    """Seconds from probabilities to smoothed bouts, the middle of three runs."""
    rng = np.random.default_rng(0)
    p = np.full((frames, behaviours), 0.1, np.float32)
    for column in range(behaviours):
        for start in rng.integers(0, frames, bouts // behaviours):
            p[start : start + rng.integers(1, 60), column] = 0.9
    names = tuple(f"b{i}" for i in range(behaviours))
    prediction = Prediction("r", "", names, p, np.ones(frames, bool), "", "", "")
    decision = Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 12), (names[:5],))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        decide(prediction, decision)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="predict fewer frames")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    heads = ("attentive", "linear") if options.quick else ("attentive", "linear", "temporal")
    share = 10 if options.quick else 1
    result: dict[str, float] = {"decide_1m_s": round(timed_decision(), 3)}
    for suffix, key in KEYS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows = LABELLED // len(PARTS) + 1
            data = []
            for i in range(len(PARTS)):
                store, states = store_of(Path(folder) / f"r{i}.zarr", key, rows, i)
                data.append(LabelledTokens(f"r{i}", store, states))
            n = PREDICTED // share
            long, _ = store_of(Path(folder) / "long.zarr", key, n, 99)
            recording = Recording("long", Path("long"), n, 8, 8, np.arange(n) / 25, "long")
            for head in heads:
                used = time.process_time()
                probe, seconds = timed_training(data, head)
                result[f"train_{head}_s{suffix}"] = round(seconds, 2)
                result[f"train_{head}_cpu_s{suffix}"] = round(time.process_time() - used, 2)
                began, used = time.perf_counter(), time.process_time()
                finish(predict(probe, recording, long))
                name = "predict_100k_s" if head == "attentive" else f"predict_100k_{head}_s"
                result[f"{name}{suffix}"] = round(share * (time.perf_counter() - began), 2)
                cpu = share * (time.process_time() - used)
                result[f"{name.replace('_s', '_cpu_s')}{suffix}"] = round(cpu, 2)
                found = [probe.metrics["test"][name]["average_precision"] for name in NAMES[:2]]
                print(f"{key.backbone}, {head}: {seconds:.1f} s, AP {np.round(found, 2)}")
    for name, value in result.items():
        print(f"{name} {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
