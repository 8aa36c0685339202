"""Models that keep a state instead of keys and values. Their tensors are known; they have no heads to plan with."""

from __future__ import annotations

from basewright.catalog.architectures.family import Family
from basewright.catalog.architectures.sizes import Sizes, Words, count, flag, size

RECURRENT: Words = {
    "layers": count("num_hidden_layers", "n_layer"),
    "width": size("hidden_size", "d_model"),
    "heads": 0,
    "kv_heads": 0,
    "head_dim": 0,
    "vocabulary": size("vocab_size"),
    "untied": lambda s: not s.tied,
    "gated": False,
}


def _step_rank(sizes: Sizes) -> int:
    given = sizes.read("time_step_rank")
    return given if type(given) is int else -(-int(sizes.width) // 16)


FAMILIES = (
    Family(
        "mamba",
        "MambaForCausalLM",
        "recurrent",
        {
            **RECURRENT,
            "tied": flag("tie_word_embeddings", True),
            "feed_forward": lambda s: s.expansion * s.width,
            "expansion": size("expand", absent=2),
            "state": size("state_size", absent=16),
            "kernel": size("conv_kernel", absent=4),
            "step_rank": _step_rank,
            "derived": lambda s: s.step_rank + 2 * s.state,
            "biased": flag("use_bias", False),
            "conv_bias": flag("use_conv_bias", True),
        },
        """
backbone.embeddings  table vocabulary width
backbone.layers.{layers}.
  norm               norm width
  mixer.A_log        raw feed_forward state
  mixer.D            raw feed_forward
  mixer.conv1d       conv feed_forward 1 kernel   bias=conv_bias
  mixer.in_proj      map 2*feed_forward width     bias=biased
  mixer.x_proj       map derived feed_forward
  mixer.dt_proj      map feed_forward step_rank   bias
  mixer.out_proj     map width feed_forward       bias=biased
backbone.norm_f      norm width
lm_head              map vocabulary width  if=untied
""",
    ),
    Family(
        "rwkv",
        "RwkvForCausalLM",
        "recurrent",
        {
            **RECURRENT,
            "tied": flag("tie_word_embeddings", False),
            "feed_forward": size("intermediate_size", absent=lambda s: 4 * s.width),
            "attended": size("attention_hidden_size", absent=lambda s: s.width),
            "context": size("context_length", "max_position_embeddings", absent=1024),
            "first": (0,),
        },
        """
rwkv.embeddings                      table vocabulary width
rwkv.blocks.{first}.pre_ln           norm width  bias
rwkv.blocks.{layers}.
  ln1                                norm width  bias
  ln2                                norm width  bias
  attention.time_decay               raw attended
  attention.time_first               raw attended
  attention.time_mix_key             raw 1 1 width
  attention.time_mix_value           raw 1 1 width
  attention.time_mix_receptance      raw 1 1 width
  attention.key                      map attended width
  attention.value                    map attended width
  attention.receptance               map attended width
  attention.output                   map width attended
  feed_forward.time_mix_key          raw 1 1 width
  feed_forward.time_mix_receptance   raw 1 1 width
  feed_forward.key                   map feed_forward width
  feed_forward.receptance            map width width
  feed_forward.value                 map width feed_forward
rwkv.ln_out                          norm width  bias
head                                 map vocabulary width  if=untied
""",
    ),
)
