"""Tables and plots of results: what a document's markers give, every kind of table, every plot."""

import json
import sys
from pathlib import Path

import pytest

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import markdown, plots, report

MACHINE = {
    "cpu": "A CPU",
    "cpu_count": 2,
    "isa": "avx2",
    "date": "2026-01-02T03:04:05+00:00",
    "load_average": [0.0, 0.0, 0.0],
    "others_share": 0.0,
    "thp": False,
    "versions": {"torch": "2.13.0"},
}


def contender(name, ms=None, **more):
    if ms is None:
        return {"name": name, **more}
    return {
        "name": name,
        "status": "ok",
        "median_ms": ms,
        "ratio_to_fused": ms / 2.0,
        "max_error": 1e-6,
        **more,
    }


def case(network, size, contenders, **more):
    described = {"network": network, "size": list(size), "channels": 1, "scale": None, "batch": 1}
    return {**described, "contenders": contenders, **more}


def inference():
    small = [contender("fused", 2.0, extra_bytes=1 << 20), contender("eager", 9.0)]
    reason = "would need about 20.0 GiB, 3.0 are free"
    large = [
        contender("fused", 2.0, extra_bytes=1 << 20),
        contender("eager", status="out of memory", reason=reason),
    ]
    cases = [case("9-1-5", (64, 48), small), case("9-1-5", (7680, 4320), large)]
    settings = {"threads": 2, "rounds": 3, "dtype": "float32"}
    return {"kind": "inference", "machine": MACHINE, "settings": settings, "cases": cases}


SPEED = """\
| 9-1-5, ms (ratio) | 64x48 | 7680x4320 |
|---|---|---|
| srcnn_fused | **2.0** | **2.0** |
| PyTorch eager | 9.0 (4.5x) | out of memory |

A CPU (avx2), 2 threads, float32, median of 3 interleaved rounds, PyTorch 2.13.0, 2026-01-02."""


def test_a_documents_tables_are_renewed_and_all_else_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "_ROOT", tmp_path)
    monkeypatch.setattr(report.renewed, "__defaults__", (tmp_path,))
    (tmp_path / "a.json").write_text(json.dumps(inference()))
    begin, end = "<!-- bench.report: a.json -->", "<!-- bench.report: end -->"
    document = tmp_path / "README.md"
    document.write_text(f"before\n{begin}\nan old table\n{end}\nbetween\n{begin}\n{end}\nafter")
    assert report.main(["--write", str(document)]) == 0
    assert capsys.readouterr().out == f"{document}: tables renewed\n"
    table = f"{begin}\n\n{SPEED}\n\n{end}\n"
    assert document.read_text() == f"before\n{table}between\n{table}after"
    assert report.main(["--write", str(document)]) == 0
    assert capsys.readouterr().out == f"{document}: up to date\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no markers", "no marker such as <!-- bench.report: bench/results/NAME.json -->"),
        ("<!-- bench.report: end -->", "line 1: an end without a beginning"),
        ("\n<!-- bench.report: a.json -->", "line 2: a beginning without an end"),
        ("<!-- bench.report: x.json -->\n<!-- bench.report: end -->", "line 1: .*No such file"),
        (
            "<!-- bench.report: a.json -->\n<!-- bench.report: a.json -->",
            "line 2: a second beginning",
        ),
    ],
)
def test_a_bad_document_is_left_as_it_is(text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report.renewed, "__defaults__", (tmp_path,))
    (tmp_path / "a.json").write_text(json.dumps(inference()))
    document = tmp_path / "README.md"
    document.write_text(text)
    with pytest.raises(report.BadDocument, match=message):
        report.write(document)
    with pytest.raises(SystemExit, match="2"):
        report.main(["--write", str(document)])
    assert str(document) in capsys.readouterr().err
    assert document.read_text() == text


def test_cases_that_differ_in_threads_and_dtype_say_so():
    result = inference()
    del result["settings"]["threads"], result["settings"]["dtype"]
    for count, entry in enumerate(result["cases"], start=1):
        entry |= {"size": [64, 48], "threads": count, "dtype": "bfloat16"}
    head = markdown.table(result).splitlines()[0]
    assert head == "| 9-1-5, 64x48, bfloat16, ms (ratio) | 1 thread | 2 threads |"


def test_a_busy_machine_is_said_below_the_table():
    result = inference()
    result["machine"] = MACHINE | {"others_share": 0.4}
    assert markdown.table(result).endswith("during the run: do not publish**")


def test_memory_scaling_and_accuracy_have_tables():
    result = inference()
    fused = contender("fused", 2.0, extra_bytes=3 << 19, method="ru_maxrss")
    result |= {"kind": "memory", "cases": [case("9-1-5", (64, 48), [fused])]}
    assert markdown.table(result).splitlines()[2] == "| 9-1-5, 64x48 | >= 1.5 |"

    scaled = contender("fused", 2.0, ns_per_pixel=50.0, ratio_to_base=1.25, extra_bytes=1 << 20)
    base = case("9-1-5", (1920, 1080), [])
    cases = [case("9-1-5", (64, 64), [scaled], batch=256, threads=count) for count in (1, 2)]
    result |= {"kind": "scaling", "base": base, "cases": cases}
    lines = markdown.table(result).splitlines()
    assert lines[0].startswith("| 9-1-5 | 1 thread: ns/pixel (/ 1920x1080) | 2 threads:")
    assert lines[2] == "| 64x64, 256 images | 50.0 (1.25) | 50.0 (1.25) | 1.0 |"

    entries = [
        {"name": "direct, avx2, float32", "status": "ok", "max_error": 2e-6, "psnr_difference": 0},
        {"name": "direct, avx2, bfloat16", "status": "skipped", "reason": "no kernel"},
    ]
    result |= {"kind": "accuracy", "cases": [{"model": "9-1-5-x3", "contenders": entries}]}
    result["settings"] = {"dataset": "Set5"}
    lines = markdown.table(result).splitlines()
    assert lines[2:5] == [
        "| direct, avx2, float32 | 2.0e-06, +0.0e+00 dB |",
        "",
        "Not there (no kernel): direct, avx2, bfloat16.",
    ]


def test_an_unknown_kind_is_refused(tmp_path, capsys):
    path = tmp_path / "x.json"
    for content in ('{"kind": "poetry"}', "[]", "{"):
        path.write_text(content)
        with pytest.raises(SystemExit, match="2"):
            report.main([str(path)])
    assert "no table for a result of kind 'poetry'" in capsys.readouterr().err


def test_points_of_the_plots():
    cases = inference()["cases"]
    assert plots.lines(cases, plots.nanoseconds_per_pixel) == {
        "fused": ([64 * 48, 7680 * 4320], [2e6 / (64 * 48), 2e6 / (7680 * 4320)]),
        "eager": ([64 * 48], [9e6 / (64 * 48)]),
    }
    assert plots.lines(cases, plots.extra_mebibytes) == {
        "fused": ([64 * 48, 7680 * 4320], [1.0, 1.0])
    }
    assert plots.best_peer(cases[0]) == ("eager", 4.5)
    assert plots.best_peer(cases[1]) is None


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_plots_are_drawn_and_the_same_again(kind, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="pip install '.[bench]' brings it")
    source = tmp_path / "a.json"
    source.write_text(json.dumps(inference()))
    for folder in ("one", "two"):
        report.main(["--plot", str(tmp_path / folder), "--format", kind, str(source)])
    names = {f"{name}-float32-2-threads.{kind}" for name in ("speed", "memory", "ratio")}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    assert len(capsys.readouterr().out.splitlines()) == 6
    for name in names:
        drawn = (tmp_path / "one" / name).read_bytes()
        assert drawn == (tmp_path / "two" / name).read_bytes()
        assert len(drawn) > 4000
