"""Networks as plain constructors; growing the suite by one is a constructor and a line of `MODELS`."""

from torch import nn

from repro.models.resnet import ResNet
from repro.models.vgg import VGG

MODELS: dict[str, type[nn.Module]] = {"resnet": ResNet, "vgg": VGG}
