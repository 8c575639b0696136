"""Which of an encoder's blocks a parameter belongs to: what freezing and layer-wise decay ask."""

from typing import Any

POOLING = 'dilation_predictor'


class LayeredEncoder:
    """An encoder that knows its blocks: a stem, blocks 1 to ``num_blocks`` over all stages, and what comes behind them.

    A subclass gives ``num_layers``, or :attr:`num_blocks` itself, and :meth:`block_of`; names are those of its own
    ``named_parameters()``.
    """

    num_layers: Any

    @property
    def num_blocks(self) -> int:
        """Number of blocks, over all stages."""
        return self.num_layers

    def block_of(self, name: str) -> int:
        """The block of a parameter: 0 the stem, i block i counted from 1, ``num_blocks + 1`` what is behind the blocks."""
        raise NotImplementedError

    def layer_of(self, name: str) -> int:
        """The layer of a parameter for layer-wise decay: its block; TAP, which starts anew, comes last."""
        return self.num_blocks + 1 if POOLING in name.split('.') else self.block_of(name)

    def has_no_decay(self, name: str) -> bool:
        """Whether a parameter that is neither a bias nor a norm has no weight decay in layer-wise decay."""
        return False
