"""Networks from their specs: built, given their initial weights, padded, and checked against the closed form."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from repro.draws import generator
from repro.errors import UserError
from repro.models import MODELS
from repro.models.init import initialise
from repro.models.padding import Shapes, fill, narrow, shapes, widened
from repro.spec import counting
from repro.spec.network import VGG, ResNet
from repro.spec.schema import Report


def build_model(model: ResNet | VGG) -> torch.nn.Module:
    """Construct a network from its spec, with PyTorch's own initial weights (see `initialise`)."""
    return MODELS[model.name](**_arguments(model))


def _arguments(model: ResNet | VGG) -> dict[str, Any]:
    return model.model_dump(exclude={"name", "init", "logits_dropout"})


def build_padded(
    model: ResNet | VGG, seed: int, precision: str, pad: bool = True
) -> tuple[torch.nn.Module, Shapes | None]:
    """Construct a network with the seed's initial weights; return it with its own shapes where it had to be padded.

    Channels are padded in bfloat16: matrix units want multiples of 8, float32 on a CPU gains nothing by it. Networks
    with fewer than 8 channels anywhere always are: oneDNN writes past its memory in the float32 gradient of a strided
    1x1 convolution of 3 to 7 channels in channels_last (PyTorch 2.11 and 2.15, AVX2).
    """
    plain = build_model(model)
    initialise(plain, model.init, generator(seed, "init"))
    arguments = _arguments(model)
    wanted = narrow(arguments) or (pad and precision == "bf16")
    if not wanted or widened(arguments) == arguments:
        return plain, None
    return fill(MODELS[model.name](**widened(arguments)), plain), shapes(plain)


def check_models(reports: Mapping[str, Report]) -> Iterator[str]:
    """Compare each network's closed-form parameter count with the network itself; yield a line a recipe.

    Raises UserError where they differ. Networks are built on the meta device: shapes without memory.
    """
    for report in reports.values():
        seen: dict[ResNet | VGG, str] = {}
        for experiment in report.experiments.values():
            spec = experiment.recipe.model
            if spec in seen:
                continue
            with torch.device("meta"):
                built = sum(p.numel() for p in build_model(spec).parameters())
            if built != (closed := counting.parameters(spec)):
                where = f"{report.id}.yaml: experiments.{experiment.id}"
                raise UserError(f"{where}: the network has {built:,} parameters, the closed form gives {closed:,}")
            seen[spec] = experiment.id
            yield f"{report.id}/{experiment.id}: {built:,} parameters, closed form and network agree"
