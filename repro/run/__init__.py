"""The wiring room: Run -> RunRecord; the only place that knows both the spec and torch."""

from repro.run.networks import build_model, build_padded, check_models
from repro.run.options import Options, folder_of
from repro.run.profiles import (
    FULL_TEST_IMAGES,
    FULL_TRAIN_IMAGES,
    SMOKE_STEPS,
    adapt,
    dataset_of,
    few_steps,
    measured_images,
    shortened,
    test_images,
)
from repro.run.records import identity
from repro.run.starts import begin_anew, set_aside
from repro.run.wiring import assemble, execute, optimizer_of, part_of

__all__ = [
    "FULL_TEST_IMAGES",
    "FULL_TRAIN_IMAGES",
    "SMOKE_STEPS",
    "Options",
    "adapt",
    "assemble",
    "begin_anew",
    "build_model",
    "build_padded",
    "check_models",
    "dataset_of",
    "execute",
    "few_steps",
    "folder_of",
    "identity",
    "measured_images",
    "optimizer_of",
    "part_of",
    "set_aside",
    "shortened",
    "test_images",
]  # fmt: skip
