from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.catalog import config as configs
from basewright.catalog.allowed import SUPPORTED
from basewright.errors import ModelFileError

GOOD: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 10,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "eos_token_id": [1, 2],
    "bos_token_id": None,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "transformers.js_config": {"dtype": {"model": "q4"}},
    "torch_dtype": "bfloat16",
}
CODE_KEYS = (
    "auto_map",
    "trust_remote_code",
    "_attn_implementation_internal",
    "_experts_implementation_internal",
    "_anything_internal",
    "attn_implementation",
    "code_revision",
    "tokenizer_code_revision",
    "custom_generate",
    "custom_pipelines",
    "use_kernels",
    "kernel_config",
    "AUTO_MAP",
)


WORDS = {
    "model_type": "model_type",
    "quantization_config": "quantized",
    "hidden_size": "",
    "num_key_value_heads": "heads of keys",
}


def test_a_good_config_is_handed_on_as_it_is() -> None:
    assert configs.check(GOOD) == GOOD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "vit"),
        ("model_type", None),
        ("model_type", ["llama"]),
        ("architectures", ["LlamaForSequenceClassification"]),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**9),
        ("num_hidden_layers", 2.0),
        ("num_hidden_layers", True),
        ("num_hidden_layers", "2"),
        ("hidden_size", -16),
        ("hidden_size", 18),
        ("num_attention_heads", 0),
        ("num_key_value_heads", 3),
        ("head_dim", 7),
        ("vocab_size", 2**40),
        ("max_position_embeddings", None),
        ("rms_norm_eps", 0),
        ("rms_norm_eps", "1e-5"),
        ("hidden_act", "os.system"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("attention_bias", 0),
        ("tie_word_embeddings", 1),
        ("rope_scaling", {"rope_type": "mine"}),
        ("rope_scaling", {"factor": -1}),
        ("rope_scaling", {"unknown": 1}),
        ("rope_parameters", []),
        ("rope_interleaved", True),
        ("eos_token_id", []),
        ("eos_token_id", ["2"]),
        ("torch_dtype", "int8"),
        ("quantization_config", {"bits": 4}),
        ("made_up", 1),
        ("base_model_name_or_path", "someone/else"),
    ],
)
def test_h005_a_key_of_another_kind_or_range_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ModelFileError) as caught:
        configs.check({**GOOD, key: value})
    told = caught.value.message + caught.value.fix
    assert WORDS.get(key, key) in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "key",
    [
        "model_type",
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
    ],
)
def test_what_a_model_is_built_from_must_be_there(key: str) -> None:
    with pytest.raises(ModelFileError, match=key):
        configs.check({k: v for k, v in GOOD.items() if k != key})


@given(
    key=st.sampled_from(CODE_KEYS),
    value=st.one_of(st.text(), st.booleans(), st.dictionaries(st.text(), st.text(), max_size=2)),
    path=st.lists(st.sampled_from(["a", "text_config", "0"]), max_size=6),
    inside_list=st.booleans(),
)
def test_h005_keys_that_could_run_code_are_refused_at_every_depth(
    key: str, value: Any, path: list[str], inside_list: bool
) -> None:
    planted: Any = {key: value}
    for step in path:
        planted = {step: [planted] if inside_list else planted}
    with pytest.raises(ModelFileError, match="code"):
        configs.refuse_code(planted, "config.json")
    with pytest.raises(ModelFileError, match="code"):
        configs.check({**GOOD, "transformers.js_config": planted})


def test_ordinary_keys_of_a_tokenizers_config_are_not_taken_for_code() -> None:
    plain = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {"0": {"content": "<s>"}},
        "legacy": False,
    }
    configs.refuse_code(plain, "tokenizer_config.json")


def told(config: dict[str, Any]) -> str:
    """The message of the one error, or nothing when the config is good."""
    try:
        configs.check(config)
    except ModelFileError as error:
        return error.message
    return ""


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(SUPPORTED["llama"])) | st.text(), anything, max_size=5))
def test_h011_any_object_gives_a_config_or_the_one_error(changes: dict[str, Any]) -> None:
    for config in (changes, {**GOOD, **changes}):
        assert "\n" not in told(config)
