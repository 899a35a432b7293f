"""Networks as plain constructors; growing the suite by one is a constructor and a line of `MODELS`."""

from repro.models.resnet import ResNet

MODELS = {"resnet": ResNet}
