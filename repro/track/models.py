"""Trained networks as MLflow's logged models: `pt2` (torch.export) with signature and input example, never pickle."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.track.projection import finals
from repro.track.tracker import Tracker

if TYPE_CHECKING:
    import torch

    from repro.record import RunRecord


def log_model(
    tracker: Tracker, run_id: str, record: "RunRecord", network: "torch.nn.Module", example: np.ndarray, weights: str
) -> tuple[str, bool]:
    """Log a network in evaluation mode with its run; return (model id, whether it is new).

    `example`: float32 images (n, 3, 32, 32) in [0, 1], n > 1, for torch.export fixes a batch of one; the network
    gives logits (n, 10). `weights` names the weights: the same ones are logged once. Raises TrackingError.
    """
    with tracker.door(f"logging the model of {record.experiments[0]}"):
        exp_id = tracker.client.get_run(run_id).info.experiment_id
        found = tracker.client.search_logged_models([exp_id], f"source_run_id = '{run_id}'")
        for model in found:
            if model.status == "READY" and model.tags.get("repro.weights") == weights:
                return model.model_id, False
            if model.status != "READY":  # left by a process that died
                tracker.client.delete_logged_model(model.model_id)
        tags = {"repro.run_key": record.run_key, "repro.report": record.report, "repro.weights": weights}
        made = tracker.client.create_logged_model(
            exp_id, f"{record.experiments[0]}-s{record.seed}", run_id, tags, model_type="classifier"
        )
        with tempfile.TemporaryDirectory(prefix="repro-") as folder:
            _save(tracker.mlflow, Path(folder, "model"), made.model_id, run_id, network, example)
            tracker.client.log_model_artifacts(made.model_id, str(Path(folder, "model")))
        _link(tracker, run_id, record, made.model_id)
        tracker.client.finalize_logged_model(made.model_id, "READY")
    return made.model_id, True


def _save(
    mlflow: Any, folder: Path, model_id: str, run_id: str, network: "torch.nn.Module", example: np.ndarray
) -> None:
    """Write a model's folder; its requirements are named, since finding them out would load it in another process."""
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    kind = np.dtype(np.float32)
    with _without_places():
        mlflow.pytorch.save_model(
            network,
            str(folder),
            mlflow_model=Model(run_id=run_id, model_id=model_id),
            signature=ModelSignature(
                Schema([TensorSpec(kind, (-1, *example.shape[1:]))]), Schema([TensorSpec(kind, (-1, 10))])
            ),
            input_example=example,
            serialization_format="pt2",
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"torch=={torch.__version__.partition('+')[0]}"],
        )


@contextmanager
def _without_places() -> Iterator[None]:
    """Let exported programs be saved without the lines of code behind each operation: they name this user's folders."""
    import torch

    save = torch.export.save

    def bare(program: torch.export.ExportedProgram, *rest: Any, **named: Any) -> None:
        for module in program.graph_module.modules():
            for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)
        save(program, *rest, **named)

    torch.export.save = bare  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.export.save = save


def _link(tracker: Tracker, run_id: str, record: "RunRecord", model_id: str) -> None:
    """Name the model as the run's output, and give it the run's final numbers."""
    entities = tracker.mlflow.entities
    tracker.client.log_outputs(run_id, [entities.LoggedModelOutput(model_id, record.epochs_done)])
    rows = [entities.Metric(p.key, p.value, p.time, p.step, model_id=model_id, run_id=run_id) for p in finals(record)]
    tracker.client.log_batch(run_id, metrics=rows)
