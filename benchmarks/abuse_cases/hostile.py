"""Files that mean harm, through every entry that reads a checkpoint."""

import importlib
import runpy
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.abuse_cases.sandbox import in_child
from tests.checkpoints.hostile_files import CONSTRUCTIONS, READABLE
from tests.engine.tiny_run import ROOT, write_config, write_pictures


def _entries(folder: Path, config: Path, ours: bool) -> dict[str, Callable[[Path], object]]:
    """Name to function; each is given the hostile file."""
    from mmengine.config import Config
    from mmengine.model import BaseModule
    from mmengine.runner import Runner, load_checkpoint
    from mmseg.apis import init_model
    from torch import nn

    class Layer(BaseModule):
        def __init__(self, init_cfg: dict | None = None) -> None:
            super().__init__(init_cfg)
            self.layer = nn.Linear(3, 2)

    def config_now(**changes: object) -> Config:
        cfg = Config.fromfile(config)
        cfg.work_dir = str(folder / 'run')
        cfg.merge_from_dict(changes)
        return cfg

    def runner(cfg: Config) -> Runner:
        if ours:
            from mmseg_tapadl.engine import TrustedRunner

            return TrustedRunner.from_cfg(cfg)
        return Runner.from_cfg(cfg)

    def reading(entry: Callable[[Path], object]) -> Callable[[Path], object]:
        if not ours:
            return entry
        from mmseg_tapadl.engine import plain_readers

        return plain_readers()(entry)

    def tool(name: str, *before: object, after: tuple = ()) -> Callable[[Path], object]:
        def call(path: Path) -> None:
            sys.argv = [name, *(str(part) for part in (*before, path, *after))]
            try:
                runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
            except SystemExit as end:
                if end.code:
                    raise RuntimeError('refused') from None

        return call

    entries: dict[str, Callable[[Path], object]] = {
        'load_checkpoint': reading(lambda path: load_checkpoint(Layer(), str(path))),
        'Pretrained': reading(
            lambda path: Layer(dict(type='Pretrained', checkpoint=str(path))).init_weights()
        ),
        'init_model': reading(lambda path: init_model(config_now(), str(path), device='cpu')),
        'test': lambda path: runner(config_now(load_from=str(path))).test(),
        'load_from': lambda path: runner(config_now(load_from=str(path))).train(),
        'resume': lambda path: runner(config_now(load_from=str(path), resume=True)).train(),
    }
    if ours:
        work = ('--work-dir', folder / 'tool', '--skip-check')
        pictures = folder / 'data/leftImg8bit/val/town'
        entries |= {
            'train.py --resume': tool('train.py', config, *work, '--resume'),
            'train.py --pretrained': tool('train.py', config, *work, '--pretrained'),
            'test.py': tool('test.py', config, after=work),
            'predict.py': tool('predict.py', config, after=(pictures, '--out', folder / 'out')),
            'test_robustness.py': tool('test_robustness.py', config, after=('--work-dir', folder / 'tool')),
            'publish.py': tool('model_converters/publish.py', after=(folder / 'out.pth',)),
            'tapadl2mmseg.py': tool('model_converters/tapadl2mmseg.py', after=(folder / 'out2.pth',)),
        }
    return entries


def run(ours: bool, quick: bool) -> dict:
    """Returns ``tried`` (file and entry), ``harmless`` and, by file, the entries through which it did harm.

    Harm is: the program ran, the process hung, or it died for want of memory. A hostile file that is read
    as weights without that is counted as ``taken`` (it fooled nobody, but nobody was told).
    """
    warnings.filterwarnings('ignore')
    from mmseg.utils import register_all_modules

    if ours:
        # Loaded before the forks, which then start at once.
        for module in (
            'engine.training',
            'engine.testing',
            'checkpoints.publishing',
            'inference',
            'robustness',
        ):
            importlib.import_module(f'mmseg_tapadl.{module}')
    register_all_modules(init_default_scope=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / 'data', train=2, val=1)
        if ours:
            config = write_config(folder / 'tiny.py', folder / 'data', iters=1)
        else:
            config = _plain_config(folder)
        entries = _entries(folder, config, ours)
        if quick:
            entries = {key: entries[key] for key in list(entries)[:3]}
        tried = harmless = 0
        harm: dict[str, list[str]] = {}
        for construct in CONSTRUCTIONS:
            for number, (entry, call) in enumerate(entries.items()):
                here = folder / f'{construct.__name__}_{number}'
                here.mkdir()
                witness = here / 'witness'
                path = construct(here, witness)
                outcome = in_child(lambda call=call, path=path: call(path))  # type: ignore[misc]
                tried += 1
                ran = witness.exists()
                bad = ran or outcome in ('hung', 'died')
                taken = outcome == 'done' and construct not in READABLE
                harmless += not bad and not taken
                if bad or taken:
                    what = 'ran' if ran else 'taken' if taken else outcome
                    harm.setdefault(construct.__name__, []).append(f'{entry}: {what}')
    return {
        'constructions': len(CONSTRUCTIONS),
        'entries': list(entries),
        'tried': tried,
        'harmless': harmless,
        'harm': harm,
    }


def _plain_config(folder: Path) -> Path:
    """The same tiny run without anything of ours."""
    ours = write_config(folder / 'ours.py', folder / 'data', iters=1).read_text()
    runtime = (
        "default_scope = 'mmseg'\n"
        "default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3), logger=dict(type='LoggerHook'))\n"
        'log_processor = dict(by_epoch=False)\nrandomness = dict(seed=0)\n'
    )
    lines = [line for line in ours.splitlines() if not line.startswith(('_base_', 'default_hooks'))]
    text = (
        '\n'.join(lines)
        .replace('PositionedSampler', 'InfiniteSampler')
        .replace('PreciseIoUMetric', 'IoUMetric')
    )
    text = text.replace('persistent_workers=True, ', '').replace('SyncBN', 'BN')
    path = folder / 'plain.py'
    path.write_text(runtime + text)
    return path
