"""Encoders of text, each with the head that it was pretrained with."""

from __future__ import annotations

from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Sizes, Words, count, flag, optional, size, sliding

BERT: Words = {
    **USUAL,
    "tied": flag("tie_word_embeddings", True),
    "head_dim": lambda s: s.width // s.heads,
    "kv_heads": heads,
    "gated": False,
    "types": size("type_vocab_size", absent=2, least=0),
    "positions": size("max_position_embeddings", absent=512),
    "typed": lambda s: s.types > 0,
}
ROBERTA: Words = {
    **BERT,
    "context": lambda s: s.positions - 2,  # positions count from the padding id, 1, and it has a row itself
}
ROBERTA_HEAD = """
lm_head.bias        raw vocabulary
lm_head.dense       map width width       bias
lm_head.layer_norm  norm width            bias
lm_head.decoder     map vocabulary width  bias  if=untied
"""
LAYER = """
  attention.output.dense      map width width         bias
  attention.output.LayerNorm  norm width              bias
  intermediate.dense          map feed_forward width  bias
  output.dense                map width feed_forward  bias
  output.LayerNorm            norm width              bias
"""
BERT_HEAD = """
cls.predictions.bias                 raw vocabulary
cls.predictions.transform.dense      map width width       bias
cls.predictions.transform.LayerNorm  norm width            bias
cls.predictions.decoder              map vocabulary width  bias  if=untied
"""


def _bert(prefix: str) -> str:
    return f"""
{prefix}.embeddings.word_embeddings        table vocabulary width
{prefix}.embeddings.position_embeddings    table positions width
{prefix}.embeddings.token_type_embeddings  table types width
{prefix}.embeddings.LayerNorm              norm width       bias
{prefix}.encoder.layer.{{layers}}.
  attention.self.query                     map width width  bias
  attention.self.key                       map width width  bias
  attention.self.value                     map width width  bias
{LAYER}"""


def _listed(sizes: Sizes, key: str) -> list[str]:
    """Words in a list, or in one text with bars between them."""
    value = sizes.read(key)
    if isinstance(value, str):
        return [word.strip() for word in value.lower().split("|")]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _relative(sizes: Sizes) -> int:
    """Rows of DeBERTa's table of distances."""
    if sizes.buckets is not None and sizes.buckets > 0:
        return 2 * int(sizes.buckets)
    given = sizes.read("max_relative_positions")
    return 2 * (given if type(given) is int and given > 0 else int(sizes.positions))


def _global_every(sizes: Sizes) -> tuple[int, ...]:
    step = sizes.read("global_attn_every_n_layers")
    step = step if type(step) is int and step > 0 else 3
    return tuple(layer for layer in range(sizes.layers) if layer % step)


FAMILIES = (
    Family("bert", "BertForMaskedLM", "encoder", BERT, _bert("bert") + BERT_HEAD),
    Family("roberta", "RobertaForMaskedLM", "encoder", ROBERTA, _bert("roberta") + ROBERTA_HEAD),
    Family("xlm-roberta", "XLMRobertaForMaskedLM", "encoder", ROBERTA, _bert("roberta") + ROBERTA_HEAD),
    Family(
        "distilbert",
        "DistilBertForMaskedLM",
        "encoder",
        {
            **BERT,
            "layers": count("n_layers", "num_hidden_layers", absent=6),
            "width": size("dim", "hidden_size", absent=768),
            "heads": size("n_heads", "num_attention_heads", absent=12),
            "feed_forward": size("hidden_dim", absent=3072),
        },
        """
distilbert.embeddings.word_embeddings      table vocabulary width
distilbert.embeddings.position_embeddings  table positions width
distilbert.embeddings.LayerNorm            norm width              bias
distilbert.transformer.layer.{layers}.
  attention.q_lin                          map width width         bias
  attention.k_lin                          map width width         bias
  attention.v_lin                          map width width         bias
  attention.out_lin                        map width width         bias
  sa_layer_norm                            norm width              bias
  ffn.lin1                                 map feed_forward width  bias
  ffn.lin2                                 map width feed_forward  bias
  output_layer_norm                        norm width              bias
vocab_transform                            map width width         bias
vocab_layer_norm                           norm width              bias
vocab_projector                            map vocabulary width    if=untied
vocab_projector.bias                       raw vocabulary
""",
    ),
    Family(
        "deberta-v2",
        "DebertaV2ForMaskedLM",
        "encoder",
        {
            **BERT,
            "types": size("type_vocab_size", absent=0, least=0),
            "placed": flag("position_biased_input", True),
            "relative": flag("relative_attention", False),
            "buckets": lambda s: b if type(b := s.read("position_buckets")) is int else None,
            "distances": _relative,
            "normed": lambda s: "layer_norm" in _listed(s, "norm_rel_ebd"),
            "own_maps": lambda s: s.relative and not s.shared,
            "shared": flag("share_att_key", False),
            "keys_by_place": lambda s: s.own_maps and "c2p" in _listed(s, "pos_att_type"),
            "queries_by_place": lambda s: s.own_maps and "p2c" in _listed(s, "pos_att_type"),
            "kernel": size("conv_kernel_size", absent=0, least=0),
            "convolved": lambda s: s.kernel > 0,
            "groups": size("conv_groups", absent=1),
            "per_group": lambda s: s.width // s.groups,
            "narrow": size("embedding_size", absent=lambda s: s.width),
            "projected": lambda s: s.narrow != s.width,
            "legacy": flag("legacy", True),
            "newer": lambda s: not s.legacy,
            "legacy_untied": lambda s: s.legacy and not s.tied,
        },
        """
deberta.embeddings.word_embeddings        table vocabulary narrow
deberta.embeddings.position_embeddings    table positions narrow    if=placed
deberta.embeddings.token_type_embeddings  table types narrow      if=typed
deberta.embeddings.embed_proj             map width narrow        if=projected
deberta.embeddings.LayerNorm              norm width              bias
deberta.encoder.rel_embeddings            table distances width   if=relative
deberta.encoder.LayerNorm                 norm width              bias  if=normed
deberta.encoder.conv.conv                 conv width per_group kernel  bias  if=convolved
deberta.encoder.conv.LayerNorm            norm width              bias  if=convolved
deberta.encoder.layer.{layers}.
  attention.self.query_proj               map width width         bias
  attention.self.key_proj                 map width width         bias
  attention.self.value_proj               map width width         bias
  attention.self.pos_key_proj             map width width         bias  if=keys_by_place
  attention.self.pos_query_proj           map width width         bias  if=queries_by_place
"""
        + LAYER
        + """
cls.predictions.bias                      raw vocabulary          if=legacy
cls.predictions.transform.dense           map narrow width        bias  if=legacy
cls.predictions.transform.LayerNorm       norm narrow             bias  if=legacy
cls.predictions.decoder                   map vocabulary narrow   bias  if=legacy_untied
lm_predictions.lm_head.bias               raw vocabulary          if=newer
lm_predictions.lm_head.dense              map width width         bias  if=newer
lm_predictions.lm_head.LayerNorm          norm width              bias  if=newer
""",
    ),
    Family(
        "modernbert",
        "ModernBertForMaskedLM",
        "encoder",
        {
            **BERT,
            "gated": True,
            "norm_bias": flag("norm_bias", False),
            "qkv_bias": flag("attention_bias", False),
            "mlp_bias": flag("mlp_bias", False),
            "head_bias": flag("classifier_bias", False),
            "last_bias": flag("decoder_bias", True),
            "after_first": lambda s: tuple(range(1, s.layers)),
            "window": optional("local_attention", 128),
            "windowed": sliding(_global_every),
        },
        """
model.embeddings.tok_embeddings  table vocabulary width
model.embeddings.norm            norm width              bias=norm_bias
model.layers.{after_first}.attn_norm  norm width         bias=norm_bias
model.layers.{layers}.
  attn.Wqkv                      map 3*width width       bias=qkv_bias
  attn.Wo                        map width width         bias=qkv_bias
  mlp_norm                       norm width              bias=norm_bias
  mlp.Wi                         map 2*feed_forward width  bias=mlp_bias
  mlp.Wo                         map width feed_forward  bias=mlp_bias
model.final_norm                 norm width              bias=norm_bias
head.dense                       map width width         bias=head_bias
head.norm                        norm width              bias=norm_bias
decoder                          map vocabulary width    if=untied
decoder.bias                     raw vocabulary          if=last_bias
""",
    ),
)
