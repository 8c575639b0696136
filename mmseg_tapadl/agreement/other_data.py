"""A config takes over other data than its own: classes, heads, metrics and the loading of labels follow."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from mmcv.transforms import LoadAnnotations
from mmseg.models.decode_heads import STDCHead
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.agreement.class_names import names_of
from mmseg_tapadl.agreement.parts import MISSING, SPLITS, Part, data_sets, evaluators, heads, segmentor
from mmseg_tapadl.agreement.void_id import reset_void
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.dataset_tree import leaf_datasets

# Metrics that need the names or folders of one data set
_OF_ONE_DATA_SET = ('CityscapesMetric', 'ACDCSubmission', 'ConditionIoUMetric')
_METRIC = dict(type='PreciseIoUMetric', iou_metrics=['mIoU'])
_SHOWN = 8


def take_data(cfg: Any, data: Any, *, name: str, splits: Sequence[str] = SPLITS) -> list[str]:
    """Puts the data sets of another config into this one, in place.

    Pipelines, batch sizes and samplers stay those of the config, but labels are loaded as the data ask. A split that the
    data do not have is switched off. Heads tell the classes of the data apart, in place of the config's.

    Args:
        cfg: The config of the run.
        data: From :func:`mmseg_tapadl.datasets.named_data.read_splits`.
        name: Of the data, for messages.
        splits: Those to take over; the others stay as they are.

    Returns:
        What was changed, one line each.

    Raises:
        InputError: The config has no loader whose pipeline the data could go through.
    """
    former, names = _names_in(cfg), _names_in(data)
    if names is None:
        raise InputError(f'--data {name}: tells no names of its classes')
    pipelines = {split: _pipeline_of(cfg, split) for split in SPLITS}
    for split in splits:
        loader = data.get(f'{split}_dataloader')
        if loader is None:
            _switch_off(cfg, split)
        elif split != 'train' or cfg.get('train_dataloader'):
            _take_split(cfg, split, loader['dataset'], pipelines, name)
            _settle_metrics(cfg, split, data)
    _settle_augmentation(cfg, data)
    if names == former:
        return []
    return _take_classes(cfg, names, former, name) + reset_void(cfg, splits)


def _names_in(cfg: Any) -> list[str] | None:
    """The classes of the first data set that knows its own."""
    for split in ('train', 'val', 'test'):
        for leaf in data_sets(cfg, split):
            names = names_of(leaf)
            if names:
                return names
    return None


def _pipeline_of(cfg: Any, split: str) -> Any:
    """The pipeline by which a split's pictures are loaded."""
    dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    for leaf in leaf_datasets(dataset) if isinstance(dataset, dict) else ():
        if leaf.get('pipeline'):
            return leaf['pipeline']
    return None


def _take_split(cfg: Any, split: str, dataset: dict, pipelines: dict[str, Any], name: str) -> None:
    key = f'{split}_dataloader'
    others = {'train': (), 'val': ('test',), 'test': ('val',)}[split]
    pipeline = next((pipelines[one] for one in (split, *others) if pipelines[one]), None)
    if pipeline is None:
        raise InputError(
            f'--data {name}: the config has no {key} with a pipeline to load pictures with; take one over from '
            '_base_/datasets'
        )
    loader = next(cfg[f'{one}_dataloader'] for one in (split, *others) if cfg.get(f'{one}_dataloader'))
    fitted = with_pipeline(dataset, pipeline)
    cfg[key] = {**loader, 'dataset': _inside_wrappers(loader.get('dataset') or {}, fitted)}
    if split != 'train':
        cfg[f'{split}_cfg'] = cfg.get(f'{split}_cfg') or dict(
            type='ValLoop' if split == 'val' else 'TestLoop'
        )


def _inside_wrappers(former: dict, dataset: dict) -> dict:
    """The data set in the wrappers (repeated, balanced, mixed) of the former one; of joined sets it takes the place of all."""
    if isinstance(former.get('dataset'), dict):
        return {**former, 'dataset': _inside_wrappers(former['dataset'], dataset)}
    if isinstance(former.get('datasets'), (list, tuple)) and former['datasets']:
        return _inside_wrappers(former['datasets'][0], dataset)
    return dataset


def with_pipeline(dataset: dict, pipeline: Any) -> dict:
    """A data set's config with another pipeline, in which labels are loaded as its own loads them; wrappers are looked through."""
    if 'dataset' in dataset:
        return {**dataset, 'dataset': with_pipeline(dataset['dataset'], pipeline)}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [with_pipeline(part, pipeline) for part in dataset['datasets']]}
    return {**dataset, 'pipeline': _loading_labels_as(pipeline, dataset.get('pipeline'))}


def _loading_labels_as(pipeline: Any, own: Any) -> list:
    step = next(_label_steps(own), None)
    if step is None:
        return copy.deepcopy(list(pipeline))
    return [_exchanged(part, step) for part in pipeline]


def _exchanged(node: Any, step: dict) -> Any:
    """A pipeline, or a part of one, with another step to load labels."""
    if isinstance(node, (list, tuple)):
        return [_exchanged(part, step) for part in node]
    if not isinstance(node, dict):
        return node
    if _loads_labels(node):
        return copy.deepcopy(dict(step))
    return {
        key: _exchanged(value, step) if key == 'transforms' else copy.deepcopy(value)
        for key, value in node.items()
    }


def _label_steps(pipeline: Any) -> Iterator[dict]:
    for part in pipeline or ():
        if isinstance(part, (list, tuple)):
            yield from _label_steps(part)
        elif isinstance(part, dict):
            if _loads_labels(part):
                yield part
            yield from _label_steps(part.get('transforms'))


def _loads_labels(step: dict) -> bool:
    return _way_of(step) is not None


def _way_of(step: dict) -> Any:
    """How a step loads labels; None for one that does not."""
    kind = step.get('type')
    cls: Any = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(cls, type) or not issubclass(cls, LoadAnnotations):
        return None
    return getattr(cls, '_load_seg_map', None)


def _settle_augmentation(cfg: Any, data: Any) -> None:
    """Test time augmentation loads labels as the test set does."""
    dataset = (data.get('test_dataloader') or {}).get('dataset')
    if cfg.get('tta_pipeline') and isinstance(dataset, dict):
        own = next(iter(leaf_datasets(dataset))).get('pipeline')
        cfg['tta_pipeline'] = _loading_labels_as(cfg['tta_pipeline'], own)


def _switch_off(cfg: Any, split: str) -> None:
    for key in (f'{split}_dataloader', f'{split}_evaluator', *([f'{split}_cfg'] if split != 'train' else [])):
        if cfg.get(key):
            cfg[key] = None
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint')
    if split == 'val' and isinstance(checkpoint, dict) and checkpoint.get('save_best'):
        checkpoint['save_best'] = None


def _settle_metrics(cfg: Any, split: str, data: Any) -> None:
    """The data's own metrics where they have some; else the config's, without those that belong to other data."""
    if split == 'train':
        return
    key = f'{split}_evaluator'
    if data.get(key):
        cfg[key] = data[key]
        return
    if cfg.get(key) and all(
        part.config.get('type') not in _OF_ONE_DATA_SET for part in evaluators(cfg, split)
    ):
        return
    conditions = any(leaf.config.get('type') == 'ACDCDataset' for leaf in data_sets(cfg, split))
    if not (conditions and cfg.get(key)):
        cfg[key] = dict(_METRIC)


def _take_classes(cfg: Any, names: Sequence[str], former: Sequence[str] | None, source: str) -> list[str]:
    """Makes the heads tell the named classes apart."""
    listed = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
    place = f' in place of the {len(former)} of the config' if former else ''
    notes = [f'--data {source}: {len(names)} classes ({listed}){place}']
    for head in heads(cfg):
        notes += _settle_head(head, len(names))
    model = segmentor(cfg)
    if model is not None:
        notes += list(_without_class_weights(model.key, model.config))
    return notes


def _settle_head(head: Part, count: int) -> list[str]:
    before = head.argument('num_classes')[0]
    if before is MISSING or (head.cls is not None and issubclass(head.cls, STDCHead)):
        return []
    head.config['num_classes'] = count
    outputs = head.config.get('out_channels')
    if outputs is not None and not (outputs == 1 and count == 2):
        # One output, or as many as there were classes.
        for key in ('out_channels', 'threshold'):
            head.config.pop(key, None)
    return [] if before == count else [f'{head.key}.num_classes is {count}, not {before}']


def _without_class_weights(key: str, node: Any) -> Iterator[str]:
    """Leaves out weights that were given to other classes."""
    if isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _without_class_weights(f'{key}.{number}', item)
    elif isinstance(node, dict):
        weights = node.get('class_weight')
        if isinstance(weights, str) or (isinstance(weights, (list, tuple)) and len(weights) > 1):
            del node['class_weight']
            yield f'{key}.class_weight is left out: it weighs other classes'
        for name, item in node.items():
            yield from _without_class_weights(f'{key}.{name}', item)
