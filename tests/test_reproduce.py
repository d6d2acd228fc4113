"""`srcnn-fused reproduce`: which sets are found, what is measured, what is written and refused."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from srcnn_fused import FusedSRCNN, _reproduction_text, evaluate, examples, pretrained, published
from srcnn_fused.cli import app
from srcnn_fused.errors import UserError
from srcnn_fused.reproduce import Candidate, find_sets, reproduce

runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})


def picture(height, width, seed=0, channels=3):
    rows, columns = np.mgrid[:height, :width]
    rings = 127 + 100 * np.sin((rows**2 + columns**2) / (90 + 7 * seed))
    rgb = np.stack([rings, rings[::-1], 255 - rings], -1).astype(np.uint8)
    return rgb if channels == 3 else rgb[..., 0]


@pytest.fixture
def root(tmp_path):
    """Set5 (colour and grey), BSD100 under another name with its images inside, T91."""
    sets = {
        "set5": {"a": picture(90, 99), "b": picture(80, 84, 1), "grey": picture(76, 90, 2, 1)},
        "B100/HR": {"c": picture(75, 78, 3)},
        "T91": {"t": picture(40, 40, 4)},
    }
    for folder, images in sets.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name, pixels in images.items():
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{name}.png")
    (tmp_path / "data" / "Urban100").mkdir()  # no image in it
    return tmp_path / "data"


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Models as they might be shipped, luma and RGB: folder of the package's models."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    monkeypatch.setattr(pretrained, "_FOLDER", folder)
    for name, channels, scale in (("9-1-5-x2", 1, 2), ("9-1-5-x3", 1, 3), ("9-1-5-x3-rgb", 3, 3)):
        torch.manual_seed(channels)
        model = FusedSRCNN(channels, kernel_sizes=(9, 1, 5), scale=scale, padding_mode="replicate")
        model.save_pretrained(folder / f"{name}.safetensors")
    return folder


def run(*words):
    return runner.invoke(app, ["reproduce", *map(str, words)])


# --- which sets -----------------------------------------------------------------------------------


def test_test_sets_are_found_by_name_and_training_sets_on_request(root):
    assert find_sets(root) == {"Set5": root / "set5", "BSD100": root / "B100" / "HR"}
    assert find_sets(root, ["t91", "SET5"]) == {"T91": root / "T91", "Set5": root / "set5"}
    assert find_sets(root, ["bsds100"]) == {"BSD100": root / "B100" / "HR"}
    assert find_sets(root / "set5") == {"Set5": root / "set5"}


@pytest.mark.parametrize(
    ("folder", "wanted", "message"),
    [
        ("data/none", (), "data/none does not exist: a folder of test sets is needed"),
        ("data/T91/t.png", (), "data/T91/t.png is not a folder: a folder of test sets is needed"),
        (
            "data",
            ["Set14"],
            "data has no set 'Set14' of images; it has BSD100, T91, Set5",
        ),
        (
            "data/T91",
            (),
            "data/T91 has no test set: looked for folders of images named Set5, Set14, "
            "BSD100/bsds100/b100, Urban100, Manga109; it has no folder of images",
        ),
    ],
)
def test_what_is_not_found_is_named(root, monkeypatch, folder, wanted, message):
    monkeypatch.chdir(root.parent)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        find_sets(folder, wanted)


# --- what is measured -----------------------------------------------------------------------------


def test_scores_are_those_of_evaluate(root, shipped):
    candidates = [Candidate(n, FusedSRCNN.from_pretrained(n)) for n in pretrained.list_pretrained()]
    steps = []
    run = reproduce(candidates, find_sets(root), progress=lambda *step: steps.append(step))
    assert [(r.data, r.scale, r.method) for r in run.results] == [
        (data, *row)
        for data in ("Set5", "BSD100")
        for row in (
            (2, "bicubic"),
            (2, "9-1-5-x2"),
            (3, "bicubic"),
            (3, "9-1-5-x3"),
            (3, "9-1-5-x3-rgb"),
        )
    ]
    for candidate in candidates:
        scale = candidate.model.scale
        report = evaluate.evaluate(candidate.model, root / "set5", colour=scale == 3)
        for method, key in (("bicubic", "bicubic"), (candidate.name, "srcnn")):
            (row,) = (
                r for r in run.results if (r.data, r.scale, r.method) == ("Set5", scale, method)
            )
            assert row.images == {name: scores[key] for name, scores in report.images.items()}
            assert row.mean == report.mean[key]
    assert steps[0] == (0, 8, "Set5 a x2")
    assert steps[-1] == (8, 8, "done")
    assert len(steps) == 9


def test_every_image_is_read_once(root, shipped, monkeypatch):
    import importlib

    module = importlib.import_module("srcnn_fused.reproduce")
    read, names = module.read_image, []
    monkeypatch.setattr(module, "read_image", lambda path: names.append(path.name) or read(path))
    candidates = [Candidate(n, FusedSRCNN.from_pretrained(n)) for n in pretrained.list_pretrained()]
    reproduce(candidates, find_sets(root))
    assert sorted(names) == ["a.png", "b.png", "c.png", "grey.png"]


def test_published_figures_have_sources_and_are_found_by_network():
    paper = published.find("9-1-5", "Set5", 3)
    assert paper.means["psnr"] == 32.39
    assert published.find("bicubic", "Set14", 3).means == {"psnr": 27.54, "ssim": 0.7736}
    assert published.find("9-1-5", "Set5", 5) is None
    for source in published.sources().values():
        assert "Dong" in source
    content, figures = published._read()
    for figure in figures.values():
        assert figure.source in content
        assert set(figure.means) <= {*evaluate.METRICS, *evaluate.COLOUR_METRICS}
        assert all(v < 1 if m == "ssim" else 20 < v < 50 for m, v in figure.means.items())


@pytest.mark.parametrize(("widths", "network"), [((64, 32), "9-3-5-rgb"), ((8, 4), None)])
def test_only_the_papers_own_networks_are_compared(widths, network):
    model = FusedSRCNN(3, kernel_sizes=(9, 3, 5), widths=widths, scale=3)
    assert Candidate("x", model).network == (network or "9-3-5-rgb (8-4)")


# --- details --------------------------------------------------------------------------------------


def test_the_detail_lies_where_bicubic_is_worst():
    image = torch.full((3, 200, 240), 90, dtype=torch.uint8)
    image[:, 104:168, 152:200] = torch.randint(0, 255, (3, 64, 48), dtype=torch.uint8)
    sample = evaluate.prepare("x", image, 2)
    outputs = {"bicubic": sample.enlarged[None], "net": sample.truth[None], "rgb": sample.image}
    scores = {
        method: {"psnr": psnr} for method, psnr in zip(outputs, (20.0, 23.0, 25.0), strict=True)
    }
    example = examples.make_example("Set5", sample, outputs, scores)
    assert example.title == "Set5, x x2"
    assert example.gain == 4
    bicubic, net, rgb, truth = (panel.pixels for panel in example.panels)
    assert truth.shape == (3, 72, 72)
    assert (truth != 90).any(0).sum() > 0.95 * 64 * 48  # the noise, all of it
    assert torch.equal(rgb, truth)
    # Colours are the same as of the whole image, though made of the detail's surroundings.
    rows, columns = ((image != 90).any(0).any(axis).nonzero()[0] for axis in (1, 0))
    whole = evaluate.to_rgb(outputs["net"], sample)
    top, left = (int(x) for x in ((truth != 90).any(0).any(axis).nonzero()[0] for axis in (1, 0)))
    y, x = int(rows) - top, int(columns) - left
    assert torch.equal(net, whole[:, y : y + 72, x : x + 72])
    assert not torch.equal(bicubic, net)
    sheet = np.asarray(examples.draw_examples([example, example]))
    panel = sheet[16 + 22 :][: 72 * 3, 16 + 3 * (72 * 3 + 8) :][:, : 72 * 3]
    assert np.array_equal(panel[1::3, 1::3], truth.permute(1, 2, 0).numpy())


def test_a_small_image_is_shown_whole_and_the_typical_and_the_best_are_chosen():
    image = torch.from_numpy(picture(30, 45)).permute(2, 0, 1)
    sample = evaluate.prepare("x", image, 3)
    outputs = {"bicubic": sample.enlarged[None], "net": sample.truth[None]}
    made = [
        examples.make_example("d", sample, outputs, {"bicubic": {"psnr": 0}, "net": {"psnr": gain}})
        for gain in (1, 9, 3, 2)
    ]
    assert made[0].panels[-1].pixels.shape == (3, 30, 30)
    assert [e.gain for e in examples.typical_and_best(made)] == [2, 9]
    assert [e.gain for e in examples.typical_and_best(made[:1])] == [1]
    assert examples.typical_and_best([]) == []
    assert examples.draw_examples(made).size == (2 * 16 + 3 * 216 + 2 * 8, 32 - 14 + 4 * 274)


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_and_writes_the_tables(root, shipped, tmp_path):
    out = tmp_path / "new" / "out"
    result = run("--data", root, "--out", out, "--json", tmp_path / "scores.json")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == [
        "examples.png",
        "reproduction.json",
        "reproduction.md",
    ]
    text = (tmp_path / "scores.json").read_text()
    assert text == (out / "reproduction.json").read_text()
    rows = json.loads(text)["results"]
    (row,) = (r for r in rows if (r["data"], r["method"]) == ("Set5", "9-1-5-x3"))
    mean, paper = row["mean"]["psnr"], row["published"]["psnr"]
    assert paper == 32.39
    assert row["difference"]["psnr"] == pytest.approx(round(mean, 2) - paper)
    assert json.loads(text)["sources"][row["source"]].startswith("C. Dong")
    cells = [f"{mean:.2f}", "32.39", f"{row['difference']['psnr']:+.2f}"]
    page = (out / "reproduction.md").read_text()
    assert f"|  | 9-1-5-x3 | {' | '.join(cells)} | " in page
    assert "![Details of test images by each method](examples.png)" in page
    assert "…" not in result.stdout  # 80 characters are enough
    luma, colour = result.stdout.split("PSNR of colours")
    assert re.search(r"9-1-5-x3 +" + " +".join(map(re.escape, cells)), luma)
    assert re.search(
        r" bicubic( +\S+){4} *\n +- paper +45\.44 +45\.42 +34\.57 *\n +- diff\. ", colour
    )
    assert re.search(r" 9-1-5-x3-rgb( +\S+){4} *\n", colour)
    assert "arXiv:1501.00092" in result.stdout.replace("\n", "")
    assert re.search(r"took \d+\.\d s: Set5 \d+\.\d s, BSD100 \d+\.\d s\n", result.stdout)
    # BSD100 was not published: nothing to compare.
    assert [r["published"] for r in rows if r["data"] == "BSD100"] == [None] * 5


def test_models_and_sets_are_chosen(root, shipped, tmp_path):
    FusedSRCNN(kernel_sizes=(9, 5, 5), scale=3).save_pretrained(tmp_path / "mine.safetensors")
    words = ("--data", root, "--set", "T91", "-m", tmp_path / "mine.safetensors")
    result = run(*words, "--json", tmp_path / "s.json")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "s.json").read_text())["results"]
    assert [(r["data"], r["method"], r["network"]) for r in rows] == [
        ("T91", "bicubic", "bicubic"),
        ("T91", "mine", "9-5-5"),
    ]
    assert "PSNR of colours" not in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "nowhere"), "nowhere does not exist: a folder of test sets is needed"),
        (("--data", "data/T91"), "data/T91 has no test set: looked for folders of images"),
        (("--data", "data", "-m", "1-2-3"), "-m 1-2-3: no model '1-2-3'"),
        (("--data", "data", "--out", "file"), "--out file: cannot be used: File exists"),
        (("--data", "data", "--json", "file"), "--json file: exists already; --overwrite"),
        (("--data", "data", "--json", "no/f"), "the folder no does not exist"),
        (("--data", "data", "--out", "old"), "--out old/examples.png: exists already; --overwrite"),
        (("--data", "data", "--backend", "x"), "--backend must be one of"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_measured(
    root, shipped, monkeypatch, words, message
):
    monkeypatch.chdir(root.parent)
    monkeypatch.setattr("srcnn_fused.reproduce.reproduce", None)
    (root.parent / "file").write_text("precious")
    (root.parent / "old").mkdir()
    (root.parent / "old" / "examples.png").write_text("precious")
    result = run(*words)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("srcnn-fused: error: ")
    assert message in line
    assert (root.parent / "old" / "examples.png").read_text() == "precious"


def test_an_installation_without_models_says_so(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "_FOLDER", tmp_path)
    result = run("--data", root)
    assert result.stderr == (
        "srcnn-fused: error: no model is shipped with this installation; -m names a file\n"
    )


def test_the_shipped_models_come_near_the_papers_on_set5(image_sets):
    """The whole line, on real images: bicubic exactly, the networks within 0.2 dB."""
    names = [name for name in pretrained.list_pretrained() if not name.endswith("-rgb")]
    candidates = [Candidate(name, FusedSRCNN.from_pretrained(name)) for name in names]
    result = reproduce(candidates, find_sets(image_sets, ["Set5"]))
    compared = [row for row in result.results if row.published is not None]
    assert len(compared) >= 3
    for row in compared:
        limit = 0 if row.method == "bicubic" else 0.2
        assert abs(row.difference("psnr")) <= limit, row.method
    assert "+0.00" in _reproduction_text.to_markdown(result, {})
