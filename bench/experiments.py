"""Trains the papers' experiments on filter number, filter size and depth, all for as many steps.

    python -m bench.experiments --data DIR/T91 --val DIR/Set5 --data-test DIR/Set14 \\
        --iterations 2000 --optimizer adam --lr 1e-3 --lr-last 1e-4 --batch 16 --crop 33 \\
        --json bench/results/NAME.json

Each experiment (TPAMI 2016, sections 4.3.1 to 4.3.3) is a recipe of srcnn_fused; a setting given
here goes before that of all recipes, and the result says what was used. Experiments that the file
holds already are left out, so that a run which was stopped goes on where it was, on the same kind
of machine; --only runs some.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from srcnn_fused import FusedSRCNN, metrics
from srcnn_fused.benchmark import machine, results
from srcnn_fused.errors import UserError
from srcnn_fused.evaluate import Sample, load_samples, mean_psnr, shave
from srcnn_fused.train import Monitor, TrainConfig, train
from srcnn_fused.training.recipes import load_recipe

from . import command, markdown, report

# Recipes by the section of TPAMI 2016. 9-1-5 of 64-32 maps is in all three, and trained once.
GROUPS = {
    "4.3.1, filter number": ("tpami-filters-32", "tpami-9-1-5", "tpami-filters-128"),
    "4.3.2, filter size": ("tpami-9-1-5", "tpami-9-3-5", "tpami-9-5-5", "tpami-11-1-7"),
    "4.3.3, depth": (
        "tpami-9-1-5",
        "tpami-9-1-1-5",
        "tpami-9-1-1-5-n32",
        "tpami-9-1-1-1-5",
        "tpami-9-3-1-5",
        "tpami-9-5-1-5",
        "tpami-9-3-3-5",
        "tpami-9-3-3-3",
    ),
}
NAMES = tuple(dict.fromkeys(name for names in GROUPS.values() for name in names))
# Settings that may be given for all experiments: kind, and the words that are allowed.
OVERRIDES: dict[str, tuple[type, tuple[str, ...] | None]] = {
    "optimizer": (str, ("adam", "sgd")),
    "schedule": (str, ("cosine", "constant")),
    "lr": (float, None),
    "lr_last": (float, None),
    "batch": (int, None),
    "crop": (int, None),
    "validate_every": (int, None),
    "backend": (str, ("auto", "fused", "reference")),
}
_PLACES = ("data", "val", "out", "checkpoint_every", "init", "device")


class OtherSettings(ValueError):  # noqa: N818  (a property of the file)
    """The result file is of experiments with other settings."""


class _Lines(Monitor):
    """One line of progress a validation."""

    def __init__(self, title: str, iterations: int, console: Console) -> None:
        self.title = title
        self.iterations = iterations
        self.console = console

    def validated(self, iteration: int, psnr: float, best: float) -> None:
        line = f"{self.title}: {iteration}/{self.iterations}, {psnr:.2f} dB, best {best:.2f}"
        self.console.print(line, markup=False, highlight=False)


def bicubic_psnr(samples: list[Sample], scale: int) -> float:
    """Mean PSNR of bicubic enlargement, by the papers' protocol, in dB."""
    values = [
        metrics.psnr(shave(s.enlarged, scale, s.name), shave(s.truth, scale, s.name))
        for s in samples
    ]
    return math.fsum(values) / len(values)


def count_weights(model: FusedSRCNN) -> dict[str, int]:
    """Filter coefficients, which the papers count, and biases, which they do not."""
    return {
        "weights": sum(conv.weight.numel() for conv in model.convs),
        "biases": sum(conv.out_channels for conv in model.convs),
    }


def experiment(
    name: str, config: TrainConfig, test: Path | None, monitor: Monitor
) -> dict[str, Any]:
    """Trains one; its entry of the JSON. Raises UserError as training does."""
    begun = time.monotonic()
    trained = train(config, monitor=monitor)
    seconds = time.monotonic() - begun
    model = FusedSRCNN.from_pretrained(trained.model_path, backend=config.backend)
    used = {key: value for key, value in asdict(config).items() if key not in _PLACES}
    case = {
        "name": name,
        "network": config.network,
        "widths": config.widths,
        **count_weights(model),
        "psnr": trained.best_psnr,
        "seconds": seconds,
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "training": used,
    }
    if test is not None:
        case["test_psnr"] = mean_psnr(model, load_samples(test, config.scale), config.scale)
    return case


def started(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """The result to go on with: the file's, or a new one.

    Raises:
        OtherSettings: the file is of something else, or its experiments had other settings than
            these or ran on another machine.
        OSError, ValueError: the file cannot be read.
    """
    if path is None or not path.exists():
        return results.new_result("experiments", **settings)
    result = report.load(path)
    if result["kind"] != "experiments":
        raise OtherSettings(
            f"{path} is no result of bench.experiments, its kind is {result['kind']}: "
            "name another file"
        )
    found = result["settings"]
    for key in sorted(settings.keys() | found.keys()):
        if key not in found or found[key] != settings.get(key):
            raise OtherSettings(
                f"{path} holds experiments with {key} {found.get(key)}, not {settings.get(key)}: "
                "name another file"
            )
    before, now = _platform(result["machine"]), _platform(machine.describe())
    for key, value in now.items():
        # The file has one machine for all its experiments.
        if before[key] != value:
            raise OtherSettings(
                f"{path} holds experiments of a machine with {key} {before[key]}, not {value}: "
                "name another file"
            )
    return result


def _platform(described: dict[str, Any]) -> dict[str, Any]:
    """What weights and seconds depend on, of a result's machine."""
    platform = {key: described.get(key) for key in ("cpu", "isa")}
    return {**platform, "torch": described.get("versions", {}).get("torch")}


def configs(args: argparse.Namespace, out: Path) -> dict[str, TrainConfig]:
    """What each experiment that was asked for trains, by name. Raises UserError."""
    given = {key: value for key in OVERRIDES if (value := getattr(args, key)) is not None}
    found = {}
    for name in args.only:
        recipe = load_recipe(name)
        validate_every = min(recipe.get("validate_every", 1000), args.iterations)
        found[name] = TrainConfig(
            **{
                **recipe,
                "validate_every": validate_every,
                **given,
                "data": tuple(map(str, args.data)),
                "val": str(args.val),
                "out": str(out / name),
                "scale": args.scale,
                "seed": args.seed,
                "iterations": args.iterations,
                "checkpoint_every": args.iterations,  # nobody resumes a run in the middle
                "device": "cpu",
            }
        )
        found[name].validate()
    return found


def run(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """All experiments that the file does not hold yet; the result. Writes the file after each."""
    settings = {
        "data": [folder.resolve().name for folder in args.data],
        "dataset": args.val.resolve().name,
        "test": args.data_test.resolve().name if args.data_test else None,
        "scale": args.scale,
        "iterations": args.iterations,
        "seed": args.seed,
        "threads": args.threads,
        "overrides": {key: getattr(args, key) for key in OVERRIDES},
    }
    result = started(args.json, settings)
    result["groups"] = {group: list(names) for group, names in GROUPS.items()}
    done = {case["name"] for case in result["cases"]}
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        todo = {k: v for k, v in configs(args, Path(folder)).items() if k not in done}
        for number, (name, config) in enumerate(todo.items(), 1):
            monitor = _Lines(f"{name} ({number}/{len(todo)})", config.iterations, console)
            result["cases"].append(experiment(name, config, args.data_test, monitor))
            if "bicubic" not in result:
                result["bicubic"] = {
                    key: bicubic_psnr(load_samples(path, args.scale), args.scale)
                    for key, path in (("psnr", args.val), ("test_psnr", args.data_test))
                    if path is not None
                }
            result["cases"].sort(key=lambda case: NAMES.index(case["name"]))
            if args.json:
                results.write_json(args.json, result)
    return result


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--val", type=Path, required=True, metavar="DIR", help="picks the weights")
    parser.add_argument("--data-test", type=Path, metavar="DIR", help="a second set to measure on")
    parser.add_argument("--iterations", type=int, required=True, help="steps of every experiment")
    parser.add_argument("--scale", type=int, default=3, help="enlargement (3, as in the paper)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and crops (0)")
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help="some of them"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    for name, (kind, choices) in OVERRIDES.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=kind, choices=choices, help="default: each recipe's")
    command.add_threads(parser)
    args = parser.parse_args(argv)
    command.check_positive(parser, threads=[args.threads], iterations=[args.iterations])
    try:
        result = run(args, Console(stderr=True))
    except (UserError, ValueError, OSError) as error:
        parser.error(str(error))
    print(markdown.table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
