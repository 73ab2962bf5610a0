"""Part of encoder.py: the engines beside transformers' VideoPrism, same parameters and video."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FRAMES_A_CALL = 4


def against_transformers(python: str, rounds: int) -> dict[str, Any]:
    """Ratios and the largest difference; calls of both sides alternate."""
    from encoder import seeded_backbone
    from seeded import CONFIGS, encoder_layout, write_npz

    from ethoprism.backbones.engine import engine_named

    config = CONFIGS["base"]
    shape = (config.frames, config.input_size, config.input_size, 3)
    video = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    openvino = engine_named("openvino")
    ours = {
        precision: seeded_backbone("base", precision).with_engine(openvino)
        for precision in ("bfloat16", "float32")
    }
    script = Path(__file__).with_name("encoder_reference.py")
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        parameters, path = Path(folder) / "base.npz", Path(folder) / "video.npy"
        write_npz(parameters, encoder_layout(config))
        np.save(path, video.astype(np.float32) / 255)
        command = [python, str(script), str(parameters), str(path)]
        command += ["--heads", str(config.heads), "--patch", str(config.patch_size)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdin and other.stdout  # noqa: S101
            print(other.stdout.readline().strip())
            tokens = np.empty(0)
            for number in range(rounds + 1):  # the first round compiles
                for variant in ("bfloat16", "compiled", "float32"):
                    other.stdin.write(variant + "\n")
                    other.stdin.flush()
                    seconds = json.loads(other.stdout.readline())["seconds"]
                    times.setdefault(variant, []).extend([seconds] * (number > 0))
                    if variant == "compiled":
                        continue
                    start = time.perf_counter()
                    tokens = _window(ours[variant], video)
                    seconds = time.perf_counter() - start
                    times.setdefault(f"ours_{variant}", []).extend([seconds] * (number > 0))
            other.stdin.close()
        theirs = np.load(Path(folder) / "float32.npy").reshape(tokens.shape)
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})")
    middle = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {
        "speedup_vs_transformers_bf16": middle["bfloat16"] / middle["ours_bfloat16"],
        "speedup_vs_transformers_compiled": middle["compiled"] / middle["ours_bfloat16"],
        "speedup_vs_transformers_float32": middle["float32"] / middle["ours_float32"],
        "max_abs_error_float32": float(np.abs(tokens - theirs).max()),
        "mean_abs_error_float32": float(np.abs(tokens - theirs).mean()),
    }


def _window(backbone: Any, video: np.ndarray) -> np.ndarray:
    calls = range(0, len(video), FRAMES_A_CALL)
    tokens = [backbone.spatial(video[i : i + FRAMES_A_CALL]) for i in calls]
    padding = np.zeros((1, len(video)), bool)
    return np.asarray(backbone.temporal(np.concatenate(tokens)[None], padding))
