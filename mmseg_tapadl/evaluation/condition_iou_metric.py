"""mIoU of each weather condition, pooled over all pictures, and their plain mean, in one pass."""

import math
from collections.abc import Sequence

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_tapadl.datasets.acdc import CONDITIONS, condition_of
from mmseg_tapadl.evaluation.class_counts import Percentages, percentages, score_sample
from mmseg_tapadl.utils import InputError


@METRICS.register_module()
class ConditionIoUMetric(BaseMetric):
    """IoU by condition; the condition is a folder of the picture's path, as in ACDC.

    Memory does not grow with the number of pictures: (conditions, 3, C) sums of pixels and one picture's
    counts are kept. mmengine's sampler fills the processes up with repeated pictures at the end; such a repeat
    can only be the last picture of a process, so that one is held back until the size of the data set is known.

    The metrics, in percent and unrounded: ``mIoU`` and ``aAcc`` pooled over all pictures, ``mIoU_<condition>``
    of every condition that occurs, ``mIoU_mean``, the plain mean of those (it is not the pooled figure).

    Args:
        conditions: The folder names to look for.
        ignore_index: Label value whose pixels do not count.
        collect_device: Where the sums of the processes meet, ``'cpu'`` or ``'gpu'``.
        prefix: Put before the metrics' names.
    """

    def __init__(
        self,
        conditions: Sequence[str] = CONDITIONS,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.conditions = tuple(conditions)
        self.ignore_index = ignore_index
        self._forget()

    def _forget(self) -> None:
        self._sums: torch.Tensor | None = None
        self._held_back: tuple[int, torch.Tensor] | None = None
        self._seen = 0

    def condition_of(self, img_path: str) -> int:
        """The number of the condition whose folder is in the path (the last one, should there be several).

        Raises:
            InputError: When there is none.
        """
        found = condition_of(img_path, self.conditions)
        if found is None:
            raise InputError(f'{img_path} lies in no folder of a condition ({", ".join(self.conditions)})')
        return self.conditions.index(found)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts a batch.

        Raises:
            InputError: When a picture has no condition, or no label that can be scored.
        """
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            condition = self.condition_of(sample['img_path'])
            counts = score_sample(sample, num_classes=num_classes, ignore_index=self.ignore_index)
            self._add_held_back(num_classes)
            self._held_back = (condition, counts)
            self._seen += 1

    def _add_held_back(self, num_classes: int) -> None:
        if self._sums is None:
            self._sums = torch.zeros(len(self.conditions), 3, num_classes, dtype=torch.int64)
        if self._held_back is not None:
            condition, counts = self._held_back
            self._sums[condition] += counts
            self._held_back = None

    def evaluate(self, size: int) -> dict:
        """The metrics of a data set of ``size`` pictures; counting starts anew afterwards.

        Args:
            size: Pictures in the data set, without repeats.
        """
        # Picture number i of this process is number i * processes + rank of the (repeated) data set.
        if self._held_back is not None and (self._seen - 1) * get_world_size() + get_rank() >= size:
            self._held_back = None
        self._add_held_back(len(self.dataset_meta['classes']))
        # One entry a process: mmengine gathers them and would cut off only processes that saw repeats alone.
        self.results = [self._sums]
        self._forget()
        return super().evaluate(size)

    def compute_metrics(self, results: list[torch.Tensor]) -> dict[str, float]:
        """Adds the processes' sums up, logs the table and returns the metrics."""
        sums = torch.stack(results).sum(dim=0)
        pooled = percentages(sums.sum(dim=0))
        by_condition = {
            name: percentages(sums[number])
            for number, name in enumerate(self.conditions)
            if sums[number].any()
        }
        if not by_condition:
            raise InputError('no picture was evaluated: there is no labelled pixel in the whole data set')
        mean = sum(p.miou for p in by_condition.values()) / len(by_condition)
        print_log('\n' + self._table(by_condition, pooled, mean), MMLogger.get_current_instance())
        metrics = {'mIoU': pooled.miou, 'aAcc': pooled.aacc}
        metrics.update({f'mIoU_{name}': scores.miou for name, scores in by_condition.items()})
        metrics['mIoU_mean'] = mean
        return metrics

    def _table(self, by_condition: dict[str, Percentages], pooled: Percentages, mean: float) -> str:
        columns = [*by_condition.values(), pooled]
        table = PrettyTable(['IoU (%)', *by_condition, 'pooled', 'mean'])
        table.align = 'r'
        table.align['IoU (%)'] = 'l'
        for number, name in enumerate(self.dataset_meta['classes']):
            values = [scores.iou[number] for scores in columns]
            occurring = [value for value in values[:-1] if not math.isnan(value)]
            average = sum(occurring) / len(occurring) if occurring else math.nan
            last = number == len(self.dataset_meta['classes']) - 1
            table.add_row([name, *map(_shown, values), _shown(average)], divider=last)
        table.add_row(['mIoU', *(_shown(scores.miou) for scores in columns), _shown(mean)])
        table.add_row(['aAcc', *(_shown(scores.aacc) for scores in columns), ''])
        return table.get_string()


def _shown(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.2f}'
