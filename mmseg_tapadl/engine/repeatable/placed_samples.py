"""Samples that depend on their place in the run and name their files, whatever wrappers stand around the data set."""

from collections.abc import Iterable
from typing import Any

from mmengine.dataset import ClassBalancedDataset, Compose, ConcatDataset, RepeatDataset
from mmseg.datasets import MultiImageMixDataset

from mmseg_tapadl.engine.repeatable.random_streams import seeded, stream_seed
from mmseg_tapadl.engine.repeatable.sample_pipeline import SamplePipeline, files_of, reason_of
from mmseg_tapadl.engine.run_state import classes_of
from mmseg_tapadl.utils.dataset_tree import leaf_datasets, wrapper_datasets
from mmseg_tapadl.utils.errors import SampleError

_KNOWN = (ConcatDataset, RepeatDataset, ClassBalancedDataset, MultiImageMixDataset)


class PlacedSamples:
    """Draws samples from a data set, each under randomness of its own, and names the one that cannot be made.

    PyTorch's data loader asks a data set's ``__getitems__`` for a batch where there is one. Standing there, on the
    outermost data set, this sees the index as the sampler gave it, before a wrapper turns it into another number,
    and whatever is drawn within, also by a wrapper, is drawn from the stream of (seed, position).

    Args:
        dataset: Any data set that takes an index.
        seed: The run's seed; None where nothing is drawn by place.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        self.dataset = dataset
        self.seed = seed

    def __call__(self, indices: Iterable[int]) -> list[Any]:
        """The samples of a batch.

        Raises:
            SampleError: When one cannot be made; it names the files, or at least the index.
        """
        return [self._sample(index) for index in indices]

    def _sample(self, index: int) -> Any:
        position = getattr(index, 'position', None)
        try:
            if position is None or self.seed is None:
                return self.dataset[index]
            with seeded(stream_seed(self.seed, 'sample', position)):
                return self.dataset[index]
        except SampleError:
            raise
        except Exception as error:
            sample = f'sample {int(index)} of {type(self.dataset).__name__}'
            raise SampleError(f'{self._files(index) or sample}: {reason_of(error)}') from error

    def _files(self, index: int) -> str:
        """The files of a sample, where the data set tells them before it has loaded one."""
        try:
            return files_of(self.dataset.get_data_info(int(index)), default='')
        except Exception:
            return ''


def place_samples(dataset: Any, seed: int) -> list[str]:
    """Makes the samples of a training set depend on (seed, position), its errors name files, and checks its labels' ids.

    Args:
        dataset: Changed in place, and so are the data sets within.
        seed: The run's seed.

    Returns:
        What cannot be promised for this data set, as sentences for the log.
    """
    notes = []
    if hasattr(type(dataset), '__getitems__'):
        notes.append(
            f'{type(dataset).__name__} makes whole batches by a __getitems__ of its own: it is not used, each sample is '
            'asked for by its index'
        )
    dataset.__getitems__ = PlacedSamples(dataset, seed)
    return [*notes, *name_samples(dataset, check_labels=True)]


def name_samples(dataset: Any, *, check_labels: bool = False) -> list[str]:
    """Lets a sample of a data set, or of those within, that cannot be made name its files.

    A label of another size than its picture cannot be used, whatever the data set is for.

    Args:
        dataset: Changed in place, and so are the data sets within.
        check_labels: Whether ids that are no classes are an error.

    Returns:
        What cannot be promised, as sentences for the log.
    """
    for leaf in leaf_datasets(dataset):
        pipeline = getattr(leaf, 'pipeline', None)
        if isinstance(pipeline, Compose) and not isinstance(pipeline, SamplePipeline):
            classes = classes_of(leaf) if check_labels else ()
            leaf.pipeline = SamplePipeline(
                pipeline,
                num_classes=len(classes) or None,
                ignore_index=getattr(leaf, 'ignore_index', 255),
            )
    if not hasattr(dataset, '__getitems__'):
        # What fails outside of a pipeline is named, too.
        dataset.__getitems__ = PlacedSamples(dataset)
    notes = []
    for wrapper in wrapper_datasets(dataset):
        if type(wrapper) is MultiImageMixDataset:
            notes.append(
                'MultiImageMixDataset mixes pictures after they were loaded: an error in the mixing names the sample '
                'but not its files, and the mixed labels are not checked'
            )
        elif type(wrapper) not in _KNOWN:
            notes.append(_unknown(wrapper, 'is a wrapper that this toolkit does not know'))
    for leaf in leaf_datasets(dataset):
        if not isinstance(getattr(leaf, 'pipeline', None), Compose):
            notes.append(
                _unknown(leaf, 'has no pipeline of transforms, and holds no other data set that can be seen')
            )
    return list(dict.fromkeys(notes))


def _unknown(dataset: Any, why: str) -> str:
    return (
        f'{type(dataset).__name__} {why}: a run goes on exactly only if it draws from the generators of Python, NumPy '
        'and torch and carries nothing from one sample to the next, and errors name the files only of data sets '
        'that it keeps as `dataset` or `datasets`. Check that, or use ConcatDataset, RepeatDataset or '
        'ClassBalancedDataset'
    )
