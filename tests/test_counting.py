"""Closed-form counts against the numbers the reports print, and against the networks they were traced to."""

import pytest

from repro.errors import UserError
from repro.spec.counting import depth, layer, layers, macs, parameters, quantity, sizes_mb, training_flop
from repro.spec.network import VGG, ResNet

TWO = (2, 2, 2, 2)

# name: (stem, widths, blocks, parameters)
NETWORKS = {
    "chiu2023": (64, (32, 96, 156, 350), TWO, 4_999_718),
    "shamooun2022": (64, (64, 128, 256, 512), (2, 1, 1, 1), 4_977_226),
    "shamooun2022 one block": (64, (64, 128, 256, 512), (1, 1, 1, 1), 4_903_242),
    "geng2022 width 42": (42, (42, 84, 168, 336), TWO, 4_815_940),
    "geng2022 stem 32": (32, (42, 84, 168, 336), TWO, 4_813_298),
    "geng2022 width 40": (40, (40, 80, 160, 320), TWO, 4_368_690),
    "chen2024": (16, (16, 32, 64), (11, 11, 11), 1_050_202),
    "zhang2023": (64, (64, 128, 256, 512), TWO, 11_173_962),
    "zhang2023 width 32": (32, (32, 64, 128, 256), TWO, 2_797_610),
    "zhang2023 width 128": (128, (128, 256, 512, 1024), TWO, 44_662_922),
}

# Figure 5 of shamooun2022, row by row
SHAMOOUN = """
Conv2d-1 64x32x32 1,728
BatchNorm2d-2 64x32x32 128
Conv2d-3 64x32x32 36,864
BatchNorm2d-4 64x32x32 128
Conv2d-5 64x32x32 36,864
BatchNorm2d-6 64x32x32 128
BasicBlock-7 64x32x32 0
Conv2d-8 64x32x32 36,864
BatchNorm2d-9 64x32x32 128
Conv2d-10 64x32x32 36,864
BatchNorm2d-11 64x32x32 128
BasicBlock-12 64x32x32 0
Conv2d-13 128x16x16 73,728
BatchNorm2d-14 128x16x16 256
Conv2d-15 128x16x16 147,456
BatchNorm2d-16 128x16x16 256
Conv2d-17 128x16x16 8,192
BatchNorm2d-18 128x16x16 256
BasicBlock-19 128x16x16 0
Conv2d-20 256x8x8 294,912
BatchNorm2d-21 256x8x8 512
Conv2d-22 256x8x8 589,824
BatchNorm2d-23 256x8x8 512
Conv2d-24 256x8x8 32,768
BatchNorm2d-25 256x8x8 512
BasicBlock-26 256x8x8 0
Conv2d-27 512x4x4 1,179,648
BatchNorm2d-28 512x4x4 1,024
Conv2d-29 512x4x4 2,359,296
BatchNorm2d-30 512x4x4 1,024
Conv2d-31 512x4x4 131,072
BatchNorm2d-32 512x4x4 1,024
BasicBlock-33 512x4x4 0
Linear-34 10 5,130
"""


def network(name: str) -> ResNet:
    stem, widths, blocks, _ = NETWORKS[name]
    return ResNet(name="resnet", stem=stem, widths=widths, blocks=blocks)


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters(name):
    assert parameters(network(name)) == NETWORKS[name][3]


def test_layer_table_is_the_printed_one():
    rows = [f"{r.name} {'x'.join(map(str, r.shape))} {r.parameters:,}" for r in layers(network("shamooun2022"))]
    assert rows == SHAMOOUN.split("\n")[1:-1]


@pytest.mark.parametrize(
    ("name", "printed"),
    [("shamooun2022", [0.01, 9.06, 18.99, 28.06]), ("chen2024", [0.01, 12.47, 4.01, 16.49])],
)
def test_memory_lines_are_the_printed_ones(name, printed):
    sizes = sizes_mb(network(name))
    assert list(sizes) == ["input_mb", "forward_backward_mb", "params_mb", "total_mb"]
    assert [round(value, 2) for value in sizes.values()] == printed


def test_projection_stands_where_the_shape_changes():
    def projections(stem: int, widths: tuple[int, ...]) -> int:
        model = ResNet(name="resnet", stem=stem, widths=widths, blocks=(2,) * len(widths))
        convs = sum(row.name.startswith("Conv2d") for row in layers(model))
        return convs - 1 - 2 * 2 * len(widths)

    assert projections(16, (16,)) == 0
    assert projections(32, (16,)) == 1  # stride 1, but another width than the stem
    assert projections(16, (16, 16)) == 1  # the same width, but stride 2
    assert projections(64, (32, 96, 156, 350)) == 4


def test_maps_halve_from_stage_to_stage_down_to_one_pixel():
    model = ResNet(name="resnet", stem=2, widths=(2,) * 6, blocks=(1,) * 6)
    assert [row.shape[1] for row in layers(model) if row.name.startswith("BasicBlock")] == [32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("name", "gigaflop"), [("chiu2023", 1.412), ("shamooun2022", 1.970), ("chen2024", 0.923), ("zhang2023", 3.329)]
)
def test_training_flop(name, gigaflop):
    assert training_flop(network(name)) / 1e9 == pytest.approx(gigaflop, abs=6e-4)


VGG_A = {"name": "vgg", "widths": (64, 128, 256, 512, 512), "convs": (1, 1, 2, 2, 2), "hidden": (512, 512)}


# zhang2023 prints no counts; these are the course template's networks'
@pytest.mark.parametrize(("batch_norm", "count"), [(False, 9_750_922), (True, 9_756_426)])
def test_parameters_of_vgg_a(batch_norm, count):
    assert parameters(VGG(**VGG_A, batch_norm=batch_norm)) == count


def test_vgg_by_hand():
    # conv 3->2 at 32x32, pool, conv 2->5 at 16x16, pool, then 5*8*8 -> 7 -> 10; biases everywhere
    model = VGG(name="vgg", widths=(2, 5), convs=(1, 1), hidden=(7,), batch_norm=True)
    rows = [(row.name, row.shape, row.parameters, row.macs) for row in layers(model)]
    assert rows == [
        ("Conv2d-1", (2, 32, 32), 54 + 2, 54 * 1024), ("BatchNorm2d-2", (2, 32, 32), 4, 0),
        ("Conv2d-3", (5, 16, 16), 90 + 5, 90 * 256), ("BatchNorm2d-4", (5, 16, 16), 10, 0),
        ("Linear-5", (7,), 320 * 7 + 7, 320 * 7), ("Linear-6", (10,), 70 + 10, 70),
    ]  # fmt: skip
    assert training_flop(VGG(**VGG_A)) / 1e9 == pytest.approx(0.916, abs=6e-4)
    assert sizes_mb(model)["forward_backward_mb"] == 8 * (2 * 2 * 1024 + 2 * 5 * 256 + 7 + 10) / 2**20


@pytest.mark.parametrize(
    ("kernel", "pool", "heights"),
    [(3, False, [32, 16, 8, 4]), (7, False, [16, 8, 4, 2]), (3, True, [16, 8, 4, 2]), (7, True, [8, 4, 2, 1])],
)
def test_the_stem_sets_the_maps(kernel, pool, heights):
    shape = {"name": "resnet", "stem": 64, "widths": (64, 128, 256, 512), "blocks": TWO}
    model = ResNet(**shape, stem_kernel=kernel, max_pool=pool)
    blocks = [row.shape[1] for row in layers(model) if row.name.startswith("BasicBlock")]
    assert blocks[::2] == blocks[1::2] == heights
    stem = layers(model)[0]
    assert stem.parameters == 3 * 64 * kernel**2
    assert stem.macs == stem.parameters * (32 if kernel == 3 else 16) ** 2
    assert parameters(model) == 11_173_962 + 3 * 64 * (kernel**2 - 9)  # pooling has none


def test_macs_by_hand():
    # stem 3->1 and one block 1->1 at 32x32 without projection, then 1->10
    model = ResNet(name="resnet", stem=1, widths=(1,), blocks=(1,))
    assert macs(model) == 1024 * 9 * (3 + 1 + 1) + 10
    assert training_flop(model) == 6 * macs(model) - 2 * 1024 * 27


@pytest.mark.parametrize(("name", "count"), [("chen2024", 68), ("zhang2023", 18), ("shamooun2022", 12)])
def test_depth_is_the_layers_with_weights_outside_shortcuts(name, count):
    assert depth(network(name)) == count
    kinds = [row.name.partition("-")[0] for row in layers(network(name))]
    shapes_change = len(network(name).widths) - 1  # one 1x1 projection at each stage but the first
    assert kinds.count("Conv2d") - shapes_change + kinds.count("Linear") == count


def test_depth_of_vgg_a():
    assert depth(VGG(**VGG_A)) == depth(VGG(**VGG_A, batch_norm=True)) == 11


def test_a_row_of_the_summary_by_its_name():
    model = network("shamooun2022")
    assert (layer(model, "Conv2d-31").parameters, layer(model, "Linear-34").parameters) == (131_072, 5_130)
    assert quantity(model, "layer_parameters", "BatchNorm2d-32") == 1_024
    for name, hint in (("Linear-33", "known here: Linear-34"), ("Dense-1", "known here: Conv2d-1, BatchNorm2d-2")):
        with pytest.raises(UserError, match=hint):
            layer(model, name)


@pytest.mark.parametrize("name", ["parameters", "params_mb", "depth", "total_mb"])
def test_quantities_are_the_functions_of_their_names(name):
    model = network("chen2024")
    assert quantity(model, name) == {**sizes_mb(model), "parameters": 1_050_202, "depth": 68}[name]
