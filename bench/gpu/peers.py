"""The contenders on a GPU: the fused op, and PyTorch at each of its settings.

A builder gets the inputs that will be rotated through and returns a function from an input's number
to the output. CUDA graphs are captured once an input, so that nothing is copied into them.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from srcnn_fused.benchmark import peers
from srcnn_fused.benchmark.peers import Enlarged, Forward, Setup, Unavailable

from ..environment import overridden
from .device import Device

Call = Callable[[int], Tensor]  # number of the input -> output

# Read by the fused op at every call: which of its CUDA kernels to take.
KERNEL_VARIABLE = "SRCNN_FUSED_CUDA_KERNEL"


@dataclass(frozen=True)
class Contender:
    """One way of running the network."""

    make_forward: Callable[[Setup], Forward]
    graphed: bool = False  # its calls replay CUDA graphs
    owns_memory: bool = False  # holds its memory between calls, where the statistics miss it
    expected_seconds: float = 2.0  # to build it, as long as no case has shown better
    environment: Mapping[str, str] = field(default_factory=dict)  # during its calls

    def build(self, setup: Setup, inputs: list[Tensor], device: Device) -> Call:
        """The contender for these inputs, warm. Raises Unavailable where it cannot run."""
        if self.graphed and not device.has_graphs:
            raise Unavailable("CUDA graphs need a GPU")
        forward = self.make_forward(setup)
        for x in inputs[:3]:  # compiles, finds algorithms, records
            forward(x)
        if self.graphed:
            return _capture(forward, inputs)
        return lambda i: forward(inputs[i])

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Its environment variables, as long as it lasts."""
        return overridden(self.environment)


@dataclass(frozen=True)
class _Graphs:
    """A CUDA graph for each input, and what the graphs read: it must live as long as they do."""

    graphs: list[torch.cuda.CUDAGraph]
    outputs: list[Tensor]
    inputs: list[Tensor]
    forward: Forward  # holds the weights

    def __call__(self, i: int) -> Tensor:
        self.graphs[i].replay()
        return self.outputs[i]


def _capture(forward: Forward, inputs: list[Tensor]) -> _Graphs:
    """A CUDA graph of each input's forward; they share the memory of what lies between."""
    # torch.cuda.graph would empty the allocator's cache for each of up to a few hundred graphs.
    pool = torch.cuda.graph_pool_handle()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    graphs, outputs = [], []
    with torch.cuda.stream(stream):
        forward(inputs[0])  # handles and workspaces belong to a stream
        stream.synchronize()
        for x in inputs:
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(pool)
            try:
                outputs.append(forward(x))
            finally:
                graph.capture_end()
            graphs.append(graph)
        for graph in graphs:  # the first replay brings the graph to the device
            graph.replay()
    torch.cuda.current_stream().wait_stream(stream)
    return _Graphs(graphs, outputs, inputs, forward)


def as_channels_last(tensor: Tensor) -> Tensor:
    """In channels_last; with one channel too, where the two layouts differ in the strides alone."""
    tensor = tensor.contiguous(memory_format=torch.channels_last)
    if tensor.shape[1] != 1:
        return tensor
    _, _, height, width = tensor.shape
    return tensor.as_strided(tensor.shape, (height * width, 1, width, 1))


def channels_last(setup: Setup) -> Forward:
    """PyTorch in channels_last from the first layer on, even where it has one input channel.

    That spares a transposition of F1. Where cuDNN cannot, the layout changes behind the first
    layer, as it does for who merely says `.to(memory_format=torch.channels_last)`.
    """
    network = copy.deepcopy(setup.network)
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(as_channels_last(layer.weight), requires_grad=False)
    enlarge, layers = Enlarged(nn.Sequential(), setup.scale), network
    forward = peers.inference(lambda x: layers(as_channels_last(enlarge(x))))
    try:
        forward(setup.example)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return peers.channels_last(setup)
    return forward


def _compiled(mode: str) -> Callable[[Setup], Forward]:
    def make_forward(setup: Setup) -> Forward:
        return peers.inference(peers.compile_model(Enlarged(setup.network, setup.scale), mode=mode))

    return make_forward


def forget_compiled() -> None:
    """Lets torch.compile start afresh, whatever it has compiled before."""
    importlib.import_module("torch._dynamo").reset()


CONTENDERS: dict[str, Contender] = {
    "fused": Contender(peers.fused),
    "fused_graph": Contender(peers.fused, graphed=True, owns_memory=True),
    "eager": Contender(peers.eager),
    "channels_last": Contender(channels_last),
    "eager_graph": Contender(peers.eager, graphed=True, owns_memory=True),
    "channels_last_graph": Contender(channels_last, graphed=True, owns_memory=True),
    "compile_max": Contender(_compiled("max-autotune"), owns_memory=True, expected_seconds=45),
    "compile_max_nographs": Contender(_compiled("max-autotune-no-cudagraphs"), expected_seconds=20),
}
COMPILED = ("compile_max", "compile_max_nographs")


def forced(kernel: str) -> Contender:
    """The fused op, made to take one of its kernels."""
    return Contender(peers.fused, environment={KERNEL_VARIABLE: kernel})
