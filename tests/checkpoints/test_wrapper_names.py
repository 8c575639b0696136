"""Names of weights are the model's own, whatever it was wrapped in; a count counts what the file holds."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.model.averaged_model import StochasticWeightAverage

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint
from mmseg_tapadl.checkpoints.checkpoint_loader import plain_readers
from mmseg_tapadl.checkpoints.pretrained import check_encoder_coverage, start_encoder_from
from mmseg_tapadl.checkpoints.publishing import publish
from mmseg_tapadl.checkpoints.weights import load_all_weights, load_weights
from mmseg_tapadl.checkpoints.wrapper_names import prefix_before, weights_of


class Encoder(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


class Segmenter(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__()
        self.backbone = Encoder(init_cfg)
        self.decode_head = torch.nn.Linear(4, 2)


def weights(module) -> dict:
    torch.manual_seed(1)
    return {key: torch.randn(value.shape).to(value.dtype) for key, value in module.state_dict().items()}


def behind(prefix: str, state: dict) -> dict:
    return {f'{prefix}{key}': value for key, value in state.items()}


@pytest.mark.parametrize(
    'wrap',
    [
        lambda module: torch.compile(module),
        lambda module: torch.nn.DataParallel(torch.compile(module)),
        lambda module: torch.compile(torch.nn.DataParallel(module)),
        lambda module: torch.optim.swa_utils.AveragedModel(module),
        lambda module: StochasticWeightAverage(module),
        lambda module: torch.nn.ModuleDict({'model': module}),
        lambda module: setattr(module, 'backbone', torch.compile(module.backbone)) or module,
        lambda module: setattr(module, 'backbone', torch.nn.DataParallel(module.backbone)) or module,
        lambda module: (
            module.backbone.layers.__setitem__(0, torch.nn.DataParallel(module.backbone.layers[0])) or module
        ),
    ],
)
def test_real_wrappers_are_seen_through(wrap, tmp_path):
    saved = Segmenter()
    saved.load_state_dict(expected := weights(saved))
    torch.save({'state_dict': wrap(saved).state_dict()}, tmp_path / 'a.pth')
    model = Segmenter()
    load_all_weights(model, tmp_path / 'a.pth')
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())


def test_published_weights_bear_the_names_of_the_model(tmp_path):
    expected = weights(Segmenter())
    torch.save({'state_dict': behind('module._orig_mod.', expected)}, tmp_path / 'a.pth')
    published = publish(tmp_path / 'a.pth', tmp_path / 'b.safetensors')
    assert set(read_checkpoint(published)['state_dict']) == set(expected)
    assert {path.name for path in tmp_path.iterdir()} == {'a.pth', published.name, f'{published.stem}.json'}


def test_trainers_that_keep_weights_elsewhere():
    for key in ('model', 'model_state_dict'):
        assert list(weights_of({key: {'a': torch.zeros(1)}, 'epoch': 3, 'args': {}})) == ['a']


def test_only_what_every_name_has_is_taken_off():
    one, two = torch.zeros(1), torch.ones(1)
    mixed = {'module.a': one, 'a': two}
    assert dict(weights_of(mixed)) == mixed  # which of the two would be 'a'?
    twice = {'_orig_mod.a': one, 'a': two}
    assert dict(weights_of(twice)) == twice
    # A model with a part of its own called 'module' keeps it.
    model = torch.nn.ModuleDict({'module': torch.nn.Linear(2, 2), 'head': torch.nn.Linear(2, 2)})
    assert load_weights(model, model.state_dict()) == []
    inner = torch.nn.ModuleDict({'part': model})
    wrapped = torch.nn.ModuleDict({'part': torch.nn.DataParallel(model)})
    assert load_weights(inner, wrapped.state_dict()) == load_weights(inner, inner.state_dict()) == []
    assert prefix_before(['model.a', 'model.b'], {'model.a', 'model.b'}) == ''
    faults = load_weights(Segmenter(), {**behind('module.', weights(Segmenter())), 'stranger': one})
    assert '1 unexpected: stranger' in ' '.join(faults)


def start(tmp_path, state: dict, caplog) -> tuple[Segmenter, str]:
    """Runs both steps of ``--pretrained`` on a file of ``state``, then what a runner does."""
    path = str(tmp_path / 'a.pth')
    torch.save(state, path)
    cfg = Config(dict(model=dict(backbone=dict())))
    start_encoder_from(cfg, path)
    model = Segmenter(cfg.model.backbone.init_cfg.to_dict())
    logger = logging.getLogger('pretrained')
    with caplog.at_level(logging.INFO, logger='pretrained'):
        check_encoder_coverage(SimpleNamespace(bare_model=model, logger=logger), path)
    with plain_readers():
        model.init_weights()
    return model, caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    'prefix',
    [
        '',
        'backbone.',
        'module.',
        '_orig_mod.',
        'module._orig_mod.backbone.',
        'backbone._orig_mod.',
        'model.backbone.',
    ],
)
def test_an_encoder_is_found_behind_any_wrapper(tmp_path, caplog, prefix):
    expected = weights(Encoder())
    others = {f'{prefix.replace("backbone.", "decode_head.")}conv.weight': torch.zeros(3)}
    model, line = start(tmp_path, {'state_dict': {**behind(prefix, expected), **others}}, caplog)
    assert line.startswith('encoder: 7 of 7 tensors from ')
    assert all(torch.equal(value, expected[key]) for key, value in model.backbone.state_dict().items())


@pytest.mark.parametrize('place', ['state_dict', 'model', 'model_state_dict', None])
@pytest.mark.parametrize('part', ['_orig_mod', '_checkpoint_wrapped_module', 'module'])
def test_what_is_counted_is_loaded(tmp_path, caplog, place, part):
    """Blocks that were wrapped one by one, and weights wherever a trainer keeps them."""
    expected = weights(Encoder())
    state = {key.replace('layers.0.', f'layers.0.{part}.'): value for key, value in expected.items()}
    model, line = start(tmp_path, {place: state, 'epoch': 3} if place else state, caplog)
    assert line == f'encoder: 7 of 7 tensors from {tmp_path}/a.pth'
    assert all(torch.equal(value, expected[key]) for key, value in model.backbone.state_dict().items())


def test_what_the_file_does_not_hold_is_not_counted(tmp_path, caplog):
    held = {
        key: value for key, value in weights(Encoder()).items() if not key.endswith('num_batches_tracked')
    }
    _, line = start(tmp_path, held, caplog)
    assert line == f'encoder: 6 of 7 tensors from {tmp_path}/a.pth'
    del held['layers.0.bias']
    _, line = start(tmp_path, held, caplog)
    assert line == f'encoder: 5 of 7 tensors from {tmp_path}/a.pth; 1 stay random: layers.0.bias'


@pytest.mark.parametrize(
    'state',
    [
        {'stranger.weight': torch.zeros(2)},
        {'layers.0.weight': torch.zeros(9, 9)},
        {'layers.1.num_batches_tracked': torch.tensor(5)},
        {'epoch': 3},
    ],
)
def test_a_file_of_which_nothing_fits_is_refused(tmp_path, caplog, state):
    with pytest.raises(CheckpointError, match='none of its tensors'):
        start(tmp_path, state, caplog)
