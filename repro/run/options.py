"""Where and how runs are made, and where a run's files are."""

from dataclasses import dataclass
from pathlib import Path

import torch

from repro import environment
from repro.spec.identity import Run
from repro.train.step import NUMERICS


@dataclass(frozen=True)
class Options:
    """Where and how runs are made; nothing here enters a run's key."""

    home: Path
    device: torch.device
    precision: str  # bf16 | fp32
    deterministic: bool = False
    graph: bool = True  # steps as CUDA graphs, where there is CUDA
    pad: bool = True  # channels to multiples of 8, in bfloat16
    compile: bool = False  # operations of a training step fused by torch.compile
    shared: bool = False  # other runs of this process train on the device at the same time
    command: str = ""
    ledger: str = ""

    @property
    def env_class(self) -> str:
        """The class within which equal keys should give equal results."""
        return environment.env_class(self.device, self.precision, self.deterministic, NUMERICS, self.compile)


def folder_of(run: Run, home: Path) -> Path:
    """Return the run's folder: journal, checkpoints, record."""
    return home / "runs" / run.key
