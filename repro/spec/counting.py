"""Parameters, multiply-accumulates, shapes and memory lines of a network as closed-form arithmetic, without torch.

The rows and the memory lines are those of the `torchsummary` package, which two of the reports print: every
module in the order it runs, none for functional ReLU and pooling, a row without parameters for each block.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod

from repro.errors import UserError
from repro.spec.network import VGG, ResNet

IMAGE = (3, 32, 32)
CLASSES = 10
_BYTES = 4  # torchsummary counts float32 throughout
_MB = 2**20


@dataclass(frozen=True)
class Layer:
    """One row of a layer summary; `shape` is the output of one image, (channels, height, width) or (classes,)."""

    name: str
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0


@dataclass
class _Table:
    """Rows as they are added; maps are square, so that a size stands for height and width."""

    rows: list[Layer] = field(default_factory=list)

    def add(self, kind: str, shape: tuple[int, ...], parameters: int = 0, macs: int = 0) -> None:
        self.rows.append(Layer(f"{kind}-{len(self.rows) + 1}", shape, parameters, macs))

    def conv(self, inputs: int, outputs: int, kernel: int, size: int, bias: bool = False) -> None:
        weights = inputs * outputs * kernel**2
        self.add("Conv2d", (outputs, size, size), weights + bias * outputs, weights * size**2)

    def norm(self, channels: int, size: int) -> None:
        self.add("BatchNorm2d", (channels, size, size), 2 * channels)  # scale and shift

    def linear(self, inputs: int, outputs: int) -> None:
        self.add("Linear", (outputs,), (inputs + 1) * outputs, inputs * outputs)


def layers(model: ResNet | VGG) -> list[Layer]:
    """Return the summary's rows in the order the modules run, named `<kind>-<row number>`."""
    table = _Table()
    if isinstance(model, VGG):
        _vgg(model, table)
    else:
        _resnet(model, table)
    return table.rows


def _resnet(model: ResNet, table: _Table) -> None:
    stem = IMAGE[1] // (2 if model.stem_kernel == 7 else 1)
    table.conv(IMAGE[0], model.stem, model.stem_kernel, stem)
    table.norm(model.stem, stem)
    for inputs, outputs, stride, size in _blocks(model, stem // 2 if model.max_pool else stem):
        for width in (inputs, outputs):
            table.conv(width, outputs, 3, size)
            table.norm(outputs, size)
        if stride != 1 or inputs != outputs:  # projection shortcut, only where the shape changes
            table.conv(inputs, outputs, 1, size)
            table.norm(outputs, size)
        table.add("BasicBlock", (outputs, size, size))
    table.linear(model.widths[-1], CLASSES)


def _blocks(model: ResNet, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (input channels, output channels, stride, output height) of each block; `size` goes into the first."""
    inputs = model.stem
    for stage, (outputs, count) in enumerate(zip(model.widths, model.blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            size = -(-size // stride)  # a padded 3x3 conv of stride 2 rounds up
            yield inputs, outputs, stride, size
            inputs = outputs


def _vgg(model: VGG, table: _Table) -> None:
    inputs, size = IMAGE[0], IMAGE[1]
    for outputs, depth in zip(model.widths, model.convs, strict=True):
        for _ in range(depth):
            table.conv(inputs, outputs, 3, size, bias=True)
            if model.batch_norm:
                table.norm(outputs, size)
            inputs = outputs
        size //= 2
    for width, outputs in pairwise([inputs * size**2, *model.hidden, CLASSES]):
        table.linear(width, outputs)


def layer(model: ResNet | VGG, name: str) -> Layer:
    """Return the summary's row of a name such as Conv2d-3; raises UserError where there is none."""
    if wrong := row_fault(model, name):
        raise UserError(f"layer: {wrong}")
    return next(row for row in layers(model) if row.name == name)


def row_fault(model: ResNet | VGG, name: str) -> str | None:
    """Say of a name that is no row of the summary which rows there are, of its kind if any; else None."""
    rows = [row.name for row in layers(model)]
    alike = [row for row in rows if row.partition("-")[0] == name.partition("-")[0]]
    return None if name in rows else f"no row {name!r} in the layer summary; known here: {', '.join(alike or rows)}"


def depth(model: ResNet | VGG) -> int:
    """Return the layers with weights, convolutions and linear ones, outside shortcuts: 18 for ResNet-18."""
    if isinstance(model, VGG):
        return sum(model.convs) + len(model.hidden) + 1
    return 1 + 2 * sum(model.blocks) + 1  # stem, two a block, linear


def quantity(model: ResNet | VGG, name: str, row: str | None = None) -> float:
    """Return the quantity of a count claim; `row` names the layer of `layer_parameters`."""
    if name == "layer_parameters":
        return float(layer(model, row or "").parameters)
    if name in ("parameters", "depth"):
        return float(parameters(model) if name == "parameters" else depth(model))
    return sizes_mb(model)[name]


def parameters(model: ResNet | VGG) -> int:
    """Return the number of trainable parameters."""
    return sum(row.parameters for row in layers(model))


def macs(model: ResNet | VGG) -> int:
    """Return the multiply-accumulates of one image's forward pass; convolutions and linear layers only."""
    return sum(row.macs for row in layers(model))


def training_flop(model: ResNet | VGG) -> int:
    """Return the floating-point operations to train on one image once.

    Two a multiply-accumulate, for the forward pass, the input gradients and the weight gradients; the first
    convolution needs no input gradients.
    """
    return 2 * (3 * macs(model) - layers(model)[0].macs)


def sizes_mb(model: ResNet | VGG) -> dict[str, float]:
    """Return torchsummary's memory lines in MiB, for one image, unrounded; outputs count twice (value, gradient)."""
    sizes = {
        "input_mb": prod(IMAGE) * _BYTES / _MB,
        "forward_backward_mb": 2 * sum(prod(row.shape) for row in layers(model)) * _BYTES / _MB,
        "params_mb": parameters(model) * _BYTES / _MB,
    }
    return {**sizes, "total_mb": sum(sizes.values())}
