"""Encoders of images, and the pairs of towers that read images and texts."""

from __future__ import annotations

from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Words, count, flag, size

IMAGE: Words = {
    **USUAL,
    "head_dim": lambda s: s.width // s.heads,
    "kv_heads": heads,
    "gated": False,
    "vocabulary": 0,
    "tied": False,
    "context": lambda s: s.patches + 1,
    "image": size("image_size", absent=224),
    "patch": size("patch_size", absent=16),
    "channels": size("num_channels", absent=3),
    "patches": lambda s: (s.image // max(s.patch, 1)) ** 2,
    "places": lambda s: s.patches + 1,
    "qkv_bias": flag("qkv_bias", True),
}
EMBEDDINGS = """
embeddings.cls_token                    raw 1 1 width
embeddings.position_embeddings          raw 1 places width
embeddings.patch_embeddings.projection  conv width channels patch patch  bias
encoder.layer.{layers}.
  attention.attention.query             map width width         bias=qkv_bias  as=q_proj
  attention.attention.key               map width width         bias=qkv_bias  as=k_proj
  attention.attention.value             map width width         bias=qkv_bias  as=v_proj
  attention.output.dense                map width width         bias           as=o_proj
"""
TOWER = """
  self_attn.q_proj    map {at}width {at}width         bias
  self_attn.k_proj    map {at}width {at}width         bias
  self_attn.v_proj    map {at}width {at}width         bias
  self_attn.out_proj  map {at}width {at}width         bias
  layer_norm1         norm {at}width                  bias
  layer_norm2         norm {at}width                  bias
  mlp.fc1             map {at}feed_forward {at}width  bias
  mlp.fc2             map {at}width {at}feed_forward  bias
"""


def _text(**defaults: int) -> Words:
    return {
        **IMAGE,
        **_tower(defaults),
        "vocabulary": size("vocab_size", absent=defaults["vocab_size"]),
        "context": size("max_position_embeddings", absent=defaults["max_position_embeddings"]),
    }


def _vision(**defaults: int) -> Words:
    return {**IMAGE, **_tower(defaults), "patch": size("patch_size", absent=defaults["patch_size"])}


def _tower(defaults: dict[str, int]) -> Words:
    return {
        "layers": count("num_hidden_layers", absent=12),
        "width": size("hidden_size", absent=defaults["hidden_size"]),
        "heads": size("num_attention_heads", absent=defaults.get("num_attention_heads", 12)),
        "feed_forward": size("intermediate_size", absent=defaults["intermediate_size"]),
    }


FAMILIES = (
    Family(
        "vit",
        "ViTModel",
        "image encoder",
        IMAGE,
        EMBEDDINGS
        + """
  layernorm_before    norm width              bias
  layernorm_after     norm width              bias
  intermediate.dense  map feed_forward width  bias  as=fc1
  output.dense        map width feed_forward  bias  as=fc2
layernorm             norm width              bias
pooler.dense          map width width         bias
""",
    ),
    Family(
        "dinov2",
        "Dinov2Model",
        "image encoder",
        {
            **IMAGE,
            "ratio": size("mlp_ratio", absent=4),
            "gated": flag("use_swiglu_ffn", False),
            "simple": lambda s: not s.gated,
            "masked": flag("use_mask_token", True),
            "full": lambda s: s.ratio * s.width,
            # two thirds, so that three maps are as large as two, rounded up to eights
            "feed_forward": lambda s: (s.full * 2 // 3 + 7) // 8 * 8 if s.gated else s.full,
        },
        "embeddings.mask_token  raw 1 width  if=masked\n"
        + EMBEDDINGS
        + """
  norm1                 norm width                bias
  norm2                 norm width                bias
  layer_scale1.lambda1  raw width
  layer_scale2.lambda1  raw width
  mlp.fc1               map feed_forward width    bias  if=simple
  mlp.fc2               map width feed_forward    bias  if=simple
  mlp.weights_in        map 2*feed_forward width  bias  if=gated  as=gate_proj+up_proj
  mlp.weights_out       map width feed_forward    bias  if=gated  as=down_proj
layernorm               norm width                bias
""",
    ),
    Family(
        "clip",
        "CLIPModel",
        "image encoder",
        {"joint": size("projection_dim", absent=512)},
        """
logit_scale                                    raw
text_model.embeddings.token_embedding          table text.vocabulary text.width
text_model.embeddings.position_embedding       table text.context text.width
text_model.encoder.layers.{text.layers}.
"""
        + TOWER.format(at="text.")
        + """
text_model.final_layer_norm                    norm text.width  bias
text_projection                                map joint text.width
vision_model.embeddings.class_embedding        raw vision.width
vision_model.embeddings.patch_embedding        conv vision.width vision.channels vision.patch vision.patch
vision_model.embeddings.position_embedding     table vision.places vision.width
vision_model.pre_layrnorm                      norm vision.width  bias
vision_model.encoder.layers.{vision.layers}.
"""
        + TOWER.format(at="vision.")
        + """
vision_model.post_layernorm                    norm vision.width  bias
visual_projection                              map joint vision.width
""",
        parts={
            "text": (
                "text_config",
                _text(
                    vocab_size=49408,
                    max_position_embeddings=77,
                    hidden_size=512,
                    intermediate_size=2048,
                    num_attention_heads=8,
                ),
            ),
            "vision": ("vision_config", _vision(hidden_size=768, intermediate_size=3072, patch_size=32)),
        },
        main="vision",
    ),
    Family(
        "siglip",
        "SiglipModel",
        "image encoder",
        {},
        """
logit_scale                                    raw 1
logit_bias                                     raw 1
text_model.embeddings.token_embedding          table text.vocabulary text.width
text_model.embeddings.position_embedding       table text.context text.width
text_model.encoder.layers.{text.layers}.
"""
        + TOWER.format(at="text.")
        + """
text_model.final_layer_norm                    norm text.width  bias
text_model.head                                map text.joint text.width  bias
vision_model.embeddings.patch_embedding        conv vision.width vision.channels vision.patch vision.patch  bias
vision_model.embeddings.position_embedding     table vision.patches vision.width
vision_model.encoder.layers.{vision.layers}.
"""
        + TOWER.format(at="vision.")
        + """
vision_model.post_layernorm                    norm vision.width  bias
vision_model.head.probe                        raw 1 1 vision.width  if=vision.pooled
vision_model.head.attention.in_proj_weight     raw 3*vision.width vision.width  if=vision.pooled
vision_model.head.attention.in_proj_bias       raw 3*vision.width  if=vision.pooled
vision_model.head.attention.out_proj           map vision.width vision.width  bias  if=vision.pooled
vision_model.head.layernorm                    norm vision.width  bias  if=vision.pooled
vision_model.head.mlp.fc1                      map vision.feed_forward vision.width  bias  if=vision.pooled
vision_model.head.mlp.fc2                      map vision.width vision.feed_forward  bias  if=vision.pooled
""",
        parts={
            "text": (
                "text_config",
                {
                    **_text(vocab_size=32000, max_position_embeddings=64, hidden_size=768, intermediate_size=3072),
                    "joint": size("projection_size", absent=lambda s: s.width),
                },
            ),
            "vision": (
                "vision_config",
                {
                    **_vision(hidden_size=768, intermediate_size=3072, patch_size=16),
                    "context": lambda s: s.patches,
                    "pooled": flag("vision_use_head", True),
                },
            ),
        },
        main="vision",
    ),
)
