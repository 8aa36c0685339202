"""The files machines read first: `basewright.json`, all that serving needs, and `proof.json`, all that was shown."""

from __future__ import annotations

from typing import Any

from basewright import __version__, store
from basewright.plain import to_plain
from basewright.records import Made
from basewright.release.parts import Parts, label, path_of


def serving(parts: Parts) -> dict[str, Any]:
    """What the next step needs to run the model without a flag: paths are relative to the release."""
    adapter = parts.adapter.record
    return {
        "schema": 1,
        "made_with": f"basewright {__version__}",
        "name": parts.name,
        "task": {"name": parts.task.name, "kind": parts.task.kind, "version": parts.task.version},
        "labels": parts.task.labels,
        "layout": adapter.layout,
        "target": " {label}",
        "bos": adapter.bos,
        "stop": {"ids": adapter.stop_ids, "texts": parts.stops},
        "max_tokens": parts.max_tokens,
        "context": parts.card.context,
        "base": {
            "id": parts.card.id,
            "commit": parts.weights.record.commit,
            "licence": parts.duties.licence,
            "nature": parts.card.nature,
            "languages": parts.card.languages,
        },
        "artifacts": [
            {"format": a.format, "quantization": a.quantization, "path": path_of(a), "size": a.size, "files": a.files}
            for a in parts.artifacts
        ],
        "best": path_of(parts.gguf) if parts.gguf else "model",
        "adapter": "adapter",
    }


def proof(parts: Parts) -> dict[str, Any]:
    """Every check with its limit, the scores item by item, and a hash of each record they rest on.

    The texts of training rows stay out: of the certificate's overlays only the count is kept.
    """
    certificate = to_plain(parts.certificate.record)
    certificate["overlays"] = len(parts.certificate.record.overlays)
    return {
        "schema": 1,
        "name": parts.name,
        "passed": all(check.passed for _, check in parts.checks),
        "checks": [{"about": about, **to_plain(check)} for about, check in parts.checks],
        "skipped": parts.converted.record.skipped,
        "lineage": lineage(parts),
        "proof": parts.proof.record,
        "certificate": certificate,
        "choice": parts.choice.record,
        "artifacts": {label(a): {entry.name: entry.sha256 for entry in a.files} for a in parts.artifacts},
    }


def lineage(parts: Parts) -> list[dict[str, Any]]:
    """Each made thing the release rests on: its id, what it was made from, and the hash of its record."""
    made: dict[str, Made[Any]] = {
        "base": parts.weights,
        "choice": parts.choice,
        "certificate": parts.certificate,
        "adapter": parts.adapter,
        "proof": parts.proof,
        "converted": parts.converted,
    }
    return [
        {
            "role": role,
            "id": one.id,
            "made_with": one.stamp.version,
            "parents": one.stamp.parents,
            "record_sha256": store.digest(one.record),
        }
        for role, one in made.items()
    ]
