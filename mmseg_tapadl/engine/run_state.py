"""What hooks ask of a runner, be it mmengine's own or :class:`~mmseg_tapadl.engine.runner.TrustedRunner`."""

from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.optim import OptimWrapperDict


def is_resuming(runner: Any) -> bool:
    """Whether a checkpoint is loaded to go on with its run, not to start from it or to test it."""
    in_training = getattr(runner, '_stage', 'train') == 'train' and runner._train_loop is not None
    return in_training and (bool(runner._resume) or runner.iter > 0)


def bare_model(runner: Any) -> torch.nn.Module:
    """The model without the wrappers of distributed training and test time augmentation."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def optim_wrappers(runner: Any) -> list[Any]:
    """The wrappers of a run's optimizers: one, unless the config names several."""
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def classes_of(dataset: Any) -> tuple[str, ...]:
    """The names of a data set's classes; empty where it tells none."""
    return tuple((getattr(dataset, 'metainfo', None) or {}).get('classes') or ())
