"""Every entry compares before it starts, by the same code: train, test, sweep, prediction, from the shell and Python."""

import json
from pathlib import Path

import pytest
import torch

from mmseg_tapadl.agreement import DisagreementError
from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.engine.equal_sizes import parts_of_one_size
from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.sweep import SweepOptions
from tests.agreement.own_set import CLASSES, write_config, write_pictures
from tests.engine.tiny_run import run_tool_here, train_here

SWAPPED = ('building', 'sky', *CLASSES[2:])
OTHER_ORDER = '\n'.join(
    f'{split}_dataloader = dict(dataset=dict(metainfo=dict(classes={SWAPPED!r})))'
    for split in ('val', 'test')
)


@pytest.fixture
def order(own, tmp_path) -> Path:
    """The config whose validation and test sets have two classes in each other's place."""
    return write_config(tmp_path / 'order.py', own / 'data', OTHER_ORDER)


def options(own: Path, work_dir: Path, **changes) -> SweepOptions:
    return SweepOptions(
        checkpoint=str(own / 'run/iter_2.pth'),
        work_dir=work_dir,
        corruptions=['contrast'],
        severities=[3],
        **changes,
    )


def metrics_of(work_dir: Path) -> dict:
    (path,) = work_dir.rglob('metrics.json')
    return json.loads(path.read_text())


def test_training_and_test_on_another_order(own, order, tmp_path):
    trained = train_here(order, tmp_path / 'run', ok=False)
    assert trained.status == 2
    assert 'train_dataloader.dataset has other classes (5: sky, building' in trained.output
    assert 'Traceback' not in trained.output
    assert not (tmp_path / 'run').exists()
    tested = run_tool_here(
        'test.py',
        order,
        own / 'run/iter_2.pth',
        '--skip-check',
        '--work-dir',
        tmp_path / 'test',
        cwd=tmp_path,
        ok=False,
    )
    assert tested.status == 2
    assert "class 0 is 'sky' in the first and 'building' in the second" in tested.output
    assert 'Traceback' not in tested.output


@pytest.mark.parametrize('names', [SWAPPED, CLASSES[:3]])
def test_a_sweep_is_refused_before_it_throws_cells_away(own, tmp_path, names):
    done = tmp_path / 'work/cells/kept.json'
    done.parent.mkdir(parents=True)
    done.write_text('{}')
    changes = f'test_dataloader = dict(dataset=dict(metainfo=dict(classes={names!r})))'
    cfg = load_config(write_config(tmp_path / 'other.py', own / 'data', changes))
    with pytest.raises(DisagreementError, match='was trained on other classes') as caught:
        measure(cfg, options(own, tmp_path / 'work', fresh=True))
    assert all(name in str(caught.value) for name in names)
    assert done.exists()


def test_prediction_with_a_name_too_few(own, tmp_path):
    saved = torch.load(own / 'run/iter_2.pth', weights_only=False)
    saved['meta']['dataset_meta']['classes'] = CLASSES[:4]
    torch.save({'state_dict': saved['state_dict'], 'meta': saved['meta']}, tmp_path / 'four.pth')
    with pytest.raises(
        DisagreementError, match=r'num_classes is 5, but .*four.pth tells of other classes \(4: sky'
    ):
        Predictor(load_config(own / 'own.py'), tmp_path / 'four.pth', device='cpu')
    assert Predictor(load_config(own / 'own.py'), own / 'run/iter_2.pth', device='cpu').classes == CLASSES


def test_nineteen_outputs_left_for_five_classes(own, tmp_path):
    changes = 'model = dict(decode_head=dict(num_classes=19))'
    run = train_here(write_config(tmp_path / 'own.py', own / 'data', changes), tmp_path / 'run', ok=False)
    assert run.status == 2
    assert 'model.decode_head.num_classes is 19' in run.output
    assert 'write model.decode_head.num_classes=5' in run.output


def test_void_five_is_void_everywhere(own, tmp_path):
    """Said by the data sets alone, an unusual void id gives the very numbers that 255 gives, in every tool."""
    data = write_pictures(tmp_path / 'data', void=5)
    changes = '\n'.join(
        f'{split}_dataloader = dict(dataset=dict(ignore_index=5))' for split in ('train', 'val', 'test')
    )
    config = write_config(tmp_path / 'five.py', data, changes)
    run = train_here(config, tmp_path / 'run')
    assert 'void is 5 (train_dataloader.dataset.ignore_index); these follow: ' in run.output
    ours, usual = (torch.load(f / 'run/iter_2.pth', weights_only=False) for f in (tmp_path, own))
    for name, weight in usual['state_dict'].items():
        assert torch.equal(ours['state_dict'][name], weight), name
    results = [
        measure(load_config(path), options(own, tmp_path / f'sweep{number}'))
        for number, path in enumerate((config, own / 'own.py'))
    ]
    assert results[0]['clean'] == results[1]['clean']
    for number, path in enumerate((config, own / 'own.py')):
        run_tool_here(
            'test.py',
            path,
            own / 'run/iter_2.pth',
            '--skip-check',
            '--work-dir',
            tmp_path / f'test{number}',
            cwd=tmp_path,
        )
    first, second = (metrics_of(tmp_path / f'test{number}') for number in range(2))
    assert first['metrics'] == second['metrics']


def test_weighted_loss_over_labelled_pixels_trains(own, tmp_path):
    loss = (
        'model = dict(decode_head=dict(loss_decode=dict(class_weight=[1, 2, 1, 3, 1], avg_non_ignore=True)))'
    )
    run = train_here(write_config(tmp_path / 'own.py', own / 'data', loss), tmp_path / 'run')
    assert 'avg_non_ignore=True, which mmseg cannot compute beside it, is left out' in run.output
    assert (tmp_path / 'run/iter_2.pth').exists()


@pytest.mark.parametrize('tta', [False, True])
def test_unequal_pictures_in_one_batch_of_a_test(own, tmp_path, tta):
    data = write_pictures(tmp_path / 'data', sizes=((64, 48), (64, 48), (48, 64)))
    config = write_config(tmp_path / 'own.py', data)
    scores = []
    for batch in (1, 3):
        work_dir = tmp_path / f'test{batch}'
        run_tool_here(
            *('test.py', config, own / 'run/iter_2.pth', '--skip-check', '--work-dir', work_dir),
            *(['--tta'] if tta else []),
            *('--cfg-options', f'test_dataloader.batch_size={batch}'),
            cwd=tmp_path,
        )
        scores.append(metrics_of(work_dir)['metrics'])
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


def test_unequal_pictures_in_one_batch_of_a_validation(own, tmp_path):
    data = write_pictures(tmp_path / 'data', sizes=((64, 48), (48, 64)))
    changes = 'val_dataloader = dict(batch_size=2)'
    run = train_here(write_config(tmp_path / 'own.py', data, changes), tmp_path / 'run')
    assert 'mIoU' in run.output


def test_parts_keep_the_order_and_lose_nothing():
    sizes = [(4, 6), (4, 6), (6, 4), (4, 6), (8, 8)]
    pictures = [torch.full((3, *size), float(number)) for number, size in enumerate(sizes)]
    names = list('abcde')
    parts = list(parts_of_one_size(dict(inputs=pictures, data_samples=names)))
    assert [places for places, _ in parts] == [[0, 1], [2], [3], [4]]
    assert [name for _, part in parts for name in part['data_samples']] == names
    assert [len({picture.shape for picture in part['inputs']}) for _, part in parts] == [1, 1, 1, 1]

    whole = dict(inputs=pictures[:2], data_samples=names[:2])
    (((places), part),) = parts_of_one_size(whole)
    assert places == [0, 1]
    assert part is whole

    varied = dict(
        inputs=[pictures, [picture[:, ::2] for picture in pictures]],
        data_samples=[names, [name * 2 for name in names]],
    )
    parts = list(parts_of_one_size(varied))
    assert [part['data_samples'] for _, part in parts][1] == [['c'], ['cc']]
    assert [[len(variant) for variant in part['inputs']] for _, part in parts] == [
        [2, 2],
        [1, 1],
        [1, 1],
        [1, 1],
    ]
