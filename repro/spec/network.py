"""Networks of a recipe: what is built, and from which weights it starts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from repro.spec.fields import Count, Decay, Model, refuse

#: layers of a stage: a network is built before anybody can say that it is too deep
Depth = Annotated[int, Field(ge=1, le=1000)]
#: weights at the start; biases as PyTorch's default where not said otherwise
Init = Literal[
    "default",  # PyTorch's
    "kaiming_fan_in",  # conv and linear weights N(0, 2 / fan_in)
    "kaiming_fan_out",  # conv and linear weights N(0, 2 / fan_out)
    "kaiming_fan_in_linear_1e-3",  # conv N(0, 2 / fan_in), linear N(0, (1e-3)^2), zero biases
    "kaiming_fan_out_linear_1e-3",  # conv N(0, 2 / fan_out), linear N(0, (1e-3)^2), zero biases
    "xavier",  # conv and linear weights N(0, 2 / (fan_in + fan_out)), zero biases
    "linear_normal",  # linear weights N(0, (1e-3)^2), conv default
]


class ResNet(Model):
    """Basic-block ResNet for 32x32 images: 3x3 stem, stages of `blocks[i]` blocks of `widths[i]` channels.

    The first stage has stride 1, later ones stride 2; shortcuts that change shape are 1x1 conv + BN.
    `init`: `default` (PyTorch's), `kaiming_fan_in` and `kaiming_fan_out` (normal, conv and linear weights),
    `kaiming_fan_in_linear_1e-3` and `kaiming_fan_out_linear_1e-3` (conv normal, linear N(0, 1e-3) with zero bias),
    `xavier` (normal, conv and linear weights, zero biases), `linear_normal` (linear weights N(0, 1e-3), else default).
    `logits_dropout` drops the ten outputs of the linear layer in training. `softmax` ends the network in a softmax, so
    that the loss, which has one of its own, sees probabilities.
    `stem_kernel: 7` has stride 2 and padding 3, and `max_pool` adds a 3x3 max-pool of stride 2 behind the stem: both
    together are the stem of the ResNet for ImageNet.
    """

    name: Literal["resnet"]
    stem: Count
    widths: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=8)]
    blocks: Annotated[tuple[Depth, ...], Field(strict=False, min_length=1, max_length=8)]
    activation: Literal["relu", "leaky_relu", "elu"] = "relu"
    init: Init = "default"
    logits_dropout: Decay = 0.0
    stem_kernel: Literal[3, 7] = 3
    max_pool: bool = False
    softmax: bool = False

    @model_validator(mode="after")
    def _stages_fit(self) -> "ResNet":
        _same_length(self.widths, self.blocks, "blocks")
        halved = [text for text, does in (("a 7x7 stem", self.stem_kernel == 7), ("max_pool", self.max_pool)) if does]
        _at_most(6 - len(halved), self.widths, f" behind {' and '.join(halved)}" if halved else "")
        return self


class VGG(Model):
    """VGG for 32x32 images: stages of `convs[i]` 3x3 convolutions of `widths[i]` channels, a 2x2 max-pool after each.

    Then linear layers: those of `hidden` outputs, and the one of ten. Convolutions have a bias, ReLU follows every
    layer but the last; `batch_norm` adds BN behind each convolution. VGG-A is widths 64, 128, 256, 512, 512 and
    convs 1, 1, 2, 2, 2. `init`, `logits_dropout` and `softmax` as in `resnet`.
    """

    name: Literal["vgg"]
    widths: Annotated[tuple[Count, ...], Field(strict=False, min_length=1, max_length=8)]
    convs: Annotated[tuple[Depth, ...], Field(strict=False, min_length=1, max_length=8)]
    hidden: Annotated[tuple[Count, ...], Field(strict=False, max_length=8)]
    batch_norm: bool = False
    init: Init = "default"
    logits_dropout: Decay = 0.0
    softmax: bool = False

    @model_validator(mode="after")
    def _stages_fit(self) -> "VGG":
        _same_length(self.widths, self.convs, "convs")
        _at_most(5, self.widths)
        return self


def _same_length(widths: tuple[int, ...], depths: tuple[int, ...], key: str) -> None:
    if len(widths) != len(depths):
        stages = f"widths has {len(widths)} stages but {key} has {len(depths)}"
        raise refuse(f"{stages}; give one of each a stage", key, "widths")


def _at_most(most: int, widths: tuple[int, ...], why: str = "") -> None:
    if len(widths) > most:
        drop = "the last" if len(widths) == most + 1 else f"the last {len(widths) - most}"
        raise refuse(f"a 32x32 image allows at most {most} stages{why}, not {len(widths)}; drop {drop}", "widths")


Network = Annotated[ResNet | VGG, Field(discriminator="name")]
