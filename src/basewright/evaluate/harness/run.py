"""lm-evaluation-harness's own benchmarks on our engines: its task definitions and numbers, as `Scores`."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basewright.engine.lm import LM
from basewright.errors import DataError, Refused, UsageError, nearest
from basewright.records import Progress, Scores, silent

BOOTSTRAP = 1000
"""Resamples behind lm-eval's standard errors of figures that are no mean; its 100,000 take a minute for LAMBADA."""


@dataclass(frozen=True, slots=True)
class Harness:
    scores: tuple[Scores, ...]
    """One for each task; a group such as `mmlu` has one for each of its members."""
    results: Mapping[str, Any]
    """What `lm_eval.evaluate` returned, whole: groups, configurations and samples too."""


def run(
    lm: LM,
    benchmarks: Sequence[str],
    *,
    shots: int | None = None,
    limit: int | float | None = None,
    include: Path | None = None,
    weights: str = "",
    confidence: float = 0.95,
    progress: Progress = silent,
) -> Harness:
    """Score `lm` on lm-eval's tasks, groups or tags, with its default seeds.

    `shots` overrules a task's own number, except where a task fixes 0 (`How.shots` tells); `limit` takes the first
    items of each task, or below 1 that share of them; `include` is a folder of task definitions, which go before
    lm-eval's own. Per item and in sum the numbers are lm-eval's; the intervals are ours. Datasets are read from this
    machine alone unless the environment has HF_HUB_OFFLINE=0.

    Raises `UsageError` without lm_eval, for an unknown benchmark and for one our engines cannot take; `Refused` for
    one that executes what a model writes; `DataError` where a dataset is not on this machine.
    """
    if limit is not None and limit <= 0:
        raise UsageError(f"a limit of {limit} leaves no items", fix="take a limit above 0, or none")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # lm-eval's bootstrap would fork a process that runs torch
    evaluate = _evaluate()
    from basewright.evaluate.harness import scores as made_scores
    from basewright.evaluate.harness.bridge import Bridge

    bridge = Bridge(lm, _heard(progress))
    with _quiet(), _offline(), _seeded():
        loaded = _load(_manager(benchmarks, include), benchmarks)
        for name, task in loaded["tasks"].items():
            _check(name, task)
            _set_shots(task, shots)
        results = evaluate(bridge, loaded, limit=limit, bootstrap_iters=BOOTSTRAP)
    scores = tuple(
        made_scores.made(lm, name, task, results, bridge.asked[name], weights, confidence)
        for name, task in loaded["tasks"].items()
    )
    return Harness(scores, results)


def _evaluate() -> Any:
    try:
        from lm_eval.evaluator import evaluate
    except ImportError as error:
        raise UsageError("lm-evaluation-harness is not installed", fix="pip install 'basewright[lm-eval]'") from error
    return evaluate


# --- tasks ----------------------------------------------------------------------------------------


def _manager(benchmarks: Sequence[str], include: Path | None) -> Any:
    """lm-eval's index of tasks; of `include` alone where that holds all that is asked: the other 14,000 take 10 s."""
    from lm_eval.tasks import TaskManager

    if include is not None:
        if not include.is_dir():
            raise UsageError(f"{include} is no folder", fix="name the folder that holds the task definitions")
        own = TaskManager(include_path=include, include_defaults=False)
        if all(_whole(own, name) for name in benchmarks):
            return own
    manager = TaskManager(include_path=include)
    for name in benchmarks:
        if name not in manager.task_index:
            near = nearest(name, manager.all_tasks)
            near = near if near.startswith("did") else "no name is near"  # not all 14,000
            raise UsageError(f"lm-eval has no benchmark {name!r}; {near}", fix="lm_eval ls tasks lists them")
    return manager


def _whole(manager: Any, name: str) -> bool:
    """Whether a benchmark, and what it is a group of, are all in this index."""
    entry = manager.task_index.get(name)
    if entry is None:
        return False
    members = (entry.cfg or {}).get("task", []) if entry.kind.name == "GROUP" else []
    return all(_whole(manager, member) for member in members if isinstance(member, str))


def _load(manager: Any, benchmarks: Sequence[str]) -> Any:
    """Tasks and groups, as `lm_eval.evaluate` takes them."""
    built: list[Any] = []
    for name in benchmarks:
        try:
            part = manager.load([name])
        except Exception as error:
            raise _not_loaded(name, error) from error
        built += [part["groups"][name]] if name in part["groups"] else part["tasks"].values()
    try:
        return manager.load(built)
    except ValueError as error:
        raise UsageError(str(error), fix="ask for benchmarks that share no task, or run them one by one") from error


def _not_loaded(name: str, error: Exception) -> Exception:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, ImportError):
        return UsageError(f"benchmark {name!r} needs a package: {reason}", fix=f"pip install {error.name or 'it'}")
    if isinstance(error, OSError) or "cache" in reason:  # datasets: "Couldn't find cache for …"
        return DataError(
            f"the dataset of benchmark {name!r} is not on this machine: {reason}",
            fix="give --download to allow it, or a folder with local task definitions",
        )
    return DataError(f"benchmark {name!r} cannot be read: {type(error).__name__}: {reason}", fix="mend its definition")


def _check(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise Refused(
            f"benchmark {name!r} runs the code that a model writes, and there is no sandbox here (H081)",
            fix="leave it out, or run it with lm_eval in a machine of its own",
        )
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"benchmark {name!r} asks about images or sound", fix="leave it out: our engines read text")


def _set_shots(task: Any, shots: int | None) -> None:
    """As `lm_eval.simple_evaluate` does, with its default seed."""
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    own = task.get_config("num_fewshot")
    if own is None or (shots is not None and own != 0):
        task.set_config(key="num_fewshot", value=shots or 0)
    task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


# --- around lm-eval -------------------------------------------------------------------------------


@contextmanager
def _seeded() -> Iterator[None]:
    """lm-eval's default seeds, and afterwards the generators as they were."""
    import torch
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    before, before_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        torch.default_generator.manual_seed(DEFAULT_OTHER_SEED)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(before_numpy)


@contextmanager
def _offline() -> Iterator[None]:
    """No network unless it is allowed: libraries read HF_HUB_OFFLINE when they are imported, which may be long ago."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = os.environ["HF_HUB_OFFLINE"] != "0"
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval's and its libraries' bars, prints and advice to developers go nowhere."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def _heard(progress: Progress) -> Progress:
    """`progress`, drawn where stderr is now, also in `_quiet`."""
    here = sys.stderr

    def tell(what: str, done: int, total: int, /) -> None:
        with redirect_stderr(here):
            progress(what, done, total)

    return tell
