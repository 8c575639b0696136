"""The same modules in their textbook form, with the same parameters, and models assembled from them.

Each computes its formula as it stands there and as a reader of the paper would first write it: no pass over blocks, no
memory format chosen with care, nothing computed again to save memory. They are registered beside the product's, so
that a config chooses them by ``type``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from timm.layers import Mlp
from torch import Tensor, nn

from mmseg_tapadl.layers import TokenAwareAvgPool, WatchableAttention
from mmseg_tapadl.layers.channel_norm import UnbiasedLayerNorm2d
from mmseg_tapadl.layers.channel_processing import ChannelProcessing, DepthwiseMlp
from mmseg_tapadl.layers.stems import LeanMlp
from mmseg_tapadl.layers.textbook import (
    textbook_diversified_attention,
    textbook_fuse_levels,
    textbook_token_aware_avg_pool,
)
from mmseg_tapadl.models.backbones import FAN
from mmseg_tapadl.models.heads import FANHead


class TextbookAttention(WatchableAttention):
    """Attention with its N x M matrix in memory, in training and in evaluation, watched or not."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, **terms: Any) -> Tensor:
        """Maps q (B, H, N, D), k and v (B, H, M, D) to the attended values; ``terms`` are bias, gain, num_prefix."""
        if self.threshold is None or not self.training:
            scale = q.shape[-1] ** -0.5 if self.scale is None else self.scale
            if not terms:
                return torch.softmax(scale * q @ k.transpose(-2, -1), dim=-1) @ v
            return textbook_diversified_attention(q, k, v, scale=scale, **terms)[0]
        out, similarity = textbook_diversified_attention(
            q, k, v, scale=self.scale, threshold=self.threshold, **terms
        )
        self.report(similarity)
        return out


class TextbookTokenAwareAvgPool(TokenAwareAvgPool):
    """TAP by unfolding."""

    def forward(self, x: Tensor) -> Tensor:
        """Pools tokens (B, C, H, W) into tokens of the same shape."""
        return textbook_token_aware_avg_pool(x, torch.softmax(self.proj(x), dim=1))


class TextbookDepthwiseMlp(DepthwiseMlp):
    """The MLP of channel processing on an ordinary picture of its hidden features."""

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        u = self.fc1(x)
        dw = self.dwconv
        picture = u.transpose(1, 2).reshape(len(u), -1, *grid)
        mixed = dw.conv2(dw.bn(dw.act(dw.conv1(picture))))
        return self.fc2(u + self.gamma * mixed.flatten(2).transpose(1, 2))


class TextbookChannelProcessing(ChannelProcessing):
    """Channel processing head by head."""

    def __init__(self, dim: int, *, num_heads: int, norm_layer: Callable[[int], nn.Module]):
        super().__init__(dim, num_heads=num_heads, norm_layer=norm_layer)
        hidden_dim = self.mlp_v.fc1.out_features
        self.mlp_v = TextbookDepthwiseMlp(dim, hidden_dim=hidden_dim, norm_layer=norm_layer)

    def gate(self, x: Tensor) -> Tensor:
        """The factor of each channel (B, 1, C)."""
        q, k = (t.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for t in (self.q(x), x))  # (B, h, N, d)
        k = k.softmax(dim=2).mean(dim=3, keepdim=True)
        gate = self.temperature * (q.softmax(dim=2).transpose(2, 3) @ k).sigmoid()  # (B, h, d, 1)
        return gate.flatten(1).unsqueeze(1)


class TextbookUnbiasedNorm(UnbiasedLayerNorm2d):
    """The norm of the stem by its formula; a variance in torch is over C - 1 by default."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        variance, mean = torch.var_mean(x, dim=1, keepdim=True)
        x = (x - mean) * torch.rsqrt(variance + self.eps)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


@MODELS.register_module()
class TextbookFAN(FAN):
    """FAN with every part of its own in the textbook's form."""

    def __init__(self, arch: str = 'base_hybrid', tap: dict | None = None, **kwargs: Any):
        super().__init__(arch, tap, **kwargs)
        for block in self.blocks:
            norm_layer = type(block.mlp.mlp_v.dwconv.bn)
            block.attn.core = TextbookAttention(scale=block.attn.core.scale)
            block.mlp = TextbookChannelProcessing(
                self.embed_dim, num_heads=block.mlp.num_heads, norm_layer=norm_layer
            )
            if block.dilation_predictor is not None:
                block.dilation_predictor = TextbookTokenAwareAvgPool(
                    self.embed_dim, block.dilation_predictor.num_branches, norm_layer=norm_layer
                )
        for module in list(self.patch_embed.modules()):
            for name, child in module.named_children():
                if isinstance(child, UnbiasedLayerNorm2d):
                    setattr(module, name, TextbookUnbiasedNorm(*child.normalized_shape, eps=child.eps))
                elif isinstance(child, LeanMlp):
                    width, hidden = child.fc1.in_channels, child.fc1.out_channels
                    setattr(module, name, Mlp(width, hidden, use_conv=True))


@MODELS.register_module()
class TextbookFANHead(FANHead):
    """The decode head as it is drawn: everything at the first feature's size, concatenated."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps the encoder's features to logits (B, num_classes, H, W) at the size of the first."""
        projections = [self.linear_c1.proj, self.linear_c2.proj, self.linear_c3.proj, self.linear_c4.proj]
        fused = textbook_fuse_levels(
            self._transform_inputs(inputs),
            [(p.weight, p.bias) for p in projections],
            self.linear_fuse.conv.weight,
        )
        return self.cls_seg(self.linear_fuse.activate(self.linear_fuse.norm(fused)))
