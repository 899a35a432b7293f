"""A look at the data: the picture's pixels are the data's, and its augmentation is the one that training does."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from data_standin import Standin, contents
from PIL import Image

from repro import augment, plots
from repro.cli import main
from repro.data import cifar10, sample
from repro.data.batches import Resident, Scale
from repro.data.splits import Part, holdout
from repro.record import CLASSES
from repro.run import adapt
from repro.spec.loading import load
from repro.suite import showing
from repro.train.step import Stepper

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CPU = torch.device("cpu")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(EXPERIMENTS))
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return tmp_path


def show(*arguments, code=0):
    result = CliRunner().invoke(main, ["data", "show", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("name", ["chen2024", "chiu2023", "geng2022"])
@pytest.mark.parametrize("seed", [0, 5])
def test_augmented_images_are_those_that_training_makes(name, seed):
    data, report = sample.load(), load(EXPERIMENTS / f"{name}.yaml")
    recipe = next(e.recipe for e in report.experiments.values() if e.recipe.augment)
    split = adapt(recipe, "smoke", len(data.x_train)).data.split
    train, _ = holdout(len(data.x_train), split.train, split.val, seed)
    images = train[[7, 300, 2]]
    pipeline = augment.build([step.model_dump() for step in recipe.augment])
    resident = Resident(data.x_train, data.y_train, CPU)
    stepper = Stepper(torch.nn.Identity(), resident, train, Scale(None, None, CPU), pipeline, 64, "fp32")
    for epoch, got in enumerate(showing.augmented(data, recipe, seed, images, 3), 1):
        drawn = stepper.prepare(seed, epoch)
        trained = resident.images(drawn.order, pipeline.sources(drawn.drawn)).permute(0, 2, 3, 1).numpy()
        for image, pixels in zip(images, got, strict=True):
            assert np.array_equal(pixels, trained[drawn.order.numpy() == image][0])


def test_picture_shows_every_pixel_as_it_is():
    """Each tile of the picture is an image of the data, enlarged by repetition."""
    data, recipe = sample.load(), load(EXPERIMENTS / "chen2024.yaml").experiments["resnet68"].recipe
    pixels = np.asarray(Image.open(io.BytesIO(showing.picture(data, "x/y", recipe, 0))).convert("RGB"))
    left, top, step = 98, 106, 68
    known = {image.tobytes(): label for image, label in zip(data.x_train, data.y_train, strict=True)}
    for row in range(len(CLASSES)):
        for column in range(showing.EACH):
            y, x = top + row * step, left + column * step
            tile = pixels[y : y + 64, x : x + 64]
            assert np.array_equal(tile, tile[::2, ::2].repeat(2, 0).repeat(2, 1))
            assert known[tile[::2, ::2].tobytes()] == row


def test_the_same_choice_gives_the_same_bytes_and_another_seed_others():
    data, recipe = sample.load(), load(EXPERIMENTS / "chiu2023.yaml").experiments["baseline80"].recipe
    first = showing.picture(data, "x/y", recipe, 0)
    assert showing.picture(data, "x/y", recipe, 0) == first
    assert showing.picture(data, "x/y", recipe, 1) != first


def test_words_name_every_augmentation_in_its_order():
    assert {words.split()[0] for words in showing.WORDS} == {*augment.OPS, *augment.ENDINGS}
    recipe = load(EXPERIMENTS / "chiu2023.yaml").experiments["baseline80"].recipe
    words = "rotated by up to 5° either way, then mirrored with probability 0.5, then padded by 2 black pixels"
    assert showing.in_words(recipe).startswith(words)


def test_gallery_takes_any_number_of_rows_columns_and_words():
    images = np.zeros((2, 3, 32, 32, 3), np.uint8)
    block = plots.Block("t" * 300, "many words " * 30, images, ["a", "b", "c"])
    picture = Image.open(io.BytesIO(plots.gallery_png([block, block], ["one", "two"], zoom=3)))
    assert picture.size[0] > 2 * 3 * 3 * 32
    assert picture.size[1] > 2 * 3 * 32


def test_without_the_data_the_sample_is_shown_and_said(place):
    out = show()
    assert out.startswith(f"{place / 'home' / 'cifar10.png'}: chen2024/resnet68, seed 0 (images of the embedded sample")
    assert Image.open(place / "home" / "cifar10.png").format == "PNG"


def test_with_the_data_it_is_shown(place, monkeypatch):
    standin = Standin(monkeypatch)
    cifar10.import_from(standin.npz(place / "x.npz"), place / "home")
    everything = lambda *given: lambda epoch: Part(np.arange(given[-1]), np.arange(0))  # noqa: E731
    monkeypatch.setattr(showing, "part_of", everything)
    assert show("geng2022", "--seed", "3", "--out", "p.png") == "p.png: geng2022/randomflip-128, seed 3\n"
    assert Image.open("p.png").format == "PNG"


def test_an_experiment_without_augmentation_is_shown_as_it_is(place):
    show("shamooun2022/released", "--out", "plain.png")
    show("shamooun2022", "--out", "augmented.png")
    assert Image.open("plain.png").size[0] < Image.open("augmented.png").size[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["chen"], "no report 'chen'; did you mean 'chen2024'?"),
        (["chen2024/resnet86"], "no experiment 'resnet86' in chen2024; did you mean 'resnet68'?"),
        (["--out", "picture.jpg"], "picture.jpg: is no name for a picture; give one that ends in .png"),
        (["--out", "/proc/nowhere/x.png"], "/proc/nowhere"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_refusals_say_what_and_write_nothing(place, arguments, message):
    assert message in show(*arguments, code=2)
    assert contents(place) == {}


def test_a_damaged_cache_is_not_replaced_by_the_sample(place):
    (place / "home" / "data").mkdir(parents=True)
    (place / "home" / "data" / "cifar10.npz").write_bytes(b"damaged")
    assert re.search(r"cifar10\.npz: not .*delete the file", show(code=2))
