"""Classification heads: packed as transformers has them, trained, written, and read by transformers and peft alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from basewright.data import rows
from basewright.engine import classifier
from basewright.errors import Refused
from basewright.hub import airlock
from basewright.records import (
    Adapter,
    Certificate,
    Check,
    Checkpoint,
    Classified,
    Head,
    Layout,
    LoraVariant,
    Made,
    TrainSettings,
    Weights,
    silent,
)
from basewright.store import Store
from basewright.text import encode
from basewright.text.tokenizer import open_tokenizer
from basewright.train import adapters, losses, tune
from basewright.train.objectives import Labelled, labelled
from basewright.train.opened import open_classifier
from tests.models import tiny_llama
from tests.train.test_tune import LORA, SETTINGS, pulled

LAYOUT = Layout(prompt="{text}", separator="\n\n")
SAID = (("one clock", "a"), ("two ropes are here", "b"), ("a shell by the sea", "c"))
ITEMS = [Classified(id=rows.identity(t), text=t, label=label) for t, label in SAID * 3]


def objective(base: Made[Weights], items: list[Classified] = ITEMS) -> Labelled:
    tokenizer = open_tokenizer(base.folder / "model")
    head = Head(labels=("a", "b", "c"), pad_id=encode.padding(tokenizer))
    return labelled(items, tokenizer, head)


def certificate(base: Made[Weights], about: Labelled) -> Certificate:
    check = Check(name="every row learns to stop", value=0.0, limit=0.0, passed=True, how="h")
    return Certificate(
        base=base.record.card.id, data_hash=about.identity, rows=len(about.rows), tokens=1,
        supervised_tokens=1, longest=1, labels={}, bos_id=0, eos_id=0, pad_id=1, overlays=(), checks=(check,),
    )  # fmt: skip


def adapted(
    base: Made[Weights], variant: LoraVariant = "lora", train: TrainSettings = SETTINGS, continued: Path | None = None
) -> Made[Adapter]:
    about, lora = objective(base), replace(LORA, variant=variant)
    paper = certificate(base, about)
    made, _ = Store(base.folder.parent).make(
        "adapter",
        {"variant": variant, "train": train, "from": str(continued)},
        Adapter,
        lambda work: tune.adapt(base, paper, about, LAYOUT, lora, train, work, silent, continued),
    )
    return made


def whole(base: Made[Weights], train: TrainSettings = SETTINGS) -> Made[Checkpoint]:
    about = objective(base)
    paper = certificate(base, about)
    made, _ = Store(base.folder.parent).make(
        "checkpoint", {}, Checkpoint, lambda work: tune.full(base, paper, about, LAYOUT, train, work, silent)
    )
    return made


def plain_logits(model: Any, texts: list[str], folder: Path) -> torch.Tensor:
    """As a person asks who has transformers alone: texts in one padded batch."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found: torch.Tensor = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return found


# --- the forward pass -----------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(st.lists(st.integers(2, 383), min_size=1, max_size=40), min_size=1, max_size=6))
def test_h070_packed_rows_get_what_transformers_gives_each(data: list[list[int]], opened: Any) -> None:
    """Alone, and in one batch padded to the right, by transformers' own forward pass and attention."""
    packed_model, plain = opened
    row = objective_of(data).pack(range(len(data)))
    longest = max(map(len, data))
    ids = torch.tensor([[*one, *[1] * (longest - len(one))] for one in data])
    with torch.no_grad():
        packed, classes = losses.class_logits(packed_model, row)
        alone = torch.cat([plain(input_ids=torch.tensor([one])).logits for one in data])
        padded = plain(input_ids=ids, attention_mask=(ids != 1).int()).logits
    assert classes.tolist() == [i % 3 for i in range(len(data))]
    assert (packed - alone).abs().max() < 1e-4
    assert (packed - padded).abs().max() < 1e-4


def objective_of(data: list[list[int]]) -> Labelled:
    marked = [encode.Encoded(tuple(one), (*[False] * (len(one) - 1), True)) for one in data]
    return Labelled(marked, [i % 3 for i in range(len(data))], Head(labels=("a", "b", "c"), pad_id=1))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tiny_llama(tmp_path_factory.mktemp("heads") / "one")
    head = Head(labels=("a", "b", "c"), pad_id=1)
    return open_classifier(folder, head).model, classifier.load(folder, head).model


def test_the_loss_is_cross_entropy_and_counts_rows(opened: Any) -> None:
    data = [[5, 9, 40], [7, 8], [300, 301, 2, 3]]
    row = objective_of(data).pack([2, 0, 1])
    assert row.supervised == 3
    logits = torch.cat([opened[1](input_ids=torch.tensor([data[i]])).logits for i in (2, 0, 1)])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([2, 0, 1]), reduction="sum")
    assert losses.labels(opened[0], row).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_head_that_reads_another_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder's way of reading on a decoder: what packed rows give is not what transformers gives."""
    folder = tiny_llama(tmp_path / "one")
    with pytest.raises(Refused, match="cannot be tuned here"):
        open_classifier(folder, Head(labels=("a", "b"), pad_id=1, pools="first"))


# --- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", adapters.VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_plain_peft_loads_adapter_and_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: LoraVariant, precision: Literal["float32", "bfloat16"]
) -> None:
    from peft import PeftModel

    base = pulled(tmp_path, precision)
    trained: list[torch.Tensor] = []
    ids, write = torch.tensor([[0, 5, 9, 40, 7]]), adapters.write

    def asked(model: Any, *rest: Any) -> None:
        model.get_base_model().set_attn_implementation("sdpa")
        trained.append(model.float().eval()(input_ids=ids).logits.detach())
        write(model, *rest)

    monkeypatch.setattr(adapters, "write", asked)
    made = adapted(base, variant, replace(SETTINGS, precision=precision))
    assert made.record.head == Head(labels=("a", "b", "c"), pad_id=1)
    torch.manual_seed(7)  # another head than ours before the adapter brings it
    plain = AutoModelForSequenceClassification.from_pretrained(
        base.folder / "model", dtype=torch.float32, num_labels=3, pad_token_id=1
    )
    before = plain(input_ids=ids).logits
    loaded = PeftModel.from_pretrained(plain, made.folder / "adapter").eval()(input_ids=ids).logits
    assert (loaded - trained[0]).abs().max() < 2e-5
    assert (loaded - before).abs().max() > 0.01


def test_all_weights_are_written_as_a_model_that_gives_its_classes_names(tmp_path: Path) -> None:
    """transformers alone, from texts in one padded batch to the names of their classes."""
    base = pulled(tmp_path)
    made = whole(base, replace(SETTINGS, steps=40, learning_rate=3e-3))
    assert made.record.tuning is not None
    assert made.record.tuning.last_loss < 0.1 < made.record.tuning.first_loss
    _, head = airlock.inspect_classifier(made.folder)
    assert head == made.record.tuning.head
    assert not (made.folder / "generation_config.json").exists()
    model = AutoModelForSequenceClassification.from_pretrained(made.folder).eval()
    logits = plain_logits(model, [text for text, _ in SAID], made.folder)
    assert [model.config.id2label[i] for i in logits.argmax(-1).tolist()] == ["a", "b", "c"]
    ours = classifier.open_classifier(made.folder, "ours", LAYOUT)
    assert [one.label for one in ours.classify([text for text, _ in SAID])] == ["a", "b", "c"]


def test_an_adapter_is_continued_with_its_head(tmp_path: Path) -> None:
    base = pulled(tmp_path)
    first = adapted(base)
    again = adapted(base, continued=first.folder / "adapter")
    assert again.record.first_loss < first.record.first_loss
    assert again.record.parent == first.record.sha256


def test_recomputing_changes_no_bit(tmp_path: Path) -> None:
    base = pulled(tmp_path)
    kept, recomputed = adapted(base), adapted(base, train=replace(SETTINGS, recompute=True))
    assert kept.record.sha256 == recomputed.record.sha256


# --- the engine -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> classifier.Classifier:
    base = pulled(tmp_path_factory.mktemp("engine"))
    made = adapted(base)
    assert made.record.head is not None
    return classifier.open_tuned(base.folder / "model", made.folder / "adapter", "ours", made.record.head, LAYOUT)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=8), shuffled=st.randoms())
def test_batches_and_their_order_change_nothing(engine: Any, texts: list[str], shuffled: Any) -> None:
    order = list(range(len(texts)))
    shuffled.shuffle(order)
    together = engine.classify(texts)
    apart = [engine.classify([text])[0] for text in texts]
    mixed = engine.classify([texts[i] for i in order])
    for place, i in enumerate(order):
        for other in (apart[i], mixed[place]):
            assert other.probabilities == pytest.approx(together[i].probabilities, abs=1e-5)
        assert sum(together[i].probabilities.values()) == pytest.approx(1)


def test_the_engine_says_what_plain_peft_says(engine: Any, tmp_path: Path) -> None:
    texts = [text for text, _ in SAID]
    found = [one.probabilities for one in engine.classify(texts)]
    ids = [torch.tensor([engine.ids(text)]) for text in texts]
    for said, one in zip(found, ids, strict=True):
        shares = engine.model(input_ids=one).logits.softmax(-1)[0].tolist()
        assert [said[label] for label in ("a", "b", "c")] == pytest.approx(shares, abs=1e-5)


# --- what pads ------------------------------------------------------------------------------------


def spelled(change: Callable[[dict[str, Any]], Any], folder: Path) -> Path:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


def test_h065_what_pads_is_no_end_and_no_word(tmp_path: Path) -> None:
    named = tiny_llama(tmp_path / "named")
    assert encode.padding(open_tokenizer(named)) == 1
    unnamed = spelled(lambda config: config.pop("pad_token"), tiny_llama(tmp_path / "unnamed"))
    assert encode.padding(open_tokenizer(unnamed)) == 1  # the control token that is neither start nor end
    same = spelled(lambda config: config.update(pad_token="<|endoftext|>"), tiny_llama(tmp_path / "same"))
    assert encode.padding(open_tokenizer(same)) == 1
