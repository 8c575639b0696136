"""FAN's channel processing: an MLP whose channels are gated by how they attend to the tokens.

Legend: B images, N = H x W tokens, C channels, h heads, d = C / h channels of a head, K hidden channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_tapadl.layers.activation_checkpoint import recompute_if_liked
from mmseg_tapadl.layers.budget import budget_for, even_ranges
from mmseg_tapadl.layers.token_grid import to_grid, to_tokens

ALL = slice(None)


class DepthwiseMixing(nn.Module):
    """Two depthwise 3x3 convolutions with GELU and a norm between them, scaled per channel.

    Args:
        channels: K.
        norm_layer: Makes the norm from its number of channels.
    """

    def __init__(self, channels: int, *, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)
        self.act = nn.GELU()
        self.bn = norm_layer(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)
        for conv in (self.conv1, self.conv2):
            # Each output channel sees nine inputs: variance 2 / fan-out with fan-out 9.
            nn.init.normal_(conv.weight, std=(2 / 9) ** 0.5)
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor, gamma: Tensor) -> Tensor:
        """Maps (B, K, H, W) to the same shape, each channel times its ``gamma`` (K,)."""
        return depthwise(self.bn(self.act(self.conv1(x))), *self.scaled_conv2(gamma))

    def evaluate(self, x: Tensor, gamma: Tensor, channels: slice) -> Tensor:
        """The same with stored statistics for some of the channels, of which ``x`` is (B, k, H, W)."""
        bn = self.bn
        x = self.act(depthwise(x, self.conv1.weight[channels], self.conv1.bias[channels]))
        # A norm that is not affine has neither weight nor bias.
        mean, variance, weight, bias = (
            None if t is None else t[channels] for t in (bn.running_mean, bn.running_var, bn.weight, bn.bias)
        )
        x = F.batch_norm(x, mean, variance, weight, bias, eps=bn.eps)
        return depthwise(x, *self.scaled_conv2(gamma, channels))

    def has_fixed_norm(self) -> bool:
        """Whether the norm is by stored statistics, whatever mode the rest is in."""
        return isinstance(self.bn, _BatchNorm) and not self.bn.training and self.bn.running_mean is not None

    def scaled_conv2(self, gamma: Tensor, channels: slice = ALL) -> tuple[Tensor, Tensor]:
        """Weight and bias of the last convolution times ``gamma``: nine numbers a channel instead of all its pixels."""
        scale = gamma[channels]
        return self.conv2.weight[channels] * scale[:, None, None, None], self.conv2.bias[channels] * scale


def depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each channel's own 3x3 convolution."""
    return F.conv2d(x, weight, bias, padding=1, groups=len(weight))


class DepthwiseMlp(nn.Module):
    """``fc2(u + gamma * DW(u))`` with ``u = fc1(x)``; the only activation is the one inside DW.

    Args:
        dim: C.
        hidden_dim: K.
        norm_layer: Makes the norm of DW.
    """

    def __init__(self, dim: int, *, hidden_dim: int, norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = DepthwiseMixing(hidden_dim, norm_layer=norm_layer)
        self.gamma = nn.Parameter(torch.ones(hidden_dim))
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        at_once = budget_for(x.device).hidden_channels
        if at_once is not None and not torch.is_grad_enabled() and self.dwconv.has_fixed_norm():
            return self.evaluate(x, grid, at_once)
        # Six tensors of the hidden width would be kept, a third of a training step's memory, for depthwise and
        # pointwise operations that take a few per cent of its time. What is computed again ends with the input of
        # fc2: its product itself is not repeated.
        return recompute_if_liked(self, self.mix, self.fc1(x), grid)

    def evaluate(self, x: Tensor, grid: tuple[int, int], at_once: int) -> Tensor:
        """The same without gradients, some hidden channels at a time: each part goes through all of it in the cache.

        A hidden channel is mixed by itself, and fc2 sums over them.
        """
        out = self.fc2.bias
        for part in even_ranges(self.fc1.out_features, at_once):
            u = to_grid(F.linear(x, self.fc1.weight[part], self.fc1.bias[part]), grid)
            mixed = self.dwconv.evaluate(u, self.gamma, part).add_(u)
            product = F.linear(to_tokens(mixed), self.fc2.weight[:, part])
            out = out + product
        # Summed up in the bias's precision; under autocast fc2 itself would return the products' type.
        return out.to(product.dtype)

    def mix(self, u: Tensor, grid: tuple[int, int]) -> Tensor:
        """``fc2(u + gamma * DW(u))`` for hidden tokens (B, N, K)."""
        u = to_grid(u, grid)
        # In place: no backward pass reads what a convolution returned.
        return self.fc2(to_tokens(self.dwconv(u, self.gamma).add_(u)))


class ChannelProcessing(nn.Module):
    """Channel attention of FAN in its linear form: one gate a channel instead of a channel-by-channel matrix.

    ``gate = temperature_h * sigmoid(q^T k)``: q is a projection of the tokens, k the tokens themselves, both
    with a softmax over the tokens; k is averaged over the d channels of its head. The output is the gate times
    the normed MLP.

    Args:
        dim: C.
        num_heads: h.
        mlp_ratio: K / C.
        norm_layer: Makes the norm inside the MLP.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        mlp_ratio: float = 4.0,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.mlp_v = DepthwiseMlp(dim, hidden_dim=int(dim * mlp_ratio), norm_layer=norm_layer)
        self.norm_v = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps tokens (B, N, C), which lie on ``grid`` (H, W), to (B, N, C)."""
        return self.gate(x) * self.norm_v(self.mlp_v(x, grid))

    def gate(self, x: Tensor) -> Tensor:
        """The factor of each channel (B, 1, C), between 0 and its head's temperature."""
        heads = (self.num_heads, -1)
        q = self.q(x).softmax(dim=1).unflatten(2, heads)  # (B, N, h, d)
        k = x.softmax(dim=1).unflatten(2, heads).mean(dim=3)  # (B, N, h)
        score = torch.einsum('bnhd,bnh->bhd', q, k)
        return (self.temperature[:, 0] * score.sigmoid()).flatten(1).unsqueeze(1)
