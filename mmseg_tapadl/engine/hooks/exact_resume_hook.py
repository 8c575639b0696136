"""Makes a run that goes on after a kill the same run, and says so when it cannot be."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmseg.registry import HOOKS

from mmseg_tapadl.engine.repeatable.new_rates import replay_schedule, take_todays_groups
from mmseg_tapadl.engine.repeatable.placed_samples import name_samples, place_samples
from mmseg_tapadl.engine.repeatable.positioned_sampler import PositionedSampler
from mmseg_tapadl.engine.repeatable.random_streams import seed_everything, stream_seed
from mmseg_tapadl.engine.repeatable.run_facts import compare_facts, facts_of
from mmseg_tapadl.engine.repeatable.sample_names import pictures_of
from mmseg_tapadl.engine.run_state import is_resuming


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Randomness by place, facts of the run in every checkpoint, and a comparison before going on.

    * Each iteration's dropout and drop path depend on (seed, iteration, process), each sample's
      augmentation on (seed, its position in the run): nothing has to be carried over a kill, and the
      number of workers does not matter.
    * A checkpoint tells batch size, processes, classes and the whole config (``meta['run']``); resuming
      with others stops, or goes on and says what changed (``docs/reliability.md`` has the table).

    Args:
        allow_change: Keys of the config whose change is wanted in a run that goes on, each for all that stands below
            it (``--allow-change`` of ``tools/train.py``).
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow_change: Sequence[str] = ()) -> None:
        self.allow_change = tuple(allow_change)
        self.pictures_at_hand: list[str] = []
        self._new_rate = False

    def before_train(self, runner: Any) -> None:
        """Lets samples depend on their place in the run, and the rates on today's config where they changed."""
        if self._new_rate:
            replay_schedule(runner)
            self._new_rate = False
        notes = place_samples(runner.train_dataloader.dataset, runner.seed)
        if not isinstance(runner.train_dataloader.sampler, PositionedSampler):
            notes.append(
                'train_dataloader.sampler is not a PositionedSampler: a resumed run will not be exactly the undisturbed one'
            )
        for note in notes:
            runner.logger.warning(note)

    def before_val(self, runner: Any) -> None:
        """Lets a picture that cannot be read name itself."""
        name_samples(runner.val_dataloader.dataset)

    def before_test(self, runner: Any) -> None:
        """Lets a picture that cannot be read name itself."""
        name_samples(runner.test_dataloader.dataset)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds everything the model may draw in this iteration, and notes the pictures for an error."""
        self.pictures_at_hand = pictures_of(data_batch)
        seed_everything(stream_seed(runner.seed, 'iteration', runner.iter, runner.rank))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Adds the facts of the run."""
        checkpoint['meta']['run'] = facts_of(runner)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Compares the run that was saved with the one that goes on.

        Raises:
            RunMismatchError: When going on would mean something else than the saved run.
        """
        if not is_resuming(runner):
            return
        has_ema = any(isinstance(hook, EMAHook) for hook in runner.hooks)
        found = compare_facts(checkpoint, facts_of(runner), has_ema=has_ema, allowed=self.allow_change)
        for note in found.notes:
            runner.logger.warning(f'resuming with a change: {note}')
        self._new_rate = found.new_rate
        if found.new_rate:
            take_todays_groups(runner, checkpoint)
