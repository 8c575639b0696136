"""What was changed between a checkpoint and the run that goes on from it: seen, named, and what was wanted acts."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR, PolyLR

from mmseg_tapadl.engine.repeatable.run_changes import judge
from mmseg_tapadl.utils.config_values import changes_between, digest_of, plain_values, without_neutral
from tests.engine.tiny_run import differences, state_of, train_here


@pytest.fixture(scope='module')
def city(repo_root) -> Config:
    """The paper's config, as it was when saved."""
    return Config.fromfile(str(repo_root / 'configs/fan_tapadl_cityscapes.py'))


def judged(city: Config, options: dict, allowed=()):
    now = copy.deepcopy(city)
    now.merge_from_dict(options)
    return judge(plain_values(city.to_dict()), plain_values(now.to_dict()), allowed)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('optim_wrapper.optimizer.lr', 1e-4),
        ('optim_wrapper.optimizer.weight_decay', 0.05),
        ('optim_wrapper.optimizer.betas', (0.9, 0.95)),
        ('optim_wrapper.paramwise_cfg.custom_keys.decode_head.lr_mult', 1.0),
        ('optim_wrapper.clip_grad', dict(max_norm=1.0)),
        ('model.loss_attention.threshold', 0.5),
        ('model.loss_attention.loss_weight', 3.0),
        ('model.backbone.drop_path_rate', 0.4),
        ('model.backbone.tap', None),
        ('model.decode_head.loss_decode.loss_weight', 0.5),
        ('model.data_preprocessor.mean', [0.0, 0.0, 0.0]),
        ('train_dataloader.dataset.data_root', '/elsewhere/cityscapes'),
        ('train_dataloader.dataset.type', 'ACDCDataset'),
        ('train_dataloader.sampler.shuffle', False),
        ('train_cfg.type', 'SomeOtherLoop'),
        ('randomness.diff_rank_seed', True),
        ('custom_hooks', [dict(type='EMAHook', momentum=0.1)]),
        ('default_hooks.param_scheduler', None),
        ('auto_scale_lr', dict(enable=True, base_batch_size=8)),
    ],
)
def test_what_changes_the_meaning_is_named_with_both_values(city, key, value):
    verdict = judged(city, {key: value})
    assert verdict.refused and not verdict.unknown
    for change in verdict.refused:
        assert change.key.startswith(key) and f'{change.key}: ' in str(change)
        inner = city.to_dict()
        for part in change.key.split('.'):
            inner = inner.get(part, 'not set')
            if inner == 'not set':
                break
        assert plain_values(inner) == change.before
    # Named as wanted, by the key itself or by what it stands in, it goes on and is still told.
    for allowed in (key, key.split('.')[0]):
        accepted = judged(city, {key: value}, [allowed])
        assert not accepted.refused and accepted.noted == verdict.refused
        assert accepted.new_rate == key.startswith(('optim_wrapper', 'auto_scale_lr'))
    assert judged(city, {key: value}, ['optim', 'model.back', 'other']).refused


def test_a_step_of_the_pipeline_is_named_by_its_place_and_another_list_as_a_whole(city):
    before = plain_values(city.to_dict())
    steps = before['train_dataloader']['dataset']['pipeline']
    place = next(number for number, step in enumerate(steps) if step['type'] == 'RandomCrop')
    now = copy.deepcopy(before)
    now['train_dataloader']['dataset']['pipeline'][place]['crop_size'] = [256, 256]
    (change,) = judge(before, now, ()).refused
    assert change.key == f'train_dataloader.dataset.pipeline.{place}.crop_size' and change.now == [256, 256]
    del now['train_dataloader']['dataset']['pipeline'][place]
    (change,) = judge(before, now, ()).refused
    assert change.key == 'train_dataloader.dataset.pipeline'
    assert f'{len(steps)} steps (' in str(change) and str(change).count('RandomCrop') == 1


@pytest.mark.parametrize(
    ('options', 'noted'),
    [
        ({'work_dir': 'x', 'log_level': 'DEBUG', 'default_hooks.logger.interval': 7}, []),
        ({'train_dataloader.num_workers': 9, 'train_dataloader.persistent_workers': False}, []),
        ({'test_dataloader.dataset.data_root': 'x', 'model.backbone.init_cfg': 'x'}, []),
        ({'train_dataloader.dataset.type': 'mmseg.CityscapesDataset'}, []),
        ({'train_cfg.val_interval': 77}, ['train_cfg.val_interval']),
        ({'val_dataloader.dataset.data_root': 'x'}, ['val_dataloader.dataset.data_root']),
        ({'model.backbone.with_cp': 'changed'}, ['model.backbone.with_cp']),
        ({'param_scheduler.1.end': 99}, ['param_scheduler.1.end']),
        ({'default_hooks.checkpoint.interval': 5}, ['default_hooks.checkpoint.interval']),
        ({'env_cfg.cudnn_benchmark': False}, ['env_cfg.cudnn_benchmark']),
        ({'crop_size': (1, 1), 'data_root': 'x', 'max_iters': 3}, []),
        ({'model.decode_head.norm_cfg.type': 'BN'}, []),
    ],
)
def test_what_does_not_change_the_meaning_goes_on(city, options, noted):
    verdict = judged(city, options)
    assert not verdict.refused and not verdict.unknown
    assert [change.key for change in verdict.noted] == noted
    assert verdict.new_rate == any('param_scheduler' in key for key in options)


def test_a_run_saved_under_the_former_names_of_transforms_goes_on(city):
    now = plain_values(city.to_dict())
    before = copy.deepcopy(now)
    for pipeline in (before['train_pipeline'], before['train_dataloader']['dataset']['pipeline']):
        pipeline[:2] = [
            dict(type='CheckedLoadImageFromFile'),
            dict(type='mmseg.CheckedLoadAnnotations', num_classes=19),
        ]
    verdict = judge(before, now, ())
    assert not verdict.refused and not verdict.unknown and not verdict.noted
    before['train_dataloader']['dataset']['pipeline'][1]['reduce_zero_label'] = True
    (change,) = judge(before, now, ()).refused
    assert change.key == 'train_dataloader.dataset.pipeline.1.reduce_zero_label'


def test_keys_nobody_knows_stop_unless_a_known_key_tells_the_same():
    before = {'train_cfg': {'max_iters': 8}, 'rounds': 8, 'secret': 1}
    assert judge(before, {'train_cfg': {'max_iters': 12}, 'rounds': 12, 'secret': 1}, ()).unknown == []
    (change,) = judge(before, {**before, 'secret': 2}, ()).unknown
    assert str(change) == 'secret: 1 when saved, 2 now'
    assert judge(before, {**before, 'secret': 2}, ['secret']).unknown == []
    (change,) = judge(before, {**before, 'rounds': 12}, ()).unknown
    assert change.key == 'rounds'
    # A switch that changed somewhere else tells nothing of this one.
    switched = {'train_dataloader': {'pin_memory': True}, 'trick': True}
    off = {'train_dataloader': {'pin_memory': False}, 'trick': False}
    assert [change.key for change in judge(off, switched, ()).unknown] == ['trick']


def test_values_are_compared_as_values():
    def thing():
        pass

    plain = plain_values(
        {'a': (1, 2), 'b': {3}, 'c': torch.nn.Linear, 'd': thing, 'e': torch.ones(2), 'f': None}
    )
    assert plain['a'] == [1, 2] and plain['b'] == [3] and plain['e'] == [1.0, 1.0] and plain['f'] is None
    assert plain['c'].endswith('linear.Linear') and plain['d'].endswith('thing')
    nan = float('nan')
    assert list(changes_between({'a': nan, 'b': 1}, {'a': nan, 'b': 1.0})) == []
    (change,) = changes_between({'a': None}, {})
    assert (change.key, change.before, change.now) == ('a', None, 'not set')
    neutral = {'model': {'a': (1,)}, 'work_dir': 'x', 'train_dataloader': {'num_workers': 3}}
    assert without_neutral(neutral) == {'model': {'a': [1]}, 'train_dataloader': {}}
    assert digest_of({'a': 1, 'b': 2}) == digest_of({'b': 2, 'a': 1}) != digest_of({'a': 1, 'b': 3})


def test_all_changes_stand_in_one_line_and_nothing_is_overwritten(tiny, undisturbed):
    work_dir = tiny / 'changed'
    work_dir.mkdir()
    (work_dir / 'iter_6.pth').write_bytes((undisturbed / 'iter_6.pth').read_bytes())
    kept = (undisturbed / 'tiny.py').read_text()
    (work_dir / 'tiny.py').write_text(kept)
    config = tiny / 'sub' / 'tiny.py'
    config.parent.mkdir()
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        f'train_dataloader = dict(dataset=dict(data_root={str(tiny / "moved_data")!r}))\n'
        'my_own_key = 5\n'
    )
    (tiny / 'moved_data').symlink_to(tiny / 'data')
    options = ['optim_wrapper.optimizer.lr=2e-3', 'model.backbone.drop_path_rate=0.2']
    run = train_here(config, work_dir, '--resume', '--cfg-options', *options, ok=False)
    assert run.status == 2, run.output[-2000:]
    (line,) = [text for text in run.output.splitlines() if ': error: ' in text]
    for text in (
        'optim_wrapper.optimizer.lr: 0.001 when saved, 0.002 now',
        'model.backbone.drop_path_rate: 0.1 when saved, 0.2 now',
        f'train_dataloader.dataset.data_root: {tiny / "data"} when saved, {tiny / "moved_data"} now',
        'does not know: my_own_key: not set when saved, 5 now',
        '--allow-change ',
    ):
        assert text in line
    assert (work_dir / 'tiny.py').read_text() == kept
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_6.pth']
    # The line says what to add; with it the run goes on, and tells the changes again.
    keys = line.partition('--allow-change ')[2].partition(';')[0].split()
    run = train_here(config, work_dir, '--resume', '--allow-change', *keys, '--cfg-options', *options)
    assert run.output.count('resuming with a change: ') == 4
    assert f'learning rate of {rates(2e-3, 7)[6]:.4g}' in run.output
    written = (work_dir / 'tiny.py').read_text()
    assert 'drop_path_rate=0.2' in written and 'allow_change' not in written
    # From here on it is the run: no flag any more.
    train_here(config, work_dir, '--resume', '--cfg-options', *options, 'train_cfg.max_iters=9')


def rates(top: float, iters: int) -> list[float]:
    """The rate of every iteration under the tiny config's schedule, from mmengine's schedulers alone."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=top)
    schedule = [
        LinearLR(optimizer, start_factor=1e-3, by_epoch=False, begin=0, end=3),
        PolyLR(optimizer, eta_min=0.0, power=1.0, by_epoch=False, begin=3, end=8),
    ]
    found = []
    for _ in range(iters):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for part in schedule:
            part.step()
    return found


def test_a_wanted_rate_decay_and_grouping_act_and_the_moments_stay(tiny, undisturbed):
    options = [
        'optim_wrapper.optimizer.lr=5e-4',
        'optim_wrapper.optimizer.weight_decay=0.2',
        'optim_wrapper.optimizer.betas=(0.8,0.9)',
        # One group becomes many, each weight its own.
        'optim_wrapper.paramwise_cfg.norm_decay_mult=0.0',
        # The same values in other clothes are no change.
        'model.backbone.num_heads=(1,2,4,8)',
        'model.backbone.out_indices=[0,1,2,3]',
        'train_dataloader.dataset.type=mmseg.CityscapesDataset',
    ]
    run = train_here(
        tiny / 'tiny.py', tiny / 'rated', '--resume', undisturbed / 'iter_6.pth',
        '--allow-change', 'optim_wrapper', '--cfg-options', *options,
    )  # fmt: skip
    assert 'num_heads' not in run.output.partition('resuming with')[2].partition('this run')[0]
    saved = torch.load(tiny / 'rated/iter_8.pth', weights_only=True)
    logged = saved['message_hub']['log_scalars']['train/lr']['values']
    assert logged[-2:].tolist() == pytest.approx(rates(5e-4, 8)[6:], rel=1e-6)
    groups = saved['optimizer']['param_groups']
    assert {group['initial_lr'] for group in groups} == {5e-4} and len(groups) > 50
    assert {group['weight_decay'] for group in groups} == {0.0, 0.2}
    assert {tuple(group['betas']) for group in groups} == {(0.8, 0.9)}
    # Adam counted on: its moments were carried over, weight by weight.
    before = torch.load(undisturbed / 'iter_6.pth', weights_only=True)['optimizer']['state']
    state = saved['optimizer']['state']
    assert {float(entry['step']) for entry in state.values()} == {8.0}
    assert [state[i]['exp_avg'].shape for i in before] == [before[i]['exp_avg'].shape for i in before]


def test_a_wanted_rate_equals_the_run_that_always_had_its_schedule(tiny, undisturbed):
    # Going on with the saved rate by the same way must change nothing at all.
    run = train_here(
        tiny / 'tiny.py', tiny / 'same', '--resume', undisturbed / 'iter_6.pth',
        '--allow-change', 'optim_wrapper', '--cfg-options', 'optim_wrapper.clip_grad.max_norm=1e9',
    )  # fmt: skip
    assert "those of today's config" in run.output
    one, other = state_of(undisturbed / 'iter_8.pth'), state_of(tiny / 'same/iter_8.pth')
    assert differences(one['optimizer']['param_groups'], other['optimizer']['param_groups']) == []
    assert differences(one['state_dict'], other['state_dict']) == []


def test_checkpoints_of_before_still_go_on_and_say_what_cannot_be_compared(tiny, undisturbed):
    saved = torch.load(undisturbed / 'iter_6.pth', weights_only=True)
    del saved['meta']['run']['config']
    torch.save(saved, tiny / 'older.pth')
    run = train_here(tiny / 'tiny.py', tiny / 'older', '--resume', tiny / 'older.pth')
    assert (
        'learning rate, weight decay, model, augmentation and data_root of then cannot be compared'
        in run.output
    )
    assert differences(state_of(undisturbed / 'iter_8.pth'), state_of(tiny / 'older/iter_8.pth')) == []
    # What is asked for by name acts there too.
    del saved['meta']['run']
    torch.save(saved, tiny / 'foreign.pth')
    run = train_here(
        tiny / 'tiny.py', tiny / 'foreign', '--resume', tiny / 'foreign.pth',
        '--allow-change', 'optim_wrapper.optimizer.lr', '--cfg-options', 'optim_wrapper.optimizer.lr=5e-4',
    )  # fmt: skip
    assert 'cannot be compared' in run.output
    logged = torch.load(tiny / 'foreign/iter_8.pth', weights_only=True)['message_hub']['log_scalars'][
        'train/lr'
    ]
    assert logged['values'][-2:].tolist() == pytest.approx(rates(5e-4, 8)[6:], rel=1e-6)


def test_a_wanted_batch_goes_on_but_another_seed_never(tiny, undisturbed):
    checkpoint = undisturbed / 'iter_6.pth'
    options = ['--cfg-options', 'train_dataloader.batch_size=3']
    run = train_here(
        tiny / 'tiny.py', tiny / 'batch', '--resume', checkpoint,
        '--allow-change', 'train_dataloader.batch_size', *options,
    )  # fmt: skip
    assert 'resuming with a change: batch_size: 2 when saved, 3 now' in run.output
    run = train_here(
        tiny / 'tiny.py',
        tiny / 'seed',
        '--resume',
        checkpoint,
        '--seed',
        5,
        '--allow-change',
        'randomness',
        ok=False,
    )
    assert (
        run.status == 2
        and 'seed: 0 when saved, 5 now' in run.output
        and 'cannot change within a run' in run.output
    )
