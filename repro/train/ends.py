"""The end of an epoch: its checkpoint written, its entry shown. At once, or while the device trains the next epoch.

Writing tens of megabytes durably takes a good part of the second that an epoch takes on a GPU. There the state is
copied to the host, and written once the next epoch's launches have been issued.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from repro.record import Entry
from repro.train import checkpoint


class Ends:
    """Ends epochs in their order, each once; `late`: from a copy, when `finish` is called."""

    def __init__(self, folder: Path, on_epoch: Callable[[Entry], bool], late: bool):
        self.folder, self.on_epoch, self.late = folder, on_epoch, late
        self._waiting: tuple[Entry, dict[str, Any]] | None = None

    def put(self, entry: Entry, state: dict[str, Any]) -> bool:
        """Take an epoch's end; return False where it has been shown and the training is to end."""
        self._waiting = entry, copied(state) if self.late else state
        return self.late or self.finish()

    def finish(self) -> bool:
        """Write and show what waits, if anything does; return False where the training is to end."""
        if self._waiting is None:
            return True
        (entry, state), self._waiting = self._waiting, None
        checkpoint.save(self.folder, entry.epoch, state)
        return self.on_epoch(entry)


def copied(state: Any) -> Any:
    """Return a state of nested dictionaries and lists with its tensors copied to the host."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(map(copied, state))
    return state
