"""Loading: what is accepted, how arms merge, and that every refusal names file, line, key path and the mend."""

import copy
import re
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.errors import UserError
from repro.spec.building import MAX_DEPTH, Builder, Loader, quickly
from repro.spec.loading import MAX_BYTES, load, load_all, merge, parse

VALID = """\
schema: 1
id: demo
title: A demonstration
source: {authors: [A. Author], year: 2024}
summary: A network is trained.
recipe:
  data:
    split: {train: 45000, val: 5000}
    normalize: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
  augment: [{name: crop, pad: 4}, {name: flip, p: 0.5}]
  model: {name: resnet, stem: 16, widths: [16, 32, 64], blocks: [1, 1, 1]}
  loss: {name: cross_entropy}
  optim: {name: sgd, lr: 0.1, momentum: 0.9, weight_decay: 5e-4}
  schedule: {name: cosine, t_max: 20}
  budget: {epochs: 20, batch_size: 128}
experiments:
  base: {reading: as_written, tier: headline, title: As written}
  adam:
    reading: isolated
    tier: core
    title: With Adam
    optim: {name: adam, lr: 1e-3}
    data: {split: {train: 50000, val: 0}}
claims:
  - {id: params, kind: count, experiment: base, value: 100, where: Table 1}
  - {id: acc, kind: point, experiment: base, protocol: best_val_loss, value: 90.1, decimals: 1, where: Results}
  - {id: speed, kind: not_testable, text: It is fast., why: No number., where: Results}
"""
FILE = "experiments/demo.yaml"


def swapped(old: str, new: str) -> str:
    assert VALID.count(old) == 1, old
    return VALID.replace(old, new)


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text, FILE)
    return str(caught.value)


def test_valid_file_loads():
    report = parse(VALID, FILE)
    base, adam = report.experiments["base"], report.experiments["adam"]
    assert base.recipe.optim.weight_decay == 5e-4  # YAML 1.1 reads it as a string
    assert base.recipe.model.widths == (16, 32, 64)
    assert (base.id, adam.id) == ("base", "adam")
    assert [claim.id for claim in report.claims] == ["params", "acc", "speed"]


def test_arms_merge_into_the_base():
    adam = parse(VALID, FILE).experiments["adam"].recipe
    assert adam.optim.model_dump(exclude_defaults=True) == {"name": "adam", "lr": 1e-3}  # another name: whole block
    assert adam.data.split.val == 0
    assert adam.data.normalize is not None  # mappings merge
    assert adam.budget.epochs == 20


def test_merging_rules():
    base = {"a": {"x": 1, "y": 2}, "list": [1, 2], "block": {"name": "p", "k": 1}}
    assert merge(base, {"a": {"y": 3}}) == {**base, "a": {"x": 1, "y": 3}}
    assert merge(base, {"list": [9]})["list"] == [9]
    assert merge(base, {"block": {"name": "q"}})["block"] == {"name": "q"}
    assert merge(base, {"block": {"name": "p", "j": 2}})["block"] == {"name": "p", "k": 1, "j": 2}
    assert merge(base, {"block": {"j": 2}})["block"] == {"name": "p", "k": 1, "j": 2}
    assert merge(base, {"a": None})["a"] is None
    assert base == {"a": {"x": 1, "y": 2}, "list": [1, 2], "block": {"name": "p", "k": 1}}


def test_an_arm_can_drop_a_block_and_a_list():
    text = swapped("title: As written}", "title: As written, augment: [], data: {normalize: null}}")
    recipe = parse(text, FILE).experiments["base"].recipe
    assert recipe.augment == ()
    assert recipe.data.normalize is None


# (what to replace, by what, line, key path, a part of the message)
REFUSALS = {
    "unknown key": ("stem: 16", "stm: 16", 11, "recipe.model.stm", "unknown key; did you mean 'stem'?"),
    "unknown key, nothing near": (
        "title: A dem", "zzz: 1\ntitle: A dem", 3, "zzz", "unknown key; known here: assumed,",
    ),
    "unknown block of a recipe": (
        "  optim: {name: sgd", "  optimm: {name: sgd", 13, "recipe.optimm",
        "unknown key; did you mean 'optim'? (and 1 more)",
    ),
    "unknown key of an arm": (
        "tier: core", "teir: core", 20, "experiments.adam.teir", "unknown key; did you mean 'tier'?",
    ),
    "unknown delta": (
        "    optim: {name: adam", "    optimm: {name: adam", 22, "experiments.adam.optimm", "mean 'optim'?",
    ),
    "unknown key of an augmentation": (
        "p: 0.5", "q: 0.5", 10, "recipe.augment[1].q", "unknown key; known here: direction, name, p",
    ),
    "unknown key of a claim": ("value: 100", "value: 100, runs: 2", 25, "claims[0].runs", "unknown key"),
    "recipe as an arm's key": ("tier: core", "tier: core\n    recipe: {}", 21, "experiments.adam.recipe", "directly"),
    "duplicate key": (
        "tier: core", "tier: core\n    tier: long", 21, "experiments.adam.tier", "twice (first at line 20)",
    ),
    "alias": (
        "split: {train: 45000, val: 5000}", "split: &s {train: 45000, val: 5000}\n    normalize: *s\n  x:",
        8, "recipe.data.normalize", "alias",
    ),
    "alias of a word": ("title: A demonstration", "title: &t A\nsummary: *t", 3, "summary", "alias"),
    "merge key": ("    tier: core", "    <<: {tier: core}", 20, "experiments.adam", "not a plain word"),
    "a list as a key": ("title: A dem", "[a, b]: 1\ntitle: A dem", 3, "the file", "not a plain word"),
    "missing key": (", lr: 0.1", "", 13, "recipe.optim.lr", "is missing; add it"),
    "missing key in an arm's own block": (", lr: 1e-3", "", 22, "experiments.adam.optim.lr", "is missing; add it"),
    "missing block": ("  loss: {name: cross_entropy}\n", "", 6, "recipe.loss", "is missing; add it"),
    "missing title": ("title: A demonstration\n", "", 1, "title", "is missing; add it"),
    "text for an integer": (
        "epochs: 20", "epochs: '20'", 15, "recipe.budget.epochs", "must be an integer (found '20')",
    ),
    "fraction for an integer": (
        "epochs: 20", "epochs: 20.0", 15, "recipe.budget.epochs", "must be an integer (found 20.0)",
    ),
    "text in a list of integers": (
        "[16, 32, 64]", "[16, x, 64]", 11, "recipe.model.widths[1]", "must be an integer (found 'x')",
    ),
    "text for a number": ("lr: 0.1", "lr: fast", 13, "recipe.optim.lr", "must be a number (found 'fast')"),
    "number for text": ("title: A demonstration", "title: 5", 3, "title", "must be text (put it in quotes) (found 5)"),
    "a date": (
        "title: A demonstration", "title: 2024-05-01", 3, "title",
        "reads '2024-05-01' as a timestamp; put it in quotes",
    ),
    "not a number": ("lr: 0.1", "lr: .nan", 13, "recipe.optim.lr", "must be"),
    "infinite": ("value: 90.1", "value: .inf", 26, "claims[1].value", "must be a finite number"),
    "nan where a bound would do": ("momentum: 0.9", "momentum: .nan", 13, "recipe.optim.momentum", "must be"),
    "out of range": ("momentum: 0.9", "momentum: 1.5", 13, "recipe.optim.momentum", "must be less than 1 (found 1.5)"),
    "in an arm, the arm's line": (
        "lr: 1e-3", "lr: -1", 22, "experiments.adam.optim.lr", "must be greater than 0 (found -1",
    ),
    "mapping for a list": ("[16, 32, 64]", "{a: 1}", 11, "recipe.model.widths", "must be a list"),
    "list for a mapping": ("{epochs: 20, batch_size: 128}", "[20, 128]", 15, "recipe.budget", "must be a mapping"),
    "number for a block": ("{name: adam, lr: 1e-3}", "5", 22, "experiments.adam.optim", "mapping (found 5"),
    "empty list": ("authors: [A. Author]", "authors: []", 4, "source.authors", "must have at least 1 item, not 0"),
    "two of three channels": (
        "std: [0.25, 0.25, 0.25]", "std: [0.25, 0.25]", 9, "recipe.data.normalize.std[2]", "is missing",
    ),
    "unequal lists": (
        "blocks: [1, 1, 1]", "blocks: [1, 1]", 11, "recipe.model.blocks",
        "widths has 3 stages but blocks has 2; give one of each a stage",
    ),
    "unknown name": (
        "{name: sgd,", "{name: sgdd,", 13, "recipe.optim.name", "unknown name 'sgdd'; did you mean 'sgd'?",
    ),
    "unknown name in a list": (
        "name: flip", "name: mirror", 10, "recipe.augment[1].name",
        "known here: augmix, autoaugment, crop, flip, rotate",
    ),
    "no name": (
        "{name: flip, p: 0.5}", "{p: 0.5}", 10, "recipe.augment[1].name", "is missing; give one of crop, flip, rotate",
    ),
    "unknown kind": (
        "kind: count", "kind: number", 25, "claims[0].kind",
        "known here: band, confusion, conjecture, convergence, count, data, explanation, loss,",
    ),
    "word of a list of words": (
        "tier: core", "tier: main", 20, "experiments.adam.tier", "must be 'headline', 'core', 'extended' or",
    ),
    "wrong id": ("id: demo", "id: Demo 1", 2, "id", "must be 2 to 30 lower-case letters and digits"),
    "wrong experiment id": ("  adam:", "  With Adam:", 18, "experiments.With Adam", "must be lower-case"),
    "unknown protocol": ("best_val_loss", "best_val", 26, "claims[1].protocol", "did you mean 'best_val_loss'?"),
    "unknown experiment": (
        "experiment: base, value", "experiment: bas, value", 25, "claims[0].experiment", "did you mean 'base'?",
    ),
    "twice the same claim": (
        "id: acc", "id: params", 26, "claims[1].id", "'params' is given twice (first at line 25); rename one",
    ),
    "twice the same finding": (
        "claims:\n", "findings: [{id: a, text: x, evidence: y}, {id: a, text: x, evidence: y}]\nclaims:\n", 24,
        "findings[1].id", "'a' is given twice (first at line 24); rename one",
    ),
    "validation without a split": (
        "experiment: base, protocol", "experiment: adam, protocol", 26, "claims[1].protocol",
        "best_val_loss needs a validation split, and adam has none; set data.split.val above 0, or take a protocol on",
    ),
    "augmented validation without a split": (
        "experiment: base, protocol: best_val_loss", "experiment: adam, protocol: val_augmented", 26,
        "claims[1].protocol", "needs a validation split, and adam has none; set data.split.val above 0",
    ),
    "validation curve without a split": (
        "experiment: base, protocol: best_val_loss", "experiment: adam, protocol: val, epoch: 3", 26,
        "claims[1].protocol", "needs a validation split, and adam has none",
    ),
    "epoch past the budget": (
        "protocol: best_val_loss", '"protocol": "at_epoch:21"', 26, "claims[1].protocol",
        "epoch 21 is past the budget of 20 epochs of base; give one from 1 to 20",
    ),
    "curve past the budget": (
        "protocol: best_val_loss", "protocol: val, epoch: 21", 26, "claims[1].epoch",
        "epoch 21 is past the budget of 20 epochs of base; give one from 1 to 20",
    ),
    "training curve past the budget": (
        "protocol: best_val_loss", "protocol: train_running, epoch: 21", 26, "claims[1].epoch", "give one from 1 to 20",
    ),
    "epoch zero": ("protocol: best_val_loss", 'protocol: "at_epoch:0"', 26, "claims[1].protocol", "at_epoch:K"),
    "no augmented curve": (
        "protocol: best_val_loss", "protocol: val_augmented, epoch: 2", 26, "claims[1].epoch",
        "only with data.val_transform: train, which base lacks; set it there, or leave epoch out",
    ),
    "a metric no curve has": (
        "protocol: best_val_loss", "protocol: best_test, metric: ece_pct", 26, "claims[1].metric",
        "ece_pct is not measured by best_test; known: acc_pct, loss",
    ),
    "a metric no epoch has": (
        "kind: point, experiment: base, protocol: best_val_loss",
        "kind: loss, experiment: base, metric: nll, protocol: train_running, epoch: 3", 26, "claims[1].metric",
        "nll is not measured by train_running at an epoch; known: acc_pct, loss",
    ),
    "a loss of batches": (
        "kind: point, experiment: base, protocol: best_val_loss",
        "kind: loss, experiment: base, metric: loss, protocol: last_batch", 26, "claims[1].metric",
        "loss is not measured by last_batch; known: acc_pct",
    ),
    "a loss in percent": (
        "kind: point, experiment: base", "kind: loss, experiment: base", 26, "claims[1].metric",
        "a loss claim is of loss or nll, not acc_pct; mend one",
    ),
    "more than a hundred percent": (
        "value: 90.1", "value: 901.0", 26, "claims[1].value", "between 0 and 100 (found 901.0); give it in percent",
    ),
    "fewer decimals than the value has": (
        "value: 90.1", "value: 90.14", 26, "claims[1].decimals",
        "is 1, but value 90.14 has 2; give as many as are printed",
    ),
    "a fraction of a parameter": (
        "value: 100", "value: 100.5", 25, "claims[0].decimals", "is 0, but value 100.5 has 1; give",
    ),
    "augmented validation images without a split": (
        "{train: 45000, val: 5000}", "{train: 45000}\n    val_transform: train", 9, "recipe.data.val_transform",
        "is train, but data.split.val is 0; hold out images, or leave val_transform out",
    ),
    "an arm that takes the split away": (
        "split: {train: 45000, val: 5000}", "split: {train: 45000, val: 5000}\n    val_transform: train", 24,
        "experiments.adam.data.split.val", "data.val_transform is train, but data.split.val is 0",
    ),
    "augmented validation images without augmentation": (
        "val: 5000}\n    normalize: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
        "  augment: [{name: crop, pad: 4}, {name: flip, p: 0.5}]",
        "val: 5000}\n    val_transform: train\n  augment: []",
        9, "recipe.data.val_transform", "is train, but augment is empty; leave val_transform out",
    ),
    "augmented test without augmentation": (
        "data: {split: {train: 50000, val: 0}}\nclaims:\n",
        "augment: []\nclaims:\n  - {id: aug, kind: point, experiment: adam, protocol: augmented_test, value: 80.0,"
        " decimals: 1, where: T}\n", 25, "claims[0].protocol",
        "augmented_test needs augment, and adam has none; take val or last",
    ),
    "validation loss without a split": (
        "optim: {name: adam, lr: 1e-3}", "schedule: {name: plateau, metric: val/loss}", 22,
        "experiments.adam.schedule.metric", "is val/loss, but data.split.val is 0; hold out images, or watch test/loss",
    ),
    "nesterov without momentum": (
        "momentum: 0.9", "nesterov: true", 13, "recipe.optim.nesterov", "give momentum, or leave nesterov out",
    ),
    "a crop wider than the image": (
        "pad: 4", "pad: 99", 10, "recipe.augment[0].pad", "must be less than or equal to 16 (found 99)",
    ),
    "a crop of nothing": (
        "pad: 4", "pad: 0", 10, "recipe.augment[0].pad", "must be greater than or equal to 1 (found 0)",
    ),
    "seven stages": (
        "widths: [16, 32, 64], blocks: [1, 1, 1]", "widths: [1, 1, 1, 1, 1, 1, 1], blocks: [1, 1, 1, 1, 1, 1, 1]", 11,
        "recipe.model.widths", "at most 6 stages, not 7; drop the last",
    ),
    "six stages behind a stem that halves": (
        "widths: [16, 32, 64], blocks: [1, 1, 1]",
        "widths: [1, 1, 1, 1, 1, 1], blocks: [1, 1, 1, 1, 1, 1], stem_kernel: 7, max_pool: true", 11,
        "recipe.model.widths", "at most 4 stages behind a 7x7 stem and max_pool, not 6; drop the last 2",
    ),
    "a stem of another size": (
        "stem: 16", "stem: 16, stem_kernel: 5", 11, "recipe.model.stem_kernel", "must be 3 or 7 (found 5)",
    ),
    "unknown network": (
        "name: resnet", "name: vggg", 11, "recipe.model.name", "unknown name 'vggg'; did you mean 'vgg'?",
    ),
    "another network's key": (
        "name: resnet, stem: 16, widths: [16, 32, 64], blocks: [1, 1, 1]",
        "name: vgg, widths: [16, 32], convs: [1, 1], hidden: [], stem: 16", 11, "recipe.model.stem", "unknown key",
    ),
    "an arm's network that is not full": (
        "tier: core", "tier: core\n    model: {name: vgg, widths: [16]}", 21, "experiments.adam.model.convs",
        "is missing; add it",
    ),
    "unequal stages of a vgg": (
        "name: resnet, stem: 16, widths: [16, 32, 64], blocks: [1, 1, 1]",
        "name: vgg, widths: [16, 32], convs: [1], hidden: []", 11, "recipe.model.convs",
        "widths has 2 stages but convs has 1; give one of each a stage",
    ),
    "a vgg of six stages": (
        "name: resnet, stem: 16, widths: [16, 32, 64], blocks: [1, 1, 1]",
        "name: vgg, widths: [1, 1, 1, 1, 1, 1], convs: [1, 1, 1, 1, 1, 1], hidden: []", 11, "recipe.model.widths",
        "at most 5 stages, not 6; drop the last",
    ),
    "a warm-up as long as the budget": (
        "t_max: 20", "t_max: 20, warmup_epochs: 20", 14, "recipe.schedule.warmup_epochs",
        "is 20, which leaves none of the budget's 20 epochs; give at most 19",
    ),
    "an arm too short for the warm-up": (
        "optim: {name: adam, lr: 1e-3}", "schedule: {warmup_epochs: 3}\n    budget: {epochs: 3}", 22,
        "experiments.adam.schedule.warmup_epochs", "leaves none of the budget's 3 epochs; give at most 2",
    ),
    "a warm-up's start without its length": (
        "t_max: 20", "t_max: 20, warmup_start: 0.2", 14, "recipe.schedule.warmup_start", "needs warmup_epochs above 0",
    ),
    "an assumption about no key": (
        "claims:\n", "assumed:\n  recipe.optim.momentun: Not in the text.\nclaims:\n", 25,
        "assumed.recipe.optim.momentun", "no key 'recipe.optim.momentun' in this file; did you mean 'recipe.optim.mome",
    ),
    "an assumption in prose": (
        "claims:\n", "assumed: {Everything else: Not in the text.}\nclaims:\n", 24, "assumed.Everything else",
        "give the path of a key such as recipe.optim.momentum",
    ),
    "the name of another folder": (
        "id: demo\n", "id: ledger\n", 2, "id", "'ledger' is the name of another folder in reports/; choose another id",
    ),
    "epoch of no curve": (
        "protocol: best_val_loss", "protocol: last, epoch: 2", 26, "claims[1].epoch",
        "epoch does not apply to protocol last; for the test set use at_epoch:K",
    ),
    "more errors than points": (
        "  - {id: speed", "  - {id: course, kind: trajectory, experiment: base, curve: test/loss, epochs: [1, 2], "
        "values: [2, 1], decimals: 0, digitising_first: [0.1, 0.1, 0.1], where: Figure 1}\n  - {id: speed", 27,
        "claims[2].digitising_first", "digitising_first has 3 entries and epochs 2; give no more than there are points",
    ),
    "neither experiment nor reason": (
        "experiment: base, protocol", "protocol", 26, "claims[1].why_not_run",
        "give either experiment (what measures it) or why_not_run",
    ),
    "split too large": (
        "train: 45000", "train: 45001", 8, "recipe.data.split.train",
        "train + val is 45,001 + 5,000, more than the 50,000 training images; lower one",
    ),
    "split of more images than there are": (
        "train: 45000", "train: 60000", 8, "recipe.data.split.train",
        "must be less than or equal to 50000 (found 60000)",
    ),
    "an arm's split too large": (
        "split: {train: 50000, val: 0}", "split: {train: 50000}", 23, "experiments.adam.data.split.train",
        "is 50,000 + 5,000, more than the 50,000",
    ),
    "no recipe": ("recipe:\n  data", "receipt:\n  data", 1, "recipe", "is missing or not a mapping"),
    "no experiments": (
        VALID[VALID.index("experiments:"):], "experiments: {}\n", 16, "experiments",
        "is missing, empty or not a mapping",
    ),
    "an arm that is a word": (
        "  base: {reading: as_written, tier: headline, title: As written}", "  base: x", 17, "experiments.base",
        "mapping",
    ),
    "a tag": ("epochs: 20", "epochs: !!python/name:os.system 20", 15, "recipe.budget.epochs", "quotes"),
    "a tag on a block": ("source: {", "source: !!set {", 4, "source", "has the YAML tag"),
    "an impossible integer": ("epochs: 20", "epochs: !!int x", 15, "recipe.budget.epochs", "cannot read 'x'"),
    "an endless integer": ("epochs: 20", f"epochs: {'9' * 5000}", 15, "recipe.budget.epochs", "cannot read '999"),
    "an integer no float holds": ("value: 100", f"value: {'9' * 400}", 25, "claims[0].value", "must be a"),
    "newer schema": ("schema: 1", "schema: 2", 1, "schema", "must be 1 (found 2)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    old, new, line, path, part = REFUSALS[case]
    message = refusal(swapped(old, new))
    assert message.startswith(f"{FILE}:{line}: {path}: "), message
    assert part in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a: [1, 2\nb: 3\n", 2, "in what began at line 1); check indents, colons, quotes, brackets"),
        ("a: {b: 1\n\nc: 3\n", 3, "in what began at line 1)"),
        ("a: 'x\nb: 3\n", 3, "in what began at line 1)"),
        ("a:\n\tb: 1\n", 2, "not valid YAML (a tab where YAML wants spaces); check indents"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        ("a: *nowhere\n", 1, "not valid YAML"),
        ("title: x\nsummary: \x00\n", 2, "a character YAML does not allow (0x0)"),
        ("", 1, "is empty; `repro new` writes a file to begin with"),
        ("# only words\n", 1, "is empty"),
        ("- a\n- b\n", 1, "expected a mapping"),
        ("just words\n", 1, "expected a mapping"),
        ("a: " + "[" * 5000, 1, "nested too deeply"),
        ("&a [*a]\n", 1, "alias"),
    ],
)
def test_what_is_no_report_at_all(text, line, part):
    message = refusal(text)
    assert message.startswith(f"{FILE}:{line}: ")
    assert part in message


def test_depth_is_counted_long_before_python_gives_up():
    deepest, deeper = ("a: " + "[" * (levels - 2) + "1" + "]" * (levels - 2) for levels in (MAX_DEPTH, MAX_DEPTH + 1))
    assert Loader(deepest).get_single_node() is not None
    with pytest.raises(RecursionError, match=r"^$"):  # Python's own says that a maximum is exceeded
        Loader(deeper).get_single_node()
    assert (quickly(deepest) is not None) == yaml.__with_libyaml__
    assert quickly(deeper) is None


def test_one_mistake_in_the_base_is_told_once():
    message = refusal(swapped("stem: 16", "stem: 0"))
    assert message.endswith("must be greater than or equal to 1 (found 0)")
    both = refusal(swapped("stem: 16", "stem: 0").replace("epochs: 20", "epochs: 0"))
    assert both.endswith("(and 1 more)")


def test_long_values_are_cut_short():
    assert len(refusal(swapped("title: A demonstration", f"title: {'x' * 3000}"))) < 200


def test_files(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(VALID)
    assert load(path).id == "demo"
    assert list(load_all(tmp_path)) == ["demo"]
    other = tmp_path / "other.yaml"
    other.write_text(VALID)
    with pytest.raises(UserError, match=r"other.yaml:2: id: is 'demo', but the file's name says 'other'; rename one"):
        load_all(tmp_path)
    other.write_bytes(b"schema: 1\ntitle: \xff\xfe")
    with pytest.raises(UserError, match=r"other.yaml:2: holds a byte that is not UTF-8 text; save the file as UTF-8"):
        load(other)
    other.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(UserError, match="larger than 1024 KiB"):
        load(other)
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "folder.yaml")


def test_folders(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        load_all(tmp_path / "absent")
    with pytest.raises(UserError, match=r"holds no \*\.yaml"):
        load_all(tmp_path)
    (tmp_path / "demo.yaml").write_text(VALID)
    monkeypatch.setenv("REPRO_EXPERIMENTS", str(tmp_path))
    assert list(load_all()) == ["demo"]
    monkeypatch.delenv("REPRO_EXPERIMENTS")
    monkeypatch.chdir(tmp_path)
    assert "chen2024" in load_all()  # falls back to the checkout's


def loads_or_refuses(text: str) -> None:
    message = ""
    try:
        parse(text, FILE)
    except UserError as error:
        message = str(error)
    assert not message or re.match(rf"{FILE}:\d+: ", message), message


@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!'\"\n #<>|%@?,1.e~", max_size=80))
def test_any_text_loads_or_is_refused(text):
    loads_or_refuses(text)


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["name", "sgd", "adam", "flip", "val", "at_epoch:3", "at_epoch:0", "base", "count", 10**400])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PIECES = [
    *"{}[]:,#&*!|>'\"%@`-? \n\t\\~=<\r\x85\u2028\ufeffab1", "\n  ", "\n- ", ": ", "---", "...", "!!int ", "&a ", "*a",
    "<<: ", "0x1F", "1e5", "1_000", "0o7", "12:30:45", "2020-01-01", "yes", "null", ".inf", "\\x41", "|2", ">+",
]  # fmt: skip
SHIPPED = sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml"))
KEYS = st.sampled_from(["name", "kind", "loss", "recipe", "id", "epochs", "metric", "extra"]) | st.text(max_size=6)


@st.composite
def mutated(draw):
    """Return the valid file with one to three places removed, replaced, or given a key more."""
    tree = copy.deepcopy(yaml.safe_load(VALID))
    for _ in range(draw(st.integers(1, 3))):
        here = tree
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(here[key], dict | list) and draw(st.integers(0, 3)):
                here = here[key]
                continue
            action = draw(st.sampled_from(["remove", "replace", "add"]))
            if action == "remove":
                del here[key]
            elif action == "replace":
                here[key] = draw(VALUES)
            elif isinstance(here, dict):
                here[draw(KEYS)] = draw(VALUES)
            else:
                here.append(draw(VALUES))
            break
    return yaml.safe_dump(tree, sort_keys=False)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_any_mutation_loads_or_is_refused(text):
    loads_or_refuses(text)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(VALID)), st.integers(0, 12), st.text(max_size=6))
def test_any_edit_of_the_text_loads_or_is_refused(position, length, new):
    loads_or_refuses(VALID[:position] + new + VALID[position + length :])


def means(root):
    """What a root node means: its values, as text that tells -0.0 from 0 and knows NaN, and each key's line."""
    lines = {}
    try:
        return repr(Builder(FILE, lines).build(root, ())), lines
    except UserError as error:
        return str(error)


def means_the_same_to_both(text):
    """Whether libyaml reads the text; where PyYAML's scanner does too, it means the same."""
    if (root := quickly(text)) is None:
        return False
    with suppress(yaml.YAMLError):  # a tab before a line's end, for example: YAML allows it, that scanner does not
        assert means(root) == means(Loader(text).get_single_node())
    return True


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_libyaml_reads_the_shipped_files_and_they_mean_the_same(path):
    assert means_the_same_to_both(path.read_text())


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        lambda start, length, new: VALID[:start] + new + VALID[start + length :],
        st.integers(0, len(VALID)), st.integers(0, 12), st.text(max_size=6) | st.text("ab:-[]{}&*!'\"\n #|%?,1.e~\t"),
    ) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
)  # fmt: skip
def test_a_text_that_both_read_means_the_same(text):
    means_the_same_to_both(text)


def test_the_shipped_files_stay_far_below_the_limit():
    assert max(path.stat().st_size for path in SHIPPED) < MAX_BYTES / 10
