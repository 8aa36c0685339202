"""The table of accelerators checks itself, and names find their device."""

from __future__ import annotations

from datetime import date

import pytest

from basewright.catalog.devices import GIB, DeviceFacts, device, devices
from basewright.errors import UsageError

SPARSE = {"h100-sxm": 1979e12, "h100-pcie": 1513e12, "a100-80gb": 624e12, "l40s": 733e12, "rtx-4090": 330.3e12}
"""What NVIDIA prints, with 2:4 sparsity: twice what dense matrices get."""


@pytest.mark.parametrize("facts", devices(), ids=lambda facts: facts.id)
def test_each_figure_of_a_device_rests_on_a_dated_source(facts: DeviceFacts) -> None:
    rest = {fact for source in facts.sources for fact in source.facts}
    stated = {name for name in ("memory", "bandwidth", "flops", "flops_float32") if getattr(facts, name) is not None}
    assert stated == rest - {"usable"}
    for source in facts.sources:
        assert source.url.startswith("https://")
        assert date.fromisoformat(source.read_on)
        assert source.words
        assert len(source.words) <= 200


@pytest.mark.parametrize("facts", devices(), ids=lambda facts: facts.id)
def test_the_figures_are_in_bytes_and_operations(facts: DeviceFacts) -> None:
    assert 8 * GIB <= facts.memory <= 192 * GIB
    assert facts.usable <= facts.memory
    assert (facts.usable < facts.memory) == (facts.kind == "metal")
    assert facts.bandwidth is None or 60e9 <= facts.bandwidth <= 8e12
    assert facts.flops is None or 1e12 <= facts.flops <= 2e15
    if facts.flops and facts.flops_float32:
        assert facts.flops >= facts.flops_float32


def test_no_two_devices_answer_to_one_name() -> None:
    names = [name for facts in devices() for name in (facts.id, facts.name.casefold(), *facts.also)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", SPARSE)
def test_products_are_counted_dense_not_sparse(name: str) -> None:
    assert device(name).flops == pytest.approx(SPARSE[name] / 2, rel=0.02)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("rtx-4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("H100", "h100-sxm"),
        ("h200", "h200"),
        ("M3-24GB", "m3-24gb"),
        ("m4_pro 48gb", "m4-pro-48gb"),
    ],
)
def test_a_device_is_found_by_the_ways_its_name_is_written(given: str, found: str) -> None:
    assert device(given).id == found


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'rtx-4090'"):
        device("RTX-4091")


def test_macos_keeps_a_third_of_a_small_memory_and_a_quarter_of_a_large_one() -> None:
    assert device("m4-16gb").usable == pytest.approx(10.67 * GIB, rel=0.01)
    assert device("m4-max-128gb").usable == 96 * GIB
