"""Pairs of towers, one that reads images and one that reads or writes text; each has a config within the config."""

from __future__ import annotations

from basewright.catalog.architectures.decoders import ATTENTION, GEMMA3, GEMMA3_LAYER
from basewright.catalog.architectures.family import Family
from basewright.catalog.architectures.images import IMAGE
from basewright.catalog.architectures.sizes import Words, count, flag, size

TOWER = """
  self_attn.q_proj    map {at}.width {at}.width         bias
  self_attn.k_proj    map {at}.width {at}.width         bias
  self_attn.v_proj    map {at}.width {at}.width         bias
  self_attn.out_proj  map {at}.width {at}.width         bias
  layer_norm1         norm {at}.width                   bias
  layer_norm2         norm {at}.width                   bias
  mlp.fc1             map {at}.feed_forward {at}.width  bias
  mlp.fc2             map {at}.width {at}.feed_forward  bias
"""
TEXT = (
    """
text_model.embeddings.token_embedding     table text.vocabulary text.width
text_model.embeddings.position_embedding  table text.context text.width
text_model.encoder.layers.{text.layers}.
"""
    + TOWER.format(at="text")
    + """
text_model.final_layer_norm               norm text.width  bias
"""
)


def _tower(width: int, feed_forward: int, heads: int = 12) -> Words:
    return {
        **IMAGE,
        "layers": count("num_hidden_layers", absent=12),
        "width": size("hidden_size", absent=width),
        "heads": count("num_attention_heads", absent=heads),
        "feed_forward": size("intermediate_size", absent=feed_forward),
    }


def _reads_text(vocabulary: int, context: int) -> Words:
    return {
        "vocabulary": size("vocab_size", absent=vocabulary),
        "context": size("max_position_embeddings", absent=context),
    }


def _siglip_images(at: str) -> str:
    return (
        f"""
{at}.embeddings.patch_embedding        conv vision.width vision.channels vision.patch vision.patch  bias
{at}.embeddings.position_embedding     table vision.patches vision.width
{at}.encoder.layers.{{vision.layers}}.
"""
        + TOWER.format(at="vision")
        + f"""
{at}.post_layernorm                    norm vision.width                      bias
{at}.head.probe                        raw 1 1 vision.width                   if=vision.pooled
{at}.head.attention.in_proj_weight     raw 3*vision.width vision.width        if=vision.pooled
{at}.head.attention.in_proj_bias       raw 3*vision.width                     if=vision.pooled
{at}.head.attention.out_proj           map vision.width vision.width          bias  if=vision.pooled
{at}.head.layernorm                    norm vision.width                      bias  if=vision.pooled
{at}.head.mlp.fc1                      map vision.feed_forward vision.width   bias  if=vision.pooled
{at}.head.mlp.fc2                      map vision.width vision.feed_forward   bias  if=vision.pooled
"""
    )


SIGLIP_IMAGES: Words = {
    **_tower(768, 3072),
    "context": lambda s: s.patches,
    "pooled": flag("vision_use_head", True),
}

FAMILIES = (
    Family(
        "clip",
        "CLIPModel",
        "image encoder",
        {"joint": size("projection_dim", absent=512)},
        TEXT
        + """
logit_scale                                 raw
text_projection                             map joint text.width
vision_model.embeddings.class_embedding     raw vision.width
vision_model.embeddings.patch_embedding     conv vision.width vision.channels vision.patch vision.patch
vision_model.embeddings.position_embedding  table vision.places vision.width
vision_model.pre_layrnorm                   norm vision.width  bias
vision_model.encoder.layers.{vision.layers}.
"""
        + TOWER.format(at="vision")
        + """
vision_model.post_layernorm                 norm vision.width  bias
visual_projection                           map joint vision.width
""",
        parts={
            "text": ("text_config", {**_tower(512, 2048, heads=8), **_reads_text(49408, 77)}),
            "vision": ("vision_config", {**_tower(768, 3072), "patch": size("patch_size", absent=32)}),
        },
        main="vision",
    ),
    Family(
        "siglip",
        "SiglipModel",
        "image encoder",
        {},
        TEXT
        + """
logit_scale      raw 1
logit_bias       raw 1
text_model.head  map text.joint text.width  bias
"""
        + _siglip_images("vision_model"),
        parts={
            "text": (
                "text_config",
                {
                    **_tower(768, 3072),
                    **_reads_text(32000, 64),
                    "joint": size("projection_size", absent=lambda s: s.width),
                },
            ),
            "vision": ("vision_config", SIGLIP_IMAGES),
        },
        main="vision",
    ),
    Family(
        "gemma3",
        "Gemma3ForConditionalGeneration",
        "decoder",
        {
            "tied": flag("tie_word_embeddings", True),
            "untied": lambda s: not s.tied,
        },
        """
language_model.model.embed_tokens                 table vocabulary width
language_model.model.layers.{layers}.
"""
        + ATTENTION
        + GEMMA3_LAYER
        + """
language_model.model.norm                         norm width
language_model.lm_head                            map vocabulary width  if=untied
multi_modal_projector.mm_input_projection_weight  raw vision.width width
multi_modal_projector.mm_soft_emb_norm            norm vision.width
"""
        + _siglip_images("vision_tower"),
        parts={
            "text": (
                "text_config",
                {
                    **GEMMA3,
                    "layers": count("num_hidden_layers", absent=26),
                    "width": size("hidden_size", absent=2304),
                    "heads": count("num_attention_heads", absent=8),
                    "feed_forward": size("intermediate_size", absent=9216),
                    "vocabulary": size("vocab_size", absent=262208),
                    "context": size("max_position_embeddings", absent=131072),
                },
            ),
            "vision": ("vision_config", SIGLIP_IMAGES),
        },
        main="text",
    ),
)
