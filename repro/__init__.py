"""repro: do these published CIFAR-10 results hold?"""

__version__ = "0.1.0"
