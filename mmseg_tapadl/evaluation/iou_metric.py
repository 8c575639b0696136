"""Mean IoU in full precision, from labels that are what they claim to be."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable

from mmseg_tapadl.evaluation.class_counts import INTERSECT, LABELLED, PREDICTED, score_sample
from mmseg_tapadl.evaluation.result_files import ResultFiles, label_map, refuse_shared


@METRICS.register_module()
class PreciseIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric`` that counts in whole numbers, does not round, and refuses wrong labels.

    Pixels are counted as 64-bit integers (float32 loses count beyond 16 million), so the score does not
    depend on the order of the pictures or on the number of processes. Scores are percent. ``per_class``
    holds, after an evaluation, ``{class name: {'IoU': percent, 'Acc': percent}}``.

    Args: as for ``IoUMetric``; with ``output_dir`` the predicted label maps are saved there, named after the whole
        paths of their pictures (below the working directory, where they lie there).
    """

    per_class: dict[str, dict[str, float]] | None = None
    _files: ResultFiles | None = None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts one batch.

        Raises:
            SampleError: For a label with an id that is neither a class nor ``ignore_index``, of another size
                than its picture, or missing; names the file.
            InputError: For two pictures whose label maps would share a file.
        """
        for sample in data_samples:
            if not self.format_only:
                num_classes = len(self.dataset_meta['classes'])
                self.results.append(
                    score_sample(sample, num_classes=num_classes, ignore_index=self.ignore_index)
                )
            if self.output_dir is not None:
                if self._files is None:
                    self._files = ResultFiles(self.output_dir, base=Path.cwd())
                self._files.save(sample['img_path'], label_map(sample['pred_sem_seg']['data']))

    def evaluate(self, size: int) -> dict:
        """As for ``IoUMetric``.

        Raises:
            InputError: For two pictures whose label maps two processes saved to the same file.
        """
        files, self._files = self._files, None
        if self.output_dir is not None:
            taken: dict[str, str] = {}
            for saved in all_gather_object(files.saved if files else {}):
                for result, picture in saved.items():
                    refuse_shared(result, taken.setdefault(result, picture), picture)
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Turns the counts of all pictures into percent.

        Returns:
            ``aAcc``, ``mIoU`` and ``mAcc`` (or those of the other ``iou_metrics``), unrounded; classes
            that neither occur nor are predicted are left out of the means.
        """
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'label maps are in {self.output_dir}')
            return {}
        counts = sum(results).double()
        intersect, predicted, true = counts[INTERSECT], counts[PREDICTED], counts[LABELLED]
        union = predicted + true - intersect
        values = self.total_area_to_metrics(
            intersect, union, predicted, true, self.metrics, self.nan_to_num, self.beta
        )
        percent = {name: np.asarray(value, dtype=np.float64) * 100 for name, value in values.items()}
        scores = {'aAcc': float(percent.pop('aAcc'))}
        for name, value in percent.items():
            scores[f'm{name}'] = float(np.nanmean(value)) if np.isfinite(value).any() else float('nan')
        classes = [str(label) for label in self.dataset_meta['classes']]
        self.per_class = {
            label: {name: float(value[index]) for name, value in percent.items()}
            for index, label in enumerate(classes)
        }
        table = PrettyTable()
        table.add_column('Class', classes)
        for name, value in percent.items():
            table.add_column(name, [f'{number:.2f}' for number in value])
        print_log(f'per class, in percent:\n{table.get_string()}', logger)
        return scores
