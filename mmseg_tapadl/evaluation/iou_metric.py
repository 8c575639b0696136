"""Mean IoU in full precision, from labels that are what they claim to be."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable


@METRICS.register_module()
class PreciseIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` that counts in whole numbers, does not round, and refuses wrong labels.

    Pixels are counted as 64-bit integers (float32 loses count beyond 16 million), so the score does not
    depend on the order of the pictures or on the number of processes. Scores are percent. ``per_class``
    holds, after an evaluation, ``{class name: {'IoU': percent, 'Acc': percent}}``.

    Args: as for ``IoUMetric``.
    """

    per_class: dict[str, dict[str, float]] | None = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts one batch.

        Raises:
            ValueError: For a label with an id that is neither a class nor ``ignore_index``, or of another
                size than the prediction; names the file.
        """
        if not self.format_only:
            for sample in data_samples:
                _check_label(sample, len(self.dataset_meta['classes']), self.ignore_index)
        super().process(data_batch, data_samples)

    @staticmethod
    def intersect_and_union(
        pred_label: torch.Tensor, label: torch.Tensor, num_classes: int, ignore_index: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Counts pixels by class.

        Args:
            pred_label: (H, W) predicted class ids.
            label: (H, W) true class ids.
            num_classes: Number of classes C.
            ignore_index: Id of pixels that do not count.

        Returns:
            Intersection, union, prediction and truth, each (C,) int64.
        """
        counted = label != ignore_index
        pred_label, label = pred_label[counted].long(), label[counted].long()
        intersect = torch.bincount(label[pred_label == label], minlength=num_classes).cpu()
        predicted = torch.bincount(pred_label, minlength=num_classes).cpu()
        true = torch.bincount(label, minlength=num_classes).cpu()
        return intersect, predicted + true - intersect, predicted, true

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Turns the counts of all pictures into percent.

        Returns:
            ``aAcc``, ``mIoU`` and ``mAcc`` (or those of the other ``iou_metrics``), unrounded; classes
            that neither occur nor are predicted are left out of the means.
        """
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'results are saved to {self.output_dir}')
            return {}
        intersect, union, predicted, true = (sum(counts).double() for counts in zip(*results, strict=True))
        values = self.total_area_to_metrics(
            intersect, union, predicted, true, self.metrics, self.nan_to_num, self.beta
        )
        percent = {name: np.asarray(value, dtype=np.float64) * 100 for name, value in values.items()}
        scores = {'aAcc': float(percent.pop('aAcc'))}
        for name, value in percent.items():
            scores[f'm{name}'] = float(np.nanmean(value)) if np.isfinite(value).any() else float('nan')
        classes = self.dataset_meta['classes']
        self.per_class = {
            str(label): {name: float(value[index]) for name, value in percent.items()}
            for index, label in enumerate(classes)
        }
        table = PrettyTable()
        table.add_column('Class', list(classes))
        for name, value in percent.items():
            table.add_column(name, [f'{number:.2f}' for number in value])
        print_log(f'per class, in percent:\n{table.get_string()}', logger)
        return scores


def _check_label(sample: dict, num_classes: int, ignore_index: int) -> None:
    label = sample['gt_sem_seg']['data']
    prediction = sample['pred_sem_seg']['data']
    name = sample.get('seg_map_path') or sample.get('img_path') or 'a label'
    if label.shape[-2:] != prediction.shape[-2:]:
        raise ValueError(
            f'{name}: the label is {tuple(label.shape[-2:])} but its picture {tuple(prediction.shape[-2:])} (height, width)'
        )
    wrong = torch.unique(label[(label != ignore_index) & ((label < 0) | (label >= num_classes))]).tolist()
    if wrong:
        shown = ', '.join(map(str, wrong[:8]))
        raise ValueError(
            f'{name}: ids {shown} are neither one of the {num_classes} classes (0 to {num_classes - 1}) nor '
            f'{ignore_index} (void); a score that leaves them out would be wrong'
        )
