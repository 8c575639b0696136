"""Makes a run that goes on after a kill the same run, and says so when it cannot be."""

from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.repeatable.positioned_sampler import PositionedSampler
from mmseg_tapadl.engine.repeatable.random_streams import seed_everything, stream_seed
from mmseg_tapadl.engine.repeatable.run_facts import compare_facts, facts_of
from mmseg_tapadl.engine.repeatable.sample_names import pictures_of
from mmseg_tapadl.engine.repeatable.sample_pipeline import SamplePipeline


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Randomness by place, facts of the run in every checkpoint, and a comparison before going on.

    * Each iteration's dropout and drop path depend on (seed, iteration, process), each sample's
      augmentation on (seed, its position in the run): nothing has to be carried over a kill, and the
      number of workers does not matter.
    * A checkpoint tells batch size, processes, schedule, classes and more (``meta['run']``); resuming
      with others stops, or goes on and says what changed.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Any) -> None:
        """Puts the seeded pipeline into the training set."""
        dataset = runner.train_dataloader.dataset
        if hasattr(dataset, 'pipeline') and not isinstance(dataset.pipeline, SamplePipeline):
            classes = dataset.metainfo.get('classes') if hasattr(dataset, 'metainfo') else None
            dataset.pipeline = SamplePipeline(
                dataset.pipeline,
                seed=runner.seed,
                num_classes=len(classes) if classes else None,
                ignore_index=getattr(dataset, 'ignore_index', 255),
            )
        if not isinstance(runner.train_dataloader.sampler, PositionedSampler):
            runner.logger.warning(
                'train_dataloader.sampler is not a PositionedSampler: a resumed run will not be exactly the undisturbed one'
            )

    def before_val(self, runner: Any) -> None:
        """Lets a picture that cannot be read name itself."""
        _name_faults(runner.val_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        """Lets a picture that cannot be read name itself."""
        _name_faults(runner.test_dataloader.dataset)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds everything the model may draw in this iteration, and notes the pictures for an error."""
        runner.pictures_at_hand = pictures_of(data_batch)
        seed_everything(stream_seed(runner.seed, 'iteration', runner.iter, runner.rank))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Adds the facts of the run."""
        checkpoint['meta']['run'] = facts_of(runner)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Compares the run that was saved with the one that goes on.

        Raises:
            RunMismatchError: When going on would mean something else than the saved run.
        """
        if not runner.is_resuming:
            return
        has_ema = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        changes = compare_facts(checkpoint, facts_of(runner), has_ema=has_ema)
        for change in changes.values():
            runner.logger.warning(f'resuming with a change: {change}')
        runner.use_new_schedule = 'schedule' in changes


def _name_faults(dataset: Any) -> None:
    if hasattr(dataset, 'pipeline') and not isinstance(dataset.pipeline, SamplePipeline):
        dataset.pipeline = SamplePipeline(dataset.pipeline, seed=None)
