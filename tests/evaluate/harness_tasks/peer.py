"""lm-eval's own way through its own model over transformers, and what must be equal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from basewright.evaluate.harness import run as harness

EXACT = ("acc", "acc_norm", "exact_match")


def hflm(folder: Path, **arguments: Any) -> Any:
    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4, **arguments)


def evaluated(model: Any, tasks: Path, names: Sequence[str], **arguments: Any) -> Any:
    manager = TaskManager(include_path=tasks, include_defaults=False)
    return simple_evaluate(
        model=model, tasks=list(names), task_manager=manager, bootstrap_iters=harness.BOOTSTRAP, **arguments
    )


def assert_same(ours: Any, theirs: Any, tolerance: float = 1e-3) -> float:
    """Item by item and in sum, standard errors too; the largest difference of a log-likelihood."""
    worst = 0.0
    assert ours["samples"].keys() == theirs["samples"].keys()
    for name, samples in ours["samples"].items():
        for mine, its in zip(samples, theirs["samples"][name], strict=True):
            assert (mine["doc_id"], mine["filter"], mine["arguments"]) == (
                its["doc_id"],
                its["filter"],
                its["arguments"],
            )
            for one, two in zip(_flat(mine["resps"]), _flat(its["resps"]), strict=True):
                assert one == (pytest.approx(two, abs=tolerance) if isinstance(one, float) else two), name
                worst = max(worst, abs(one - two) if isinstance(one, float) else 0)
            assert [mine[metric] for metric in mine["metrics"]] == [
                its[metric] if metric in EXACT and its[metric] in (0, 1) else pytest.approx(its[metric], rel=1e-4)
                for metric in its["metrics"]
            ]
    for name, metrics in ours["results"].items():
        others = theirs["results"][name]
        assert metrics.keys() == others.keys()
        for key, value in metrics.items():
            own = key.partition(",")[0].removesuffix("_stderr")
            exact = own in EXACT and all(sample[own] in (0, 1) for sample in theirs["samples"].get(name, ()))
            assert value == (others[key] if exact or isinstance(value, str) else pytest.approx(others[key], rel=1e-4))
    for part in ("n-shot", "n-samples", "group_subtasks", "higher_is_better", "versions"):
        assert ours[part] == theirs[part]
    return worst


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _flat(part)]
    return [value]
