"""A network's forward and backward with neighbouring operations fused by torch.compile: batch norm, activation, sum.

Compiled once for a network and a batch size, a minute or so, and kept by PyTorch for later seeds and processes. Values
round differently from the layers' own, so that runs made in this way are of a class of their own (`env_class`).
"""

from collections.abc import Callable

import torch

from repro.errors import UserError

#: networks of one class that a process may compile; PyTorch would go back to plain layers after 8
NETWORKS = 64


def fused(model: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network's forward, compiled when it is first called; it trains the network's own weights.

    Calling it raises UserError where PyTorch cannot compile: no C++ compiler for a CPU, no Triton for CUDA.
    """
    import torch._dynamo as dynamo  # half a second that only this needs

    dynamo.config.recompile_limit = NETWORKS
    compiled = torch.compile(model, dynamic=False)

    def forward(x: torch.Tensor) -> torch.Tensor:
        try:
            return compiled(x)
        except dynamo.exc.TorchDynamoException as error:
            said = str(error).strip().splitlines()[0]
            raise UserError(f"--compile: PyTorch cannot compile here ({said}); run without it") from error

    return forward
