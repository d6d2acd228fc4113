"""`srcnn-fused bench`: the fused op against what a user would otherwise run, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..benchmark.cases import Case

# With these defaults a run of all contenders takes under a minute on two cores.
_SIZE = "480x270"
_ROUNDS = 5


def bench(
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network", "-n", metavar="9-1-5|9-3-5|9-5-5", help="Default: all; may be repeated."
        ),
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="Of the image, which is its own output's.")
    ] = _SIZE,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Compare with this one alone; may be repeated."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads; default: PyTorch's choice.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="float32|bfloat16", help="Of weights, image and output.")
    ] = "float32",
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = _ROUNDS,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the result here.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file of --json that exists.")
    ] = False,
) -> None:
    """Time the fused op and its peers on the CPU, in turn and on the same image.

    Peers: PyTorch eager, channels_last, torch.compile, and ONNX Runtime and OpenVINO where they are
    installed (`pip install '.[bench]'` in a clone). Outputs are compared with float64 first; the
    exit status is 1 where one is wrong. Ratios say how many times faster the fused op is.
    """
    import torch
    from rich.console import Console

    from ..benchmark import results, tables
    from ..benchmark.peers import CONTENDERS
    from ._messages import say
    from ._targets import check_folder_of, check_target

    cases = _cases(network, size, dtype)
    names = ["fused", *_peers(peer)] if peer else list(CONTENDERS)
    if json is not None:
        check_target(json, overwrite=overwrite, option="--json")
        check_folder_of(json, option="--json")
    if threads is not None:
        torch.set_num_threads(threads)
    result = results.new_result(
        "inference", threads=torch.get_num_threads(), rounds=rounds, dtype=dtype
    )
    if warning := tables.busy_warning(result):
        say(f"note: {warning}")
    _run(result, cases, names)
    tables.show(result, Console())
    if json is not None:
        check_target(json, overwrite=overwrite, option="--json")  # it may have come meanwhile
        results.write_json(json, result)
    if status := results.exit_status(result):
        raise typer.Exit(status)


def _cases(networks: list[str] | None, size: str, dtype: str) -> list[Case]:
    from ..benchmark.cases import NETWORKS, TOLERANCES, Case, parse_size
    from ..errors import UserError

    if dtype not in TOLERANCES:
        raise UserError(f"--dtype must be one of {', '.join(TOLERANCES)}, got {dtype!r}")
    try:
        width, height = parse_size(size)
    except ValueError as error:
        raise UserError(f"--size {error}") from None
    for name in networks or ():
        if name not in NETWORKS:
            raise UserError(f"--network must be one of {', '.join(NETWORKS)}, got {name!r}")
    return [Case(name, width, height) for name in dict.fromkeys(networks or NETWORKS)]


def _peers(names: list[str]) -> list[str]:
    from ..benchmark.peers import CONTENDERS
    from ..errors import UserError

    known = [name for name in CONTENDERS if name != "fused"]
    for name in names:
        if name not in known:
            raise UserError(f"--peer must be one of {', '.join(known)}, got {name!r}")
    return list(dict.fromkeys(names))


def _run(result: dict[str, Any], cases: list[Case], names: list[str]) -> None:
    """Measures the cases into the result, with a bar that is drawn between turns only.

    A thread that refreshes it would take time from the contenders.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from ..benchmark.machine import OtherWork
    from ..benchmark.measure import measure_case

    settings = result["settings"]
    steps = len(names) * (1 + settings["rounds"])
    others = OtherWork()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("", total=steps * len(cases))
        for index, case in enumerate(cases):

            def on_step(what: str, network: str = case.network) -> None:
                progress.update(task, description=f"{network}: {what}", advance=1, refresh=True)

            entry, _ = measure_case(case, names, on_step=on_step, **settings)
            result["cases"].append(entry)
            progress.update(task, completed=steps * (index + 1))
    result["machine"]["others_share"] = others.share()
