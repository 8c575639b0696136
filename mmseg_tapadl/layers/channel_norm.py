"""Layer normalisation over the channels of a picture, as the released FAN stem has it.

Legend: B images, C channels, H rows, W columns.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UnbiasedLayerNorm2d(nn.LayerNorm):
    """Layer normalisation over channels that divides the variance by C - 1 instead of C.

    With r = C / (C - 1) the denominator is ``sqrt(r * var + eps) = sqrt(r) * sqrt(var + eps / r)``, so the
    fused layer norm computes it with ``eps / r`` and the weight over ``sqrt(r)``. The released hybrid stem has
    this norm in every ConvNeXt block and before its downsampling; an ordinary one there moves the logits by
    about one per cent of their spread.

    Args:
        num_channels: C, at least 2.
        eps: Added to the variance.
        device: Where the parameters are made.
        dtype: Their type.
    """

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-6,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__(num_channels, eps=eps, device=device, dtype=dtype)
        self.variance_ratio = num_channels / (num_channels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        x = x.permute(0, 2, 3, 1)
        weight = self.weight / math.sqrt(self.variance_ratio)
        x = F.layer_norm(x, self.normalized_shape, weight, self.bias, self.eps / self.variance_ratio)
        return x.permute(0, 3, 1, 2)
