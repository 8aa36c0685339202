"""From an adapter to files that run elsewhere: merge, convert, and prove each against what it was made from.

The proof has two links. The merged folder is compared with the adapter on its base, as trained; each GGUF file is
compared with the merged folder, tensor by tensor and prediction by prediction.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from basewright.checks import require
from basewright.convert import headed, parity
from basewright.convert.gguf_writer import Quantization, to_gguf
from basewright.convert.merge import merge
from basewright.engine.torch_lm import TorchLM, open_lm, open_tuned
from basewright.errors import Refused, UsageError, nearest
from basewright.records import Adapter, Artifact, Check, Converted, FileEntry, Made, Progress, Weights
from basewright.store import Work, entries, sha256_of

FORMATS: dict[str, Quantization] = {f"gguf:{each}": each for each in get_args(Quantization)}
_FIX = "report this with the numbers above; until it is mended, take that format out of [ship].formats"


def convert(
    base: Made[Weights],
    adapter: Made[Adapter],
    formats: tuple[str, ...],
    texts: tuple[str, ...],
    work: Work,
    progress: Progress,
) -> Converted:
    """Write the merged model to `work.out/model` and each of `formats` to `work.out/gguf`.

    `texts` are what predictions are compared on. Raises `Refused` where a check fails, `UsageError` for an unknown
    format. What could not be checked on this machine is in `skipped`.
    """
    _check_request(base.record, adapter.record, formats)
    steps = len(formats) + 1
    progress("models converted", 0, steps)
    model = work.out / "model"
    merge(base.folder / "model", adapter.folder / "adapter", model, adapter.record.stop_ids, adapter.record.layout)
    made = open_lm(model, "merged")
    checks = parity.merged(open_tuned(base.folder / "model", adapter.folder / "adapter", "tuned"), made, texts)
    require(checks, _FIX)
    artifacts = [_artifact("safetensors", base.record.precision, _files(model, work.out), tuple(checks))]
    skipped: list[str] = []
    for done, name in enumerate(formats, start=1):
        progress("models converted", done, steps)
        path = work.out / "gguf" / f"{base.record.card.id.replace('/', '-')}-{FORMATS[name]}.gguf"
        path.parent.mkdir(exist_ok=True)
        to_gguf(model, path, FORMATS[name], _metadata(base.record, adapter))
        checks, left_out = prove(path, made, texts)
        require(checks, _FIX)
        skipped += [f"{name}: {reason}" for reason in left_out]
        artifacts.append(_artifact("gguf", FORMATS[name], (_entry(path, work.out),), tuple(checks)))
    progress("models converted", steps, steps)
    return Converted(base=base.id, adapter=adapter.id, artifacts=tuple(artifacts), skipped=tuple(skipped))


def with_head(
    base: Made[Weights], adapter: Made[Adapter], texts: tuple[str, ...], work: Work, progress: Progress
) -> Converted:
    """Likewise an adapter with a classification head, as safetensors; `texts` are classified."""
    _check_request(base.record, adapter.record, ())
    head = adapter.record.head
    assert head is not None, "an adapter that writes is converted"
    progress("models converted", 0, 1)
    plain, learned, model = base.folder / "model", adapter.folder / "adapter", work.out / "model"
    headed.merge(plain, learned, head, base.record.precision, model)
    checks = headed.proof(plain, learned, head, model, texts)
    require(checks, "report this with the numbers above, and use the adapter on its base")
    progress("models converted", 1, 1)
    made = _artifact("safetensors", base.record.precision, _files(model, work.out), tuple(checks))
    return Converted(base=base.id, adapter=adapter.id, artifacts=(made,), skipped=())


def prove(gguf: Path, made: TorchLM, texts: tuple[str, ...]) -> tuple[list[Check], list[str]]:
    """Every check of a GGUF file against the model it was made from, and what could not be checked here.

    Stops at the first stage that fails: a file that is cut, or says what the model is not, is not run.
    """
    checks = [parity.intact(gguf)]
    if checks[-1].passed:
        checks.append(parity.header(gguf, made))
    if not checks[-1].passed:
        return checks, []
    checks += parity.through_transformers(gguf, made, texts)
    native = parity.through_llama_cpp(gguf, made, texts)
    if native is None:
        return checks, ["llama.cpp was not asked, llama-cpp-python is not installed"]
    return checks + native, []


def _check_request(base: Weights, adapter: Adapter, formats: tuple[str, ...]) -> None:
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}; {nearest(name, FORMATS)}", fix="correct [ship].formats")
    if adapter.base_commit != base.commit:
        raise Refused(
            f"the adapter was trained on {adapter.base} {adapter.base_commit[:12]}, not on {base.card.id} "
            f"{base.commit[:12]}",
            fix="build again: it trains an adapter for this base",
        )


def _metadata(base: Weights, adapter: Made[Adapter]) -> dict[str, str]:
    """What the file says about itself, so that the next program needs no flags."""
    made = adapter.record
    return {
        "name": base.card.id,
        "licence": base.card.licence,
        "base": made.base,
        "base_commit": made.base_commit,
        "adapter": adapter.id,
        "data_hash": made.data_hash,
        "layout": json.dumps({"prompt": made.layout.prompt, "separator": made.layout.separator}),
        "stop_ids": json.dumps(made.stop_ids),
    }


def _artifact(
    format: Literal["safetensors", "gguf"], quantization: str, files: tuple[FileEntry, ...], checks: tuple[Check, ...]
) -> Artifact:
    size = sum(file.size for file in files)
    return Artifact(format=format, quantization=quantization, files=files, size=size, checks=checks)


def _files(folder: Path, out: Path) -> tuple[FileEntry, ...]:
    below = folder.relative_to(out).as_posix()
    return tuple(replace(entry, name=f"{below}/{entry.name}") for entry in entries(folder))


def _entry(path: Path, out: Path) -> FileEntry:
    return FileEntry(name=path.relative_to(out).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))
