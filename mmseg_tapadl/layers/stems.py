"""From a picture to tokens on their grid: the two stems of FAN.

Both turn (B, 3, H, W), with H and W divisible by 16, into tokens (B, dim, H/16, W/16). The hybrid stem also
gives the features of its convolutional stages.

Legend: B images, C channels, H rows, W columns.
"""

from collections.abc import Callable, Sequence

import torch
from timm.layers import LayerNorm2d, Mlp, trunc_normal_
from timm.models.convnext import ConvNeXtStage
from torch import Tensor, nn

from mmseg_tapadl.layers.activation_checkpoint import checkpoint_module, recompute_if_liked
from mmseg_tapadl.layers.budget import budget_for
from mmseg_tapadl.layers.channel_norm import UnbiasedLayerNorm2d

HYBRID_WIDTHS = (128, 256)
"""Channels of the two ConvNeXt stages in every hybrid size."""


class LeanMlp(Mlp):
    """timm's MLP of a ConvNeXt block, without its hidden features in full wherever that can be had.

    At quarter resolution they are the largest tensors of the encoder. In training they are kept once instead of
    before and after GELU, which is computed again in the backward pass; no product is. In evaluation they exist for a
    few rows at a time, in a processor's cache.

    Args:
        dim: C.
        hidden_dim: K, channels of the hidden features.
    """

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__(dim, hidden_dim, use_conv=True)

    @classmethod
    def like(cls, mlp: nn.Module) -> 'LeanMlp':
        """One of the sizes of timm's.

        Raises:
            ValueError: It is more than two convolutions with GELU between them.
        """
        # timm has a GELU of its own, which is no nn.GELU.
        plain = type(mlp) is Mlp and isinstance(mlp.norm, nn.Identity) and type(mlp.act).__name__ == 'GELU'
        if not plain or mlp.drop1.p or mlp.drop2.p or not isinstance(mlp.fc1, nn.Conv2d):
            raise ValueError(f'no lean form of {mlp}: it has to be two convolutions with GELU between them')
        return cls(mlp.fc1.in_channels, mlp.fc1.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        # A graph for pictures of any size cannot hold a number of parts that depends on the size.
        pixels = None if torch.compiler.is_compiling() else budget_for(x.device).stem_pixels
        if pixels is not None and not (self.training and torch.is_grad_enabled()):
            rows = max(1, pixels // x.shape[3])
            return torch.cat([self.narrow(self.fc1(part)) for part in x.split(rows, dim=2)], dim=2)
        return recompute_if_liked(self, self.narrow, self.fc1(x))

    def narrow(self, hidden: Tensor) -> Tensor:
        """The second half, from the hidden features (B, K, H, W)."""
        return self.fc2(self.act(hidden))


class ConvNeXtTrunk(nn.Module):
    """The first stages of a ConvNeXt: a 4x4 patch stem, then one stage a width, halving the grid between.

    Args:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        with_cp: Activation checkpointing of each block.
    """

    def __init__(
        self, *, depths: Sequence[int], widths: Sequence[int] = HYBRID_WIDTHS, with_cp: bool = False
    ):
        super().__init__()
        self.with_cp = with_cp
        # The quirk of the release: this first norm is ordinary, all that follow divide the variance by C - 1.
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], kernel_size=4, stride=4),
            LayerNorm2d(widths[0], eps=1e-6),
        )
        self.stages = nn.ModuleList(
            ConvNeXtStage(
                widths[max(i - 1, 0)],
                width,
                stride=1 if i == 0 else 2,
                depth=depth,
                ls_init_value=1e-6,
                conv_mlp=True,
                norm_layer=UnbiasedLayerNorm2d,
            )
            for i, (depth, width) in enumerate(zip(depths, widths, strict=True))
        )
        for stage in self.stages:
            for block in stage.blocks:
                block.mlp = LeanMlp.like(block.mlp)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (B, 3, H, W) to the feature of each stage, at strides 4, 8, ..."""
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage.downsample(x)
            for block in stage.blocks:
                x = checkpoint_module(block, x) if self.with_cp and self.training else block(x)
            features.append(x)
        return features


class HybridEmbed(nn.Module):
    """The stem of the hybrid family: two ConvNeXt stages, then a 2x2 convolution to the tokens.

    Args:
        embed_dim: Channels of a token.
        depths: Blocks of the two stages.
        to_tokens: Builds the convolution to tokens; off when no token is asked for.
        with_cp: Activation checkpointing of the stages' blocks.
    """

    def __init__(
        self, *, embed_dim: int, depths: Sequence[int], to_tokens: bool = True, with_cp: bool = False
    ):
        super().__init__()
        widths = HYBRID_WIDTHS[: len(depths)]
        self.backbone = ConvNeXtTrunk(depths=depths, widths=widths, with_cp=with_cp)
        self.proj = nn.Conv2d(widths[-1], embed_dim, kernel_size=2, stride=2) if to_tokens else None

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Maps (B, 3, H, W) to the stages' features and the tokens (B, embed_dim, H/16, W/16)."""
        features = self.backbone(x)
        return features, None if self.proj is None else self.proj(features[-1])


class ConvEmbed(nn.Module):
    """The stem of the plain family: four 3x3 convolutions of stride 2, each with a norm, GELU between them.

    Args:
        embed_dim: Channels of a token, divisible by 8; the widths are 1/8, 1/4, 1/2 and all of it.
        norm_layer: Makes the norm of a convolution from its number of channels.
    """

    def __init__(self, *, embed_dim: int, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for share in (8, 4, 2, 1):
            width = embed_dim // share
            conv = nn.Conv2d(in_channels, width, kernel_size=3, stride=2, padding=1, bias=False)
            layers += [nn.Sequential(conv, norm_layer(width)), nn.GELU()]
            in_channels = width
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps (B, 3, H, W) to no stage features and the tokens (B, embed_dim, H/16, W/16)."""
        return [], self.proj(x)
