"""lm-evaluation-harness's command line with our engines in it: `--model basewright`.

lm-eval 0.4.13 finds models in a table of its own and loads no plugin, so its own `lm_eval` command cannot know this
one. `basewright-lm-eval`, or `python -m basewright.evaluate.harness.command`, puts it into the table and then is
`lm_eval`: every command and argument, and every other model, as there. From Python, importing this module is enough
for `lm_eval.simple_evaluate(model="basewright", …)`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from lm_eval.api.registry import register_model

from basewright.errors import BasewrightError, UsageError, nearest
from basewright.evaluate.harness.bridge import Bridge
from basewright.records import Progress

ENGINES = ("torch",)
PRECISIONS = ("float32", "bfloat16", "float16")
ANY_DEVICE = "cuda:0"
"""What lm-eval's command line says where nobody named a device, also on a machine without a GPU."""


@register_model("basewright")
class FolderBridge(Bridge):
    """`--model_args model=FOLDER,engine=torch,precision=float32`, and those of `Bridge`.

    lm-eval always gives a batch size; the engine packs requests itself and needs none. Raises `UsageError` for what
    it does not know, and `ModelFileError` for a folder without a model.
    """

    def __init__(
        self,
        model: str,
        engine: str = "torch",
        precision: str = "float32",
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        for key in unknown:
            raise _unknown("argument", key, (*ENGINE_ARGUMENTS, *BRIDGE_ARGUMENTS))
        if engine not in ENGINES:
            raise _unknown("engine", engine, ENGINES)
        if precision not in PRECISIONS:
            raise _unknown("precision", precision, PRECISIONS)
        from basewright.engine import torch_lm

        folder = Path(str(model))
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder", fix="--model_args model=FOLDER names a model's folder")
        lm = torch_lm.open_lm(folder, folder.name, precision)
        used = lm.model.device.type
        if device not in (None, ANY_DEVICE, used):
            raise UsageError(
                f"the engine runs on {used}, not on {device}",
                fix="leave --device out; CUDA_VISIBLE_DEVICES= hides the GPUs",
            )
        super().__init__(lm, bar(), max_length=max_length, add_bos_token=add_bos_token, prefix_token_id=prefix_token_id)


ENGINE_ARGUMENTS = ("model", "engine", "precision")
BRIDGE_ARGUMENTS = ("max_length", "add_bos_token", "prefix_token_id")


def bar() -> Progress:
    """Progress as lm-eval draws it."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    drawn: Any = None

    def tell(what: str, done: int, total: int, /) -> None:
        nonlocal drawn
        if drawn is None or (drawn.desc, drawn.total) != (what, total):
            drawn = tqdm(total=total, desc=what)
        drawn.update(done - drawn.n)
        if done == total:
            drawn.close()
            drawn = None

    return tell


def main() -> None:
    """The console script. Offline, unless the environment has HF_HUB_OFFLINE=0."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except BasewrightError as error:
        sys.exit(f"basewright: {error.message}\n  next: {error.fix}")
    except ConnectionError as error:
        sys.exit(f"basewright: {error}\n  next: HF_HUB_OFFLINE=0 allows downloads")


def _unknown(what: str, name: str, known: tuple[str, ...]) -> UsageError:
    return UsageError(f"there is no {what} {name!r}; {nearest(name, known)}", fix="mend --model_args")


if __name__ == "__main__":
    main()
