"""Operations that PyTorch dispatches: what a step costs the host, the same number on every machine.

On an accelerator each of them is a launch or a few, unless a graph replays them all at once.
"""

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

#: these give out memory, or mark a profiler's trace
NO_WORK = frozenset({"empty", "empty_like", "new_empty", "_record_function_enter_new", "_record_function_exit"})


class Operations(TorchDispatchMode):
    """Counts operations by name while it is entered, those of gradients and optimizers too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and do it."""
        name = func.overloadpacket.__name__
        if not func.is_view and name not in NO_WORK:
            self.seen[name] += 1
        return func(*args, **(kwargs or {}))
