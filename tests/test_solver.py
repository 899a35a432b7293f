"""The parameter-count solver counts as `repro.spec.counting` does and finds the published networks, alone."""

import pytest

from repro.spec import counting, solver
from repro.spec.loading import experiments_dir, load
from repro.spec.network import ResNet


def network(stem=16, widths=(16, 32, 64), blocks=(2, 2, 2)):
    return ResNet(name="resnet", stem=stem, widths=widths, blocks=blocks)


@pytest.mark.parametrize(
    "model",
    [
        network(), network(stem=7), network(widths=(32, 32, 350)), network(blocks=(1, 11, 3)),
        network(stem=64, widths=(64, 128, 256, 512), blocks=(2, 1, 1, 1)),
    ],
    ids=str,
)  # fmt: skip
def test_counts_are_those_of_counting(model):
    assert solver.count(solver.of(model)) == counting.parameters(model)


def test_shortcuts_bias_and_norm_in_closed_form():
    own = solver.of(network())
    shapes = [(16, 32), (32, 64)]
    change = {name: solver.count(solver.of(network(), **{name: value})) - solver.count(own) for name, value in
              {"shortcut": 3, "shortcut_norm": False, "bias": False}.items()}  # fmt: skip
    assert change == {
        "shortcut": sum(8 * a * b for a, b in shapes), "shortcut_norm": -sum(2 * b for _, b in shapes), "bias": -10,
    }  # fmt: skip


@pytest.mark.parametrize("target", [solver.count(solver.of(network())), 269_722 + 1, 500_000])
def test_solving_is_counting_backwards(target):
    among = solver.Family(((16, 32, 64), (20, 40, 80)), ((2, 2, 2), (3, 3, 3)))
    every = [
        solver.Candidate(stem, widths, blocks, kernel, norm, bias)
        for stem in solver.STEMS for widths in among.widths for blocks in among.blocks
        for kernel, norm, bias in solver._ends() if kernel or stem <= widths[0]
    ]  # fmt: skip
    assert set(solver.solve(target, among)) == {c for c in every if solver.count(c) == target}


@pytest.mark.parametrize("target", [-1, 0, 2**63, 12_345_678_901_234_567_890, int(-1e300)])
def test_counts_that_no_network_has_are_solved_by_none(target):
    assert solver.solve(target, solver.Family(((16, 32, 64),), ((2, 2, 2),))) == []


@pytest.mark.parametrize(
    ("report", "experiment", "printed", "words"),
    [
        ("geng2022", "randomflip-128-w42", 4_813_298, "stem 32 into 42/84/168/336"),
        ("geng2022", "randomflip-128-w42", 4_815_940, "stem 42 into 42/84/168/336"),
        ("chiu2023", "baseline80", 4_999_718, "stem 64 into 32/96/156/350"),
        ("shamooun2022", "released", 4_977_226, "blocks 2/1/1/1"),
        ("chen2024", "resnet68", 1_050_202, "blocks 11/11/11, 1x1 shortcuts with batch norm"),
    ],
)
def test_published_counts_have_one_network_each(report, experiment, printed, words):
    arms = load(experiments_dir() / f"{report}.yaml").experiments
    among = solver.family(e.recipe.model for e in arms.values())
    hits = solver.solve(printed, among, solver.of(arms[experiment].recipe.model))
    assert len(hits) == 1
    assert words in hits[0].words()


def test_counts_of_other_readings():
    chiu = load(experiments_dir() / "chiu2023.yaml").experiments["baseline80"].recipe.model
    chen = load(experiments_dir() / "chen2024.yaml").experiments["resnet68"].recipe.model
    assert solver.count(solver.of(chiu, stem=32)) == 4_987_462
    assert solver.count(solver.of(chiu, shortcut=3)) == 5_597_286
    assert solver.count(solver.of(chen, shortcut=0)) == 1_047_450
