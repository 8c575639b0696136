"""benchmarks/gpu.sh on the processor: to its end, without mmseg; and what it refuses."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.accuracy import Case, all_cases, compare
from benchmarks.gpu.cost import FAN_B
from mmseg_tapadl.models.backbones import FAN_ARCHS

ABSENT = ('mmseg', 'mmengine', 'mmcv')


def gpu_sh(repo_root, *args, **environment):
    return subprocess.run(
        [repo_root / 'benchmarks' / 'gpu.sh', *args],
        env={**os.environ, 'PYTHON': sys.executable, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_it_runs_to_its_end_where_only_torch_and_timm_are_installed(repo_root, tmp_path):
    for package in ABSENT:
        (tmp_path / f'{package}.py').write_text("raise ModuleNotFoundError('it is not installed here')\n")
    done = gpu_sh(repo_root, '--device', 'cpu', '--quick', tmp_path / 'out.json', PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'out.json').read_text())
    assert (results['device'], results['quick'], results['skipped_for_time']) == ('cpu', True, [])
    assert results['machine']['torch'] == torch.__version__
    checked = {(row['layer'], row['dtype']) for row in results['accuracy']}
    layers = {case.name for case in all_cases(quick=True)}
    assert checked == {(layer, dtype) for layer in layers for dtype in ('float32', 'float16', 'bfloat16')}
    assert all(row['holds'] and row['plain_error'] > 0 for row in results['accuracy'])
    assert {row['what'] for row in results['cost']} == {'attention', 'token-aware pooling', 'FAN blocks'}
    assert all(row['median_seconds'] > 0 and row['peak_bytes'] >= 0 for row in results['cost'])


def test_without_a_gpu_it_says_so_in_one_line(repo_root):
    done = gpu_sh(repo_root, CUDA_VISIBLE_DEVICES='')
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.splitlines() == [
        'gpu.sh: error: torch sees no GPU here; --device cpu --quick runs it on the processor'
    ]


def test_without_a_python_it_says_so_in_one_line(repo_root):
    done = gpu_sh(repo_root, PYTHON='/nowhere/python')
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert '/nowhere/python' in done.stderr


def refusal(monkeypatch, capsys, *args) -> str:
    monkeypatch.setattr(sys, 'argv', ['gpu.sh', '--device', 'cpu', '--quick', *map(str, args)])
    assert gpu.main() == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    return captured.err


def test_a_budget_of_no_bytes_is_named(monkeypatch, capsys):
    monkeypatch.setenv('TAPADL_BUDGET', 'attention_block_bytes=0')
    assert 'attention_block_bytes=0' in refusal(monkeypatch, capsys)


def test_no_file_is_overwritten(monkeypatch, capsys, tmp_path):
    (tmp_path / 'mine.json').write_text('mine')
    assert 'mine.json exists' in refusal(monkeypatch, capsys, tmp_path / 'mine.json')
    assert (tmp_path / 'mine.json').read_text() == 'mine'


@pytest.mark.parametrize(('wrong', 'holds'), [(0.0, True), (1e-4, False)])
def test_an_error_above_twice_the_plain_forms_does_not_hold(wrong, holds):
    case = Case(
        'square',
        lambda x: [x * x * (1 + wrong)],
        lambda x: [x * x],
        lambda generator: [torch.randn(50, generator=generator, dtype=torch.float64)],
        gradients=('x',),
    )
    rows = compare(case, torch.float32, torch.device('cpu'), seeds=range(2))
    assert [(row['result'], row['holds']) for row in rows] == [('values', holds), ('gradient of x', holds)]


def test_the_stack_is_that_of_fan_base_hybrid():
    arch = FAN_ARCHS['base_hybrid']
    assert dict(dim=arch.embed_dim, num_heads=arch.num_heads, depth=arch.depth) == FAN_B
