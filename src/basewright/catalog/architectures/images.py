"""Encoders of images alone."""

from __future__ import annotations

from basewright.catalog.architectures.family import USUAL, Family, heads
from basewright.catalog.architectures.sizes import Words, flag, size

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
    "patches": lambda s: (s.image // s.patch) ** 2,
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
            "patch": size("patch_size", absent=14),
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
)
