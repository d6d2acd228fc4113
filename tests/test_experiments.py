"""bench.experiments: what is trained, what the file holds, how a stopped run goes on, its table."""

import json
import sys
from pathlib import Path

import pytest
import torch
from training_data import short_recipe

from srcnn_fused import evaluate
from srcnn_fused.benchmark import machine
from srcnn_fused.training.recipes import load_recipe

# At the end, so that the installed package goes before the source tree beside bench/.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bench import experiments, markdown, report


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def words(tmp_path):
    config = short_recipe(tmp_path)
    places = ["--data", config.data[0], "--val", config.val, "--data-test", config.data[0]]
    numbers = {"scale": 2, "iterations": 3, "batch": 2, "crop": 8, "lr": 1e-3, "threads": 1}
    settings = [word for key, value in numbers.items() for word in (f"--{key}", value)]
    return [
        *map(str, [*places, *settings, "--backend", "reference", "--json", tmp_path / "e.json"])
    ]


def run(words, *names, **more):
    extra = [str(word) for key, value in more.items() for word in (f"--{key}", value)]
    assert experiments.main([*words, "--only", *names, *extra]) == 0


def test_every_experiment_is_a_recipe_and_every_recipe_of_the_paper_is_one():
    networks = {
        (recipe["network"], recipe.get("widths", "64-32"))
        for recipe in map(load_recipe, experiments.NAMES)
    }
    assert len(networks) == len(experiments.NAMES) == 13
    same = load_recipe("tpami-filters-64")  # 9-1-5 again, under the name of another section
    assert {**load_recipe("tpami-9-1-5"), "widths": "64-32"} == same


def test_the_file_says_what_was_trained_and_how(words, tmp_path, capsys):
    run(words, "tpami-9-1-5", "tpami-9-1-1-5")
    result = json.loads((tmp_path / "e.json").read_text())
    assert result["settings"]["overrides"]["lr"] == 1e-3
    assert result["settings"]["overrides"]["optimizer"] is None
    first, second = result["cases"]
    assert (first["name"], second["name"]) == ("tpami-9-1-5", "tpami-9-1-1-5")
    assert (first["weights"], first["biases"]) == (8032, 97)  # the paper counts 8,032
    assert (second["weights"], second["biases"]) == (5184 + 2048 + 512 + 400, 113)
    for case in result["cases"]:
        assert (case["training"]["lr"], case["training"]["optimizer"]) == (1e-3, "sgd")
        assert (case["training"]["crop"], case["training"]["iterations"]) == (8, 3)
        assert case["training"]["seed"] == 0
        assert case["seconds"] > 0
        # Three steps of SGD leave the network about where it starts, at bicubic.
        assert case["psnr"] == pytest.approx(result["bicubic"]["psnr"], abs=0.3)
    report_ = evaluate.load_samples(tmp_path / "data", 2)
    assert result["bicubic"]["test_psnr"] == experiments.bicubic_psnr(report_, 2)
    output = capsys.readouterr()
    assert "tpami-9-1-1-5 (2/2): 3/3, " in output.err
    assert output.out.strip() == markdown.table(result)


def test_a_stopped_run_goes_on_with_what_is_missing(words, tmp_path, monkeypatch):
    run(words, "tpami-9-1-1-5")
    before = json.loads((tmp_path / "e.json").read_text())["cases"]
    trained = []
    experiment = experiments.experiment

    def noted(name, *arguments):
        trained.append(name)
        return experiment(name, *arguments)

    monkeypatch.setattr(experiments, "experiment", noted)
    run(words, "tpami-filters-32", "tpami-9-1-1-5")
    assert trained == ["tpami-filters-32"]
    cases = json.loads((tmp_path / "e.json").read_text())["cases"]
    assert [case["name"] for case in cases] == ["tpami-filters-32", "tpami-9-1-1-5"]
    assert cases[1:] == before


def test_other_settings_do_not_go_into_the_same_file(words, tmp_path, capsys):
    run(words, "tpami-9-1-1-5")
    content = (tmp_path / "e.json").read_bytes()
    with pytest.raises(SystemExit, match="2"):
        run(words, "tpami-9-1-5", iterations=4)
    assert (
        "holds experiments with iterations 3, not 4: name another file" in capsys.readouterr().err
    )
    with pytest.raises(SystemExit, match="2"):
        run(words, "tpami-9-1-5", optimizer="adam")
    assert "with overrides {" in capsys.readouterr().err
    assert (tmp_path / "e.json").read_bytes() == content
    (tmp_path / "e.json").write_text('{"kind": "inference", "settings": {}}')
    with pytest.raises(SystemExit, match="2"):
        run(words, "tpami-9-1-5")
    message = "e.json is no result of bench.experiments, its kind is inference: name another file"
    assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(words, "tpami-9-1-5", val=tmp_path / "nowhere", json=tmp_path / "new.json")
    assert "nowhere does not exist" in capsys.readouterr().err


def test_another_machine_does_not_go_into_the_same_file(words, tmp_path, monkeypatch, capsys):
    run(words, "tpami-9-1-1-5")
    content = (tmp_path / "e.json").read_bytes()
    here = json.loads(content)["machine"]
    versions = here["versions"]
    for key, value, other in (
        ("cpu", here["cpu"], {"cpu": "another"}),
        ("isa", here["isa"], {"isa": "another"}),
        ("torch", versions["torch"], {"versions": {**versions, "torch": "another"}}),
    ):
        monkeypatch.setattr(machine, "describe", lambda other=other: {**here, **other})
        with pytest.raises(SystemExit, match="2"):
            run(words, "tpami-9-1-5")
        message = f"holds experiments of a machine with {key} {value}, not another: name another"
        assert message in capsys.readouterr().err
        assert (tmp_path / "e.json").read_bytes() == content
    monkeypatch.setattr(machine, "describe", lambda: {**here, "load_average": [9.0, 9.0, 9.0]})
    run(words, "tpami-9-1-5")
    assert len(json.loads((tmp_path / "e.json").read_text())["cases"]) == 2


def case(name, network, widths, psnr, **training):
    used = {"network": network, "widths": widths, "lr": 0.001, "ema": False, "seed": 0, "crop": 33}
    return {
        "name": name,
        "network": network,
        "widths": widths,
        "weights": 8032,
        "psnr": psnr,
        "test_psnr": psnr - 3,
        "seconds": 61.6,
        "training": used | training,
    }


def test_the_table_is_in_the_papers_order_beside_what_it_published():
    result = {
        "kind": "experiments",
        "machine": {
            "cpu": "A CPU",
            "isa": "avx2",
            "thp": False,
            "date": "2026-01-02T03:04:05+00:00",
            "versions": {"torch": "2.13.0"},
        },
        "settings": {"data": ["T91"], "dataset": "Set5", "test": "Set14", "scale": 3, "threads": 1},
        "groups": {"filters": ["b", "a"], "depth": ["a", "c", "not trained"]},
        "bicubic": {"psnr": 30.39, "test_psnr": 27.54},
        "cases": [
            case("a", "9-1-5", "64-32", 32.0),
            case("b", "9-1-5", "32-16", 31.9),
            case("c", "9-1-1-5", "64-32-16", 31.8),
        ],
    }
    lines = report.markdown.table(result).splitlines()
    assert lines[:8] == [
        "| TPAMI 2016 | network | maps | weights | Set5, dB | Set14, dB | published, Set5 |",
        "|---|---|---|---|---|---|---|",
        "|  | bicubic |  |  | 30.39 | 27.54 | 30.39 (TPAMI) |",
        "| filters | 9-1-5 | 32-16 | 8,032 | 31.90 | 28.90 |  |",
        "|  | 9-1-5 | 64-32 | 8,032 | 32.00 | 29.00 | 32.39 (ECCV) |",
        "| depth | 9-1-5 | 64-32 | 8,032 | 32.00 | 29.00 | 32.39 (ECCV) |",
        "|  | 9-1-1-5 | 64-32-16 | 8,032 | 31.80 | 28.80 |  |",
        "",
    ]
    assert lines[8] == "Trained on T91: lr 0.001, seed 0, crop 33."
    assert lines[9].startswith("TPAMI: C. Dong")
    assert lines[-1] == "A CPU (avx2), 1 thread, PyTorch 2.13.0, 2026-01-02."
    result["cases"][2]["training"]["crop"] = 21  # what differs has a column
    lines = report.markdown.table(result).splitlines()
    assert lines[0].endswith("| published, Set5 | crop |")
    assert lines[6] == "|  | 9-1-1-5 | 64-32-16 | 8,032 | 31.80 | 28.80 |  | 21 |"
    assert "Trained on T91: lr 0.001, seed 0." in lines
