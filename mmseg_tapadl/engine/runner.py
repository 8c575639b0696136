"""mmengine's Runner where hooks do not reach: what it loads, resumes from and writes to the log."""

import copy
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import RUNNERS

from mmseg_tapadl.agreement import check_same_classes
from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.checkpoints.checkpoint_loader import load_plain, plain_readers
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.weights import load_weights
from mmseg_tapadl.checkpoints.whole_start import WholeStart, start_from_segmenter
from mmseg_tapadl.checkpoints.work_dir import newest_whole
from mmseg_tapadl.engine.building import building, refuse_no_batch
from mmseg_tapadl.engine.console import quiet_screen
from mmseg_tapadl.engine.counting import refuse_epochs
from mmseg_tapadl.engine.equal_sizes import with_any_sizes
from mmseg_tapadl.engine.errors import RunMismatchError
from mmseg_tapadl.engine.hooks.exact_resume_hook import ExactResumeHook
from mmseg_tapadl.engine.layer_decay import with_own_constructor
from mmseg_tapadl.engine.run_state import bare_model, classes_of, is_resuming
from mmseg_tapadl.engine.unusable_values import refuse_unusable
from mmseg_tapadl.models.released_weights import converted_if_released
from mmseg_tapadl.models.segmentors.attention_encoder_decoder import check_normalisation
from mmseg_tapadl.models.segmentors.frozen_encoder import freeze_encoder
from mmseg_tapadl.utils import InputError, NotFiniteError, RunStopped


@RUNNERS.register_module()
class TrustedRunner(Runner):
    """The Runner of this toolkit (``runner_type='TrustedRunner'``); arguments as mmengine's.

    * Weights must cover the model key by key, in every shape; ``load_from_strict=False`` in the config
      relaxes that for starting a *training* from other weights, never for resuming or testing.
    * ``init_from=FILE`` in the config starts a training from all that fits of another segmenter's weights;
      ``freeze='encoder'`` (``'encoder-but-tap'``, ``'stem'``, a number of blocks) keeps parts of the encoder as they are.
    * ``resume=True`` without a path takes the newest whole checkpoint of the work dir, names the broken
      ones, and says so when there is none.
    * Testing without weights, or with weights of other classes than the data set's, is an error.
    * The dumps of environment, config and hooks go to the log file, not to the screen.
    * While it is built, trains, validates, tests or loads, mmengine's readers of checkpoints are ours.
    """

    _has_loaded: bool
    _resume: bool

    @plain_readers()
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        import mmseg_tapadl.register  # noqa: F401  what the config names

        self._stage = 'start'
        self.whole_start: WholeStart | None = None
        cfg = kwargs.get('cfg')
        if cfg is not None:
            refuse_unusable(cfg)
        with building(cfg, 'what the runner starts with'):
            super().__init__(*args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger and keeps the long dumps off the screen."""
        logger = super().build_logger(*args, **kwargs)
        quiet_screen(logger)
        return logger

    def build_model(self, model: Any) -> torch.nn.Module:
        """Builds the model; for a training, with the parts of its encoder frozen that the config names under ``freeze``."""
        check_normalisation(model)
        built = super().build_model(model)
        if self.cfg.get('freeze') is not None and self.cfg.get('train_dataloader') is not None:
            freeze_encoder(built, self.cfg['freeze'])
        return built

    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """Builds a data loader; settings that only workers have are dropped where there are none."""
        if isinstance(dataloader, dict) and not dataloader.get('num_workers', 0):
            dataloader = copy.deepcopy(dataloader)
            for key in ('persistent_workers', 'prefetch_factor'):
                dataloader.pop(key, None)
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Builds the training; a loader that ends before its first batch is refused."""
        with building(self.cfg, 'train_cfg or train_dataloader'):
            built = super().build_train_loop(loop)
        refuse_no_batch(self.cfg, built.dataloader, 'train_dataloader')
        return built

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Builds the validation; batches of pictures of different sizes are split."""
        with building(self.cfg, 'val_cfg, val_dataloader or val_evaluator'):
            built = super().build_val_loop(with_any_sizes(loop))
        refuse_no_batch(self.cfg, built.dataloader, 'val_dataloader')
        return built

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Builds the test; batches of pictures of different sizes are split."""
        with building(self.cfg, 'test_cfg, test_dataloader or test_evaluator'):
            built = super().build_test_loop(with_any_sizes(loop))
        refuse_no_batch(self.cfg, built.dataloader, 'test_dataloader')
        return built

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Builds the optimizer, see mmengine's Runner."""
        with building(self.cfg, 'optim_wrapper'):
            encoder = getattr(self.bare_model, 'backbone', None)
            return super().build_optim_wrapper(with_own_constructor(optim_wrapper, encoder))

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Builds the schedules, see mmengine's Runner."""
        with building(self.cfg, 'param_scheduler'):
            return super().build_param_scheduler(scheduler)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Registers the hooks of ``default_hooks``; None switches any of them off, not only mmengine's own."""
        own = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        kept = {name: hook for name, hook in (hooks or {}).items() if hook is not None or name in own}
        super().register_default_hooks(kept)

    @plain_readers()
    def train(self) -> torch.nn.Module:
        """Trains, see mmengine's Runner; an unforeseen error is logged with the pictures it came with."""
        self._stage = 'train'
        refuse_epochs(self.cfg)
        try:
            return super().train()
        except (InputError, NotFiniteError, RunStopped, OSError):
            raise
        except Exception:
            for hook in self.hooks:
                if isinstance(hook, ExactResumeHook) and hook.pictures_at_hand:
                    shown = ', '.join(hook.pictures_at_hand)
                    self.logger.error(f'iteration {self.iter + 1} failed; the last pictures were {shown}')
            raise

    @plain_readers()
    def val(self) -> dict:
        """Validates, see mmengine's Runner."""
        return super().val()

    @plain_readers()
    def test(self) -> dict:
        """Tests weights; there is no number from nothing.

        Raises:
            CheckpointError: When neither a checkpoint was given nor this runner trained.
            RunMismatchError: When the model has another number of classes than the data set.
        """
        if self._load_from is None and self._stage != 'train':
            raise CheckpointError('testing needs a checkpoint: the score of random weights means nothing')
        trained_here = self._stage == 'train'
        self._stage = 'test'
        self._has_loaded = self._has_loaded or trained_here
        classes = classes_of(self.test_dataloader.dataset)
        outputs = getattr(getattr(self.bare_model, 'decode_head', None), 'num_classes', None)
        if outputs is not None and outputs != len(classes):
            raise RunMismatchError(
                f'the model tells {outputs} classes apart, the data set has {len(classes)}'
            )
        return super().test()

    def _init_model_weights(self) -> None:
        """Gives the model the weights that a run starts from; what then comes from a checkpoint whole is left alone.

        Weights of an encoder would else be fetched, or their file asked for, only to be overwritten.
        """
        whole = self._load_from is not None and self.cfg.get('load_from_strict', True)
        if self._resume or whole:
            return
        if self._starts_whole:
            encoder: Any = getattr(self.bare_model, 'backbone', None)
            if (getattr(encoder, 'init_cfg', None) or {}).get('type') == 'Pretrained':
                encoder.init_cfg = None
            if getattr(encoder, 'pretrained', None) is not None:
                encoder.pretrained = None
        super()._init_model_weights()

    @property
    def _starts_whole(self) -> bool:
        """Whether this is a training that starts from another segmenter."""
        return self._stage == 'train' and bool(self.cfg.get('init_from')) and self._load_from is None

    @property
    def bare_model(self) -> torch.nn.Module:
        """The model without the wrappers of distributed training and test time augmentation."""
        return bare_model(self)

    @plain_readers()
    def load_or_resume(self) -> None:
        """Loads weights or goes on with a run, as the arguments ask.

        Raises:
            CheckpointError: When there are checkpoints to resume from and none is whole.
        """
        if self._has_loaded or not self._resume or self._load_from is not None:
            super().load_or_resume()
            if self._resume:
                self.dump_config()
            elif not self._has_loaded and self._starts_whole:
                self._start_whole()
            return
        checkpoint = newest_whole(self.work_dir, self.logger.warning)
        if checkpoint is None:
            self.logger.info(f'--resume: no checkpoint in {self.work_dir}: the run starts fresh')
            # From here on this is a new run: hooks that ask must not think otherwise.
            self._resume = False
            self._init_model_weights()
            if self._starts_whole:
                self._start_whole()
        else:
            unread = f'; {self.cfg["init_from"]} is not read again' if self.cfg.get('init_from') else ''
            self.logger.info(f'--resume: going on from {checkpoint}{unread}')
            self.resume(str(checkpoint))
        self.dump_config()

    def _start_whole(self) -> None:
        """Takes what fits of the segmenter that the config names under ``init_from``; averaged weights start from it too."""
        path = str(self.cfg['init_from'])
        checkpoint = converted_if_released(load_plain(path))
        theirs = dataset_meta_of(checkpoint.get('meta')).get('classes')
        ours = classes_of(self.train_dataloader.dataset) or None
        self.whole_start = start_from_segmenter(
            self.bare_model, checkpoint, source=f'--init-from {path}', theirs=theirs, ours=ours
        )
        for line in self.whole_start.lines(path):
            self.logger.info(line)
        self._has_loaded = True
        self.call_hook(
            'after_load_checkpoint', checkpoint={'state_dict': self.bare_model.state_dict(), 'meta': {}}
        )

    def dump_config(self) -> None:
        """Writes the config into the work dir; that of a saved run stays until it is sure that today's goes on with it."""
        if not (self._resume and self._stage == 'start'):
            super().dump_config()

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'cpu',
    ) -> None:
        """Goes on with a run; arguments as mmengine's.

        Tensors are read to the CPU unless ``map_location`` says otherwise; the optimizer moves its own to the
        weights' device.

        Raises:
            CheckpointError: When the file has no training state or does not fit the model.
            RunMismatchError: When going on would mean something else than the saved run.
        """
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = 'cpu',
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict:
        """Loads weights that fit.

        Args:
            filename: Path or address.
            map_location: Where tensors are read to.
            strict: Whether every key must be covered; None: as the config says for starting a training,
                always for resuming and testing.
            revise_keys: Not supported; kept for the base class's signature.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: For a file that is no checkpoint, or that does not fit: with the keys.
            ClassesDifferError: For weights of other classes than the test set's.
            RunMismatchError: As for :meth:`resume`.
        """
        if revise_keys:
            raise InputError(
                'revise_keys is not supported: convert the file with tools/model_converters first'
            )
        checkpoint = load_plain(filename, map_location)
        if 'state_dict' not in checkpoint:
            checkpoint = {'state_dict': checkpoint, 'meta': {}}
        if is_resuming(self):
            missing = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
            if missing or 'iter' not in checkpoint.get('meta', {}):
                raise CheckpointError(
                    f'{filename}: holds weights but no training state ({", ".join(missing)}): it cannot be resumed'
                )
        if self._stage == 'test':
            self._check_classes(checkpoint, filename)
        try:
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        except RunMismatchError as error:
            # Where the weights do not fit either, allowing the change would not help.
            faults = load_weights(bare_model(self), checkpoint['state_dict'])
            besides = f'. Besides, its weights do not fit the model: {"; ".join(faults)}' if faults else ''
            raise RunMismatchError(f'{filename}: {error}{besides}') from None
        if strict is None:
            strict = (
                is_resuming(self) or self._stage == 'test' or bool(self.cfg.get('load_from_strict', True))
            )
        faults = load_weights(self.bare_model, checkpoint['state_dict'])
        if faults and strict:
            other = '' if is_resuming(self) or self._stage == 'test' else '; --init-from FILE takes what fits'
            raise CheckpointError(f'{filename}: does not fit the model: {"; ".join(faults)}{other}')
        for fault in faults:
            self.logger.warning(f'{filename}: {fault}')
        self._has_loaded = True
        self.logger.info(f'weights read from {filename}')
        return checkpoint

    def _check_classes(self, checkpoint: dict, filename: str) -> None:
        trained = dataset_meta_of(checkpoint.get('meta')).get('classes')
        # Names that a data set gets when it is built; what the config tells was compared before.
        if trained:
            names = classes_of(self.test_dataloader.dataset)
            check_same_classes(names, trained, where='the test set', source=filename, trained=True)
