"""Parameters, multiply-accumulates, shapes and memory lines of a network as closed-form arithmetic, without torch.

The rows and the memory lines are those of the `torchsummary` package, which two of the reports print: every
module in the order it runs, none for functional ReLU and pooling, a row without parameters for each block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from repro.spec.recipe import ResNet

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


def layers(model: ResNet) -> list[Layer]:
    """Return the summary's rows in the order the modules run, named `<kind>-<row number>`."""
    rows: list[Layer] = []

    def add(kind: str, shape: tuple[int, ...], parameters: int = 0, macs: int = 0) -> None:
        rows.append(Layer(f"{kind}-{len(rows) + 1}", shape, parameters, macs))

    def conv_bn(inputs: int, outputs: int, kernel: int, size: int) -> None:
        weights = inputs * outputs * kernel**2  # no conv has a bias; BN brings scale and shift
        add("Conv2d", (outputs, size, size), weights, weights * size**2)
        add("BatchNorm2d", (outputs, size, size), 2 * outputs)

    conv_bn(IMAGE[0], model.stem, 3, IMAGE[1])
    for inputs, outputs, stride, size in _blocks(model):
        conv_bn(inputs, outputs, 3, size)
        conv_bn(outputs, outputs, 3, size)
        if stride != 1 or inputs != outputs:
            conv_bn(inputs, outputs, 1, size)  # projection shortcut, only where the shape changes
        add("BasicBlock", (outputs, size, size))
    weights = model.widths[-1] * CLASSES
    add("Linear", (CLASSES,), weights + CLASSES, weights)
    return rows


def _blocks(model: ResNet) -> Iterator[tuple[int, int, int, int]]:
    """Yield (input channels, output channels, stride, output height) of each basic block."""
    inputs, size = model.stem, IMAGE[1]
    for stage, (outputs, count) in enumerate(zip(model.widths, model.blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            size = -(-size // stride)  # a padded 3x3 conv of stride 2 rounds up
            yield inputs, outputs, stride, size
            inputs = outputs


def parameters(model: ResNet) -> int:
    """Return the number of trainable parameters."""
    return sum(row.parameters for row in layers(model))


def macs(model: ResNet) -> int:
    """Return the multiply-accumulates of one image's forward pass; convolutions and the linear layer only."""
    return sum(row.macs for row in layers(model))


def training_flop(model: ResNet) -> int:
    """Return the floating-point operations to train on one image once.

    Two a multiply-accumulate, for the forward pass, the input gradients and the weight gradients; the stem
    needs no input gradients.
    """
    return 2 * (3 * macs(model) - layers(model)[0].macs)


def sizes_mb(model: ResNet) -> dict[str, float]:
    """Return torchsummary's memory lines in MiB, for one image, unrounded; outputs count twice (value, gradient)."""
    sizes = {
        "input_mb": prod(IMAGE) * _BYTES / _MB,
        "forward_backward_mb": 2 * sum(prod(row.shape) for row in layers(model)) * _BYTES / _MB,
        "params_mb": parameters(model) * _BYTES / _MB,
    }
    return {**sizes, "total_mb": sum(sizes.values())}
