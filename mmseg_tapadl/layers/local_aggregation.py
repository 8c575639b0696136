"""What the paper compares TAP with: the same mixture of neighbours for every token, or a learned one (its ablations).

Each takes the place of :class:`~mmseg_tapadl.layers.token_aware_pooling.TokenAwareAvgPool` before self-attention and maps
tokens on their grid (B, C, H, W) to tokens of the same shape; outside the picture are zeros.
"""

from torch import nn

KINDS = ('avg_pool', 'conv', 'depthwise_conv')


class LocalConv(nn.Conv2d):
    """A convolution that starts as the identity, so that a model pretrained without it starts as the same function.

    Args:
        dim: C.
        kernel_size: Side of the neighbourhood, odd.
        depthwise: Whether each channel is mixed by itself.
    """

    def __init__(self, dim: int, *, kernel_size: int, depthwise: bool):
        groups = dim if depthwise else 1
        super().__init__(dim, dim, kernel_size, padding=kernel_size // 2, groups=groups)

    def reset_parameters(self) -> None:
        """The identity: 1 for the token itself, 0 for its neighbours."""
        nn.init.dirac_(self.weight, groups=self.groups)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def local_aggregation(kind: str, dim: int, *, kernel_size: int) -> nn.Module:
    """Makes one of :data:`KINDS`.

    Args:
        kind: ``'avg_pool'`` (the plain mean, always divided by the whole neighbourhood), ``'conv'`` or ``'depthwise_conv'``.
        dim: C.
        kernel_size: Side of the neighbourhood, odd.
    """
    if kind == 'avg_pool':
        return nn.AvgPool2d(kernel_size, stride=1, padding=kernel_size // 2, count_include_pad=True)
    return LocalConv(dim, kernel_size=kernel_size, depthwise=kind == 'depthwise_conv')
