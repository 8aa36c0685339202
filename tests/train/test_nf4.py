"""A base in 4 bits: what is held, what it computes, and the adapter that was trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from basewright.catalog import cards
from basewright.data.pack import pack
from basewright.engine.torch_lm import load_model
from basewright.errors import UsageError
from basewright.hub import pull
from basewright.records import LoraSettings, Made, Weights
from basewright.store import Store
from basewright.text.encode import Encoded
from basewright.train import adapters, losses, nf4, opened, quick
from tests.models import tiny_llama
from tests.train import team
from tests.train.test_tune import SETTINGS, certificate, run

pytestmark = pytest.mark.qlora
LORA = LoraSettings(rank=4, alpha=8.0, targets=team.MAPS, quantization="nf4")
IDS = torch.tensor([[0, 5, 9, 40, 7]])


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("bitsandbytes", reason="the qlora extra is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Its widths are multiples of 64, as bitsandbytes' kernel for a CPU wants them."""
    return tiny_llama(tmp_path / "one", precision="bfloat16", feed_forward=128)


def pulled(tmp_path: Path, folder: Path) -> Made[Weights]:
    card = cards.get(str(folder))
    return Store(tmp_path / "runs").make("weights", {}, Weights, lambda work: pull.pull(card, work))[0]


def four_bits(folder: Path) -> Any:
    """As transformers and bitsandbytes load it, without anything of ours."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    return AutoModelForCausalLM.from_pretrained(folder, quantization_config=config, dtype=torch.float32)


def test_the_maps_of_the_layers_are_held_in_four_bits(folder: Path) -> None:
    """4 bits a weight and 8 for each 64 of them; the shares of the second scales are padded in so small a model."""
    model, plain = nf4.load(folder, "float32"), dict(load_model(folder).named_modules())
    maps = {name: module for name, module in model.named_modules() if nf4.packed(module)}
    assert {name.split(".")[-1] for name in maps} == set(team.MAPS)
    for name, module in maps.items():
        size, state = plain[name].weight.numel(), module.weight.quant_state
        assert module.weight.nbytes == size // 2
        assert state.absmax.nbytes == size // 64
        assert nf4.unpacked(module.weight, torch.float32).shape == plain[name].weight.shape


def test_an_unpacked_weight_is_the_nearest_of_sixteen_levels(folder: Path) -> None:
    """NF4's widest gap is 0.304 of a block's largest weight (Dettmers et al. 2023, appendix E): at most half of it,
    and what rounding the scales to 8 bits adds, less than 1/127 of the largest."""
    model, plain = nf4.load(folder, "float32"), dict(load_model(folder).named_modules())
    for name, module in model.named_modules():
        if nf4.packed(module):
            weight = plain[name].weight
            blocks = weight.reshape(-1, 64)
            far = (nf4.unpacked(module.weight, torch.float32).reshape(-1, 64) - blocks).abs().amax(1)
            largest = blocks.abs().amax(1)
            assert (far <= 0.1525 * largest + largest.max() / 127).all()
            assert far.mean() > 0


def test_packed_rows_give_what_each_row_gives_in_four_bits_too(folder: Path) -> None:
    """`open_model` proves it on the very weights it holds; float32 sums differ in their order alone."""
    model = opened.open_model(folder, "float32", packed=True)
    quick.quicken(adapters.put_on(model, LORA, 0))
    rows = [Encoded(tuple((7 * n + 3 * i) % 300 for i in range(n)), (True,) * n) for n in (5, 17, 18, 40)]
    with torch.no_grad():
        alone = sum(losses.next_token(model, pack([row])).item() for row in rows)
        assert losses.next_token(model, pack(rows)).item() == pytest.approx(alone, rel=2e-6)


def test_gradients_written_out_are_those_of_peft_and_bitsandbytes(folder: Path) -> None:
    """The same loss and gradients as peft's own layer over bitsandbytes', where the weight is unpacked by it."""
    row = pack([Encoded(tuple(range(3, 60, 2)), (True,) * 29)])
    found = []
    for quickened in (False, True):
        model = adapters.put_on(opened.open_model(folder, "float32", packed=True), LORA, 0)
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(1))
        if quickened:
            quick.quicken(model)
            assert all("forward" in vars(m) for m in model.modules() if nf4.packed(getattr(m, "base_layer", None)))
        loss = losses.next_token(model.train(), row)
        loss.backward()
        found.append([loss, *(p.grad for p in model.parameters() if p.requires_grad)])
    for theirs, ours in zip(*found, strict=True):
        assert (theirs - ours).abs().max() <= 2e-5 * theirs.abs().max()


def test_h048_only_the_adapter_moves_and_recomputing_changes_no_bit(tmp_path: Path, folder: Path) -> None:
    base = pulled(tmp_path, folder)
    made = run(base, certificate(base), tmp_path, LORA)
    again = run(base, certificate(base), tmp_path, LORA, settings=replace(SETTINGS, recompute=True))
    assert made.record.sha256 == again.record.sha256
    assert made.record.lora.quantization == "nf4"
    assert made.record.last_loss < made.record.first_loss


def test_plain_peft_loads_what_was_trained_on_either_base(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the base in 4 bits it answers as it was trained to; the plain base takes it too."""
    from peft import PeftModel

    base, trained, write = pulled(tmp_path, folder), [], adapters.write

    def asked(model: Any, *rest: Any) -> None:
        model.get_base_model().set_attn_implementation("sdpa")
        trained.append(model.eval()(input_ids=IDS).logits.detach())
        write(model, *rest)

    monkeypatch.setattr(adapters, "write", asked)
    made = run(base, certificate(base), tmp_path, LORA)
    packed, plain = four_bits(base.folder / "model"), load_model(base.folder / "model")
    packed.train()  # else, on some processors, bitsandbytes rounds to bfloat16 as it computes
    before = packed(input_ids=IDS).logits
    logits = PeftModel.from_pretrained(packed, made.folder / "adapter").train()(input_ids=IDS).logits
    assert (logits - trained[0]).abs().max() < 2e-5
    assert (logits - before).abs().max() > 0.01
    untouched = plain(input_ids=IDS).logits
    loaded = PeftModel.from_pretrained(plain, made.folder / "adapter").eval()(input_ids=IDS).logits
    assert (loaded - untouched).abs().max() > 0.01


def test_without_bitsandbytes_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nf4, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="bitsandbytes is not installed") as caught:
        nf4.load(folder, "float32")
    assert caught.value.fix == "pip install 'basewright[qlora]'"
