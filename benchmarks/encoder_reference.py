"""Transformers' VideoPrism in PyTorch on the CPU, timed call by call for benchmarks/encoder.py.

It runs in a Python of its own, because torch and transformers are no dependencies of EthoPrism::

    uv venv /tmp/reference && uv pip install --python /tmp/reference torch==2.13.0 transformers
    python benchmarks/encoder.py --reference-python /tmp/reference/bin/python

The program that starts this one writes a variant per line (``bfloat16``, ``compiled``: bfloat16
with torch.compile, ``float32``, ``float64``) and gets a line of JSON back: the seconds of one
window. The last output of a variant is saved beside the video as ``<variant>.npy``. So calls of
both sides alternate, in one run on one machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Answers variants with seconds until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parameters", type=Path, help="npz in the released layout")
    parser.add_argument("video", type=Path, help="npy, float32 [frames, size, size, 3] in [0, 1]")
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--patch", type=int, required=True)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    import torch  # pyright: ignore[reportMissingImports]
    import transformers  # pyright: ignore[reportMissingImports]

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    video = torch.from_numpy(np.load(arguments.video)).permute(0, 3, 1, 2)[None].contiguous()
    reference = Reference(arguments.parameters, video, arguments.heads, arguments.patch)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({**versions, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        variant = line.strip()
        start = time.perf_counter()
        tokens = reference.run(variant)
        seconds = time.perf_counter() - start
        np.save(arguments.video.parent / f"{variant}.npy", tokens.to(_saved(tokens)).numpy())
        print(json.dumps({"variant": variant, "seconds": seconds}), flush=True)


class Reference:
    """The model in its variants, each made when it is first asked for."""

    def __init__(self, parameters: Path, video: Any, heads: int, patch: int):
        with np.load(parameters, allow_pickle=False) as file:
            self._released = {key.removeprefix("params/"): file[key] for key in file.files}
        self._video, self._heads, self._patch = video, heads, patch
        self._models: dict[str, Any] = {}

    def run(self, variant: str) -> Any:
        """Tokens of the video, ``[frames * patches, width]``."""
        import torch  # pyright: ignore[reportMissingImports]

        if variant not in self._models:
            self._models[variant] = self._build(variant)
        dtype = getattr(torch, "bfloat16" if variant == "compiled" else variant)
        with torch.inference_mode():
            return self._models[variant](self._video.to(dtype)).last_hidden_state[0]

    def _build(self, variant: str) -> Any:
        import torch  # pyright: ignore[reportMissingImports]
        from transformers import (  # pyright: ignore[reportMissingImports]
            VideoPrismVisionConfig,
            VideoPrismVisionModel,
        )

        if variant == "compiled":
            if "bfloat16" not in self._models:
                self._models["bfloat16"] = self._build("bfloat16")
            return torch.compile(self._models["bfloat16"])
        released = self._released
        expand = "x_layers/ff_layer/ffn_layer1/linear/kernel"
        spatial, temporal = (
            released[f"{part}_encoder/transformers_stack/{expand}"].shape
            for part in ("spatial", "temporal")
        )
        config = VideoPrismVisionConfig(
            hidden_size=spatial[1],
            intermediate_size=spatial[2],
            num_spatial_layers=spatial[0],
            num_temporal_layers=temporal[0],
            num_attention_heads=self._heads,
            num_frames=self._video.shape[1],
            image_size=self._video.shape[-1],
            tubelet_size=[1, self._patch, self._patch],
        )
        model = VideoPrismVisionModel(config)
        tensors = {name: torch.from_numpy(a) for name, a in renamed(released, self._patch)}
        model.load_state_dict(tensors, strict=True)
        return model.eval().to(getattr(torch, variant))


def _saved(tokens: Any) -> Any:
    """The dtype in which NumPy can hold tokens."""
    import torch  # pyright: ignore[reportMissingImports]

    return torch.float64 if tokens.dtype == torch.float64 else torch.float32


def renamed(released: dict[str, np.ndarray], patch: int) -> Any:
    """Yields the released parameters by the names and shapes of transformers' model."""
    kernel = released["patch_projection/linear/kernel"]
    kernel = kernel.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)[:, :, None]
    embedding = "spatial_embeddings.patch_embeddings.projection"
    yield f"{embedding}.weight", np.ascontiguousarray(kernel)
    yield f"{embedding}.bias", released["patch_projection/linear/bias"]
    for part, norm in (("spatial", "layernorm1"), ("temporal", "layernorm2")):
        position = released[f"{part}_pos_emb/emb_var"][None]
        yield f"{part}_embeddings.position_embeddings", position
        yield f"{norm}.weight", released[f"{part}_ln/scale"]
        yield f"{norm}.bias", released[f"{part}_ln/bias"]
        prefix = f"{part}_encoder/transformers_stack/x_layers/"
        stack = {
            key.removeprefix(prefix): values
            for key, values in released.items()
            if key.startswith(prefix)
        }
        for index in range(len(stack["layer_norm/scale"])):
            layer = {key: values[index] for key, values in stack.items()}
            for name, values in _layer(layer):
                yield f"{part}_layers.{index}.{name}", np.ascontiguousarray(values)


def _layer(layer: dict[str, np.ndarray]) -> Any:
    for theirs, ours in (("before", "layer_norm"), ("after", "ff_layer/layer_norm")):
        yield f"layernorm_{theirs}.weight", layer[f"{ours}/scale"]
        yield f"layernorm_{theirs}.bias", layer[f"{ours}/bias"]
    for name in ("query", "key", "value"):
        weight = layer[f"self_attention/{name}/w"]
        yield f"attention.{name[0]}_proj.weight", weight.reshape(len(weight), -1).T
        yield f"attention.{name[0]}_proj.bias", layer[f"self_attention/{name}/b"].reshape(-1)
    weight = layer["self_attention/post/w"]  # its output axis comes first already
    yield "attention.o_proj.weight", weight.reshape(len(weight), -1)
    yield "attention.o_proj.bias", layer["self_attention/post/b"]
    for theirs, ours in (("fc1", "ffn_layer1"), ("fc2", "ffn_layer2")):
        yield f"mlp.{theirs}.weight", layer[f"ff_layer/{ours}/linear/kernel"].T
        yield f"mlp.{theirs}.bias", layer[f"ff_layer/{ours}/linear/bias"]


if __name__ == "__main__":
    main()
