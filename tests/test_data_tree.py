"""CIFAR-10 as a folder of images: every mistake in it is named, every lossless form read."""

import io
import shutil

import numpy as np
import pytest
from data_standin import refused
from PIL import Image

from repro.data import cifar10, tree
from repro.record import CLASSES


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def save(path, mode="RGB", size=(32, 32), kind=None):
    Image.new(mode, size).save(path, kind)


def rename(path, name):
    path.rename(path.with_name(name))


def recode(folder):
    """Send every image of a tree through JPEG, and save it as PNG again."""
    for path in folder.rglob("*.png"):
        lossy = io.BytesIO()
        Image.open(path).save(lossy, "JPEG", quality=95)
        Image.open(lossy).save(path)


MISTAKES = {
    "jpeg": (lambda t: save(t / "train/cat/0.jpg"), "holds 6 files; expected 5 images"),
    "jpeg by the name of a png": (lambda t: save(first(t / "train/cat"), kind="JPEG"), "is a JPEG; JPEG changes"),
    "sent through jpeg": (recode, "re-encoded (JPEG does that"),
    "another size": (lambda t: save(first(t / "test/dog"), size=(64, 32)), "is 64 x 32 pixels; expected 32 x 32"),
    "transparent": (lambda t: save(first(t / "test/dog"), "RGBA"), "its pixels are RGBA; expected 8-bit RGB"),
    "sixteen bits": (lambda t: save(first(t / "test/dog"), "I;16"), "its pixels are I;16"),
    "misspelt": (lambda t: rename(t / "train/truck", "trucks"), "not a class of CIFAR-10; did you mean 'truck'"),
    "another class": (lambda t: (t / "test/xylophone").mkdir(), "expected airplane, automobile"),
    "no class": (lambda t: shutil.rmtree(t / "test/deer"), "test: lacks the class deer; expected airplane"),
    "an image too few": (lambda t: first(t / "test/ship").unlink(), "holds 1 files; expected 2 images"),
    "no image": (lambda t: first(t / "test/ship").write_text("a ship"), "not a readable image"),
    "cut short": (lambda t: cut(first(t / "train/frog")), "not a readable image"),
    "a folder for an image": (lambda t: nest(first(t / "train/frog")), "Is a directory"),
    "no test": (lambda t: shutil.rmtree(t / "test"), "test: not a folder; expected train/<class>/*.png"),
    "a list beside the classes": (lambda t: (t / "train/labels.txt").write_text("1"), "labels.txt: not a class"),
    "a file for a class": (lambda t: swap(t / "train/bird"), "bird: not a folder"),
    "another picture": (lambda t: save(first(t / "train/bird")), "the train images are not CIFAR-10's"),
    "classes exchanged": (lambda t: exchange(t / "test"), "the test images are not CIFAR-10's"),
}  # fmt: skip


def first(folder):
    return sorted(folder.iterdir())[0]


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def nest(path):
    path.unlink()
    path.mkdir()


def swap(folder):
    shutil.rmtree(folder)
    folder.write_text("birds")


def exchange(split):
    rename(split / "cat", "spare")
    rename(split / "dog", "cat")
    rename(split / "spare", "dog")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_a_tree_of_images_are_said(standin, home, tmp_path, mistake):
    make, expected = MISTAKES[mistake]
    folder = standin.tree(tmp_path / "images")
    make(folder)
    refused(folder, home, expected)


def test_a_tree_may_hold_hidden_files_and_a_list_of_classes(standin, home, tmp_path):
    folder = standin.tree(tmp_path / "images")
    (folder / "train" / ".DS_Store").write_bytes(b"finder")
    (folder / "test" / "cat" / "._0.png").write_bytes(b"finder")
    (folder / "labels.txt").write_text("\n".join(CLASSES))
    assert cifar10.import_from(folder, home).order == "unknown"


@pytest.mark.parametrize("mode", ["P", "L"])
def test_images_that_a_png_optimiser_made_smaller_keep_their_pixels(tmp_path, mode):
    values = np.random.default_rng(0).integers(0, 200, (32, 32), np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    image.save(tmp_path / "small.png")
    assert Image.open(tmp_path / "small.png").mode == mode
    pixels = np.asarray(image.convert("RGB"))
    assert np.array_equal(tree._image(tmp_path / "small.png"), pixels)
    assert pixels.shape == (32, 32, 3)


def test_a_failed_import_leaves_the_earlier_cache(standin, home, tmp_path):
    cifar10.import_from(standin.archive(tmp_path / "a.tar.gz"), home)
    folder = standin.tree(tmp_path / "images")
    recode(folder)
    refused(folder, home, "re-encoded")
    assert cifar10.load(home).order == "official"
