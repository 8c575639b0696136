"""Files written before are still read; ``tests/data/old_formats`` was written by version 3ed8d00."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, check_whole, read_checkpoint
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.plain_data import restore_log_buffers
from mmseg_tapadl.checkpoints.weights import load_all_weights
from mmseg_tapadl.checkpoints.work_dir import newest_whole, read_best_record

OLD = Path(__file__).resolve().parents[1] / 'data/old_formats'


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


def test_a_work_dir_is_gone_on_with():
    assert newest_whole(OLD, pytest.fail) == OLD / 'iter_2.pth'
    assert read_best_record(OLD) == [
        {'metric': 'mIoU', 'score': 12.5, 'iter': 2, 'file': 'best_mIoU_iter_2.pth'}
    ]
    saved = read_checkpoint(OLD / 'iter_2.pth')
    assert saved['meta']['iter'] == 2 and saved['meta']['seed'] == 7
    restore_log_buffers(saved)
    assert saved['message_hub']['log_scalars']['train/loss'].mean() == 1.0
    optimizer = torch.optim.AdamW(model().parameters())
    optimizer.load_state_dict(saved['optimizer'])
    assert optimizer.param_groups[0]['lr'] == 0.1


@pytest.mark.parametrize('name', ['iter_2.pth', 'published-886a90b9.pth', 'published-a2613227.safetensors'])
def test_weights_and_names_are_read(name):
    check_whole(OLD / name)
    filled = model()
    meta = load_all_weights(filled, OLD / name)
    trained = torch.load(OLD / 'iter_2.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, trained[key]) for key, value in filled.state_dict().items())
    assert dataset_meta_of(meta)['classes'] == ['road', 'sky']
    # Published files of that version have no colours.
    assert ('palette' in dataset_meta_of(meta)) == (name == 'iter_2.pth')


@pytest.mark.parametrize('name', ['published-886a90b9', 'published-a2613227'])
def test_their_digests_are_still_looked_at(name, tmp_path):
    (path,) = (path for path in OLD.glob(f'{name}.*') if path.suffix != '.json')
    facts = json.loads((OLD / f'{name}.json').read_text())
    assert facts['file'] == path.name and facts['sha256'].startswith(name.rpartition('-')[2])
    copy = tmp_path / shutil.copy(path, tmp_path)
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(CheckpointError, match='damaged'):
        check_whole(copy)


def test_names_of_mmseg_before_1_0_are_read():
    meta = {'CLASSES': ('a', 'b'), 'PALETTE': torch.tensor([[1, 2, 3], [4, 5, 6]])}
    assert dataset_meta_of(meta) == {'classes': ['a', 'b'], 'palette': [[1, 2, 3], [4, 5, 6]]}
    for broken in (
        {'dataset_meta': 3},
        None,
        {'PALETTE': [[1, 2]]},
        {'PALETTE': [[1, 2, 300]]},
        {'CLASSES': 7},
    ):
        assert dataset_meta_of(broken) == {}
