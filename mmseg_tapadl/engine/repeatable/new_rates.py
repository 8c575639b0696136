"""Going on with other rates than those a checkpoint was saved with."""

import copy
from typing import Any

from mmengine.optim import OptimWrapperDict

from mmseg_tapadl.engine.errors import RunMismatchError
from mmseg_tapadl.engine.run_state import optim_wrappers


def take_todays_groups(runner: Any, checkpoint: dict) -> None:
    """Puts the hyperparameters of today's config in the place of those in a checkpoint, before it is loaded.

    What the optimizer has gathered for each weight (Adam's moments) stays. mmengine would bring the saved rate,
    decay and the rest back over the config's.

    Args:
        runner: In training, with a built optimizer.
        checkpoint: Changed in place; the schedule's state is taken out, see :func:`replay_schedule`.

    Raises:
        RunMismatchError: When the weights are grouped so that they cannot be told from one another.
    """
    saved = checkpoint['optimizer']
    if isinstance(runner.optim_wrapper, OptimWrapperDict):
        raise RunMismatchError('rates of several optimizers cannot be changed while a run goes on')
    config = runner.cfg.optim_wrapper
    fresh = runner.build_optim_wrapper(copy.deepcopy(config))
    runner.scale_lr(fresh, runner.auto_scale_lr)
    groups = fresh.optimizer.state_dict()['param_groups']
    sizes, old_sizes = ([len(group['params']) for group in part] for part in (groups, saved['param_groups']))
    # mmengine's own constructor keeps the order of the weights, in one group or in many.
    same_order = sizes == old_sizes or config.get('constructor') is None
    if not same_order or sum(sizes) != sum(old_sizes):
        raise RunMismatchError(
            f'optim_wrapper: the weights were in {len(old_sizes)} groups when saved and are in {len(sizes)} now, which '
            'cannot be matched; start a new run from the weights with --cfg-options load_from=CHECKPOINT'
        )
    saved['param_groups'] = groups
    checkpoint.pop('param_schedulers', None)


def replay_schedule(runner: Any) -> None:
    """Brings the schedule of today's config to the current iteration, as if it had always been so."""
    if runner.param_schedulers is not None:
        runner.param_schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler))
        for _ in range(runner.iter):
            for scheduler in runner.param_schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
    groups = [group for wrapper in optim_wrappers(runner) for group in wrapper.optimizer.param_groups]
    rates = sorted({group['lr'] for group in groups})
    shown = ' to '.join(f'{rate:.4g}' for rate in dict.fromkeys((rates[0], rates[-1])))
    runner.logger.info(
        f"rates and schedule are those of today's config: going on with a learning rate of {shown}"
    )
