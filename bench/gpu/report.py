"""The README's tables from a result of bench.gpu."""

from __future__ import annotations

from typing import Any

TITLES = {
    "fused": "srcnn_fused",
    "fused_graph": "srcnn_fused, CUDA graph",
    "eager": "PyTorch eager (cuDNN)",
    "channels_last": "eager, channels_last",
    "eager_graph": "eager, CUDA graph",
    "channels_last_graph": "channels_last, CUDA graph",
    "compile": "torch.compile",
    "compile_max": "torch.compile, max-autotune",
    "compile_max_nographs": "the same without CUDA graphs",
}
PRECISION_TITLES = {
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float32": "float32, TF32 off",
    "tf32": "float32, TF32 on",
}


def one_entry(entry: dict[str, Any]) -> str:
    """A contender in a few words: "eager 0.512 ms (3.1x)"."""
    if entry["status"] != "ok":
        return f"{entry['name']} {entry['status']} ({entry['reason']})"
    ratio = "" if entry["name"] == "fused" else _ratio(entry)
    return f"{entry['name']} {_ms(entry)} ms{ratio}"


def _ms(entry: dict[str, Any]) -> str:
    """Three significant digits."""
    ms = entry["median_ms"]
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"


def _ratio(entry: dict[str, Any]) -> str:
    return f" ({entry['ratio_to_fused']:.1f}x)" if "ratio_to_fused" in entry else ""


def shape_title(case: dict[str, Any]) -> str:
    """ "1920x1080", "64 x 256x256", "1920x1080 from 640x360"."""
    width, height = case["size"]
    title = f"{width}x{height}" if case["batch"] == 1 else f"{case['batch']} x {width}x{height}"
    if case["scale"] is not None:
        title += f" from {width // case['scale']}x{height // case['scale']}"
    return title


def _row_key(case: dict[str, Any]) -> tuple[str, str]:
    return shape_title(case), case["precision"]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _head(title: str, networks: list[str]) -> list[str]:
    return [_line([title, *networks]), "|---|" + "---|" * len(networks)]


def _contender_title(name: str) -> str:
    kernel = name.removeprefix("fused:")
    return TITLES.get(name) or f"srcnn_fused, kernel {kernel}"


def _contenders_table(cases: list[dict[str, Any]], networks: list[str]) -> list[str]:
    """A row a contender, a column a network, of the first shape and precision."""
    key = _row_key(cases[0])
    by_network = {
        case["network"]: {entry["name"]: entry for entry in case["contenders"]}
        for case in cases
        if _row_key(case) == key
    }
    names = dict.fromkeys(name for entries in by_network.values() for name in entries)
    lines = _head(f"{key[0]}, {PRECISION_TITLES[key[1]]}, ms (ratio)", networks)
    for name in names:
        cells = []
        for network in networks:
            entry = by_network.get(network, {}).get(name)
            if entry is None or entry["status"] != "ok":
                cells.append(entry["status"] if entry else "")
            else:
                cells.append(_cell(entry))
        if any(cell and cell != "skipped" for cell in cells):
            lines.append(_line([_contender_title(name), *cells]))
    return lines


def fused_cell(case: dict[str, Any] | None) -> str:
    """The fused op's time, how many times longer the fastest other takes, the share of the floor.

    Each at its fastest, with or without CUDA graphs. Ratios are compared, as torch.compile has its
    turns at another time.
    """
    timed = [e for e in (case["contenders"] if case else []) if "ratio_to_fused" in e]
    fused = [entry for entry in timed if entry["name"] in ("fused", "fused_graph")]
    if not fused:
        return ""
    best = min(fused, key=lambda entry: entry["ratio_to_fused"])
    others = [e["ratio_to_fused"] for e in timed if not e["name"].startswith("fused")]
    ratio = f", {min(others) / best['ratio_to_fused']:.1f}x" if others else ""
    return f"{_ms(best)}{ratio} ({100 * best['share_of_floor']:.0f} %)"


def _shapes_table(cases: list[dict[str, Any]], networks: list[str]) -> list[str]:
    """A row a shape and precision: the fused op, the fastest peer, the share of the floor."""
    found = {(_row_key(case), case["network"]): case for case in cases}
    lines = _head("srcnn_fused in ms, the fastest other (share of the floor)", networks)
    for key in dict.fromkeys(_row_key(case) for case in cases):
        cells = [fused_cell(found.get((key, network))) for network in networks]
        if any(cells):
            lines.append(_line([f"{key[0]}, {PRECISION_TITLES[key[1]]}", *cells]))
    return lines


def headline(result: dict[str, Any]) -> str:
    """One line: where, when and how it was measured."""
    machine, gpu = result["machine"], result["machine"]["gpu"]
    versions = {"PyTorch": machine["versions"]["torch"]}
    known = gpu.get("versions", {})
    versions |= {title: known.get(title.lower()) for title in ("CUDA", "cuDNN", "Triton", "driver")}
    parts = [
        gpu["name"],
        f"median of {result['settings']['rounds']} interleaved rounds",
        *(f"{title} {version}" for title, version in versions.items() if version),
        machine["date"][:10],
    ]
    return ", ".join(parts)


def ceilings_line(result: dict[str, Any]) -> str:
    """What the floor is made of."""
    ceilings = result["ceilings"]
    rates = ", ".join(
        f"{rate:.0f} TFLOP/s in {PRECISION_TITLES[name]}"
        for name, rate in ceilings["matmul_tflops"].items()
    )
    side = ceilings["matmul_side"]
    return (
        f"Matrix products of {side}x{side}x{side} ran at {rates}; "
        f"copies at {ceilings['copy_gb_per_s']:.0f} GB/s"
    )


def _steps_table(cases: list[dict[str, Any]], networks: list[str]) -> list[str]:
    """A row a precision and contender, a column a network, of the cases of one batch."""
    found = {
        (case["precision"], entry["name"], case["network"]): entry
        for case in cases
        for entry in case["contenders"]
    }
    lines = _head(f"{shape_title(cases[0])}, ms a step (ratio)", networks)
    for precision, name in dict.fromkeys(key[:2] for key in found):
        cells = []
        for network in networks:
            entry = found.get((precision, name, network), {"status": ""})
            cells.append(_cell(entry) if entry["status"] == "ok" else entry["status"])
        if any(cell and cell != "skipped" for cell in cells):
            title = step_precision_title(precision)
            lines.append(_line([f"{_contender_title(name)}, {title}", *cells]))
    return lines


def _cell(entry: dict[str, Any]) -> str:
    ms = _ms(entry)
    return f"**{ms}**" if entry["name"] == "fused" else f"{ms}{_ratio(entry)}"


def step_precision_title(name: str) -> str:
    """ "float16 autocast", "float32, TF32 off"."""
    title = PRECISION_TITLES[name]
    return title if title.startswith("float32") else f"{title} autocast"


def training_markdown(result: dict[str, Any]) -> str:
    """A table a batch, and where they are from."""
    cases = result["cases"]
    if not cases or not result["ceilings"]:
        return f"Nothing was measured. {headline(result)}."
    networks = list(dict.fromkeys(case["network"] for case in cases))
    lines = []
    for shape in dict.fromkeys(map(shape_title, cases)):
        lines += [*_steps_table([c for c in cases if shape_title(c) == shape], networks), ""]
    return "\n".join([*lines, f"{headline(result)}. {ceilings_line(result)}."])


def markdown(result: dict[str, Any]) -> str:
    """Both tables, and where they are from."""
    cases = result["cases"]
    if not cases or not result["ceilings"]:
        return f"Nothing was measured. {headline(result)}."
    networks = list(dict.fromkeys(case["network"] for case in cases))
    return "\n".join(
        [
            *_contenders_table(cases, networks),
            "",
            *_shapes_table(cases, networks),
            "",
            f"{headline(result)}. {ceilings_line(result)}.",
        ]
    )
