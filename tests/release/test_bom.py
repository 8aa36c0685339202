"""The ML-BOM against the schema of the reference library, its hashes against the bytes, its references resolved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from basewright import store
from tests.release import making


def staged(root: Path, **changes: Any) -> dict[str, Any]:
    making.walk(root / "made", **changes).stage(root / "out")
    document: dict[str, Any] = json.loads((root / "out" / "bom.json").read_text())
    return document


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["bom-ref"]] if "bom-ref" in value else []
        return own + [ref for item in value.values() for ref in references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    return []


@pytest.mark.parametrize("licence", ["CC0-1.0", "PSF-2.0", "CC0-1.0 AND PSF-2.0", "Apache-2.0"])
def test_h119_the_bom_is_valid_by_the_strict_schema(tmp_path: Path, licence: str) -> None:
    staged(tmp_path, licence=licence)
    text = (tmp_path / "out" / "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_h119_custom_terms_are_valid_too(tmp_path: Path) -> None:
    files = {"LICENSE": b"Gemma Terms of Use"}
    document = staged(tmp_path, licence="gemma", base_files=files)
    text = (tmp_path / "out" / "bom.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert document["metadata"]["component"]["licenses"][0]["license"]["name"] == "LicenseRef-Gemma"


def test_h119_the_validator_would_see_a_fault(tmp_path: Path) -> None:
    document = staged(tmp_path)
    document["metadata"]["component"]["modelCard"]["accuracy"] = "high"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_h119_each_hash_is_that_of_the_file_and_no_file_is_left_out(tmp_path: Path) -> None:
    document = staged(tmp_path)
    listed = {c["name"]: c["hashes"][0]["content"] for c in document["components"] if c["type"] == "file"}
    assert listed == {e.name: e.sha256 for e in store.entries(tmp_path / "out") if e.name != "bom.json"}


def test_h119_every_reference_resolves_and_is_unique(tmp_path: Path) -> None:
    document = staged(tmp_path)
    known = references(document)
    assert len(known) == len(set(known))
    for dependency in document["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= set(known)
    model = document["metadata"]["component"]
    assert {row["ref"] for row in model["modelCard"]["modelParameters"]["datasets"]} <= set(known)
    assert model["pedigree"]["ancestors"][0]["name"] == making.BASE


def test_the_serial_number_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    one, two = staged(tmp_path / "1"), staged(tmp_path / "2")
    other = staged(tmp_path / "3", name="other")
    assert one == two
    assert one["serialNumber"] != other["serialNumber"]
    assert "timestamp" not in one["metadata"]


def test_h119_what_no_byte_can_prove_is_a_claim(tmp_path: Path) -> None:
    base = staged(tmp_path)["metadata"]["component"]["pedigree"]["ancestors"][0]
    assert all(row["name"].startswith("basewright:claim:") for row in base["properties"])
    assert base["licenses"][0]["license"]["acknowledgement"] == "declared"
