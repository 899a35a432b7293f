"""CIFAR-10: getting it, checking it, its one order, its splits, and the images resident on a device."""
