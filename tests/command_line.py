"""A small report, and the command line in this process, for the tests that use both."""

from click.testing import CliRunner

from repro.cli import main
from repro.spec.loading import parse

SMALL = """\
schema: 1
id: tiny
title: A small report
summary: Made for tests.
source: {authors: [A. Tester], year: 2020}
recipe:
  data: {split: {train: 45000, val: 5000}}
  augment: [{name: crop, pad: 4}, {name: flip}]
  model: {name: resnet, stem: 8, widths: [8, 16], blocks: [1, 1]}
  loss: {name: cross_entropy}
  optim: {name: adam, lr: 1e-3}
  schedule: {name: constant}
  budget: {epochs: 2, batch_size: 128}
experiments:
  first: {reading: as_released, tier: headline, title: The first arm}
  second: {reading: isolated, tier: core, title: The second arm, optim: {lr: 1e-2}}
claims:
  - {id: acc, kind: point, experiment: first, value: 50.0, decimals: 1, headline: true, where: Table 1}
  - {id: params, kind: count, experiment: first, value: 5266, where: Table 2}
"""


def small_report(*changes):
    """Return the small report, parsed, in batches of 16, with (old, new) pieces of its text exchanged."""
    text = SMALL
    for old, new in (("batch_size: 128", "batch_size: 16"), *changes):
        assert old in text
        text = text.replace(old, new)
    return parse(text, "tiny.yaml")


def repro(*arguments, code=0):
    """Run `repro ...`; return what it prints, asserting its exit code."""
    result = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output
