"""Authors of a sixth report: a file to begin with, its schema for editors, and the way from there to a page."""

import copy
import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from command_line import repro
from jsonschema import Draft202012Validator

from repro.errors import UserError
from repro.spec import counting, scaffold
from repro.spec.editor import author_schema
from repro.spec.loading import load, merge, parse
from repro.spec.schema import CountClaim, MeasuredClaim

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments").glob("*.yaml"))
SCHEMA = Draft202012Validator(author_schema())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder of reports, and a state folder of its own."""
    (tmp_path / "experiments").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("REPRO_EXPERIMENTS", raising=False)
    return tmp_path


# --- repro new ---------------------------------------------------------------------------------------------------


def test_a_new_report_is_valid_and_says_what_to_fill_in(place):
    out = repro("new", "smith2025", "--title", "A network: \"deep\" & 'wide'")
    path = place / "experiments" / "smith2025.yaml"
    report = load(path)
    assert (report.id, report.title, report.source.year) == ("smith2025", "A network: \"deep\" & 'wide'", 2025)
    (experiment,) = report.experiments.values()
    count, point = report.claims
    assert isinstance(count, CountClaim)
    assert count.value == counting.parameters(experiment.recipe.model) == 272_474
    assert isinstance(point, MeasuredClaim)
    lines = path.read_text().splitlines()
    marked = scaffold.unfilled(path)
    assert f"lines {', '.join(map(str, marked))} hold" in out
    assert any("12.34" in lines[n - 1] for n in marked)
    assert any("272474" in lines[n - 1] for n in marked)
    assert max(map(len, lines)) <= 120
    assert all(
        f"repro {step}" in out for step in ("validate", "run smith2025 --profile smoke", "report --profile smoke")
    )


def test_what_is_commented_out_in_a_new_report_is_valid_too(place):
    path = scaffold.new("smith2025")
    text = path.read_text().replace("assumed: {}\n#", "assumed:\n ").replace("findings: []\n#", "findings:\n")
    text = text.replace("sentences: []\n#", "sentences:\n")
    for start in ("  # adam:", "  #   ", "  # - {", "  #    "):
        text = text.replace(f"\n{start}", f"\n  {start[4:]}")
    report = parse(text, "smith2025.yaml")
    assert list(report.experiments) == ["baseline", "adam"]
    assert [claim.id for claim in report.claims] == ["params", "test-acc", "ensemble", "adam-worse", "faster"]
    assert (len(report.assumed), len(report.findings), len(report.sentences)) == (1, 1, 1)


@pytest.mark.parametrize(("name", "year"), [("smith2025", 2025), ("lee1998", 1998), ("dl20", None), ("x12025", 2025)])
def test_the_year_is_read_off_the_id(name, year):
    found = parse(scaffold.scaffold(name, "T"), f"{name}.yaml").source.year
    assert found == year if year else found > 2020


@pytest.mark.parametrize(
    "name", ["Smith2025", "2025smith", "s", "a" * 31, "../x", "a-b", "a b", "", "smith\n", "ä2025"]
)
def test_a_bad_id_is_refused_with_the_rule(place, name):
    with pytest.raises(UserError, match="it must be 2 to 30 lower-case letters and digits, a letter first, such as"):
        scaffold.new(name)
    assert list((place / "experiments").iterdir()) == []


def test_nothing_is_overwritten_and_nothing_half_written(place, monkeypatch):
    path = place / "experiments" / "smith2025.yaml"
    path.write_text("mine")
    out = repro("new", "smith2025", code=2)
    assert "experiments/smith2025.yaml: is there already; choose another id, or edit that file" in out
    assert path.read_text() == "mine"
    assert "experiments/ledger.yaml:4: id: 'ledger' is the name of another folder" in repro("new", "ledger", code=2)
    for title in ("", "  ", "two\nlines", "\x7f", "long" * 100):
        assert "expected 1 to 300 printable characters" in repro("new", "lee2024", "--title", title, code=2)
    assert [p.name for p in path.parent.iterdir()] == ["smith2025.yaml"]
    monkeypatch.setenv("REPRO_EXPERIMENTS", "elsewhere")
    assert "elsewhere: no such folder of reports; make it, or set REPRO_EXPERIMENTS" in repro("new", "lee2024", code=2)
    assert not (place / "elsewhere").exists()
    (place / "elsewhere").mkdir()
    repro("new", "lee2024")
    assert (place / "elsewhere" / "lee2024.yaml").is_file()


def test_a_sixth_report_from_nothing_to_its_page(place):
    torch.set_num_threads(1)
    for path in FILES:
        (place / "experiments" / path.name).write_bytes(path.read_bytes())
    repro("new", "smith2025", "--title", "A sixth report")
    path = place / "experiments" / "smith2025.yaml"
    path.write_text(path.read_text().replace("[16, 32, 64], blocks: [3, 3, 3]", "[8, 16], blocks: [1, 1]"))
    assert "smith2025/baseline" in repro("list")
    out = repro("validate")
    count = counting.parameters(load(path).experiments["baseline"].recipe.model)
    assert f"smith2025/baseline: {count:,} parameters, closed form and network agree" in out
    assert f"placeholders still to replace in lines {', '.join(map(str, scaffold.unfilled(path)))}" in out
    assert out.count("placeholders") == 1
    out = repro("run", "smith2025", "--profile", "smoke", "--offline", "--device", "cpu")
    assert "1 trained" in out
    repro("report", "--profile", "smoke")
    pages = place / "state" / "reports" / "smoke"
    page = (pages / "smith2025" / "report.md").read_text()
    assert page.startswith("**Nothing on this page counts")
    assert "# A sixth report" in page
    assert "[smith2025](smith2025/report.md)" in (pages / "README.md").read_text()
    (run,) = csv.DictReader((pages / "runs.csv").read_text().splitlines())
    assert (run["report"], run["experiment"], run["used"]) == ("smith2025", "baseline", "true")
    claims = list(csv.DictReader((pages / "claims.csv").read_text().splitlines()))
    (claim,) = (row for row in claims if (row["report"], row["claim"]) == ("smith2025", "test-acc"))
    assert claim["ours"] == run["last/acc_pct"]


# --- repro schema ------------------------------------------------------------------------------------------------


def test_the_schema_is_printed_or_written(place):
    printed = repro("schema")
    assert json.loads(printed) == author_schema()
    repro("schema", "--out", "experiments/schema.json")
    assert (place / "experiments" / "schema.json").read_text() == printed
    assert author_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(author_schema())


def objects(node):
    """Yield every part of a schema that describes a mapping by its keys."""
    if isinstance(node, dict):
        if node.get("type") == "object" and "properties" in node:
            yield node
        for value in node.values():
            yield from objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from objects(value)


def test_no_mapping_takes_unknown_keys_and_every_block_says_what_it_is():
    schema = author_schema()
    found = list(objects(schema))
    assert len(found) > 20
    assert all(part["additionalProperties"] is False for part in found)
    assert all(part["description"] for part in found)
    assert "discriminator" not in json.dumps(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_shipped_files_fit_the_schema(path):
    assert [error.message for error in SCHEMA.iter_errors(yaml.safe_load(path.read_text()))] == []


def written():
    return yaml.safe_load(scaffold.scaffold("smith2025", "T"))


# A change to the new report (merged as an experiment is merged into the base); None takes a key away.
MISTAKES = {
    "unknown key": {"titel": "x"},
    "unknown key of a block": {"recipe": {"optim": {"momentun": 0.9}}},
    "unknown key of a change": {"experiments": {"baseline": {"optim": {"momentun": 0.9}}}},
    "unknown block": {"experiments": {"baseline": {"optimizer": {"lr": 0.1}}}},
    "unknown name": {"recipe": {"optim": {"name": "sgdd", "lr": 0.1}}},
    "unknown name of a change": {"experiments": {"baseline": {"optim": {"name": "sgdd", "lr": 0.1}}}},
    "a replaced block that is not full": {"experiments": {"baseline": {"optim": {"name": "adam"}}}},
    "a replaced schedule that is not full": {"experiments": {"baseline": {"schedule": {"name": "plateau"}}}},
    "another block's key": {"experiments": {"baseline": {"optim": {"eps": 1e-8}}}},
    "no tier": {"experiments": {"baseline": {"tier": None}}},
    "unknown tier": {"experiments": {"baseline": {"tier": "main"}}},
    "bad id of an experiment": {"experiments": {"With Adam": {"reading": "isolated", "tier": "core", "title": "x"}}},
    "no experiments": {"experiments": {"baseline": None}},
    "no recipe": {"recipe": None},
    "no learning rate": {"recipe": {"optim": {"lr": None}}},
    "negative learning rate": {"recipe": {"optim": {"lr": -0.1}}},
    "text for a number": {"recipe": {"optim": {"lr": "fast"}}},
    "text for an integer": {"recipe": {"budget": {"epochs": "20"}}},
    "no epochs": {"experiments": {"baseline": {"budget": {"epochs": 0}}}},
    "a list that is a mapping": {"recipe": {"augment": {"name": "crop", "pad": 4}}},
    "a crop wider than the image": {"recipe": {"augment": [{"name": "crop", "pad": 99}]}},
    "unknown network": {"recipe": {"model": {"name": "vggg"}}},
    "a replaced network that is not full": {"experiments": {"baseline": {"model": {"name": "vgg", "widths": [8]}}}},
    "another network's key of a change": {"experiments": {"baseline": {"model": {"convs": [1, 1, 1]}}}},
    "a stem of another size": {"recipe": {"model": {"stem_kernel": 5}}},
    "unknown init": {"recipe": {"model": {"init": "xaviar"}}},
    "unknown augmentation": {"recipe": {"augment": [{"name": "mirror"}]}},
    "unknown kind": {"claims": [{"kind": "number", "id": "a", "value": 1, "where": "x"}]},
    "unknown protocol": {"claims": [{"kind": "point", "id": "a", "experiment": "baseline", "protocol": "best_val",
                                     "value": 1, "decimals": 0, "where": "x"}]},
    "a claim's place": {"claims": [{"kind": "count", "id": "a", "experiment": "baseline", "value": 1}]},
    "newer schema": {"schema": 2},
    "bad id": {"id": "Smith 2025"},
    "no authors": {"source": {"authors": []}},
}  # fmt: skip


def changed(base, change):
    tree = merge(base, change)

    def without_none(node):
        return {k: without_none(v) for k, v in node.items() if v is not None} if isinstance(node, dict) else node

    return without_none(tree)


@pytest.mark.parametrize("case", MISTAKES)
def test_the_schema_finds_what_the_loader_refuses(case):
    tree = changed(written(), MISTAKES[case])
    assert not SCHEMA.is_valid(tree)
    with pytest.raises(UserError):
        parse(yaml.safe_dump(tree, sort_keys=False), "smith2025.yaml")


RIGHT = {
    "as it is": {},
    "a number YAML reads as text": {"recipe": {"optim": {"weight_decay": "5e-4"}}},
    "one key of a block": {"experiments": {"baseline": {"optim": {"momentum": 0.0}}}},
    "one key of a nested block": {"experiments": {"baseline": {"data": {"split": {"val": 0}}}}},
    "the same name again": {"experiments": {"baseline": {"optim": {"name": "sgd", "nesterov": True}}}},
    "a whole new block": {"experiments": {"baseline": {"optim": {"name": "adam", "lr": 1e-3}}}},
    "an empty list": {"experiments": {"baseline": {"augment": []}}},
    "another schedule": {"experiments": {"baseline": {"schedule": {"name": "constant"}}}},
    "another network": {"experiments": {"baseline": {"model": {"name": "vgg", "widths": [8, 16], "convs": [1, 1],
                                                               "hidden": []}}}},
    "one key of the network": {"experiments": {"baseline": {"model": {"max_pool": True}}}},
    "restarts": {"experiments": {"baseline": {"schedule": {"name": "cosine_restarts", "t_0": 10, "t_mult": 2}}}},
    "a warm-up": {"experiments": {"baseline": {"schedule": {"warmup_epochs": 5, "warmup_start": "1e-2"}}}},
    "another optimizer": {"experiments": {"baseline": {"optim": {"name": "rmsprop", "lr": 0.1, "centered": True}}}},
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_the_schema_takes_what_the_loader_takes(case):
    tree = changed(written(), RIGHT[case])
    parse(yaml.safe_dump(tree, sort_keys=False), "smith2025.yaml")
    assert [error.message for error in SCHEMA.iter_errors(tree)] == []


def test_a_block_taken_away_by_null():
    tree = copy.deepcopy(written())
    tree["experiments"]["baseline"]["data"] = {"normalize": None}
    assert SCHEMA.is_valid(tree)
    report = parse(yaml.safe_dump(tree, sort_keys=False), "smith2025.yaml")
    assert report.experiments["baseline"].recipe.data.normalize is None
