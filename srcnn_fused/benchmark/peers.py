"""The contenders: the fused op, and what a user would otherwise run, each at its best setting.

A builder takes the usual three-convolution network and returns a function from the input tensor to
a fresh, contiguous output tensor. Low-resolution input (`scale`) is enlarged as
`F.interpolate(mode="bicubic")` does it. ONNX Runtime and OpenVINO have PyTorch's bicubic in front,
too, because it is faster than the Resize node of either.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import _extension
from ..functional import why_not_fused
from ..modules import FusedSRCNN

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setup:
    """What a contender is built for."""

    network: nn.Sequential  # Conv2d, ReLU, Conv2d, ReLU, Conv2d; not to be changed
    example: Tensor  # [N, c, h, w], of the shape, dtype and device that will be given
    scale: int | None
    threads: int  # PyTorch's are set already


class Unavailable(Exception):  # noqa: N818  (a state of the machine, not a fault)
    """The contender cannot run here; the message says why."""


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(f"{error} (pip install '.[bench]' brings it)") from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _enlarge(x: Tensor, scale: int | None) -> Tensor:
    return x if scale is None else F.interpolate(x, scale_factor=scale, mode="bicubic")


class Enlarged(nn.Module):
    """Bicubic enlargement, then the network."""

    def __init__(self, network: nn.Sequential, scale: int | None) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(_enlarge(x, self.scale))
        return out


def inference(model: Forward) -> Forward:
    """Without autograd, and with contiguous output whatever the layout within."""

    @torch.inference_mode()
    def forward(x: Tensor) -> Tensor:
        return model(x).contiguous()

    return forward


def to_channels_last(network: nn.Sequential) -> nn.Sequential:
    copied = copy.deepcopy(network)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def fused(setup: Setup) -> Forward:
    """srcnn_fused.FusedSRCNN."""
    reason = _extension.why_unavailable()
    if reason is not None:
        raise Unavailable(reason)
    convs = [layer for layer in setup.network if isinstance(layer, nn.Conv2d)]
    reason = why_not_fused(setup.example, *(conv.weight for conv in convs))
    if reason is not None:
        raise Unavailable(reason)
    model = FusedSRCNN(
        convs[0].in_channels,
        kernel_sizes=[conv.kernel_size[0] for conv in convs],
        scale=setup.scale,
        bicubic="torch",
        backend="fused",
        device=convs[0].weight.device,
        dtype=convs[0].weight.dtype,
    )
    for ours, theirs in zip((model.conv1, model.conv2, model.conv3), convs, strict=True):
        ours.load_state_dict(theirs.state_dict())
    return inference(model.eval())


def eager(setup: Setup) -> Forward:
    """PyTorch as it comes: contiguous tensors, ReLU in place."""
    return inference(Enlarged(setup.network, setup.scale))


def channels_last(setup: Setup) -> Forward:
    """PyTorch with weights and activations in channels_last."""
    model = Enlarged(to_channels_last(setup.network), setup.scale)
    return inference(lambda x: model(x.to(memory_format=torch.channels_last)))


def compiled(setup: Setup) -> Forward:
    """torch.compile in its default mode, for this shape."""
    forward = inference(compile_model(Enlarged(setup.network, setup.scale)))
    forward(setup.example)
    return forward


def compiled_frozen(setup: Setup) -> Forward:
    """torch.compile at its best: channels_last weights, frozen into the graph and prepacked."""
    config = _import("torch._inductor.config")
    model = Enlarged(to_channels_last(setup.network), setup.scale)
    forward = inference(compile_model(model))
    with config.patch(freezing=True):
        forward(setup.example)
    return forward


def compile_model(model: nn.Module, mode: str | None = None) -> Forward:
    """torch.compile for one shape, with no part left out; nothing is compiled before a call."""
    try:
        _import("torch._inductor.cpp_builder").get_cpp_compiler()
    except RuntimeError as error:
        raise Unavailable("torch.compile needs a C++ compiler, and found none") from error
    # Every case is a recompilation of the same two forward() methods; past the limit, which is 8,
    # fullgraph=True raises instead of running eagerly under the name of the compiler.
    _import("torch._dynamo.config").recompile_limit = 256
    return torch.compile(model, dynamic=False, fullgraph=True, mode=mode)


def onnxruntime(setup: Setup) -> Forward:
    """ONNX Runtime's CPU provider, static shapes, input and output bound without a copy."""
    if setup.example.dtype != torch.float32:
        raise Unavailable(f"its CPU provider has no convolution in {_name(setup.example.dtype)}")
    ort = _import("onnxruntime")
    shape = tuple(_enlarge(setup.example, setup.scale).shape)
    options = ort.SessionOptions()
    options.intra_op_num_threads = setup.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        onnx_model(setup.network, shape), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()

    @torch.inference_mode()
    def forward(x: Tensor) -> Tensor:
        x = _enlarge(x, setup.scale).contiguous()
        out = torch.empty(shape)
        for bind, name, tensor in (
            (binding.bind_input, "x", x),
            (binding.bind_output, "y", out),
        ):
            bind(name, "cpu", 0, "float32", shape, tensor.data_ptr())
        session.run_with_iobinding(binding)
        return out

    return forward


def openvino(setup: Setup) -> Forward:
    """OpenVINO's CPU plugin, one stream, latency, held to the case's dtype.

    Left to itself it may choose bfloat16 for float32. A bfloat16 image goes in as float32 and comes
    out as such, and is converted within the time.
    """
    precisions = {torch.float32: "f32", torch.bfloat16: "bf16"}
    dtype = setup.example.dtype
    if dtype not in precisions:
        raise Unavailable(f"its CPU plugin is not run in {_name(dtype)}")
    ov = _import("openvino")
    shape = tuple(_enlarge(setup.example, setup.scale).shape)
    core = ov.Core()
    compiled_model = core.compile_model(
        core.read_model(onnx_model(setup.network, shape)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precisions[dtype],
            "INFERENCE_NUM_THREADS": setup.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        },
    )
    request = compiled_model.create_infer_request()

    @torch.inference_mode()
    def forward(x: Tensor) -> Tensor:
        x = _enlarge(x, setup.scale).to(torch.float32).contiguous()
        out = torch.empty(shape)
        request.set_input_tensor(ov.Tensor(x.numpy(), shared_memory=True))
        request.set_output_tensor(ov.Tensor(out.numpy(), shared_memory=True))
        request.infer()
        return out.to(dtype)

    return forward


def onnx_model(network: nn.Sequential, shape: tuple[int, ...]) -> bytes:
    """The network as a serialised ONNX model in float32, x to y, both of the given shape."""
    onnx = _import("onnx")
    nodes, weights, name = [], [], "x"
    layers = list(network)
    for index, layer in enumerate(layers):
        output = "y" if index == len(layers) - 1 else f"features{index}"
        if isinstance(layer, nn.Conv2d):
            inputs = [name, f"weight{index}", f"bias{index}"]
            parameters = (layer.weight, layer.bias)
            for key, tensor in zip(inputs[1:], parameters, strict=True):
                assert tensor is not None
                weights.append(onnx.numpy_helper.from_array(tensor.detach().float().numpy(), key))
            pads = [layer.kernel_size[0] // 2] * 4
            nodes.append(onnx.helper.make_node("Conv", inputs, [output], pads=pads))
        else:
            nodes.append(onnx.helper.make_node("Relu", [name], [output]))
        name = output
    x, y = (
        onnx.helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key in ("x", "y")
    )
    graph = onnx.helper.make_graph(nodes, "srcnn", [x], [y], weights)
    # The versions that every ONNX Runtime and OpenVINO of the last years reads.
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    serialised: bytes = model.SerializeToString()
    return serialised


CONTENDERS: dict[str, Callable[[Setup], Forward]] = {
    "fused": fused,
    "eager": eager,
    "channels_last": channels_last,
    "compile": compiled,
    "compile_frozen": compiled_frozen,
    "onnxruntime": onnxruntime,
    "openvino": openvino,
}
