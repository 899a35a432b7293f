"""Saved views of MLflow's pages: which columns, in which order, which charts; kept as tags of the experiment.

MLflow's own pages write them so under "Save as new view". The format is internal: where another version than
those it was seen in serves the pages, no view is written, and links lead to the plain page.
"""

import base64
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

SEEN = re.compile(r"3\.17\.\d+")
_TAG = "mlflow.sharedViewState."
#: columns of the table and their widths in pixels, what is compared first; MLflow cuts a head that does not fit
_COLUMNS = {
    "attributes.`Run Name`": 190, "tags.`repro.verdict`": 125, "tags.`repro.published`": 125,
    "tags.`repro.protocol`": 115,
    "metrics.`final/last/acc_pct`": 140, "metrics.`summary/acc_mean`": 145, "metrics.`summary/delta_pp`": 145,
    "tags.`repro.claim`": 130, "metrics.`summary/acc_std`": 130,
    "metrics.`summary/n_seeds`": 140, "params.`seed`": 65, "params.`budget.epochs`": 120, "params.`optim.name`": 105,
    "params.`optim.lr`": 80, "params.`budget.batch_size`": 140, "tags.`repro.device`": 140,
}  # fmt: skip
#: sections of the charts: title -> metrics; MLflow adds the other metrics below them
_CHARTS = {
    "Accuracy and loss": ("test/acc_pct", "test/loss", "train/acc_pct", "train/loss"),
    "After the last epoch": ("final/last/acc_pct", "final/last/loss"),
}


def supported(version: str) -> bool:
    """Whether the pages of an MLflow version are known to read these views."""
    return SEEN.fullmatch(version) is not None


def views() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return key -> (name, state as MLflow's pages hold it)."""
    return {
        "repro-published": ("Published beside ours", _table()),
        "repro-mean": ("Curves, mean over seeds", _charts("tags.`repro.kind` = 'experiment'")),
        "repro-seeds": ("Curves, every seed", _charts("tags.`repro.kind` = 'run'")),
    }


def link(root: str, experiment_id: str, key: str | None) -> str:
    """Return the address of an experiment's runs, in a view or in MLflow's own; `root` is the server's."""
    address = f"{root}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    if key is None:
        return address
    charts = "&compareRunsMode=CHART" if "compareRunCharts" in views()[key][1] else ""
    return f"{address}&viewStateShareKey={key}{charts}"


def missing(held: Mapping[str, str], made: int) -> dict[str, str]:
    """Return the tags that bring an experiment's views up to date; `made`: when it was created, ms UTC.

    A view that somebody saved again under its name is theirs and stays.
    """
    found = {}
    for key, (name, state) in views().items():
        old = _read(held.get(_TAG + key))
        if old is None or (old["createdAt"] == old["updatedAt"] and (old["name"], old["state"]) != (name, state)):
            packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
            found[_TAG + key] = json.dumps(
                {"name": name, "createdAt": made, "updatedAt": made, "state": f"deflate;{packed}"}
            )
    return found


def holds(tags: Mapping[str, str], key: str) -> bool:
    """Whether an experiment has a view."""
    return _TAG + key in tags


def _read(tag: str | None) -> dict[str, Any] | None:
    try:
        envelope = json.loads(tag or "")
        state = zlib.decompress(base64.b64decode(envelope["state"].removeprefix("deflate;")))
        return {key: envelope[key] for key in ("name", "createdAt", "updatedAt")} | {"state": json.loads(state)}
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def _table() -> dict[str, Any]:
    columns = list(_COLUMNS)
    return _state("") | {"selectedColumns": columns, "columnOrder": columns, "columnWidths": _COLUMNS}


def _charts(which: str) -> dict[str, Any]:
    sections, charts = [], []
    for number, (title, keys) in enumerate(_CHARTS.items()):
        section = f"repro-section-{number}"
        sections.append({
            "uuid": section, "name": title, "display": True, "isReordered": True, "isGenerated": False, "columns": 2,
        })  # fmt: skip
        charts += [_chart(key, section) for key in keys]
    return _state(which) | {
        "compareRunCharts": charts, "compareRunSections": sections, "isAccordionReordered": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }  # fmt: skip


def _chart(key: str, section: str) -> dict[str, Any]:
    chart = {
        "uuid": f"repro-{key.replace('/', '-')}", "type": "BAR", "metricKey": key, "displayName": key,
        "metricSectionId": section, "runsCountToCompare": 20, "deleted": False, "isGenerated": False,
    }  # fmt: skip
    if key.startswith("final/"):
        return chart
    return chart | {
        "type": "LINE", "lineSmoothness": 0, "scaleType": "linear", "xAxisScaleType": "linear", "range": {},
        "xAxisKey": "step", "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": [],
        "ignoreOutliers": False, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True,
    }  # fmt: skip


def _state(which: str) -> dict[str, Any]:
    return {
        "searchFilter": which,
        "orderByKey": "tags.`repro.place`",
        "orderByAsc": True,
        "runsHiddenMode": "FIRST_20_RUNS",
        "autoRefreshEnabled": True,
        "hideEmptyCharts": True,
        "groupBy": None,
    }
