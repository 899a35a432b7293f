"""Keys: what changes them, what must not, and the values that are never to change."""

import pytest

from repro.spec.identity import canonical, recipe_hash, resolved, run_key, runs_of
from repro.spec.loading import parse
from repro.spec.recipe import Recipe

SMALL = {
    "data": {"split": {"train": 50_000}},
    "model": {"name": "resnet", "stem": 16, "widths": [16, 32, 64], "blocks": [1, 1, 1]},
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "sgd", "lr": 0.01},
    "schedule": {"name": "constant"},
    "budget": {"epochs": 2, "batch_size": 64},
}
FULL = {
    "data": {
        "split": {"train": 45_000, "val": 5_000},
        "normalize": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]},
        "val_transform": "train",
    },
    "augment": [{"name": "rotate", "degrees": 5}, {"name": "flip", "p": 0.25}, {"name": "crop", "pad": 4}],
    "model": {
        "name": "resnet", "stem": 64, "widths": [64, 128], "blocks": [2, 2], "activation": "leaky_relu",
        "init": "kaiming_fan_in", "logits_dropout": 0.5,
    },
    "loss": {"name": "cross_entropy"},
    "optim": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "recreate_each_epoch": True},
    "schedule": {"name": "plateau", "metric": "test/loss", "factor": 0.5, "patience": 5},
    "budget": {"epochs": 120, "batch_size": 128},
}  # fmt: skip

REPORT = """
schema: 1
id: demo
title: Demo
source: {authors: [A], year: 2024}
summary: A demo.
recipe:
  data: {split: {train: 50000}}
  model: {name: resnet, stem: 16, widths: [16, 32, 64], blocks: [1, 1, 1]}
  loss: {name: cross_entropy}
  optim: {name: sgd, lr: 0.01}
  schedule: {name: constant}
  budget: {epochs: 2, batch_size: 64}
experiments:
  base: {reading: as_written, tier: headline, title: Base}
  twin: {reading: as_released, tier: core, title: Spells out a default, optim: {momentum: 0.0}}
  other: {reading: isolated, tier: core, title: Other, optim: {momentum: 0.9}}
claims: []
"""
DATA = "a" * 64 + ":" + "b" * 64


# A change here breaks every record ever committed: mend the code, not the numbers.
@pytest.mark.parametrize(
    ("recipe", "sha"),
    [
        (SMALL, "d8a41dd0029db210e54881d35cb171dd8baf9db60ebf3ee5a61d6cc16859cdb9"),
        (FULL, "694fadae83583cbe728166523fb8fbb9d5676c0bc387ba318246a85e37bd8efe"),
    ],
)
def test_golden_hashes(recipe, sha):
    assert recipe_hash(Recipe(**recipe)) == sha


def test_golden_key():
    assert run_key("demo", "c" * 64, 0, None, DATA, "full") == "045efa7dcc93abde"


def with_(recipe, block, **values):
    return {**recipe, block: {**recipe[block], **values}}


@pytest.mark.parametrize(
    "same",
    [
        with_(SMALL, "optim", momentum=0.0, weight_decay=0, nesterov=False, recreate_each_epoch=False),
        with_(SMALL, "model", activation="relu", init="default", logits_dropout=0.0),
        with_(SMALL, "data", normalize=None, val_transform="plain", split={"train": 50_000, "val": 0}),
        {**SMALL, "augment": []},
    ],
    ids=["optim", "model", "data", "augment"],
)
def test_writing_a_default_out_keeps_the_hash(same):
    assert recipe_hash(Recipe(**same)) == recipe_hash(Recipe(**SMALL))


@pytest.mark.parametrize(
    "other",
    [
        with_(SMALL, "optim", lr=0.02), with_(SMALL, "optim", momentum=0.9), with_(SMALL, "model", stem=17),
        with_(SMALL, "budget", epochs=3), with_(SMALL, "model", widths=[16, 32, 65]),
        with_(SMALL, "data", split={"train": 49_999}), {**SMALL, "augment": [{"name": "flip"}]},
        {**SMALL, "schedule": {"name": "cosine", "t_max": 2}},
    ],
    ids=range(8),
)  # fmt: skip
def test_another_recipe_has_another_hash(other):
    assert recipe_hash(Recipe(**other)) != recipe_hash(Recipe(**SMALL))


def test_order_of_augmentations_counts():
    turned = {**FULL, "augment": FULL["augment"][::-1]}
    assert recipe_hash(Recipe(**turned)) != recipe_hash(Recipe(**FULL))


@pytest.mark.parametrize("recipe", [SMALL, FULL])
def test_resolved_recipe_reads_back(recipe):
    assert Recipe(**resolved(Recipe(**recipe))) == Recipe(**recipe)


def test_key_names_everything_that_was_trained():
    base = ("demo", "c" * 64, 0, None, DATA, "full")
    changed = [
        run_key(*(value if i == position else item for i, item in enumerate(base)))
        for position, value in enumerate(["omed", "d" * 64, 1, 0, DATA[::-1], "smoke"])
    ]
    keys = [run_key(*base), *changed]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and set(key) <= set("0123456789abcdef") for key in keys)


def test_experiments_with_one_recipe_share_their_run():
    report = parse(REPORT, "demo.yaml")
    runs = runs_of(report, report.experiments.values(), [0, 1], DATA, "full")
    assert [(run.experiments, run.seed) for run in runs] == [
        (("base", "twin"), 0), (("other",), 0), (("base", "twin"), 1), (("other",), 1),
    ]  # fmt: skip
    assert len({run.key for run in runs}) == 4
    assert runs[0].name == "demo/base s0"
    # asked for the twin alone, it is the same run under the same names
    (twin,) = runs_of(report, [report.experiments["twin"]], [0], DATA, "full")
    assert (twin.key, twin.experiments) == (runs[0].key, runs[0].experiments)


def test_canonical_is_one_text():
    assert canonical({"b": 1, "a": [1.0, None, "é"]}) == '{"a":[1.0,null,"\\u00e9"],"b":1}'
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))
