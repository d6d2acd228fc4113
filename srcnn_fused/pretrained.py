"""Weights files: shipped names, reading, writing, and the configuration that travels with them.

Our files are safetensors with the tensors of a state_dict (conv1.weight ... conv3.bias; a deeper
network's go on with conv4.weight) and one metadata entry, "srcnn_fused", a JSON object: the
arguments of FusedSRCNN and, under "metadata", what the writer added. Files of other origin
(.safetensors, .pth) have their configuration read off the shapes.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from ._checks import CONVENTIONS, FLOAT_DTYPES, PADDING_MODES, check_choice, check_srcnn_scale
from ._files import replacing

__all__ = ["find", "list_pretrained", "load", "read_metadata", "save"]

METADATA_KEY = "srcnn_fused"
_FOLDER = Path(__file__).with_name("pretrained")
_RGB = "-rgb"  # ends the names of models that take R'G'B' instead of luma
# Where training scripts put the state_dict inside a checkpoint.
_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "params", "net", "weights")


def list_pretrained() -> list[str]:
    """Names of the models that come with the package, such as "9-1-5-x3" or "9-1-5-x3-rgb"."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find(name_or_path: str | os.PathLike[str], scale: int | None = None) -> Path:
    """The file behind a shipped name or a path.

    With a scale, a network's name will do: find("9-1-5", scale=3) is find("9-1-5-x3"), and
    find("9-1-5-rgb", scale=3) is find("9-1-5-x3-rgb").

    Raises:
        FileNotFoundError: neither a shipped model nor a file.
    """
    name = os.fspath(name_or_path)
    shipped = list_pretrained()
    candidates = [name]
    if scale is not None:
        network = name.removesuffix(_RGB)
        candidates.append(f"{network}-x{scale}{name[len(network) :]}")
    for candidate in candidates:
        if candidate in shipped:
            return _FOLDER / f"{candidate}.safetensors"
    path = Path(name)
    if path.exists():
        return path
    known = ", ".join(shipped) or "none in this installation"
    raise FileNotFoundError(f"no model {name!r}: no such file, and the shipped models are: {known}")


def load(name_or_path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a model: its state_dict (conv1.weight ... conv3.bias, CPU) and its configuration.

    The configuration holds arguments of FusedSRCNN: num_channels, kernel_sizes and widths always,
    scale, bicubic and padding_mode where the file says them.

    Raises:
        FileNotFoundError: neither a shipped model nor a file.
        ValueError: an unreadable file, weights that are no SRCNN, NaN or infinite weights, or a
            configuration that contradicts the weights. One line, naming the file.
    """
    path = find(name_or_path)
    tensors, header = _read(path)
    weights = _as_srcnn(path, tensors)
    config = _shapes_to_config(path, weights)
    for key in ("num_channels", "kernel_sizes", "widths"):
        if header.get(key, config[key]) != config[key]:
            raise ValueError(
                f"model file {str(path)!r}: its metadata says {key} {header[key]}, "
                f"its tensors {config[key]}"
            )
    try:
        if "scale" in header:
            check_srcnn_scale(header["scale"])
        check_choice("bicubic", header.get("bicubic", "matlab"), CONVENTIONS)
        check_choice("padding_mode", header.get("padding_mode", "zeros"), PADDING_MODES)
    except (TypeError, ValueError) as error:
        raise ValueError(f"model file {str(path)!r}: in its metadata, {error}") from None
    config.update({k: header[k] for k in ("scale", "bicubic", "padding_mode") if k in header})
    return weights, config


def read_metadata(name_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the writer of a model file added to it (see save); empty where there is nothing.

    Raises FileNotFoundError and ValueError as load does.
    """
    extra = _read(find(name_or_path))[1].get("metadata", {})
    return extra if isinstance(extra, dict) else {}


def save(
    path: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model file, replacing an older one in one step.

    Args:
        weights: the state_dict of a FusedSRCNN.
        config: its configuration, FusedSRCNN.config.
        metadata: anything JSON can hold; read_metadata gives it back.

    Raises:
        ValueError: NaN or infinite weights, or a path that does not end in .safetensors.
        OSError: the file cannot be written; an older one is left as it was.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {str(path)!r}")
    keys = _state_keys(max(_layer_numbers(weights)))
    tensors = {key: weights[key].detach().cpu().contiguous() for key in keys}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{key} holds NaN or infinite values; {str(path)!r} was not written")
    header = dict(config)
    if metadata:
        header["metadata"] = dict(metadata)
    data = to_safetensors(tensors, metadata={METADATA_KEY: json.dumps(header)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's tensors and our metadata, as they are."""
    if path.is_dir():
        raise ValueError(f"model file {str(path)!r} is a directory")
    try:
        if path.suffix == ".safetensors":
            with safe_open(str(path), framework="pt", device="cpu") as file:
                header = (file.metadata() or {}).get(METADATA_KEY, "{}")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            parsed = json.loads(header)
            if not isinstance(parsed, dict):
                raise ValueError("its metadata is no JSON object")
            return tensors, parsed
        return _state_dict(torch.load(path, map_location="cpu", weights_only=True)), {}
    except pickle.UnpicklingError:
        raise ValueError(
            f"model file {str(path)!r} cannot be read: it is no PyTorch file, or holds more than "
            "tensors (save model.state_dict() instead of the model)"
        ) from None
    except Exception as error:  # a damaged pickle makes torch.load raise nearly anything
        line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise ValueError(f"model file {str(path)!r} cannot be read: {line}") from None


def _state_dict(checkpoint: Any) -> dict[str, Any]:
    """The state_dict in what torch.load gave, however a training script wrapped it."""
    if not isinstance(checkpoint, Mapping):
        raise ValueError(f"it holds {type(checkpoint).__name__}, not a state_dict")
    for key in _NESTED_KEYS:
        if isinstance(checkpoint.get(key), Mapping):
            return _state_dict(checkpoint[key])
    return dict(checkpoint)


def _state_keys(layers: int) -> list[str]:
    """conv1.weight, conv1.bias, conv2.weight, ..."""
    return [f"conv{n}.{part}" for n in range(1, layers + 1) for part in ("weight", "bias")]


def _layer_numbers(tensors: Mapping[str, Any]) -> list[int]:
    """The numbers in names such as ours, each once and in order: 1, 2, 3 of an SRCNN."""
    found = (re.fullmatch(r"conv(\d{1,6})\.(weight|bias)", key) for key in tensors)
    return sorted({int(match[1]) for match in found if match})


def _as_srcnn(path: Path, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Picks the convolutions by our names, or three of other names by their order.

    More than three of other names may be any network: a VDSR's shapes follow like a deeper SRCNN's,
    and its picture is not one.
    """
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if isinstance(value, Tensor):
            # DistributedDataParallel and torch.compile put their own names in front.
            found[re.sub(r"^(module\.|_orig_mod\.)+", "", str(key))] = value
    numbers = _layer_numbers(found)
    last = max(numbers, default=0)
    missing = next(n for n in itertools.count(1) if n not in numbers)
    if missing < last:
        raise ValueError(
            f"model file {str(path)!r} is no SRCNN: it has conv{last}, but no conv{missing}"
        )
    keys = _state_keys(max(3, last))
    if 0 in numbers or not all(key in found for key in keys):
        weights = [key for key in found if key.endswith(".weight")]
        biases = [key[: -len("weight")] + "bias" for key in weights]
        paired = len(found) == 2 * len(weights) and all(key in found for key in biases)
        if len(weights) != 3 or not paired:
            names = ", ".join(list(found)[:8]) + (", ..." if len(found) > 8 else "")
            raise ValueError(
                f"model file {str(path)!r} is no SRCNN: expected weight and bias of three "
                f"convolutions, or of conv1 to convN, got {len(found)} tensors ({names})"
            )
        ordered = [found[k] for pair in zip(weights, biases, strict=True) for k in pair]
        keys = _state_keys(3)
        found = dict(zip(keys, ordered, strict=True))
    for key in keys:
        tensor = found[key]
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type != "cpu":
            kind = f"{'nested' if tensor.is_nested else tensor.layout} on {tensor.device}"
            raise ValueError(f"model file {str(path)!r}: {key} must be a dense tensor, got {kind}")
        if tensor.dtype not in FLOAT_DTYPES:
            raise ValueError(
                f"model file {str(path)!r}: {key} must be floating point, got {tensor.dtype}"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"model file {str(path)!r}: {key} holds NaN or infinite values")
    return {key: found[key] for key in keys}


def _shapes_to_config(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """num_channels, kernel_sizes and widths of an SRCNN with these tensors."""
    shapes = {key: list(tensor.shape) for key, tensor in weights.items()}
    first = shapes["conv1.weight"]
    channels = first[1] if len(first) == 4 else 1
    inputs = channels
    widths: list[int] = []
    kernel_sizes: list[int] = []
    layers = [f"conv{number}" for number in range(1, len(weights) // 2 + 1)]
    for layer in layers:
        is_last = layer == layers[-1]
        shape = shapes[f"{layer}.weight"]
        outputs = str(channels) if is_last else "n"
        known_inputs = inputs if layer != "conv1" else "c" if len(first) != 4 else channels
        expected = f"[{outputs}, {known_inputs}, f, f] with odd f"
        fits = len(shape) == 4 and shape[1] == inputs and shape[2] == shape[3] and shape[2] % 2 == 1
        if not fits or min(shape) < 1 or (is_last and shape[0] != channels):
            raise ValueError(
                f"model file {str(path)!r}: {layer}.weight must be {expected}, got {shape}"
            )
        if shapes[f"{layer}.bias"] != [shape[0]]:
            raise ValueError(
                f"model file {str(path)!r}: {layer}.bias must be [{shape[0]}], "
                f"got {shapes[f'{layer}.bias']}"
            )
        inputs = shape[0]
        widths.append(shape[0])
        kernel_sizes.append(shape[2])
    return {"num_channels": channels, "kernel_sizes": kernel_sizes, "widths": widths[:-1]}
