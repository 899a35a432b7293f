"""The fused kernels give the values of the operations one by one, which other tests compare with Pillow.

Without a GPU they run in Triton's interpreter, which has to be chosen before triton is imported: in a process of its
own, this file run as a program. What a GPU would be given is compiled here and read.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from repro.augment import autoaugment, build, fused, ops
from repro.augment.augmix import ALL_OPS, AugMix, _rotations, chains, magnitudes
from repro.augment.augmix import mix as mix_one_by_one
from repro.augment.autoaugment import POLICY, AutoAugment
from repro.data import sample
from repro.data.batches import Scale
from repro.draws import generator

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
SEVERITIES = (3, 10)
EACH = 8  # images an operation and severity
SCALES = {
    "halves": Scale((0.5,) * 3, (0.5,) * 3, CPU),
    "cifar": Scale((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201), CPU),
    "none": Scale(None, None, CPU),
}
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def real(n, first=0):
    return torch.from_numpy(sample.load().x_train[first : first + n]).permute(0, 3, 1, 2)


def hard():
    """Images on which tables and gathers degenerate: one colour, two, few pixels off, a ramp, noise."""
    rng = np.random.default_rng(0)
    flat = [np.full((32, 32, 3), value) for value in (0, 127, 255)]
    two = [np.where(rng.random((32, 32, 3)) < 0.5, 3, 250)]
    few = [np.where(np.arange(1024).reshape(32, 32, 1) < k, 9, 200).repeat(3, 2) for k in (1, 255, 769)]
    ramp = [(np.arange(3072) % 256).reshape(32, 32, 3), rng.integers(0, 256, (32, 32, 3))]
    return torch.from_numpy(np.stack(flat + two + few + ramp).astype(np.uint8)).permute(0, 3, 1, 2)


def operation(name, severity):
    """Return images and one-step chains (n, 1, 1, 1) of an operation over its levels and signs."""
    code = np.full((EACH, 1, 1, 1), ops.CODE[name])
    rng = np.random.default_rng([severity, ops.CODE[name]])
    level = np.linspace(0.1, severity, EACH).reshape(code.shape)
    magnitude = magnitudes(code, level, rng.random(code.shape) > 0.5)
    return real(EACH, 50 * ops.CODE[name]), torch.from_numpy(code.astype(np.uint8)), torch.from_numpy(magnitude)


def degenerate():
    """Return the hard images and, for each, every operation that looks at the whole of it."""
    names, images = ("autocontrast", "equalize", "contrast", "sharpness"), hard()
    code = torch.tensor([ops.CODE[name] for name in names], dtype=torch.uint8).expand(len(images), len(names))
    magnitude = torch.full(code.shape, 1.63, dtype=torch.float64)
    return images, code[:, None, :, None], magnitude[:, None, :, None]


def drawn(severity):
    """Return images and the draws of chains of 1 to 3 of all operations."""
    augmix = AugMix(severity, all_ops=True, width=3, views=2)
    return real(8, 700 + severity), augmix.draw(generator(severity, "augment", 1), 8)


def policies():
    """Return images and every pair of AutoAugment's policy with every sign, then drawn pairs."""
    pair, signs = np.arange(len(POLICY)).repeat(2), np.tile([[0, 1], [1, 0]], (len(POLICY), 1))
    every = (pair[:, None] * 2 + np.arange(2)) * 2 + signs
    (some,) = AutoAugment().draw(generator(3, "augment", 1), 14)
    return real(64, 900), torch.cat([torch.from_numpy(every.astype(np.int16)), some])


def in_interpreter(folder):
    """Compute what the tests below ask for, where triton is the interpreter; keep it in `folder`."""
    results = {}

    def run(images, code, magnitude):
        return fused.chains(images, code, magnitude, _rotations(CPU))

    for severity in SEVERITIES:
        for name in ops.OPS[:ALL_OPS]:
            results[f"{name}{severity}"] = fused.planes(run(*operation(name, severity)))
        images, (code, magnitude, weight, share) = drawn(severity)
        pixels = run(images, code, magnitude)
        results[f"chains{severity}"] = fused.planes(pixels)
        for name, scale in SCALES.items():
            table = fused.Kernels("test").table(scale, CPU)
            results[f"mix{severity}{name}"] = fused.mix(images, pixels, weight, share, table)
    results["degenerate"] = fused.planes(run(*degenerate()))
    images, entries = policies()
    results["policy"] = fused.policy(images, entries, autoaugment._table(CPU))
    results["contiguous"] = fused.policy(images[-5:].contiguous(), entries[-5:], autoaugment._table(CPU))
    images, draws = drawn(3)
    step = {"name": "augmix", "views": 3, "all_ops": True, "kernels": True}
    pipeline = build([step])
    for batch in ("first", "second"):
        results[f"inputs {batch}"] = torch.stack(pipeline.views(images[:2], [d[:2] for d in draws], SCALES["cifar"]))
    assert pipeline.ending.kernels._tried == {CPU}
    np.savez(folder / "results.npz", **{name: value.contiguous().numpy() for name, value in results.items()})


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Return the interpreter's results, and what it said."""
    folder = tmp_path_factory.mktemp("interpreted")
    env = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, str(folder)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "results.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files} | {"said": done.stderr}


def differing(got, want):
    assert got.shape == want.shape
    return int((got != want).sum())


@needs_triton
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ops.OPS[:ALL_OPS])
def test_each_operation_over_its_levels(interpreted, name, severity):
    assert differing(interpreted[f"{name}{severity}"], chains(*operation(name, severity))) == 0


@needs_triton
def test_images_on_which_tables_degenerate(interpreted):
    assert differing(interpreted["degenerate"], chains(*degenerate())) == 0


@needs_triton
@pytest.mark.parametrize("severity", SEVERITIES)
def test_random_chains(interpreted, severity):
    images, (code, magnitude, *_) = drawn(severity)
    want = chains(images, code, magnitude)
    assert differing(interpreted[f"chains{severity}"], want) == 0
    assert (want != images[:, None, None]).any(-1).any(-1).any(-1).float().mean() > 0.8  # something was done


@needs_triton
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("scale", SCALES)
def test_mixing(interpreted, severity, scale):
    images, (code, magnitude, weight, share) = drawn(severity)
    want = mix_one_by_one(images, chains(images, code, magnitude), weight, share, SCALES[scale])
    assert differing(interpreted[f"mix{severity}{scale}"], want) == 0


@needs_triton
def test_every_pair_of_autoaugment(interpreted):
    images, entries = policies()
    want = AutoAugment(kernels=False)(images, [entries])
    assert differing(interpreted["policy"], want) == 0
    assert torch.equal(interpreted["contiguous"], want[-5:])  # whatever the images' memory


@needs_triton
def test_the_pipeline_takes_them_after_a_first_batch_that_compares(interpreted):
    images, draws = drawn(3)
    views = build([{"name": "augmix", "views": 3, "all_ops": True, "kernels": False}]).views
    want = torch.stack(views(images[:2], [d[:2] for d in draws], SCALES["cifar"]))
    assert torch.equal(interpreted["inputs first"], want)
    assert torch.equal(interpreted["inputs second"], want)
    assert "warning" not in interpreted["said"]


STRIDES = dict.fromkeys(("batch_stride", "channel_stride", "y_stride", "x_stride"), "i32")
CHAIN = {"images": "*u8", "result": "*i32", "magnitudes": "*fp64", "sharing": "i32", **STRIDES}
BUILDS = {
    "bilinear": ("chain", CHAIN | {"draws": "*u8", "codes": "*u8", "matrices": "*fp64"},
                 {"DEPTH": 3, "NEAREST": False}),
    "nearest": ("chain", CHAIN | {"draws": "*i16", "codes": "*i64", "matrices": "*i64"}, {"DEPTH": 2, "NEAREST": True}),
    "mix": ("mix", {"images": "*u8", "chains": "*i32", "scaled": "*fp32", "weights": "*fp32", "shares": "*fp32",
                    "result": "*fp32", "views": "i32", "batch": "i32", **STRIDES}, {"WIDTH": 3}),
}  # fmt: skip


@needs_triton
@pytest.mark.parametrize("name", BUILDS)
def test_compiled_for_an_h100_every_float_is_rounded_on_its_own(name, monkeypatch, tmp_path):
    from triton import compile as build_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from repro.augment import fused_kernels, fused_ops

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, signature, constants = BUILDS[name]
    signature = signature | dict.fromkeys(constants, "constexpr")
    source = ASTSource(getattr(fused_kernels, kernel), signature=signature, constexprs=constants)
    built = build_kernel(source, target=GPUTarget("cuda", 90, 32), options=fused_ops.EXACT)
    floats = set(re.findall(r"\b(?:fma|mad|add|sub|mul|div|rcp)[.\w]*\.f(?:32|64)\b", built.asm["ptx"]))
    # Without .rn the assembler may fuse a product and a sum; .full, .approx and .ftz are rounded otherwise.
    allowed = {f"{verb}.rn.f{bits}" for verb in ("add", "sub", "mul") for bits in (32, 64)} | {"div.rn.f64"}
    assert {"add.rn.f32", "mul.rn.f32"} <= floats <= allowed
    assert ("div.rn.f64" in floats) == (kernel == "chain")  # autocontrast's scale
    assert built.asm["cubin"]


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(fused, "_REFUSED", set())


def warnings(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


@pytest.mark.usefixtures("fresh")
def test_kernels_that_give_the_same_are_taken_from_the_second_batch_on(capsys):
    kernels, images, called = fused.Kernels("AugMix", wanted=True), real(2), []

    def single():
        called.append("single")
        return images.float()

    def together():
        called.append("fused")
        return images.float()

    for _ in range(3):
        assert torch.equal(kernels(images, together, single), images.float())
    assert called == ["fused", "single", "fused", "fused"]
    assert warnings(capsys) == []


@pytest.mark.usefixtures("fresh")
def test_one_value_that_differs_leaves_the_kernels_out_with_one_warning(capsys):
    images, called = real(2), []

    def wrong():
        called.append("fused")
        other = images.clone()
        other[1, 2, 31, 31] ^= 1
        return other

    for kernels in (fused.Kernels("AugMix", wanted=True), fused.Kernels("AugMix", wanted=True)):
        for _ in range(2):
            assert torch.equal(kernels(images, wrong, lambda: images), images)
    assert called == ["fused"]
    (line,) = warnings(capsys)
    assert "AugMix" in line
    assert "1 of 6144 values differ" in line


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("good", [0, 2])
def test_kernels_that_fail_are_left_out_with_one_warning(capsys, good):
    kernels, images, called = fused.Kernels("AugMix", wanted=True), real(2), []

    def failing():
        called.append("fused")
        if len(called) > good:
            raise RuntimeError("ptxas\n  fatal error")
        return images

    for _ in range(5):
        assert torch.equal(kernels(images, failing, lambda: images), images)
    assert len(called) == good + 1
    (line,) = warnings(capsys)
    assert line.endswith("RuntimeError: ptxas fatal error")


@pytest.mark.usefixtures("fresh")
def test_a_kernel_that_does_not_compile_leaves_the_augmentation_as_it_is(capsys, monkeypatch):
    # A module of kernels that cannot be imported, as without a compiler or with another triton.
    monkeypatch.setitem(sys.modules, "repro.augment.fused_kernels", None)
    monkeypatch.delattr("repro.augment.fused_kernels", raising=False)
    images, draws = drawn(3)
    scale, (entries,) = SCALES["halves"], AutoAugment().draw(generator(0, "augment", 1), len(images))
    want = AugMix(kernels=False)(images, draws, scale)
    augmix, policy = AugMix(kernels=True), AutoAugment(kernels=True)
    for _ in range(2):
        assert torch.equal(augmix(images, draws, scale), want)
        assert torch.equal(policy(images, [entries]), AutoAugment()(images, [entries]))
    first, second = warnings(capsys)
    assert first.startswith("warning: AugMix runs operation by operation on cpu")
    assert second.startswith("warning: AutoAugment runs operation by operation on cpu")


@needs_triton
@pytest.mark.skipif(torch.cuda.is_available(), reason="some GPUs read the host's memory, and the launch succeeds")
@pytest.mark.usefixtures("fresh")
def test_a_launch_that_fails_leaves_the_augmentation_as_it_is(capsys):
    images, draws = drawn(3)  # in the host's memory: outside the interpreter no kernel can read it
    want = AugMix(kernels=False)(images, draws, SCALES["halves"])
    augmix = AugMix(kernels=True)
    assert all(torch.equal(augmix(images, draws, SCALES["halves"]), want) for _ in range(2))
    assert len(warnings(capsys)) == 1


@pytest.mark.usefixtures("fresh")
def test_kernels_never_tried_are_not_captured(capsys, monkeypatch):
    monkeypatch.setattr(fused, "_capturing", lambda device: True)
    kernels, images = fused.Kernels("AugMix", wanted=True), real(2)
    assert kernels(images, lambda: pytest.fail("launched while capturing"), lambda: images) is images
    assert len(warnings(capsys)) == 1


@pytest.mark.usefixtures("fresh")
def test_an_empty_batch_launches_nothing():
    draws = AugMix().draw(generator(0, "augment", 1), 0)
    got = AugMix(kernels=True)(real(0), draws, SCALES["halves"])
    assert got.shape == (0, 2, 3, 32, 32)
    assert not fused._REFUSED


@pytest.mark.parametrize("scale", SCALES)
def test_the_table_holds_what_scaling_gives(scale):
    images = real(20)
    table = fused.Kernels("test").table(SCALES[scale], CPU)
    looked_up = torch.stack([table[channel][images[:, channel].long()] for channel in range(3)], 1)
    assert torch.equal(looked_up, SCALES[scale](images))


def test_on_a_cpu_nothing_needs_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import numpy as np, torch\n"
        "from repro.augment import build\n"
        "from repro.data.batches import Scale\n"
        "images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)\n"
        "for name in ('augmix', 'autoaugment'):\n"
        "    pipeline = build([{'name': name}])\n"
        "    drawn = pipeline.draw(np.random.default_rng(0), 2)\n"
        "    pipeline.views(images, drawn, Scale(None, None, images.device))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def endings(device):
    """Return each augmentation with its kernels and without, as functions of images and draws."""
    scale = Scale((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201), device)
    arguments = [("augmix", {"all_ops": True, "severity": s, "views": v}) for s, v in ((3, 3), (10, 1))]
    for name, given in [*arguments, ("autoaugment", {})]:
        yield tuple(build([{"name": name, **given, "kernels": k}]) for k in (None, False)), scale


@cuda
@pytest.mark.usefixtures("fresh")
def test_on_the_device_and_in_a_graph_every_value_is_the_same(capsys):
    device, n = torch.device("cuda", torch.cuda.current_device()), 300
    images = real(n).to(device)
    for (ours, single), scale in endings(device):
        epochs = [[d.to(device) for d in ours.draw(generator(0, "augment", epoch), n)] for epoch in range(3)]
        held = [d.clone() for d in epochs[0]]
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for draws in epochs:
                want = torch.stack(single.views(images, draws, scale))
                assert torch.equal(torch.stack(ours.views(images, draws, scale)), want)
        torch.cuda.current_stream(device).wait_stream(side)
        assert ours.ending.kernels._tried == {device}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            got = torch.stack(ours.views(images, held, scale))
        for draws in epochs:
            for place, new in zip(held, draws, strict=True):
                place.copy_(new)
            graph.replay()
            assert torch.equal(got, torch.stack(single.views(images, draws, scale)))
    assert warnings(capsys) == []


if __name__ == "__main__":
    in_interpreter(Path(sys.argv[1]))
