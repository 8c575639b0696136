"""An endless sampler in which every sample knows its position in the run."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from mmseg_tapadl.engine.repeatable.random_streams import stream_seed
from mmseg_tapadl.utils import InputError


class SamplePosition(int):
    """The index of a picture, with the position of this sample in the whole run.

    It is an ``int`` for everyone else; data sets pass it on as ``results['sample_idx']``.
    """

    position: int

    def __new__(cls, index: int, position: int = -1) -> 'SamplePosition':
        """Makes the index ``index`` at the place ``position``."""
        made = super().__new__(cls, index)
        made.position = position
        return made

    def __reduce__(self) -> tuple:
        """So that it survives the way to a worker process."""
        return SamplePosition, (int(self), self.position)


@DATA_SAMPLERS.register_module()
class PositionedSampler(Sampler):
    """Yields indices without end: each epoch a new permutation of the data set.

    The sample at position p depends on (seed, p) only. Process r of W takes the positions r, r + W,
    r + 2W, ...: all processes together see what one process with a W times larger batch sees, and a run
    goes on at any position at once, without drawing what came before.

    Args:
        dataset: The data set.
        shuffle: False keeps the order of the data set.
        seed: The run's seed; None draws one and shares it.
    """

    endless = True

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        if self.size == 0:
            raise InputError(
                f'{type(dataset).__name__} is empty: no picture to sample; check its data_root and data_prefix'
            )
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self._skipped = 0

    def index_at(self, position: int) -> int:
        """The index of the picture at ``position`` of the run."""
        epoch, place = divmod(position, self.size)
        return int(self._order_of(epoch)[place])

    def _order_of(self, epoch: int) -> torch.Tensor:
        if getattr(self, '_cached_epoch', None) != epoch:
            self._cached_epoch = epoch
            generator = torch.Generator().manual_seed(stream_seed(self.seed, 'order', epoch))
            self._order = (
                torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
            )
        return self._order

    def __iter__(self) -> Iterator[SamplePosition]:
        """Yields the indices of this process from the current position on."""
        position = self.rank + self._skipped * self.world_size
        while True:
            yield SamplePosition(self.index_at(position), position)
            position += self.world_size

    def skip(self, num_samples: int) -> None:
        """Goes on behind the first ``num_samples`` samples of this process (called before iterating)."""
        if num_samples < 0:
            raise ValueError(f'num_samples must not be negative, got {num_samples}')
        self._skipped = num_samples

    def __len__(self) -> int:
        """Length of the data set: one epoch."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """There are no epochs in an endless stream; offered because loops call it."""
