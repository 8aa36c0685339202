"""A model held in bfloat16 is proven in float32 without a second one."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from basewright.data.pack import pack
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.records import Head
from basewright.train import attention, losses
from basewright.train.opened import light, open_classifier, open_model, widened
from tests.catalog import tiny
from tests.hub.test_families import ENCODERS, made
from tests.models import tiny_llama
from tests.train.test_families import ROWS, TUNED, plain_loss, windowed

torch.set_num_threads(1)
Held = Literal["float32", "bfloat16"]


def places(model: Any) -> list[tuple[int, torch.dtype]]:
    return [(id(p), p.dtype) for p in model.parameters()]


def gradient(loss: torch.Tensor, model: Any) -> torch.Tensor:
    found = torch.autograd.grad(loss, [getattr(part, name) for part, name in light(model)], allow_unused=True)
    return torch.cat([grad.flatten() for grad in found if grad is not None])


@pytest.mark.parametrize("name", TUNED)
def test_widened_it_computes_what_its_weights_give_in_float32(name: str, tmp_path: Path) -> None:
    """Loss and gradient are those of the same weights in a float32 model; afterwards each is the one it was."""
    folder = windowed(tmp_path / "model", name)
    held, plain = open_model(folder, "bfloat16"), load_model(folder, "bfloat16").float()
    table = load_model(folder, "bfloat16").get_input_embeddings()
    plain.get_input_embeddings().forward = lambda ids: table(ids).float()  # Gemma scales what it has looked up
    before = places(held)
    apart = sum(plain_loss(plain, row) for row in ROWS)
    assert isinstance(apart, torch.Tensor)
    with widened(held):
        together = losses.next_token(held, pack(ROWS))
        ours = gradient(together, held)
    assert together.item() == pytest.approx(apart.item(), rel=1e-5)
    theirs = gradient(apart, plain)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4
    assert places(held) == before
    assert not any("forward" in vars(module) for module in held.modules())


def test_h053_no_float32_map_is_left_when_its_layer_has_computed(tmp_path: Path) -> None:
    """Nor kept for the gradient: else a second model, twice as large, would be there in the end."""
    model = open_model(tiny_llama(tmp_path / "model", precision="bfloat16"), "bfloat16")
    maps = [layer.mlp.up_proj for layer in model.model.layers]
    seen = []
    for one in maps:
        one.register_forward_hook(lambda module, *_: seen.append(weakref.ref(module.weight)))
    with widened(model):
        loss = losses.next_token(model, pack(ROWS))
        assert [one() for one in seen] == [None] * len(maps)
        gradient(loss, model)
        assert [one() for one in seen] == [None] * 2 * len(maps)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_and_heads_open_held_in_bfloat16(name: str, tmp_path: Path) -> None:
    folder = made(tmp_path / "model", name)
    pad = int(tiny.CONFIGS[name].get("pad_token_id") or 0)
    for model in (
        open_model(folder, "bfloat16"),
        open_classifier(folder, Head(labels=("a", "b"), pad_id=pad, pools="first"), "bfloat16").model,
    ):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("held", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", [0, 3])
def test_h070_a_leak_in_one_layer_is_found_wherever_it_is(
    layer: int, held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_llama(tmp_path / "model", layers=4)

    def leaking(
        module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **more: Any
    ) -> Any:
        if module.layer_idx == layer:
            more["segment_lengths"] = (query.shape[2],)
        return attend(module, query, key, value, *rest, **more)

    attend = attention.attend
    monkeypatch.setattr(attention, "attend", leaking)
    with pytest.raises(Refused, match="does not take packed rows"):
        open_model(tmp_path / "model", held)


def test_a_model_without_vectors_is_watched_at_the_smallest_map_of_each_layer(tmp_path: Path) -> None:
    model = load_model(made(tmp_path / "model", "olmo"))
    assert {name for _, name in light(model)} == {"weight"}
    assert len(light(model)) == model.config.num_hidden_layers
