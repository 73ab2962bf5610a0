"""Parameters in files: the names they are released under, how they are read, and their fingerprint.

Two containers are read, with the same names in both: NumPy's ``.npz``, as VideoPrism is released,
and safetensors, in which this package keeps its own. Neither is ever unpickled, and nothing but
names, shapes and dtypes is read until all of them fit the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ethoprism.backbones.layers import NormPolicy
from ethoprism.errors import WeightsError
from ethoprism.safety import ZIP_ERRORS, npz_headers, printable

Names = Mapping[str, tuple[str, ...]]
"""Released key → where the parameter sits in the module."""

Layout = Mapping[str, tuple[int, ...]]
"""Released key → shape."""

_LAYER = {
    "layer_norm/scale": "attention_norm/scale",
    "layer_norm/bias": "attention_norm/bias",
    "self_attention/query/w": "attention/query/w",
    "self_attention/query/b": "attention/query/b",
    "self_attention/key/w": "attention/key/w",
    "self_attention/key/b": "attention/key/b",
    "self_attention/value/w": "attention/value/w",
    "self_attention/value/b": "attention/value/b",
    "self_attention/post/w": "attention/post/w",
    "self_attention/post/b": "attention/post/b",
    "ff_layer/layer_norm/scale": "feed_forward_norm/scale",
    "ff_layer/layer_norm/bias": "feed_forward_norm/bias",
    "ff_layer/ffn_layer1/linear/kernel": "feed_forward/expand/kernel",
    "ff_layer/ffn_layer1/linear/bias": "feed_forward/expand/bias",
    "ff_layer/ffn_layer2/linear/kernel": "feed_forward/reduce/kernel",
    "ff_layer/ffn_layer2/linear/bias": "feed_forward/reduce/bias",
}


def _stack_names(released: str, ours: str) -> dict[str, str]:
    return {
        f"params/{released}/transformers_stack/x_layers/{theirs}": f"{ours}/layers/{name}"
        for theirs, name in _LAYER.items()
    }


def _paths(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {released: tuple(ours.split("/")) for released, ours in names.items()}


ENCODER_NAMES: Names = _paths(
    {
        "params/patch_projection/linear/kernel": "patches/kernel",
        "params/patch_projection/linear/bias": "patches/bias",
        "params/spatial_pos_emb/emb_var": "spatial_position",
        **_stack_names("spatial_encoder", "spatial_stack"),
        "params/spatial_ln/scale": "spatial_norm/scale",
        "params/spatial_ln/bias": "spatial_norm/bias",
        "params/temporal_pos_emb/emb_var": "temporal_position",
        **_stack_names("temporal_encoder", "temporal_stack"),
        "params/temporal_ln/scale": "temporal_norm/scale",
        "params/temporal_ln/bias": "temporal_norm/bias",
    }
)


def _pooler_names(released: str) -> dict[str, str]:
    return {
        f"params/{released}/pooling_attention_query": "pooler/learned_query",
        f"params/{released}/pooling_attention/query/w": "pooler/query/w",
        f"params/{released}/pooling_attention/query/b": "pooler/query/b",
        f"params/{released}/pooling_attention/key/w": "pooler/key/w",
        f"params/{released}/pooling_attention/key/b": "pooler/key/b",
        f"params/{released}/pooling_attention/value/w": "pooler/value/w",
        f"params/{released}/pooling_attention/value/b": "pooler/value/b",
        f"params/{released}/pooling_attention/per_dim_scale/per_dim_scale": "pooler/scale",
        f"params/{released}/pooling_attention/post/w": "pooler/post/w",
        f"params/{released}/pooling_attention/post/b": "pooler/post/b",
        f"params/{released}/pooling_attention_layer_norm/scale": "pooler/norm/scale",
        f"params/{released}/pooling_attention_layer_norm/bias": "pooler/norm/bias",
    }


HEAD_NAMES: Names = _paths(
    {
        **_pooler_names("atten_pooler"),
        "params/projection/linear/kernel": "projection/kernel",
        "params/projection/linear/bias": "projection/bias",
    }
)

_POST_NORMED = {
    "layer_norm/scale": "pre_layer_norm/scale",
    "layer_norm/bias": "pre_layer_norm/bias",
    "ff_layer/layer_norm/scale": "ff_layer/pre_layer_norm/scale",
    "ff_layer/layer_norm/bias": "ff_layer/pre_layer_norm/bias",
}
"""How the norms of a layer are called where there are others after it (``primer_hybrid``)."""

_POST_NORMS = {
    "post_layer_norm/scale": "attention_post_norm/scale",
    "post_layer_norm/bias": "attention_post_norm/bias",
    "ff_layer/post_layer_norm/scale": "feed_forward_post_norm/scale",
    "ff_layer/post_layer_norm/bias": "feed_forward_post_norm/bias",
}


def text_names(norm: NormPolicy = "pre") -> Names:
    """Released names of a text encoder by itself, for either norm policy."""
    layer = _LAYER
    if norm == "primer_hybrid":
        layer = {_POST_NORMED.get(theirs, theirs): ours for theirs, ours in _LAYER.items()}
        layer = {**layer, **_POST_NORMS}
    return _paths(
        {
            "params/cls_emb": "class_embedding",
            "params/token_emb/emb_var": "token_embedding",
            "params/unimodal_ln/scale": "norm/scale",
            "params/unimodal_ln/bias": "norm/bias",
            **{
                f"params/unimodal_transformer/x_layers/{theirs}": f"stack/layers/{ours}"
                for theirs, ours in layer.items()
            },
        }
    )


def _within(released: str, ours: str, names: Names) -> dict[str, tuple[str, ...]]:
    """The names of a module that is part of a larger one."""
    return {
        key.replace("params/", f"params/{released}/", 1): (ours, *path)
        for key, path in names.items()
    }


def video_text_names(norm: NormPolicy = "pre") -> Names:
    """Released names of a video–text model."""
    return {
        **_within("vision_encoder", "encoder", ENCODER_NAMES),
        **_paths(_stack_names("auxiliary_encoder", "auxiliary_stack")),
        **_paths(_pooler_names("contrastive_vision_pooler")),
        **_within("text_encoder", "text", text_names(norm)),
    }


_FLOATS = {"float16", "float32"}
_MOST_BYTES = 2**36  # of a checkpoint, unpacked
_SURPLUS_SHOWN = 60
_MADE_BY = "made_by"
_MOST_SAID = 2000  # characters


class Fingerprint:
    """SHA-256 over parameters added in the order of their names; see `fingerprint`."""

    def __init__(self):
        self._hash = hashlib.sha256()

    def add(self, name: str, values: ArrayLike) -> None:
        array = np.ascontiguousarray(values, dtype="<f4")
        self._hash.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
        self._hash.update(array.data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def fingerprint(parameters: Mapping[str, ArrayLike]) -> str:
    """Hex SHA-256 of parameters: their names in order, shapes, and float32 values.

    It names the numbers a model computes with, whatever file or container they came in.
    """
    digest = Fingerprint()
    for name in sorted(parameters):
        digest.add(name, parameters[name])
    return digest.hexdigest()


def state_layout(state: nnx.State, names: Names) -> dict[str, tuple[int, ...]]:
    """Released names and shapes of a module's state, which may be abstract.

    Raises
    ------
    ValueError
        ``names`` and the state do not cover one another.
    """
    flat = dict(nnx.to_flat_state(state))
    if set(flat) != set(names.values()):
        differing = sorted("/".join(map(str, path)) for path in set(flat) ^ set(names.values()))
        raise ValueError(f"expected a name for every parameter, got a difference at {differing}")
    return {released: tuple(flat[path].shape) for released, path in names.items()}


def named_parameters(state: nnx.State, names: Names) -> dict[str, np.ndarray]:
    """Parameters of a module's state under their released names, float32."""
    flat = dict(nnx.to_flat_state(state))
    return {key: np.asarray(flat[path].get_value(), np.float32) for key, path in names.items()}


def fill_state(
    abstract: nnx.State,
    names: Names,
    parameters: Iterable[tuple[str, ArrayLike]],
    dtype: DTypeLike = jnp.float32,
) -> tuple[nnx.State, str]:
    """An abstract state filled with parameters in the order of their names, and the fingerprint.

    The parameters are taken one at a time, so no more than one is in memory twice.
    """
    flat = dict(nnx.to_flat_state(abstract))
    digest = Fingerprint()
    for key, values in parameters:
        digest.add(key, values)
        flat[names[key]] = flat[names[key]].replace(jnp.asarray(values, dtype))
    return nnx.from_flat_state(flat), digest.hexdigest()


def load_state(
    path: Path, abstract: nnx.State, names: Names, dtype: DTypeLike = jnp.float32
) -> tuple[nnx.State, str]:
    """A module's state read from a checkpoint, and its fingerprint.

    Parameters
    ----------
    path
        An ``.npz`` or safetensors file with the names of the release.
    abstract
        The state as `flax.nnx.eval_shape` gives it: shapes only.
    names
        Released key → path in the module, such as `ENCODER_NAMES`.
    dtype
        What the parameters are kept in; the fingerprint is of their float32 values.

    Raises
    ------
    WeightsError
        The file can't be read, or does not hold exactly the module's parameters.
    """
    parameters = read_parameters(path, state_layout(abstract, names))
    return fill_state(abstract, names, parameters, dtype)


def read_parameters(path: Path, layout: Layout) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a checkpoint's parameters as float32, in the order of their names.

    Raises
    ------
    WeightsError
        Before anything is read: the names, shapes or dtypes are not those of ``layout``; all that
        differ are listed. While reading: the file is damaged, or a parameter is not finite.
    """
    try:
        container = _container(path)
        shapes = _npz_shapes(path) if container == "npz" else _safetensors_shapes(path)
        _compare(path, shapes, layout)
        read = _read_npz if container == "npz" else _read_safetensors
        for key, values in read(path, sorted(layout)):
            if not np.isfinite(values).all():
                raise WeightsError(f"{path}: the parameter {key} has values that are not finite")
            yield key, np.asarray(values, np.float32)
    except (OSError, ValueError, SafetensorError, *ZIP_ERRORS) as error:
        raise _damaged(path, error) from error


def write_safetensors(
    path: Path,
    parameters: Mapping[str, ArrayLike],
    *,
    half: bool = False,
    made_by: str = "",
) -> None:
    """Writes parameters under their released names, whole or not at all.

    Parameters
    ----------
    path
        The file; written under a temporary name beside it and renamed.
    parameters
        Released key → values.
    half
        Whether float16 is written instead of float32.
    made_by
        What `read_made_by` gives back: how the parameters came to be.
    """
    dtype = np.float16 if half else np.float32
    arrays = {key: np.ascontiguousarray(values, dtype) for key, values in parameters.items()}
    temporary = path.with_name(path.name + ".partial")
    save_file(arrays, temporary, {_MADE_BY: made_by} if made_by else None)
    temporary.replace(path)


def read_made_by(path: Path) -> str:
    """How the parameters of a file came to be, as whoever wrote it says; empty if it does not.

    Raises
    ------
    WeightsError
        The file can't be read.
    """
    try:
        if _container(path) != "safetensors":
            return ""
        with safe_open(path, framework="numpy") as file:
            said = (file.metadata() or {}).get(_MADE_BY, "")
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return printable(said[:_MOST_SAID])


def _container(path: Path) -> str:
    if path.is_dir():
        raise WeightsError(f"{path} is a folder", expected="a checkpoint file")
    with path.open("rb") as file:
        start = file.read(9)
    if start[:4] == b"PK\x03\x04":
        return "npz"
    if start[8:9] == b"{":
        return "safetensors"
    pickled = start[:1] == b"\x80"
    raise WeightsError(
        f"{path} is not a checkpoint that can be read",
        expected="an .npz archive or a safetensors file",
        found="a pickle, which could run code and is never loaded" if pickled else "",
    )


Header = tuple[tuple[int, ...], str]


def _npz_shapes(path: Path) -> dict[str, Header]:
    headers = npz_headers(path, _MOST_BYTES)
    return {key: (shape, dtype.name) for key, (shape, dtype) in headers.items()}


def _safetensors_shapes(path: Path) -> dict[str, Header]:
    known = {"F16": "float16", "F32": "float32"}
    with safe_open(path, framework="numpy") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        return {
            key: (tuple(part.get_shape()), known.get(str(part.get_dtype()), str(part.get_dtype())))
            for key, part in slices.items()
        }


def _read_npz(path: Path, keys: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as archive:
        for key in keys:
            yield key, archive[key]


def _read_safetensors(path: Path, keys: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        for key in keys:
            yield key, file.get_tensor(key)


def _compare(path: Path, found: Mapping[str, Header], layout: Layout) -> None:
    missing = sorted(set(layout) - set(found))
    surplus = sorted(set(found) - set(layout))
    misshapen = [
        f"{key} is {found[key][0]}, not {layout[key]}"
        for key in sorted(set(layout) & set(found))
        if found[key][0] != layout[key]
    ]
    mistyped = [
        f"{key} is {found[key][1]}"
        for key in sorted(set(layout) & set(found))
        if found[key][1] not in _FLOATS
    ]
    if len(surplus) > _SURPLUS_SHOWN:  # bounded by the file, not by the model
        surplus = [*surplus[:_SURPLUS_SHOWN], f"and {len(surplus) - _SURPLUS_SHOWN} more"]
    parts = {
        "missing": missing,
        "not part of the model": [name[:200] for name in surplus],
        "of another shape": misshapen,
        "neither float16 nor float32": mistyped,
    }
    differing = [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]
    if differing:
        raise WeightsError(
            f"The checkpoint {path} does not fit the model",
            expected=f"{len(layout)} parameters with the model's names and shapes",
            found="; ".join(differing),
            remedy="Give the checkpoint that was released for this backbone",
        )


def _damaged(path: Path, error: Exception) -> WeightsError:
    if isinstance(error, FileNotFoundError):
        return WeightsError(f"There is no checkpoint at {path}")
    return WeightsError(
        f"The checkpoint {path} can't be read: {error}",
        remedy="Copy or download it again",
    )
