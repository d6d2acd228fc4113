"""Recipes: those that ship are sound, and mistakes in one's own are named."""

import pytest
from training_data import short_recipe
from typer.testing import CliRunner

from srcnn_fused.cli import app
from srcnn_fused.errors import UserError
from srcnn_fused.training.checkpoint import load_checkpoint
from srcnn_fused.training.config import TrainConfig
from srcnn_fused.training.recipes import list_recipes, load_recipe, write_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_are_valid_and_say_what_they_are(name):
    assert list_recipes()[name]
    config = TrainConfig(
        **{"data": ("d",), "val": "v", "out": "o", "scale": 3, **load_recipe(name)}
    )
    config.validate()
    assert config != TrainConfig(data=("d",), val="v", out="o", scale=3)


def test_the_papers_recipe_has_the_papers_numbers():
    paper = load_recipe("paper")
    assert (paper["optimizer"], paper["lr"], paper["lr_last"]) == ("sgd", 1e-4, 1e-5)
    assert paper["schedule"] == "constant"
    assert load_recipe("modern")["ema"] == 0.999
    filters = [name for name in list_recipes() if name.startswith("tpami-filters-")]
    assert {load_recipe(name)["widths"] for name in filters} == {"128-64", "64-32", "32-16"}


def test_the_papers_experiments_have_inputs_of_33_pixels():
    papers = [name for name in list_recipes() if name.startswith(("tpami-", "paper"))]
    assert len(papers) == 15
    for name in papers:
        recipe = load_recipe(name)
        margin = sum(int(size) // 2 for size in recipe["network"].split("-"))
        assert recipe["crop"] + 2 * margin == 33, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1.0", r"mine\.toml: there is no setting 'learning_rate'; known are .*lr"),
        ("iteration = 5", r"there is no setting 'iteration'; did you mean iterations\?"),
        ('lr = "high"', r"mine\.toml: lr must be a number, got 'high'"),
        ("batch = 1.5", r"batch must be an integer, got 1\.5"),
        ("batch = true", r"batch must be an integer, got True"),
        ("rescale = 1", r"rescale must be true or false, got 1"),
        ("network = 915", r"network must be a string, got 915"),
        ('data = ["T91"]', r"data is no part of a recipe; give it as a flag"),
        ("lr = ", r"mine\.toml is no TOML: Invalid value"),
        ("\udcff", r"mine\.toml is no TOML: "),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message):
        load_recipe(str(path))


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match=r"no recipe 'best': no such file, .*: modern, paper, "):
        load_recipe("best")


def test_integers_will_do_for_numbers_and_a_copy_is_the_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("clip_grad = 1\n")
    assert load_recipe(str(path)) == {"clip_grad": 1.0}
    copied = tmp_path / "copy.toml"
    write_recipe("modern", copied)
    assert copied.read_text().startswith("# Adam")
    assert load_recipe(str(copied)) == load_recipe("modern")
    with pytest.raises(UserError, match=r"copy\.toml exists already"):
        write_recipe("paper", copied)


def run(*words):
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["train", *map(str, words)])


def test_the_command_lists_copies_and_takes_recipes(tmp_path):
    listed = run("--list-recipes").stdout
    assert all(f"{name} " in listed for name in list_recipes())
    written = run("--recipe", "modern", "--write-recipe", tmp_path / "mine.toml")
    assert written.exit_code == 0, written.output
    assert "--write-recipe needs --recipe" in run("--write-recipe", "x.toml").stderr

    config = short_recipe(tmp_path)
    (tmp_path / "mine.toml").write_text(
        "batch = 3\ncrop = 8\nwarmup = 1\niterations = 9\nscale = 2\n"
    )
    words = ("--data", *config.data, "--val", config.val, "--out", config.out)
    result = run(*words, "--recipe", tmp_path / "mine.toml", "--iterations", 2)
    assert result.exit_code == 0, result.output
    used = load_checkpoint(tmp_path / "run" / "checkpoint.pt").config
    assert (used.batch, used.crop, used.warmup, used.scale) == (3, 8, 1, 2)
    assert used.iterations == 2  # the flag goes before the recipe
