"""A published file holds the weights, a few facts and its digest, and nothing of the training."""

import hashlib
import json

import pytest
import torch

from mmseg_tapadl.engine import CheckpointError, read_checkpoint
from tests.engine.tiny_run import run_tool_here


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_published_weights_score_as_the_checkpoint(suffix, tiny, undisturbed, tmp_path):
    checkpoint = undisturbed / 'iter_8.pth'
    arguments = [tiny / 'tiny.py', checkpoint, '--work-dir', tmp_path / 'a', '--skip-check']
    run_tool_here('test.py', *arguments, cwd=tmp_path)
    metrics = tmp_path / 'a/metrics.json'
    tool = 'model_converters/publish.py'
    run = run_tool_here(
        tool, checkpoint, tmp_path / f'model{suffix}', '--metrics', metrics, '--notes', 'CC0', cwd=tmp_path
    )
    (published,) = tmp_path.glob(f'model-*{suffix}')
    assert str(published) in run.output
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.stem == f'model-{digest[:8]}'
    beside = json.loads(published.with_suffix('.json').read_text())
    assert beside['sha256'] == digest and beside['notes'] == 'CC0' and beside['iterations'] == 8
    read = read_checkpoint(published)
    assert set(read) == {'state_dict', 'meta'} and read['meta']['dataset_meta']['classes'][:2] == [
        'road',
        'sidewalk',
    ]
    original = torch.load(checkpoint, weights_only=True)['state_dict']
    assert all(torch.equal(value, read['state_dict'][key]) for key, value in original.items())
    run_tool_here(
        'test.py', tiny / 'tiny.py', published, '--work-dir', tmp_path / 'b', '--skip-check', cwd=tmp_path
    )
    first, second = (json.loads((tmp_path / name / 'metrics.json').read_text()) for name in 'ab')
    assert first['metrics'] == second['metrics'] == read['meta']['metrics']
    published.write_bytes(published.read_bytes()[:-1] + b'x')
    with pytest.raises(CheckpointError, match=r'damaged|cut short'):
        read_checkpoint(published)
