"""timm's attention modules, computed so that a loss can watch them; parameters and keys stay timm's.

timm has three attention classes in its plain vision transformers: ``Attention`` (ViT, DeiT, DINOv2, SigLIP, C-RADIO),
``EvaAttention`` (EVA-02, DINOv3) and ``AttentionRope`` (Perception Encoder). Each has a subclass here whose forward
pass is timm's line by line (query and key norms, rotary positions, output gate, head size), but for the attention
itself, which a :class:`WatchableAttention` computes. Written for timm 1.0.31.

Legend: B pictures, N tokens, prefix tokens (class token, registers) first, C channels, H heads, D channels of a head.
"""

from typing import Any

import torch
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from mmseg_tapadl.layers.attention_watch import WatchableAttention
from mmseg_tapadl.utils.errors import InputError


class WatchedAttention(Attention):
    """timm's ``Attention``."""

    core: WatchableAttention

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C); ``attn_mask`` as for ``scaled_dot_product_attention``."""
        q, k, v = split_heads(self.qkv(x), self.num_heads)
        q, k = self.q_norm(q), self.k_norm(k)
        return attend_and_project(self, x, q, k, v, attn_mask, is_causal)


class WatchedAttentionRope(AttentionRope):
    """timm's ``AttentionRope``."""

    core: WatchableAttention

    def forward(
        self,
        x: Tensor,
        rope: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C), queries and keys of patches rotated by ``rope``."""
        if self.qkv is not None:
            q, k, v = split_heads(self.qkv(x), self.num_heads)
        else:
            q, k, v = separate_heads(self, x)
        q, k = rotate(self, self.q_norm(q), self.k_norm(k), v, rope)
        if self.num_kv_groups > 1:
            k, v = (t.repeat_interleave(self.num_kv_groups, dim=1) for t in (k, v))
        return attend_and_project(self, x, q, k, v, attn_mask, is_causal)


class WatchedEvaAttention(EvaAttention):
    """timm's ``EvaAttention``."""

    core: WatchableAttention

    def forward(
        self,
        x: Tensor,
        rope: Tensor | None = None,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Maps tokens (B, N, C) to (B, N, C), queries and keys of patches rotated by ``rope``."""
        if self.qkv is None:
            q, k, v = separate_heads(self, x)
        elif self.q_bias is None:
            q, k, v = split_heads(self.qkv(x), self.num_heads)
        else:
            bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
            joint = (
                self.qkv(x) + bias
                if self.qkv_bias_separate
                else nn.functional.linear(x, self.qkv.weight, bias)
            )
            q, k, v = split_heads(joint, self.num_heads)
        q, k = rotate(self, self.q_norm(q), self.k_norm(k), v, rope)
        return attend_and_project(self, x, q, k, v, attn_mask, is_causal)


WATCHED = {
    Attention: WatchedAttention,
    AttentionRope: WatchedAttentionRope,
    EvaAttention: WatchedEvaAttention,
}


def check_attention(attention: nn.Module) -> None:
    """Raises :class:`InputError` for an attention that is not exactly of one of the classes in ``WATCHED``."""
    if type(attention) not in WATCHED:
        names = ', '.join(cls.__name__ for cls in WATCHED)
        raise InputError(
            f'{type(attention).__name__}: an attention that is not known here (known: {names}), so it can be neither '
            'watched nor kept exactly'
        )


def make_watchable(attention: nn.Module, *, num_prefix: int) -> None:
    """Turns one of timm's attention modules into its watched subclass, in place: the same parameters and keys.

    Args:
        attention: Of exactly one of the classes in ``WATCHED``.
        num_prefix: Prefix tokens of the model; similarity is that of the patches behind them.

    Raises:
        InputError: Another class: what it computes is not known here.
    """
    check_attention(attention)
    attention.__class__ = WATCHED[type(attention)]
    attention.core = WatchableAttention(attn_drop_rate=attention.attn_drop.p)
    attention.num_prefix = num_prefix


def split_heads(joint: Tensor, num_heads: int) -> tuple[Tensor, ...]:
    """(B, N, 3 H D), all of q before k before v, as q, k and v of shape (B, H, N, D)."""
    batch, tokens, _ = joint.shape
    return joint.reshape(batch, tokens, 3, num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def separate_heads(attention: Any, x: Tensor) -> tuple[Tensor, ...]:
    """q, k and v (B, H, N, D) from projections of their own; k and v may have fewer heads."""
    shape = (*x.shape[:2], -1, attention.head_dim)
    return tuple(
        proj(x).reshape(shape).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )


def rotate(attention: Any, q: Tensor, k: Tensor, v: Tensor, rope: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rotates queries and keys behind the prefix tokens by their positions, where there is ``rope``."""
    if rope is None:
        return q, k
    prefix = attention.num_prefix_tokens
    rotated = (
        torch.cat(
            [
                t[:, :, :prefix],
                apply_rot_embed_cat(t[:, :, prefix:], rope, half=getattr(attention, 'rotate_half', False)),
            ],
            dim=2,
        ).type_as(v)
        for t in (q, k)
    )
    return tuple(rotated)


def attend_and_project(
    attention: Any, x: Tensor, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, is_causal: bool
) -> Tensor:
    """What the three classes do behind q, k and v: attention, output norm, gate, projection."""
    if is_causal:
        raise InputError('is_causal=True: a causal attention has no place in a segmentation encoder')
    out = attention.core(q, k, v, bias=additive(attn_mask, q.dtype), num_prefix=attention.num_prefix)
    out = attention.norm(out.transpose(1, 2).flatten(2))
    if attention.gate is not None:
        out = out * attention.gate(x).sigmoid()
    return attention.proj_drop(attention.proj(out))


def additive(attn_mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """A mask of booleans (True: may attend) as a bias of 0 and -inf; any other mask is one already."""
    if attn_mask is None or attn_mask.dtype != torch.bool:
        return attn_mask
    return torch.zeros_like(attn_mask, dtype=dtype).masked_fill_(~attn_mask, float('-inf'))
