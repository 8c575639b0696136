"""``--init-from`` and ``--freeze`` as a user types them: from a segmenter of five classes to six classes of one's own."""

import re

import pytest
import torch
from mmengine.runner import Runner

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint, write_checkpoint
from mmseg_tapadl.engine.config import ConfigError, load_config
from mmseg_tapadl.engine.launching import prepare_processes
from mmseg_tapadl.engine.training import train
from tests.agreement.own_set import CLASSES, write_config, write_pictures
from tests.checkpoints.hostile_files import reduce_in_metadata
from tests.engine.tiny_run import train_here, two_processes

OURS = ('Sky', 'kerb', 'road', 'building', 'car', 'person')
TAP = """
model = dict(
    type='AttentionEncoderDecoder',
    backbone=dict(type='TAPMixVisionTransformer', tap=dict(num_branches=3)),
    decode_head=dict(num_classes=6),
    loss_attention=dict(type='AttentionDiversificationLoss'))
train_dataloader = dict(dataset=dict(metainfo=dict(classes={ours!r})))
val_dataloader = dict(dataset=dict(metainfo=dict(classes={ours!r})))
test_dataloader = dict(dataset=dict(metainfo=dict(classes={ours!r})))
{more}
"""
STILL = ('--cfg-options', 'optim_wrapper.optimizer.lr=0.0')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Pictures, a segmenter of mmseg trained on five classes, and our config with TAP and ADL for six."""
    folder = tmp_path_factory.mktemp('starts')
    write_pictures(folder / 'data')
    write_config(folder / 'old.py', folder / 'data')
    train_here(folder / 'old.py', folder / 'old', '--cfg-options', 'optim_wrapper.optimizer.lr=0.01')
    write_config(folder / 'new.py', folder / 'data', TAP.format(ours=OURS, more=''))
    return folder


@pytest.fixture(scope='module')
def started(folder):
    """A run that starts from it with a frozen encoder: its work dir and what it printed."""
    run = train_here(
        folder / 'new.py',
        folder / 'new',
        '--init-from',
        folder / 'old/iter_2.pth',
        '--freeze',
        'encoder-but-tap',
    )
    return folder / 'new', run.output


def test_what_fits_is_taken_and_the_log_names_the_rest(folder, started):
    work, output = started
    old, new = (
        read_checkpoint(path)['state_dict'] for path in (folder / 'old/iter_2.pth', work / 'iter_2.pth')
    )
    encoder = [key for key in old if key.startswith('backbone.')]
    assert encoder and all(torch.equal(old[key], new[key]) for key in encoder)
    assert re.search(rf'init-from .*old/iter_2\.pth: {len(old)} of {len(new)} tensors taken', output)
    assert 'decode_head.conv_seg: kept by name: Sky, road, building, car, person; fresh: kerb' in output
    assert 'start fresh: backbone.layers.*.*.*.dilation_predictor.proj.*.weight' in output
    assert re.search(
        rf'weights +{len(old)} of {len(new)} tensors from .*old/iter_2\.pth, what does not fit random', output
    )
    assert 'Traceback' not in output


def test_rows_are_those_of_the_names(folder):
    train_here(folder / 'new.py', folder / 'still', '--init-from', folder / 'old/iter_2.pth', *STILL)
    old, new = (
        read_checkpoint(path)['state_dict']['decode_head.conv_seg.weight']
        for path in (folder / 'old/iter_2.pth', folder / 'still/iter_2.pth')
    )
    for row, name in enumerate(OURS):
        if name != 'kerb':
            assert torch.equal(new[row], old[CLASSES.index(name.lower())])
    assert not any(torch.equal(new[1], row) for row in old)


def test_the_start_tells_how_much_trains_and_the_optimizer_remembers_no_more(started):
    work, output = started
    saved = read_checkpoint(work / 'iter_2.pth')
    state = saved['state_dict']
    trains = {
        key: value
        for key, value in state.items()
        if ('dilation_predictor' in key or key.startswith('decode_head')) and key.endswith(('weight', 'bias'))
    }
    count = sum(value.numel() for value in trains.values())
    total = sum(
        value.numel() for key, value in state.items() if key.endswith(('weight', 'bias')) or 'in_proj' in key
    )
    assert f'{count:,} of {total:,} parameters' in output and 'frozen: encoder-but-tap' in output
    assert len(saved['optimizer']['state']) == len(trains)


def test_a_run_that_goes_on_does_not_read_the_file_again(folder, started, tmp_path):
    work, _ = started
    source = tmp_path / 'gone.pth'
    run = train_here(
        folder / 'new.py', work, '--resume', '--init-from', source, '--freeze', 'encoder-but-tap'
    )
    assert f'going on from {work}/iter_2.pth; {source} is not read again' in run.output
    # Without the freeze it would be another run.
    other = train_here(folder / 'new.py', work, '--resume', '--init-from', source, ok=False)
    assert other.status == 2 and 'freeze' in other.output and '--allow-change' in other.output
    fresh = train_here(
        folder / 'new.py', tmp_path / 'fresh', '--resume', '--init-from', folder / 'old/iter_2.pth', *STILL
    )
    assert 'the run starts fresh' in fresh.output and 'tensors taken' in fresh.output


def test_averaged_weights_start_from_the_file_too(folder):
    more = "custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n"
    write_config(folder / 'ema.py', folder / 'data', TAP.format(ours=OURS, more=more))
    train_here(folder / 'ema.py', folder / 'ema', '--init-from', folder / 'old/iter_2.pth', *STILL)
    old, new = read_checkpoint(folder / 'old/iter_2.pth'), read_checkpoint(folder / 'ema/iter_2.pth')
    for key in ('state_dict', 'ema_state_dict'):
        weights = {name.removeprefix('module.'): value for name, value in new[key].items()}
        name = 'backbone.layers.0.0.projection.weight'
        torch.testing.assert_close(weights[name], old['state_dict'][name])


def test_two_processes_with_a_frozen_part_need_no_search_for_unused_weights(folder):
    for what, options in (('encoder-but-tap', []), ('encoder', ['model.loss_attention=None'])):
        first, _ = two_processes(
            'train.py', folder / 'new.py', '--work-dir', folder / f'two-{what}', '--skip-check', '--freeze', what,
            '--cfg-options', 'val_dataloader=None', 'val_cfg=None', 'val_evaluator=None',
            'default_hooks.checkpoint.save_best=None', *options, cwd=folder,
        )  # fmt: skip
        assert 'Iter(train) [2/2]' in first.output


def test_the_config_says_it_as_well(folder):
    more = f'init_from = {str(folder / "old/iter_2.pth")!r}\nfreeze = 2\n'
    write_config(folder / 'said.py', folder / 'data', TAP.format(ours=OURS, more=more))
    run = train_here(folder / 'said.py', folder / 'said')
    assert 'frozen: stem and 2 blocks' in run.output and 'tensors taken' in run.output
    old, new = (
        read_checkpoint(path)['state_dict']
        for path in (folder / 'old/iter_2.pth', folder / 'said/iter_2.pth')
    )
    same = {key: torch.equal(old[key], new[key]) for key in old if key.startswith('backbone.')}
    assert all(same[key] for key in same if key.startswith(('backbone.layers.0.', 'backbone.layers.1.')))
    assert not all(same[key] for key in same if key.startswith('backbone.layers.3.'))


def test_any_segmenter_of_mmseg_can_be_frozen(folder):
    run = train_here(
        folder / 'old.py', folder / 'plain', '--freeze', 'encoder', '--init-from', folder / 'old/iter_2.pth'
    )
    assert 'frozen: encoder' in run.output
    assert 'starts fresh' not in run.output and 'start fresh' not in run.output


def test_wrong_starts_are_named_before_anything_is_written(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = str(folder / 'old/iter_2.pth')
    witness = tmp_path / 'witness'
    encoder_alone = tmp_path / 'encoder.pth'
    state = read_checkpoint(old)['state_dict']
    write_checkpoint({'state_dict': {k.removeprefix('backbone.'): v for k, v in state.items() if 'backbone' in k}},
                     encoder_alone)  # fmt: skip
    cases = [
        (dict(init_from='gone.pth'), CheckpointError, 'gone.pth: no such file'),
        (dict(init_from=str(reduce_in_metadata(tmp_path, witness))), CheckpointError, 'holds a program'),
        (dict(init_from=old, pretrained=old), ConfigError, 'give one; --init-from fills the encoder, too'),
        (dict(init_from=old, resume=old), ConfigError, 'leave --init-from .* out'),
        (dict(freeze='encoder'), ValueError, r'--cfg-options model\.loss_attention=None'),
        (dict(freeze='head'), ValueError, "freeze='head': must be 'encoder', 'encoder-but-tap', 'stem'"),
        (dict(freeze='5'), ValueError, 'freeze=5: TAPMixVisionTransformer has 4 blocks'),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            train(folder / 'new.py', work_dir=str(tmp_path / 'w'), **options)
        assert not list(tmp_path.glob('w/*.pth'))
    assert not witness.exists()
    for option in ('init_from', 'pretrained'):
        with pytest.raises(
            CheckpointError, match=r'--overwrite would remove .*iter_2\.pth, which this run starts from'
        ):
            train(folder / 'new.py', work_dir=str(folder / 'old'), overwrite=True, **{option: old})
    assert (folder / 'old/iter_2.pth').is_file()
    run = train_here(folder / 'new.py', tmp_path / 'v', '--init-from', encoder_alone, ok=False)
    assert run.status == 2 and 'Iter(train)' not in run.output
    assert 'holds no segmenter' in run.output and 'are read by --pretrained FILE' in run.output


@pytest.mark.parametrize('key', ['freeze', 'init_from'])
def test_another_runner_does_not_pass_over_them(folder, tmp_path, key):
    cfg = load_config(folder / 'new.py')
    cfg.work_dir = str(tmp_path)
    cfg[key] = 'stem'
    prepare_processes(cfg, 'none')
    with pytest.raises(ValueError, match=f"{key}='stem' acts with runner_type='TrustedRunner'"):
        Runner.from_cfg(cfg).train()


def test_weights_that_must_fit_point_to_the_option_that_takes_what_fits(folder, tmp_path):
    run = train_here(
        folder / 'new.py', tmp_path / 'w', '--cfg-options', f'load_from={folder / "old/iter_2.pth"}', ok=False
    )
    assert run.status == 2 and 'does not fit the model' in run.output and '--init-from FILE' in run.output


def test_an_early_end_class_weights_and_hard_pixels_by_the_options_of_mmseg_and_mmengine(folder):
    """As docs/finetuning.md writes them; nothing is a thousand points better."""
    more = """
model['decode_head'].update(
    loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0, 3.0, 1.0, 1.0, 1.0, 1.0]),
    sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100))
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU', rule='greater', patience=2, min_delta=1000)]
train_cfg = dict(max_iters=9, val_interval=1)
"""
    write_config(folder / 'early.py', folder / 'data', TAP.format(ours=OURS, more=more))
    run = train_here(folder / 'early.py', folder / 'early', '--init-from', folder / 'old/iter_2.pth', *STILL)
    assert 'did not improve' in run.output and 'Iter(val)' in run.output
    assert re.findall(r'Iter\(train\) \[(\d)/9\]', run.output) == ['1', '2', '3']
    (best,) = (folder / 'early').glob('best_mIoU_iter_*.pth')
    assert best.stem in {f'best_mIoU_iter_{n}' for n in (1, 2, 3)} and (folder / 'early/iter_2.pth').is_file()
