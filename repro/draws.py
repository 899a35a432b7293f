"""Host-side random numbers: every draw is a pure function of (seed, stream, epoch).

Philox counters keyed by a hash make the draws independent of the device, of the report and of the
experiment, so that two experiments with one seed share their split, order and augmentation draws
wherever their shapes allow, and a resumed run needs no generator state.
"""

import hashlib
from typing import Literal

import numpy as np

Stream = Literal["init", "split", "order", "augment", "dropout", "noise"]


def generator(seed: int, stream: Stream, epoch: int = 0) -> np.random.Generator:
    """Return the generator of one stream in one epoch (epochs count from 1; 0 is "before training")."""
    digest = hashlib.sha256(f"repro/1|{seed}|{stream}|{epoch}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
