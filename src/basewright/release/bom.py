"""The ML-BOM: CycloneDX 1.6 as plain data. Written by hand, since the reference library has no class for model cards.

Hashes are of files in the release and can be recomputed. What no byte of it can prove (how the base was trained, what
its licence is) is a property whose name begins with `basewright:claim:`, or a licence acknowledged as `declared`.
The same release has the same BOM: its serial number is derived from its content, and it has no timestamp.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from basewright import __version__, store
from basewright.records import LORA_NAMES, FileEntry, Interval
from basewright.release import facts
from basewright.release.duties import Duties
from basewright.release.parts import Parts, label

SPEC = "1.6"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:basewright:release")


def bom(parts: Parts, files: Sequence[FileEntry]) -> dict[str, Any]:
    """`files` are all files of the release but the BOM itself."""
    components = [_file("file", entry) for entry in files]
    content = {"model": _model(parts), "data": _data(parts), "files": components}
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, store.digest(content))}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "basewright", "version": __version__}]},
            "component": content["model"],
        },
        "components": [content["data"], *components],
        "dependencies": [
            {"ref": "model", "dependsOn": ["base", "data", *(component["bom-ref"] for component in components)]}
        ],
    }


def _model(parts: Parts) -> dict[str, Any]:
    adapter, rows = parts.adapter.record, facts.lineage(parts)
    forms = ", ".join(label(artifact) for artifact in parts.artifacts)
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": parts.name,
        "version": parts.converted.id,
        "description": f"{parts.card.id}, tuned to label texts of the task {parts.task.name}",
        "licenses": _licences(parts.duties),
        "pedigree": {
            "ancestors": [_base(parts)],
            "notes": (
                f"{LORA_NAMES[adapter.lora.variant]} of rank {adapter.lora.rank} on the ancestor, merged; "
                f"written as {forms}"
            ),
        },
        "modelCard": _card(parts),
        "properties": _properties(
            {
                **{f"basewright:lineage:{row['role']}": row["id"] for row in rows},
                **{f"basewright:record-sha256:{row['role']}": row["record_sha256"] for row in rows},
                "basewright:training:method": adapter.lora.variant,
                "basewright:training:steps": adapter.train.steps,
                "basewright:training:tokens": adapter.tokens,
                "basewright:training:flops": f"{adapter.flops:.6g}",
                "basewright:training:trainable-parameters": adapter.trainable,
                "basewright:non-commercial": str(parts.duties.non_commercial).lower(),
            }
        ),
    }


def _base(parts: Parts) -> dict[str, Any]:
    card, weights = parts.card, parts.weights.record
    return {
        "type": "machine-learning-model",
        "bom-ref": "base",
        "name": card.id,
        "version": weights.commit,
        "licenses": _licences(parts.duties),
        "components": [_file("base", entry) for entry in weights.files],
        "externalReferences": [{"type": "documentation", "url": source.url} for source in card.sources],
        "properties": _properties(
            {
                "basewright:claim:nature": card.nature,
                "basewright:claim:parameters": card.parameters,
                "basewright:claim:tokens-seen": "unknown" if card.tokens_seen is None else card.tokens_seen,
                "basewright:claim:languages": ", ".join(card.languages),
            }
        ),
    }


def _card(parts: Parts) -> dict[str, Any]:
    proof = parts.proof.record
    n = proof.after.accuracy.n
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "text-classification",
            "architectureFamily": parts.card.family,
            "modelArchitecture": parts.card.kind,
            "datasets": [{"ref": "data"}],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _metric("accuracy before", proof.before.accuracy, f"{proof.before.split} split, n = {n}"),
                _metric("accuracy after", proof.after.accuracy, f"{proof.after.split} split, n = {n}"),
                _metric("accuracy gained", proof.gain.difference, f"{proof.after.split} split, paired, n = {n}"),
                *({"type": c.name, "value": f"{c.value:.6g}", "slice": about} for about, c in parts.checks),
            ]
        },
        "considerations": {
            "users": ["people and programs that label texts like those of the task"],
            "useCases": [f"classification of texts: {parts.task.name}"],
            "technicalLimitations": [
                f"reads at most {parts.card.context} tokens",
                "answers with a label also where none fits",
                f"not measured outside the language(s) {', '.join(parts.card.languages)}",
            ],
            "ethicalConsiderations": [
                {
                    "name": "fairness and misuse were not measured",
                    "mitigationStrategy": "a person looks where it matters",
                }
            ],
        },
    }


def _data(parts: Parts) -> dict[str, Any]:
    task, certificate = parts.task, parts.certificate.record
    counted = {
        "basewright:data:rows-read": task.ledger.read,
        "basewright:data:rows-used": task.ledger.used,
        "basewright:data:train": len(task.train),
        "basewright:data:choose": len(task.choose),
        "basewright:data:test": len(task.test),
        "basewright:data:tokens": certificate.tokens,
        "basewright:data:sha256-of-token-ids": certificate.data_hash,
    }
    return {
        "type": "data",
        "bom-ref": "data",
        "name": task.name,
        "version": task.version,
        "data": [{"type": "dataset", "name": task.name, "contents": {"properties": _properties(counted)}}],
    }


def _file(owner: str, entry: FileEntry) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"{owner}:{entry.name}",
        "name": entry.name,
        "hashes": [{"alg": "SHA-256", "content": entry.sha256}],
        "properties": _properties({"basewright:size": entry.size}),
    }


def _licences(duties: Duties) -> list[dict[str, Any]]:
    return [
        {
            "license": {
                ("name" if terms.id.startswith("LicenseRef-") else "id"): terms.id,
                "acknowledgement": "declared",
                "url": terms.source.url,
            }
        }
        for terms in duties.terms
    ]


def _metric(name: str, it: Interval, where: str) -> dict[str, Any]:
    return {
        "type": name,
        "value": f"{it.value:.6g}",
        "slice": where,
        "confidenceInterval": {"lowerBound": f"{it.low:.6g}", "upperBound": f"{it.high:.6g}"},
    }


def _properties(named: dict[str, Any]) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in named.items()]
