"""Sine and cosine position code of FAN, projected to the tokens' width.

Legend: C channels of a token, H rows, W columns, E entries of the code of one axis.
"""

import math

import torch
from torch import Tensor, nn

ENTRIES = 32
TEMPERATURE = 10000.0


class SinePositionCode(nn.Module):
    """Codes the row and the column of each token and projects both to ``embed_dim`` channels.

    Rows and columns count from 1 and are scaled to (0, 2 pi]. Entry i of an axis has the angle
    ``position / 10000 ** (i / 32)``; unlike the usual code, i is not floored by pairs (so the released weights
    were trained). Even entries are sines, odd ones cosines; the row's entries come before the column's.

    Args:
        embed_dim: Channels of a token.
    """

    def __init__(self, embed_dim: int):
        super().__init__()
        self.token_projection = nn.Conv2d(2 * ENTRIES, embed_dim, kernel_size=1)

    def forward(self, height: int, width: int) -> Tensor:
        """Returns the code of an H x W grid, (1, C, H, W)."""
        weight = self.token_projection.weight
        # float32 also under autocast: half precision cannot tell the columns of a wide picture apart.
        dtype = torch.promote_types(weight.dtype, torch.float32)
        rows = axis_code(height, dtype=dtype, device=weight.device)
        columns = axis_code(width, dtype=dtype, device=weight.device)
        code = torch.cat(
            [
                rows[:, :, None].expand(-1, -1, width),
                columns[:, None, :].expand(-1, height, -1),
            ]
        )
        return self.token_projection(code[None].to(weight.dtype))


def axis_code(length: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The code of ``length`` positions along one axis, (E, length)."""
    index = torch.arange(1, length + 1, dtype=dtype, device=device)
    # The length as a tensor: an exported graph would keep the number of the picture that it was exported with.
    position = index / (index.amax(0) + 1e-6) * (2 * math.pi)
    entry = torch.arange(ENTRIES, dtype=dtype, device=device)
    angle = position[None, :] / TEMPERATURE ** (entry[:, None] / ENTRIES)
    return torch.where(entry[:, None] % 2 == 0, angle.sin(), angle.cos())
