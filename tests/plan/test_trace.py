from __future__ import annotations

import pytest

from basewright.catalog import cards
from basewright.plan import memory
from basewright.plan.model import Model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-8b-base", "mixtral-8x7b-v0.1"])
def test_h053_two_layers_of_large_models_hold_the_tensors_that_the_plan_says(name: str) -> None:
    """Under fake weights, which take no memory; off by 0.01 % in `python -m benchmarks.plan trace`."""
    from benchmarks.plan import trace

    card = cards.get(name)
    cut = cards.card(cards.facts_from_config(card.config | {"num_hidden_layers": 2}, card.id))
    for ask in trace.ASKS:
        if card.shape.experts and ask.precision == "float32":
            continue
        need = memory.need(Model.of(cut), ask).memory
        assert (need.total - need.runtime) / trace.peak(cut, ask) == pytest.approx(1, abs=0.002)
