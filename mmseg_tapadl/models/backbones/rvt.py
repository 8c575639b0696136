"""RVT, the robust vision transformer, as a segmentation encoder with or without token-aware average pooling.

Source: Mao et al., Towards Robust Vision Transformer, CVPR 2022 (arXiv 2105.07926), and Guo et al., Robustifying Token
Attention for Vision Transformers, ICCV 2023 (arXiv 2303.11126). RVT was published as a classifier: which features a
segmenter takes, and how it works on other grids than 14 x 14, is this project's choice.

Legend: B pictures, C channels, H rows, W columns, N tokens.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import build_norm_layer
from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain
from mmseg_tapadl.layers import AttentionGrid, RVTBlock, RVTStem, checkpoint_module, to_grid, to_tokens
from mmseg_tapadl.models.backbones.encoder_layers import LayeredEncoder
from mmseg_tapadl.models.backbones.rvt_arch import get_rvt_arch
from mmseg_tapadl.models.backbones.rvt_weights import check_fit, encoder_weights
from mmseg_tapadl.models.backbones.tap_option import num_tap_branches, put_aggregation
from mmseg_tapadl.utils.arguments import lists_valid_arguments
from mmseg_tapadl.utils.errors import InputError

TOKEN_STRIDE = 16


class RVTStage(nn.Module):
    """The blocks of one stage, under their released name."""

    def __init__(self, blocks: Sequence[nn.Module]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


@MODELS.register_module()
@lists_valid_arguments
class RVT(LayeredEncoder, BaseModule):
    """RVT encoder for segmentation.

    Any picture size: zeros are added at the right and the bottom to whole patches of 16 pixels, and a feature at stride
    s is ceil(H/s) by ceil(W/s). Position-aware attention scaling (PAAS) is learned on a 14 x 14 grid and interpolated
    to every other one; no position embedding, no class token.

    Its four features: ``small`` and ``base`` give the tokens of blocks 2, 5, 8 and 11 (all at stride 16), ``tiny``
    those of blocks 3, 6 and 9 (stride 16) and 11 (stride 32, twice the channels). The last passes the final norm.
    What no chosen feature needs is not built.

    The names alone are the released forms: a convolutional feed-forward network in all sizes, and in the ``_plus``
    sizes PAAS in blocks 0 to 4 (``tiny_plus``: 0 to 9, all of its first stage).

    Args:
        arch: A size by name (``RVT_ARCHS``) or a dict with the fields of ``RVTArch``.
        tap: ``dict(num_branches=4)`` puts token-aware average pooling before each self-attention; ``None``
            leaves it out.
            ``type`` chooses what the paper compares it with (``tap_option.py``).
        feed_forward: ``'conv'`` or ``'plain'`` in place of the arch's.
        paas_blocks: Blocks with PAAS in place of the arch's, ascending, all of the first stage; ``()`` is none.
        drop_path_rate: Probability that a residual branch is dropped, rising evenly from 0 in the first block; in the
            last of L blocks it is (L - 1) / L of this, as in the release.
        with_cp: Activation checkpointing: keeps the inputs of stem and blocks only and computes the rest again in the
            backward pass. Less memory, more time, the same numbers.
        out_indices: Which of the features to return, ascending.
        norm_cfg: The batch norms, e.g. ``dict(type='SyncBN')``. Layer norms are not affected.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE)`` starts from weights: a released file or a converted one,
            which must have this structure.

    Raises:
        InputError: An unknown arch or form, PAAS in blocks that there are not, or an out index that is no feature.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        tap: Mapping[str, Any] | None = None,
        *,
        feed_forward: str | None = None,
        paas_blocks: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if init_cfg is not None and init_cfg.get('type') != 'Pretrained':
            raise InputError(
                f"init_cfg={dict(init_cfg)}: only dict(type='Pretrained', checkpoint=FILE) is known here"
            )
        sizes = get_rvt_arch(arch).changed(feed_forward, paas_blocks)
        levels = range(len(sizes.feature_blocks))
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(levels)):
            valid = ', '.join(map(str, levels))
            raise InputError(f'out_indices={tuple(out_indices)}: choose from {valid}, ascending')
        self.sizes = sizes
        self.num_branches = num_tap_branches(tap)
        self.out_indices = tuple(out_indices)
        self.feature_channels = [sizes.feature_channels[index] for index in out_indices]
        self.feature_blocks = tuple(sizes.feature_blocks[index] for index in out_indices)
        self.with_cp = with_cp
        norm_config = dict(norm_cfg or dict(type='BN'))

        def norm_layer(channels: int) -> nn.Module:
            return build_norm_layer(norm_config, channels)[1]

        self.patch_embed = RVTStem(sizes.embed_dims[0], norm_layer=norm_layer)
        # Whatever comes after the last chosen feature would be parameters without a gradient.
        stages: list[list[nn.Module]] = [[] for _ in range(sizes.stage_of(self.feature_blocks[-1]) + 1)]
        for number in range(self.feature_blocks[-1] + 1):
            stage = sizes.stage_of(number)
            stages[stage].append(
                RVTBlock(
                    sizes.embed_dims[stage],
                    num_heads=sizes.num_heads[stage],
                    conv_feed_forward=sizes.feed_forward == 'conv',
                    paas_side=sizes.paas_side if number in sizes.paas_blocks else None,
                    num_branches=self.num_branches,
                    drop_path=drop_path_rate * number / sizes.depth,
                    norm_layer=norm_layer,
                )
            )
        self.transformers = nn.ModuleList(RVTStage(blocks) for blocks in stages)
        put_aggregation(self.transformers, tap)
        self.pools = nn.ModuleList(
            nn.ModuleDict({'conv': nn.Conv2d(dim, 2 * dim, 3, stride=2, padding=1, groups=dim)})
            for dim in sizes.embed_dims[: len(stages) - 1]
        )
        has_last = self.feature_blocks[-1] == sizes.depth - 1
        self.norm: Any = nn.LayerNorm(sizes.embed_dims[-1], eps=1e-6) if has_last else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps pictures (B, 3, H, W) to the chosen features, each (B, C, ceil(H/s), ceil(W/s))."""
        x = F.pad(x, (0, -x.shape[3] % TOKEN_STRIDE, 0, -x.shape[2] % TOKEN_STRIDE))
        x = self.run(self.patch_embed, x)
        features = []
        number = 0
        for index, stage in enumerate(self.transformers):
            if index > 0:
                x = self.pools[index - 1]['conv'](x)
            grid = (x.shape[2], x.shape[3])
            x = to_tokens(x)
            for block in stage.blocks:
                x = self.run(block, x, grid)
                if number in self.feature_blocks:
                    is_last = number == self.sizes.depth - 1
                    features.append(to_grid(self.norm(x) if is_last else x, grid))
                number += 1
            x = to_grid(x, grid)
        return tuple(features)

    def run(self, module: nn.Module, *inputs: Any) -> Tensor:
        """Calls the stem or a block, checkpointed in training where ``with_cp`` asks for it."""
        if self.with_cp and self.training:
            return checkpoint_module(module, *inputs)
        return module(*inputs)

    def init_weights(self) -> None:
        """Starts from the file that ``init_cfg`` names; without it the weights are the random ones of the release.

        Raises:
            InputError: A file that cannot be read, or that :meth:`own_weights` refuses. Nothing is loaded then.
        """
        if self.init_cfg is None:
            return
        path = str(self.init_cfg['checkpoint'])
        self.load_state_dict(self.own_weights(load_plain(path), path), strict=False)
        print_log(f'RVT starts from {path}', logger='current')

    def own_weights(self, checkpoint: Mapping[str, Any], source: str) -> dict[str, Tensor]:
        """What of a checkpoint this encoder loads, under its own names.

        TAP may be missing, as it starts as nearly the identity. The classifier, a decode head, and blocks behind the
        last chosen feature are left in the file. Averaged (EMA) weights are taken where the file has them.

        Args:
            checkpoint: What the file holds: released (timm's or the RVT authors' container), converted, or a segmenter.
            source: Names it in errors.

        Raises:
            InputError: It holds no weights of an RVT, or those of another structure: with the key and what was expected.
        """
        own = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        try:
            weights = encoder_weights(checkpoint, own, paas_side=self.sizes.paas_side)
            check_fit(weights, own, self.sizes, self.num_branches)
        except InputError as error:
            raise InputError(f'{source}: {error}') from None
        return {name: value for name, value in weights.items() if name in own}

    @property
    def num_layers(self) -> int:
        """Number of blocks kept, of all stages."""
        return sum(len(stage.blocks) for stage in self.transformers)

    def block_of(self, name: str) -> int:
        """The block of a parameter: 0 the embedding, then the blocks of all stages, then the final norm.

        The pooling between two stages belongs to the block behind it.
        """
        parts = name.split('.')
        if parts[0] == 'norm':
            return self.num_layers + 1
        if parts[0] == 'patch_embed':
            return 0
        stage = int(parts[1]) + (parts[0] == 'pools')
        before = sum(self.sizes.depths[:stage])
        return before + 1 + (int(parts[3]) if parts[0] == 'transformers' else 0)

    def attention_grid(self, name: str) -> AttentionGrid:
        """Where the tokens of the attention within the module ``name`` lie."""
        return AttentionGrid(stride=TOKEN_STRIDE * 2 ** int(name.split('.')[1]))
