"""Two loops, one recipe: the same start, draws of the seed, one test; Welch's arithmetic; what is kept and refused."""

import json
from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_line import SMALL, repro, small_report
from scipy import stats

from repro import run as runner
from repro.bench import accuracy, epochs, seeds, shortened
from repro.bench.epochs import Arm
from repro.bench.peers import PLAIN, Peer, Style
from repro.cli import main
from repro.data import sample
from repro.data.cifar10 import Dataset
from repro.errors import UserError
from repro.report import performance
from repro.run import Options
from repro.spec.identity import runs_of
from repro.spec.loading import load_all
from repro.train import schedule

CPU = torch.device("cpu")
torch.set_num_threads(1)
REPORTS = load_all()


def coloured(train=320, test=200):
    """Return images of noise in which the colour gives the class away: a small network learns them in seconds."""
    rng = np.random.default_rng(0)
    colours = np.array([[r, g, b] for r in (40, 200) for g in (40, 200) for b in (40, 120, 200)])[:10]

    def split(n):
        y = np.arange(n) % 10
        noise = rng.integers(-40, 41, (n, 32, 32, 3))
        return (colours[y][:, None, None] + noise).clip(0, 255).astype(np.uint8), y.astype(np.uint8)

    return Dataset("coloured", *split(train), *split(test), "a" * 64, "b" * 64)


def plan(dataset=None, **more):
    options = Options(Path(), CPU, "fp32")
    return shortened.Plan(dataset or coloured(), options, say=lambda text: None, **more)


def run_of(tiny, made, seed=0, arm="second"):
    """Return an experiment's run as the benchmark shortens it."""
    named = tiny, tiny.experiments[arm]
    run = runs_of(tiny, [named[1]], [seed], "x:y", "full")[0]
    return replace(run, recipe=shortened.reduced(named, made))


def arms(run, made):
    ours = Arm(run, epochs.Plan(made.dataset, made.options, say=made.say))
    return ours, Peer(PLAIN, ours), accuracy.Exam(ours, run, made)


def weights(model):
    return torch.cat([value.detach().flatten().double() for value in model.parameters()]).clone()


@pytest.fixture
def no_workers(monkeypatch):
    """Let loaders work in this process, which is faster for a few images."""
    monkeypatch.setattr(Style, "workers", lambda style: 0)


# --- arithmetic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "spreads"), [((5, 5), (1.0, 1.0)), ((3, 9), (0.2, 4.0)), ((2, 2), (1.0, 0.1))])
def test_welch_is_scipys(sizes, spreads):
    rng = np.random.default_rng(sum(sizes))
    one, other = (rng.normal(60, spread, n).tolist() for n, spread in zip(sizes, spreads, strict=True))
    wanted = stats.ttest_ind(one, other, equal_var=False)
    found = seeds.welch(one, other)
    assert found.nu == pytest.approx(wanted.df)
    assert found.d / found.se == pytest.approx(wanted.statistic)
    assert (found.low95, found.high95) == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_equal_values_have_no_standard_error():
    found = seeds.welch([50.0, 50.0], [50.0, 50.0, 50.0])
    assert (found.d, found.se, found.nu, found.low95, found.high95) == (0, 0, 3, 0, 0)


def pairs(ours, plain):
    return [
        {"seed": i, "ours": a, "plain": b, "seconds": 1.0} for i, (a, b) in enumerate(zip(ours, plain, strict=True))
    ]


def test_the_verdict_is_two_standard_errors_and_takes_three_seeds():
    base = [60.0, 61.0, 62.0]  # sd 1: a standard error of sqrt(2 / 3)
    for shift, within in ((0.0, True), (1.99, True), (2.01, False), (-1.99, True), (-2.01, False)):
        found = seeds.summary(pairs([value + shift * sqrt(2 / 3) for value in base], base))
        assert found["se"] == pytest.approx(sqrt(2 / 3))
        assert found["difference"] == pytest.approx(shift * sqrt(2 / 3))
        assert found["within"] is within
        assert found["paired_se"] == pytest.approx(0, abs=1e-9)  # the same shift in each pair
    assert seeds.summary(pairs(base[:2], base[:2]))["within"] is None
    alone = seeds.summary(pairs([61.0], [60.0]))
    assert (alone["n"], alone["difference"], alone["se"], alone["within"]) == (1, 1.0, None, None)
    guessing = seeds.summary(pairs([10.0, 11.0, 10.5], [10.0, 10.0, 10.2]))
    assert (guessing["learnt"], guessing["within"]) == (False, None)


# --- what is trained -----------------------------------------------------------------------------------------


def all_of_cifar10():
    """Return a data set of the size of CIFAR-10 that takes no memory."""
    images, labels = np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.uint8)
    x = [np.broadcast_to(images, (n, 32, 32, 3)) for n in (50_000, 10_000)]
    y = [np.broadcast_to(labels, n) for n in (50_000, 10_000)]
    return Dataset("cifar10", x[0], y[0], x[1], y[1], "a" * 64, "b" * 64)


@pytest.mark.parametrize("known", REPORTS.values(), ids=lambda r: r.id)
def test_recipes_are_whole_or_shortened_as_a_quick_run_is(known):
    full = plan(all_of_cifar10())
    for experiment in known.experiments.values():
        recipe = experiment.recipe
        if recipe.data.folds:
            continue
        named = known, experiment
        assert shortened.reduced(named, full) == recipe
        assert not shortened.begun(named, shortened.reduced(named, full), full)["reduced"]
        if recipe.budget.epochs % 10 == 0:
            tenth = replace(full, epochs=recipe.budget.epochs // 10)
            assert shortened.reduced(named, tenth) == runner.adapt(recipe, "quick", 50_000)
            assert shortened.begun(named, shortened.reduced(named, tenth), tenth)["reduced"]


def test_a_shorter_cosine_has_the_same_shape():
    recipe = REPORTS["chen2024"].experiments["resnet68"].recipe
    short = runner.shortened(recipe.schedule, 5, 5, 50)
    long_rate, short_rate = (schedule.build(lr=0.1, **each.model_dump()) for each in (recipe.schedule, short))
    assert [short_rate(epoch, 0, []) for epoch in range(1, 6)] == pytest.approx(
        [long_rate(10 * epoch - 9, 0, []) for epoch in range(1, 6)]
    )


def test_fewer_images_keep_the_share_that_validates():
    recipe = run_of(small_report(), plan(all_of_cifar10(), images=900)).recipe
    assert (recipe.data.split.train, recipe.data.split.val) == (900, 100)
    recipe = run_of(small_report(), plan(sample.load())).recipe  # 1,500 images in place of 50,000
    assert (recipe.data.split.train, recipe.data.split.val) == (1350, 150)


def test_both_arms_begin_with_equal_weights_and_images_and_seeds_differ(no_workers):
    tiny, made = small_report(), plan(images=64)
    begun, labels = {}, {}
    for seed in (0, 1):
        run = run_of(tiny, made, seed)
        ours, plain, _ = arms(run, made)
        assert torch.equal(weights(ours.stepper.model), weights(plain.model))
        begun[seed] = weights(plain.model)
        index = ours.stepper.index.numpy()
        given = made.dataset.y_train[index]
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            labels[seed] = torch.cat([batch for _, batch in plain.loads(made.dataset.x_train[index], given)])
        assert sorted(labels[seed].tolist()) == sorted(given.tolist())
        # The plain loop has an order of its own.
        order = ours.stepper.prepare(seed, 1).order
        assert not torch.equal(ours.stepper.images.labels[order], labels[seed])
    assert not torch.equal(begun[0], begun[1])
    assert not torch.equal(labels[0], labels[1])


def test_a_seed_decides_everything_whatever_was_drawn_before():
    """With the loader's two workers; another seed ends elsewhere, and PyTorch's own draws are left alone."""
    tiny, made = small_report(), plan(images=32, epochs=1)
    ends = []
    for seed, before in ((0, 1), (0, 2), (1, 1)):
        run = run_of(tiny, made, seed)
        ours, plain, exam = arms(run, made)
        index = ours.stepper.index.numpy()
        torch.manual_seed(before)
        accuracy.train_ours(ours, run, exam)
        accuracy.train_plain(plain, made.dataset.x_train[index], made.dataset.y_train[index], run, exam)
        drawn = torch.rand(3)
        torch.manual_seed(before)
        assert torch.equal(drawn, torch.rand(3))
        ends.append((weights(ours.stepper.model), weights(plain.model)))
    first, again, other = ends
    for one, same, different in zip(first, again, other, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
    assert not torch.equal(*first)


def test_the_test_is_a_plain_count_in_evaluation_mode():
    data = sample.load()
    many = np.concatenate([data.x_test] * 3), np.concatenate([data.y_test] * 3)  # more than a batch of 1,000
    made = plan(replace(data, x_test=many[0], y_test=many[1]), images=32, test_images=1100)
    ours, plain, exam = arms(run_of(small_report(), made), made)
    for model in (ours.stepper.model, plain.model):
        model.train()
        found = exam.accuracy(model)
        model.eval()
        images = torch.from_numpy(many[0][:1100]).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            hits = model(images).argmax(1) == torch.from_numpy(many[1][:1100].astype(np.int64))
        assert found == pytest.approx(100 * hits.double().mean().item(), abs=0.1)  # rounding may turn an image
    assert ours.stepper.model is not plain.model  # the arm's own network is still its own


@pytest.mark.parametrize("metric", ["test/loss", "val/loss"])
def test_both_arms_lower_their_rate_where_the_watched_loss_stays(monkeypatch, no_workers, metric):
    plateau = f"schedule: {{name: plateau, metric: {metric}, factor: 0.5, patience: 1}}"
    made = plan(images=32)
    run = run_of(small_report(("schedule: {name: constant}", plateau), ("epochs: 2", "epochs: 4")), made)
    ours, plain, exam = arms(run, made)
    real = exam.watched(plain.model)
    assert list(real) == [metric]
    assert 1 < real[metric] < 5
    monkeypatch.setattr(exam, "watched", lambda model: {metric: 1.0})
    index = ours.stepper.index.numpy()
    accuracy.train_ours(ours, run, exam)
    accuracy.train_plain(plain, made.dataset.x_train[index], made.dataset.y_train[index], run, exam)
    # The first epoch brings a minimum, the second and the third none.
    for optimizer in (ours.optimizer, plain.optimizer):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 / 4)


def test_a_handicap_is_found_and_equal_loops_come_close(monkeypatch, no_workers):
    tiny, made = small_report(("val: 5000", "val: 0"), ("epochs: 2", "epochs: 4")), plan(coloured(160, 100))
    named = tiny, tiny.experiments["first"]
    equal = accuracy.measure(named, [0, 1, 2], made)["summary"]
    assert min(equal["ours"], equal["plain"]) > 50
    assert abs(equal["difference"]) < 30  # about four standard errors of so small a training

    class Slow(Peer):
        def __init__(self, style, ours):
            super().__init__(style, ours)
            rate = self.schedule
            self.schedule = lambda *when: rate(*when) / 100

    monkeypatch.setattr(accuracy, "Peer", Slow)
    slow = accuracy.measure(named, [0, 1, 2], made)["summary"]
    assert slow["ours"] == equal["ours"]
    assert slow["within"] is False
    assert slow["low95"] > 0


# --- what is kept --------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder with a report, and no CIFAR-10."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("REPRO_EXPERIMENTS", raising=False)
    return tmp_path


@pytest.fixture
def asked(place, monkeypatch):
    """Let training take no time: accuracies follow from the seed. Returns the seeds that were trained."""
    asked = []

    def trained(run, made):
        asked.append(run.seed)
        return {"seed": run.seed, "ours": 60.0 + run.seed, "plain": 60.5 + run.seed, "seconds": 10.0,
                "date": "2026-01-02T03:04:05+00:00", "commit": "ab" * 20, "dirty": False}  # fmt: skip

    monkeypatch.setattr(accuracy, "trained", trained)
    return asked


def call(*more, code=0):
    return repro("bench", "accuracy", "tiny/second", "--device", "cpu", "--precision", "fp32", *more, code=code)


def rows(path="a.json"):
    return json.loads(Path(path).read_text())["rows"]


def test_a_second_call_adds_only_the_seeds_that_are_missing(asked):
    call("--seeds", "0-1", "--out", "a.json")
    said = call("--seeds", "0-3", "--out", "a.json")
    assert "there already, with the same settings and machine: seed 0, 1" in said
    assert asked == [0, 1, 2, 3]
    (row,) = rows()
    assert [seed["seed"] for seed in row["seeds"]] == [0, 1, 2, 3]
    assert row["summary"] == seeds.summary(row["seeds"])
    assert "within two standard errors: yes" in said
    call("--seeds", "2", "--out", "a.json")  # nothing is left to do, and nothing is lost
    assert asked == [0, 1, 2, 3]
    assert len(rows()[0]["seeds"]) == 4


def test_other_settings_and_other_machines_have_rows_of_their_own(asked):
    call("--seeds", "0", "--out", "a.json")
    call("--seeds", "0", "--epochs", "1", "--out", "a.json")
    call("--seeds", "0", "--images", "40", "--out", "a.json")
    plain = json.loads(Path("a.json").read_text())
    plain["rows"][0]["machine"]["device"] = "Another"
    Path("a.json").write_text(json.dumps(plain))
    call("--seeds", "0-1", "--out", "a.json")
    assert asked == [0, 0, 0, 0, 1]
    assert sorted(len(row["seeds"]) for row in rows()) == [1, 1, 1, 2]


def test_an_interrupted_call_keeps_its_seeds(asked, monkeypatch):
    quick = accuracy.trained

    def interrupted(run, made):
        if run.seed == 2:
            raise KeyboardInterrupt
        return quick(run, made)

    monkeypatch.setattr(accuracy, "trained", interrupted)
    call("--seeds", "0-4", "--save", code=130)
    assert [seed["seed"] for seed in rows("reports/bench/accuracy.json")[0]["seeds"]] == [0, 1]
    monkeypatch.setattr(accuracy, "trained", quick)
    call("--seeds", "0-4", "--save")
    assert asked == [0, 1, 2, 3, 4]


def test_seeds_that_another_process_wrote_meanwhile_stay(tmp_path):
    row = {"experiment": "a/b", "settings": {"images": 1}, "machine": {"device": "x"}, "date": "2026", "seeds": []}
    first, second, third = pairs([60.0, 61.0, 62.0], [60.0, 61.0, 62.0])
    seeds.enter(tmp_path / "a.json", seeds.extended(row, [first]))
    seeds.enter(tmp_path / "a.json", seeds.extended(row, [second, third]))
    (kept,) = seeds.read(tmp_path / "a.json")
    assert kept["seeds"] == [first, second, third]
    assert kept["summary"]["n"] == 3


def test_no_seed_begins_that_would_end_late():
    tiny, now, said = small_report(), [0.0], []
    made = plan(clock=lambda: now[0], deadline=25.0)
    made.say = said.append

    def trained(run, made):
        now[0] += 10.0
        return pairs([60.0], [60.0])[0] | {"seed": run.seed, "seconds": 10.0}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(accuracy, "trained", trained)
        row = accuracy.measure((tiny, tiny.experiments["second"]), range(5), made)
        assert [seed["seed"] for seed in row["seeds"]] == [0, 1]
        assert said == ["time is over: seed 2 and what follows is missing"]
        made.deadline = 0.0  # the first is trained in any case
        assert len(accuracy.measure((tiny, tiny.experiments["second"]), [7, 8], made)["seeds"]) == 1


# --- command and page ----------------------------------------------------------------------------------------


def test_the_command_trains_prints_and_keeps(place):
    more = ("--images", "32", "--epochs", "1", "--test-images", "50", "--seeds", "0-1")
    arguments = ["bench", "accuracy", "tiny/second", "--device", "cpu", "--precision", "fp32", *more]
    result = CliRunner().invoke(main, [*arguments, "--json", "--out", "a.json"], catch_exceptions=False)
    assert json.loads(result.stdout)["rows"] == rows()
    (row,) = rows()
    assert row["reduced"]
    assert row["settings"]["precision"] == {"ours": "fp32", "plain": "fp32"}
    assert [row["settings"][key] for key in ("images", "epochs", "test_images")] == [32, 1, 50]
    for seed in row["seeds"]:
        assert all((seed[arm] / 2) % 1 == 0 for arm in ("ours", "plain"))  # of 50 images
    said = call(*more, "--out", "a.json")
    assert "reduced: 32 of 45,000 training images, 1 of 2 epochs, 50 of 10,000 test images" in said
    assert "no verdict: 2 seeds, it takes 3" in said or "no verdict: both arms have learnt little" in said


def test_the_page_has_each_rows_figures(asked):
    call("--seeds", "0-2", "--save")
    call("--seeds", "0-1", "--epochs", "1", "--save")
    text = performance.page(Path("reports/bench"))
    table = [line for line in text.splitlines() if line.startswith("| `tiny/second`")]
    found = seeds.summary(rows("reports/bench/accuracy.json")[0]["seeds"])
    whole = next(line for line in table if "epochs" not in line)
    assert "| 61.00 (sd 1.00) | 61.50 (sd 1.00) | −0.50 | 0.82 |" in whole
    assert f"−{abs(found['low95']):.2f} to +{found['high95']:.2f}".replace("+", "") in whole.replace("+", "")
    assert whole.endswith("| yes |")
    assert "no verdict: 2 seeds, it takes 3" in next(line for line in table if "1 of 2 epochs" in line)
    assert "by seed, ours / plain: 60.00 / 60.50, 61.00 / 61.50, 62.00 / 62.50" in text
    assert "commit abababababab," in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny"], "tiny: expected REPORT/EXPERIMENT"),
        (["tiny/secnd"], "no experiment 'secnd' in tiny; did you mean 'second'?"),
        (["tine/second"], "no report 'tine'; did you mean 'tiny'?"),
        (["tiny/second", "--epochs", "3"], "--epochs 3: tiny/second has 2 here; give at most so many"),
        (["tiny/second", "--images", "1351"], "--images 1,351: tiny/second has 1,350 here; give at most so many"),
        (["tiny/second", "--test-images", "501"], "--test-images 501: tiny/second has 500 here"),
        (["tiny/folds"], "tiny/folds: trains in folds"),
        (["tiny/second", "--seeds", "3-1"], "a range runs upwards"),
        (["tiny/second", "--budget", "soon"], "expected a time such as"),
        (["tiny/second", "--device", "tpu"], "--device tpu"),
        (["tiny/second", "--save", "--out", "x.json"], "name two places; give one of them"),
        (["tiny/second", "--out", "other.json"], "other.json: is of benchmark step, schema 1; expected what"),
        (["tiny/second", "--out", "broken.json"], "broken.json: JSONDecodeError"),
        (["tiny/second", "--out", "seedless.json"], "seedless.json: KeyError 'seeds'"),
    ],
)
def test_refusals_come_before_anything_is_trained(place, asked, arguments, message):
    file = place / "experiments" / "tiny.yaml"
    folds = "data: {split: {train: 40000, val: 10000}, folds: {k: 5, network: fresh}}"
    second = "  second: {reading"
    text = file.read_text().replace(second, f"  folds: {{reading: isolated, tier: core, title: F, {folds}}}\n{second}")
    file.write_text(text)
    row = {"experiment": "tiny/second", "settings": {}, "machine": {"device": "x"}, "date": "2026"}
    others = {
        "other.json": json.dumps({"benchmark": "step", "schema": 1}), "broken.json": "{",
        "seedless.json": json.dumps({"benchmark": "accuracy", "schema": 1, "rows": [row]}),
    }  # fmt: skip
    for name, content in others.items():
        Path(name).write_text(content)
    assert message in repro("bench", "accuracy", *arguments, code=2)
    assert asked == []
    assert not (place / "reports").exists()
    assert {name: Path(name).read_text() for name in others} == others


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match="name another place, or delete the file"):
        seeds.read(tmp_path / "a.json")
    assert seeds.read(tmp_path / "none.json") == []
