"""Basic-block ResNets (He et al. 2016) with 1x1 conv + BN shortcuts; a stem for 32x32 images, or ImageNet's."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from repro.models.half import Conv2d, Linear
from repro.models.norm import BatchNorm2d

Activation = Callable[..., torch.Tensor]
ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "leaky_relu": F.leaky_relu, "elu": F.elu}


class Block(nn.Module):
    """Two 3x3 convolutions with BN; the shortcut is a projection where the shape changes, else the identity."""

    def __init__(self, width_in: int, width: int, stride: int, activation: str):
        super().__init__()
        self.conv1 = Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.shortcut: nn.Module | None = None
        if stride != 1 or width_in != width:
            projection = Conv2d(width_in, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, BatchNorm2d(width))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, width_in, S, S) -> (B, width, S / stride, S / stride)."""
        out = self.activation(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        out = out + (x if self.shortcut is None else self.shortcut(x))
        return self.activation(out, inplace=True)


class ResNet(nn.Module):
    """Stem, stages of `blocks[i]` blocks of `widths[i]` channels (strides 1, 2, 2, ...), mean, linear layer.

    A 3x3 stem has stride 1, a 7x7 one stride 2; `max_pool` adds the 3x3 max-pool of stride 2 behind it.
    `softmax` gives probabilities in place of logits.
    """

    def __init__(
        self,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        activation: str = "relu",
        stem_kernel: int = 3,
        max_pool: bool = False,
        softmax: bool = False,
    ):
        super().__init__()
        self.conv = Conv2d(3, stem, stem_kernel, 2 if stem_kernel == 7 else 1, stem_kernel // 2, bias=False)
        self.bn = BatchNorm2d(stem)
        self.activation = ACTIVATIONS[activation]
        self.max_pool, self.softmax = max_pool, softmax
        stages, width_in = [], stem
        for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
            for position in range(depth):
                stride = 2 if stage > 0 and position == 0 else 1
                stages.append(Block(width_in, width, stride, activation))
                width_in = width
        self.blocks = nn.Sequential(*stages)
        self.linear = Linear(width_in, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> logits, or probabilities (B, 10)."""
        x = self.activation(self.bn(self.conv(x)), inplace=True)
        if self.max_pool:
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.blocks(x)
        logits = self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits.softmax(1) if self.softmax else logits
