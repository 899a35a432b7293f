"""Both arms of each comparison make the same images; what the command shows and writes, and what it refuses."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import repro
from PIL import Image

from repro.augment import ops
from repro.augment.augmix import ALL_OPS
from repro.bench import augment as bench
from repro.bench import pillow
from repro.cli import main
from repro.data import sample
from repro.draws import generator

AUGMIX, CROP_FLIP, ROTATE, AUTO = bench.COMPARISONS
READY = pillow.scaled(bench.HALF, bench.HALF)


@pytest.fixture(scope="module")
def images():
    data = sample.load()
    return data.x_train, data.y_train


def theirs(comparison, x, y, epoch=1):
    torch.manual_seed(0)
    return torch.cat(list(comparison.theirs(x, y, epoch)))


def ours(comparison, x, y, epoch=1):
    return torch.cat(list(bench.ours(x, y, comparison.steps)(epoch)))


def mixes(n, epoch=1):
    """Return our draws as the reference takes them: levels and signs from the stream behind our magnitudes."""
    from repro.augment import build

    code, _, weight, share = build(AUGMIX.steps).draw(generator(bench.SEED, "augment", epoch), n)
    rng = generator(bench.SEED, "augment", epoch)
    rng.integers(0, ALL_OPS, code.shape)
    level, negative = rng.uniform(0.1, 3.0, code.shape), rng.random(code.shape) > 0.5

    def chain(place):
        steps = zip(code[place].tolist(), level[place], negative[place], strict=True)
        return [(ops.OPS[c], v, -1 if minus else 1) for c, v, minus in steps if c != ops.IDENTITY]

    for i, view in np.ndindex(n, 2):
        chains = [chain((i, view, width)) for width in range(3)]
        yield i, view, pillow.Mix(chains, weight[i, view].tolist(), share[i, view].item())


def test_the_augmix_reference_gives_our_images_from_our_draws(images):
    n = 60
    x, y = images[0][:n], images[1][:n]
    got, order = ours(AUGMIX, x, y), bench.epoch_order(n, bench.SEED, 1)
    reference = pillow.AugMix(READY, np.random.default_rng(0))
    for i, view, drawn in mixes(n):
        image = Image.fromarray(x[order[i]])
        plain = READY(image)
        assert torch.equal(got[i, 0], plain)
        assert torch.equal(got[i, 1 + view], reference.mix(image, plain, drawn)), (i, view)


def test_the_augmix_reference_draws_by_the_same_laws():
    reference = pillow.AugMix(READY, np.random.default_rng(0))
    drawn = [reference.draw() for _ in range(3000)]
    chains = [chain for mix in drawn for chain in mix.chains]
    steps = [step for chain in chains for step in chain]
    names, signs = (np.array([step[k] for step in steps]) for k in (0, 2))
    level = np.array([step[1] for step in steps])
    assert {*names} == {*ops.OPS[:ALL_OPS]} == {*pillow.NAMES}
    assert np.abs(np.unique(names, return_counts=True)[1] / len(names) - 1 / 13).max() < 0.01
    assert np.abs(np.bincount([len(c) for c in chains])[1:] / len(chains) - 1 / 3).max() < 0.02
    assert (level.min() > 0.1, level.max() < 3) == (True, True)
    assert abs(level.mean() - 1.55) < 0.03
    assert abs(signs.mean()) < 0.04
    weights = np.stack([mix.weights for mix in drawn])
    assert np.abs(weights.sum(1) - 1).max() < 1e-6
    assert abs(weights.var() - 1 / 18) < 0.003
    assert abs(np.mean([mix.share for mix in drawn]) - 0.5) < 0.02


def test_crop_and_flip_make_the_same_162_images_on_both_arms(images):
    """81 places, mirrored or not: of one image, both arms make each, and nothing else."""
    n = 2400
    x, y = np.repeat(images[0][:1], n, 0), np.repeat(images[1][:1], n)
    made = [{view.contiguous().numpy().tobytes() for view in arm(CROP_FLIP, x, y)} for arm in (ours, theirs)]
    assert made[0] == made[1]
    assert len(made[0]) == 162


@pytest.mark.parametrize("comparison", [ROTATE, AUTO], ids=lambda c: c.what)
def test_both_arms_have_the_same_mean_and_deviation(images, comparison):
    """Of one image: where the arms' draws differ, what they make must not, pixel by pixel, beyond chance."""
    n = 1500
    x, y = np.repeat(images[0][7:8], n, 0), np.repeat(images[1][7:8], n)
    first, second = (arm(comparison, x, y).flatten(1).double() for arm in (ours, theirs))
    error = ((first.var(0) + second.var(0)) / n).sqrt()
    z = (first.mean(0) - second.mean(0)) / error.clamp(min=1e-9)
    assert z.abs().max() < 6
    assert (first.std() - second.std()).abs() < 0.02


@pytest.mark.parametrize("comparison", bench.COMPARISONS, ids=lambda c: c.what)
def test_both_arms_give_batches_of_all_images_in_one_form(images, comparison):
    x, y = images[0][:150], images[1][:150]
    shapes = []
    for batches in (bench.ours(x, y, comparison.steps)(1), comparison.theirs(x, y, 1)):
        made = list(batches)
        assert {batch.dtype for batch in made} == {torch.float32}
        shapes.append([tuple(batch.shape) for batch in made])
    assert shapes[0] == shapes[1]
    assert [shape[0] for shape in shapes[0]] == [128, 22]


def test_passes_have_draws_of_their_own(images):
    x, y = images[0][:20], images[1][:20]
    for comparison in (AUGMIX, ROTATE):
        assert not torch.equal(ours(comparison, x, y, 1), ours(comparison, x, y, 2))


def test_the_sample_is_repeated_where_the_cache_is_not(tmp_path):
    name, x, y = bench.pictures(tmp_path, 1700)
    assert name == "cifar10-sample"
    assert len(x) == len(y) == 1700
    assert np.array_equal(x[1500:], x[:200])


@pytest.fixture
def there(tmp_path, monkeypatch):
    """An empty place, and a benchmark that takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(bench, "interleaved", partial(bench.interleaved, least=0.0))
    return tmp_path


SMALLEST = ("bench", "augment", "--images", "3", "--repeats", "2")


def test_the_table_has_a_line_a_comparison_and_names_the_machine(there):
    before = torch.get_num_threads()
    out = repro(*SMALLEST)
    assert torch.get_num_threads() == before
    for comparison in bench.COMPARISONS:
        line = [line for line in out.splitlines() if line.startswith(comparison.what + " ")][-1]
        assert line.endswith(comparison.against)
        assert ("met" in line or "missed" in line) == (comparison.target is not None)
    assert f"torch {torch.__version__}" in out
    assert "3 images of cifar10-sample" in out
    assert not any(there.iterdir())


def test_json_is_alone_on_stdout(there):
    result = CliRunner().invoke(main, [*SMALLEST, "--json"], catch_exceptions=False)
    assert [row["what"] for row in json.loads(result.stdout)["rows"]] == [c.what for c in bench.COMPARISONS]


def test_the_figures_as_json_hang_together(there):
    out = repro(*SMALLEST, "--out", "figures/augment.json")
    text = (there / "figures" / "augment.json").read_text()
    plain = json.loads(text)
    assert "figures/augment.json" in out
    assert (plain["benchmark"], plain["schema"], plain["threads"], plain["repeats"]) == ("augment", 1, 1, 2)
    assert {"device", "python", "torch", "torchvision", "pillow", "numpy", "commit"} <= {*plain["machine"]}
    assert [row["target"] for row in plain["rows"]] == [3.0, 15.0, 2.5, None]
    for row in plain["rows"]:
        assert len(row["ours_s"]) == len(row["theirs_s"]) == 2
        assert row["lowest"] <= row["ratio"] <= row["highest"]
        assert row["met"] == (None if row["target"] is None else row["ratio"] >= row["target"])
        assert row["ours_per_s"] == pytest.approx(3 / np.median(row["ours_s"]))


def test_save_writes_beside_the_pages(there):
    repro(*SMALLEST, "--save")
    assert [p.relative_to(there).as_posix() for p in there.rglob("*.json")] == ["reports/bench/augment.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "0"], "--images"),
        (["--images", "50001"], "--images"),
        (["--repeats", "0"], "--repeats"),
        (["--repeats", "x"], "--repeats"),
        (["--save", "--out", "x.json"], "name two places; give one of them"),
        (["--out", "file/x.json"], "is not a folder that can be written; name another place"),
        (["--out", "."], "is a directory"),
    ],
)
def test_refusals_come_before_anything_is_measured(there, monkeypatch, arguments, message):
    (there / "file").write_text("")
    monkeypatch.setattr(bench, "run", lambda *rest: pytest.fail("measured"))
    assert message in repro("bench", "augment", *arguments, code=2)
    assert [p.name for p in there.iterdir()] == ["file"]


def test_a_damaged_cache_is_refused(there):
    (there / "home" / "data").mkdir(parents=True)
    (there / "home" / "data" / "cifar10.npz").write_text("nothing")
    assert "cifar10.npz" in repro("bench", "augment", code=2)
