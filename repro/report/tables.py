"""Specs and records as tables: one row a claim, a run, an experiment. Plain values, no Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from repro.judge.claims import Ledgers, Row, by_seed, choose, judge_all, records_of
from repro.judge.timings import NONE, Timings
from repro.record import RunRecord
from repro.spec import counting
from repro.spec.identity import PROFILES, recipe_hash
from repro.spec.recipe import Recipe
from repro.spec.schema import Experiment, Report
from repro.spec.withdrawn import Struck

#: the seeds that `repro status` asks for: three where a headline rests on it, one elsewhere
SEEDS_OF_TIER: dict[str, tuple[int, ...]] = {"headline": (0, 1, 2), "core": (0,), "extended": (0,), "long": (0,)}

PROTOCOL_WORDS = {
    "last": "test set, weights after the last epoch",
    "at_epoch": "test set, weights after that many epochs",
    "best_val_loss": "test set, weights of the epoch (of all, or of the first so many) with the lowest validation loss",
    "best_test": "the highest test accuracy of all epochs: chosen on the test set, so it flatters",
    "best_test_every10": "the highest test accuracy among every tenth epoch: chosen on the test set, so it flatters",
    "best_test_loss": "test set, weights of the epoch with the lowest test loss: chosen on the test set",
    "batch_mean": "mean of the test batches' accuracies, a small last batch weighing as much as a full one; here the "
    "mean of it over all orders of the test images, which is the accuracy",
    "last_batch": "accuracy on the last, incomplete test batch alone; here the mean of it over all orders of the test "
    "images, which is the accuracy",
    "train_mode_bn": "test set with batch normalisation left in training mode",
    "augmented_test": "test set under the training augmentation",
    "val": "validation images, as they are",
    "val_augmented": "validation images under the training augmentation",
    "train_running": "training images, averaged while the weights still change within the epoch",
    "gaussian_noise_0.05": "test images with Gaussian noise of that standard deviation, pixels in [0, 1]",
    "gaussian_noise_0.1": "test images with Gaussian noise of that standard deviation, pixels in [0, 1]",
}
METRIC_WORDS = {
    "acc_pct": "accuracy", "loss": "loss", "nll": "negative log-likelihood", "ece_pct": "calibration error",
    "parameters": "parameters", "input_mb": "input size, MB", "forward_backward_mb": "forward/backward size, MB",
    "params_mb": "parameter size, MB", "total_mb": "estimated total size, MB",
    "layer_parameters": "parameters of a layer", "depth": "layers with weights", "images": "images",
    "train_images": "training images", "test_images": "test images", "classes": "classes",
    "images_per_class": "images of a class", "side": "height and width, pixels",
    "channel_mean": "mean of a channel", "channel_std": "standard deviation of a channel",
    "confusion": "confusion matrix",
}  # fmt: skip
_FOLDS = {"carried": "{} folds, one network carried through", "fresh": "{} folds, a fresh network each"}
READING_WORDS = {
    "as_written": "as the text says",
    "as_released": "as the code does",
    "as_evidenced": "as the report's own figures or log show",
    "isolated": "varied by us",
}


def rows(
    reports: Mapping[str, Report], records: Iterable[RunRecord], ledgers: Ledgers | None = None, profile: str = "full",
    timings: Timings = NONE,
) -> list[Row]:  # fmt: skip
    """Judge every claim of every report, in the order of the files."""
    records, each = list(records), sorted(reports.items())
    return [row for _, report in each for row in judge_all(report, records, ledgers, profile, timings)]


def status(
    reports: Mapping[str, Report],
    records: Iterable[RunRecord],
    wanted: Mapping[str, Sequence[int]] = SEEDS_OF_TIER,
    struck: Iterable[Struck] = (),
) -> list[dict[str, Any]]:
    """Return one dict an experiment: seeds done by profile, full runs that do not count, seeds its tier still lacks.

    `withdrawn`: the seeds of the withdrawn records (`struck`), which are not done.

    A seed of an experiment with a fresh network a fold is done with all of its folds.
    """
    records, gone, table = list(records), [record for record, _ in struck], []
    for name, report in sorted(reports.items()):
        for experiment in report.experiments.values():
            done = {p: complete(experiment, records_of(report, experiment.id, records, p)) for p in PROFILES}
            short = [r for r in same_recipe(report, experiment, records) if r.profile == "full" and not r.counts]
            missing = [seed for seed in wanted.get(experiment.tier, ()) if seed not in done["full"]]
            withdrawn = seeds(same_recipe(report, experiment, gone))
            row: dict[str, Any] = {"report": name, "experiment": experiment.id}
            row |= {"tier": experiment.tier, "reading": experiment.reading, **done}
            table.append(row | {"not_counting": seeds(short), "missing": missing, "withdrawn": withdrawn})
    return table


def status_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return `status` as aligned lines for a terminal: an experiment a line, its seeds by profile."""
    rows = list(rows)
    more = ["withdrawn"] if any(row["withdrawn"] for row in rows) else []
    head = ["experiment", "tier", *PROFILES, "not counting", "missing", *more]
    lines = [head]
    for row in rows:
        lists = [*(row[p] for p in PROFILES), row["not_counting"], row["missing"], *(row[name] for name in more)]
        lines.append([f"{row['report']}/{row['experiment']}", row["tier"], *(_seed_list(seeds) for seeds in lists)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _seed_list(seeds: Sequence[int]) -> str:
    return " ".join(f"s{seed}" for seed in seeds) or "-"


def same_recipe(report: Report, experiment: Experiment, records: Iterable[RunRecord]) -> Iterator[RunRecord]:
    """Yield the report's records that trained this experiment's recipe, whether they count or not."""
    sha = recipe_hash(experiment.recipe)
    return (r for r in records if r.report == report.id and r.recipe_hash == sha)


def seeds(records: Iterable[RunRecord]) -> list[int]:
    """Return the seeds of some records, each once, in order."""
    return sorted({record.seed for record in records})


def complete(experiment: Experiment, records: Iterable[RunRecord]) -> list[int]:
    """Return the seeds whose runs are all there, in order."""
    return sorted(by_seed(experiment.recipe, choose(records)[0]))


def facts(recipe: Recipe) -> dict[str, str]:
    """Return a recipe's key facts in the words of the report's file, short enough for a table cell."""
    data = recipe.data
    split = f"{data.split.train:,} train" + (f", {data.split.val:,} validation" if data.split.val else "")
    folds = f", {_FOLDS[data.folds.network].format(data.folds.k)}" if data.folds else ""
    return {
        "images": split + folds + (", validated on augmented images" if data.val_transform == "train" else ""),
        "pixels": f"mean {_short(data.normalize.mean)}, std {_short(data.normalize.std)}"
        if data.normalize
        else "in [0, 1]",
        "augmentation": "; ".join(_block(item) for item in recipe.augment) or "none",
        "model": _block(recipe.model),
        "parameters": f"{counting.parameters(recipe.model):,}",
        "MACs an image": f"{counting.macs(recipe.model) / 1e6:,.1f} million",
        "loss": _block(recipe.loss),
        "optimiser": _block(recipe.optim),
        "learning rate": _block(recipe.schedule),
        "epochs": f"{recipe.budget.epochs:,}",
        "batch": f"{recipe.budget.batch_size:,}",
    }


def shared_and_own(recipes: Mapping[str, dict[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Split facts into those all experiments share and the names of those that differ."""
    every = list(recipes.values())
    first = every[0] if every else {}
    shared = {key: value for key, value in first.items() if all(other[key] == value for other in every)}
    return shared, [key for key in first if key not in shared]


def _block(block: Any) -> str:
    """`sgd lr 0.01, momentum 0.9`: a recipe block by its own field names, without what equals a default."""
    plain = block.model_dump(mode="json", exclude_defaults=True)
    name = str(plain.pop("name")).replace("_", " ")
    named = ((key.replace("_", " "), value) for key, value in plain.items())
    words = [key if value is True else f"{key} {_short(value)}" for key, value in named]
    return f"{name}: {', '.join(words)}" if words else name


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "/".join(_short(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
