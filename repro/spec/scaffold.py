"""A report's YAML to begin with: complete, commented, valid as it stands, with REPLACE where an author has to write."""

import json
import re
from datetime import date
from pathlib import Path
from textwrap import fill

from repro.errors import UserError
from repro.record import write_atomically
from repro.spec import counting
from repro.spec.loading import experiments_dir, parse
from repro.spec.recipe import ResNet
from repro.spec.sourcing import ITEMS

#: what marks a place that still holds a placeholder
MARK = "REPLACE"
MODEL = ResNet(name="resnet", stem=16, widths=(16, 32, 64), blocks=(3, 3, 3))
_ID = re.compile(r"[a-z][a-z0-9]{1,29}")


def new(report: str, title: str | None = None) -> Path:
    """Write `<report>.yaml` into the folder of reports; raises UserError for a bad id, no folder or a file there."""
    if not _ID.fullmatch(report):
        text = "2 to 30 lower-case letters and digits, a letter first, such as smith2025"
        raise UserError(f"{report[:60]!r} cannot be a report's id: it must be {text}; choose such a name")
    folder = experiments_dir()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of reports; make it, or set REPRO_EXPERIMENTS to one that is there")
    path = folder / f"{report}.yaml"
    if path.exists() or path.is_symlink():
        raise UserError(f"{path}: is there already; choose another id, or edit that file")
    if title is not None and not (title.strip() and title.isprintable() and len(title) <= 300):
        raise UserError(
            f"--title {title[:40]!r}: expected 1 to 300 printable characters on one line; give such a title"
        )
    text = scaffold(report, f"{MARK}: the report's title" if title is None else title)
    parse(text, str(path))  # what is written is valid, whatever the title holds
    write_atomically(path, text.encode())
    return path


def unfilled(path: Path) -> list[int]:
    """Return the lines of a report's file that still hold a placeholder."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [number for number, line in enumerate(lines, 1) if MARK in line]


def scaffold(report: str, title: str) -> str:
    """Return the YAML text of a new report; the parameter count is that of its network."""
    digits = re.search(r"(?:19[9]|20\d)\d$", report)
    fields = {
        "REPORT": report,
        "TITLE": json.dumps(title, ensure_ascii=False),  # a JSON string is a YAML string
        "YEAR": digits[0] if digits else str(date.today().year),
        "PARAMETERS": str(counting.parameters(MODEL)),
        "WIDTHS": str(list(MODEL.widths)),
        "BLOCKS": str(list(MODEL.blocks)),
        "STEM": str(MODEL.stem),
        "ITEMS": fill(", ".join(ITEMS), 108, subsequent_indent="# "),
    }
    return re.sub(r"<([A-Z]+)>", lambda match: fields[match[1]], _TEMPLATE)


_TEMPLATE = """\
# One report: how it was trained, and what it claims. `repro validate` checks this file and says which lines still
# hold a placeholder; the marks go as you write.
schema: 1
id: <REPORT>
title: <TITLE>
source:
  authors: [A. Author]  # REPLACE
  year: <YEAR>
  # Optional: `course`, `file` (the report's text) and `code` (owner/name of a public repository).
summary: >-
  REPLACE: two or three sentences on what is trained and what is claimed.

# The base recipe, whole in one place, like a paper's training section. REPLACE what the report does otherwise.
recipe:
  data:
    split: {train: 45000, val: 5000}  # of the 50,000 training images; {train: 50000, val: 0} holds none out
    normalize: {mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616]}
  augment: [{name: crop, pad: 4}, {name: flip, p: 0.5}]  # also {name: rotate, degrees: 5}; [] for none
  model: {name: resnet, stem: <STEM>, widths: <WIDTHS>, blocks: <BLOCKS>}
  loss: {name: cross_entropy}
  optim: {name: sgd, lr: 0.1, momentum: 0.9, weight_decay: 5e-4}  # or {name: adam, lr: 1e-3}
  schedule: {name: cosine, t_max: 100}  # or {name: constant}, {name: plateau, metric: val/loss}
  budget: {epochs: 100, batch_size: 128}

# Each experiment is the base with changes: mappings merge, lists replace, and a block that gives another `name`
# replaces the whole block.
experiments:
  baseline:
    reading: as_written  # as_released: as the code does; as_evidenced: as figures show; isolated: one factor, ours
    tier: core  # or headline (what the report rests on: three seeds), extended, long
    title: The network as the text describes it
  # adam:
  #   reading: isolated
  #   tier: extended
  #   title: The same with Adam
  #   optim: {name: adam, lr: 1e-3}

# One claim a published number. `where` says where it stands, `decimals` how many the report prints.
claims:
  # kind: count is decided by arithmetic, without training.
  - {id: params, kind: count, experiment: baseline, value: <PARAMETERS>, where: "Table 1"}  # REPLACE by what is printed
  # kind: point is an accuracy in percent, kind: loss a loss; `protocol` says how a run gives that number.
  - id: test-acc
    kind: point
    experiment: baseline
    protocol: last  # or best_val_loss, best_test, "at_epoch:50", val, ...
    value: 12.34  # REPLACE
    decimals: 2
    headline: true
    where: "Table 2"  # REPLACE
  # A number that cannot be run yet gives its reason instead of an experiment:
  # - {id: ensemble, kind: point, why_not_run: Ensembles are not part of a recipe here., value: 95.0, decimals: 1,
  #    where: "Table 3"}
  # A comparison of two experiments, and a sentence that no run can decide (see docs/adding-a-report.md for all kinds):
  # - {id: adam-worse, kind: order, higher: baseline, lower: adam, where: "Section 3"}
  # - {id: faster, kind: not_testable, text: It converges faster., why: It does not say than what., where: "Conclusion"}

# Every table row, figure, comparison, cause and number of the report, in your words, bound to what answers it.
sentences: []
#  - {where: "Table 2", says: "The test accuracy is 12.34 %.", claims: [test-acc]}

# Where else a published number stands: readme, log, notebook, code; `value` and `decimals` where it has a number there.
evidence: []
#  - {claim: test-acc, source: log, value: 12.31, decimals: 2, says: "Test accuracy after the last epoch."}

# What one needs to train it again: stated, code_only or nowhere, what is known, and what the code does otherwise.
# The items: <ITEMS>.
checklist: {}
#   seeds: {state: nowhere, says: None is set.}
#   epochs: {state: stated, says: "100.", differs: The code has 120.}

# What the report leaves open and you had to choose: the path of a key above, and why it has that value.
assumed: {}
#   recipe.optim.momentum: Not in the text; 0.9 is usual.

# Where the runs differ from theirs on purpose.
deviations:
  - theirs: One run without a seed.
    ours: Seeds 0, 1, 2, ...
    why: The published run cannot be repeated number by number.
    effect: Run-to-run spread.

# What the report's own evidence contradicts, neutrally put.
findings: []
#  - {id: two-numbers, text: The abstract and the table give different accuracies., evidence: "Abstract; Table 2"}
"""
