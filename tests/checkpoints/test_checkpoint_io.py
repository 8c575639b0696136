"""Checkpoints are data: read without running anything, written whole, every damage noticed."""

import os
import random
import resource
import signal
import time

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model

from mmseg_tapadl.checkpoints.checkpoint_io import DiskFullError, check_whole
from mmseg_tapadl.checkpoints.work_dir import newest_whole, point_to
from mmseg_tapadl.engine import (
    CheckpointError,
    load_config,
    plain_readers,
    read_checkpoint,
    trust_checkpoint,
    write_checkpoint,
)
from tests.checkpoints.hostile_files import CONSTRUCTIONS, READABLE, reduce_in_metadata, weights
from tests.engine.tiny_run import start_writer


class Layer(BaseModule):
    """Takes the honest weights of the hostile files."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = torch.nn.Linear(3, 2)


def pretrained(path):
    Layer(init_cfg=dict(type='Pretrained', checkpoint=str(path))).init_weights()


@pytest.mark.parametrize('construct', CONSTRUCTIONS, ids=lambda c: c.__name__)
def test_hostile_files_are_refused_through_every_python_entry(construct, tmp_path, tiny):
    witness = tmp_path / 'witness'
    path = construct(tmp_path, witness)
    cfg = load_config(tiny / 'tiny.py')
    cfg.model.data_preprocessor.pop('size')
    entries = {
        'read_checkpoint': lambda: read_checkpoint(path),
        'load_checkpoint': lambda: load_checkpoint(Layer(), str(path)),
        'Pretrained': lambda: pretrained(path),
        'init_model': lambda: init_model(cfg, str(path), device='cpu'),
    }
    for name, entry in entries.items():
        if construct in READABLE:
            if name != 'init_model':  # its weights are not those of a segmenter
                with plain_readers():
                    entry()
        else:
            with plain_readers(), pytest.raises(CheckpointError, match=path.name):
                entry()
        assert not witness.exists(), f'{name} ran what the file holds'


def test_a_program_is_named_and_runs_only_when_trusted(tmp_path):
    path = reduce_in_metadata(tmp_path, tmp_path / 'witness')
    with pytest.raises(CheckpointError, match=r'holds a program \(posix.system\)') as refusal:
        read_checkpoint(path)
    assert '--trust-checkpoint' in str(refusal.value) and 'nothing of it was run' in str(refusal.value)
    assert not (tmp_path / 'witness').exists()
    trust_checkpoint(path)
    with plain_readers():
        load_checkpoint(Layer(), str(path))
    assert (tmp_path / 'witness').exists()


def test_honest_files_of_others_are_read(tmp_path):
    import argparse
    from collections import OrderedDict

    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        'state_dict': OrderedDict(weights()),
        'meta': {
            'score': np.float32(0.5),
            'names': np.array(['a', 'b']),
            'args': argparse.Namespace(lr=0.1, model='fan'),
        },
        'message_hub': {'log_scalars': {'loss': buffer}},
    }
    torch.save(content, tmp_path / 'mmengine.pth')
    read = read_checkpoint(tmp_path / 'mmengine.pth')
    assert read['meta']['score'] == 0.5 and read['meta']['args'] == {'lr': 0.1, 'model': 'fan'}
    assert read['message_hub']['log_scalars']['loss']['_log_history'].tolist() == [1.0, 2.0]
    torch.save(weights(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / 'old.pth')['layer.weight'], weights()['layer.weight'])


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_round_trip_and_plain_torch_reads_what_is_written(name, tmp_path):
    content = {'state_dict': weights(), 'meta': {'classes': ['road', 'sky'], 'score': np.float64(1 / 3)}}
    write_checkpoint(content, tmp_path / name)
    check_whole(tmp_path / name)
    read = read_checkpoint(tmp_path / name)
    assert all(torch.equal(read['state_dict'][key], value) for key, value in weights().items())
    assert read['meta'] == {'classes': ['road', 'sky'], 'score': 1 / 3}
    if name.endswith('pth'):
        assert torch.load(tmp_path / name, weights_only=True)['meta']['score'] == 1 / 3
    else:
        from safetensors.torch import load_file

        assert torch.equal(load_file(tmp_path / name)['layer.bias'], weights()['layer.bias'])


def test_what_is_not_plain_data_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'checkpoint.meta.where is a pathlib'):
        write_checkpoint({'state_dict': weights(), 'meta': {'where': tmp_path}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='weights only'):
        write_checkpoint({'state_dict': {'a': 1}}, tmp_path / 'x.safetensors')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors', 'foreign.pth'])
def test_every_flipped_bit_of_a_sample_is_noticed(name, tmp_path):
    path = tmp_path / name
    content = {'state_dict': {'a': torch.randn(500), 'b': torch.randn(30)}, 'meta': {'epoch': 1}}
    if name == 'foreign.pth':  # written by torch alone: only the archive's own sums protect the tensors
        torch.save(content, path)
    else:
        write_checkpoint(content, path)
    whole = path.read_bytes()
    draw = random.Random(0)
    # In a foreign file the padding between entries is covered by nothing; its tensors and pickle are.
    start = whole.find(content['state_dict']['a'].numpy().tobytes()) if name == 'foreign.pth' else 0
    end = start + 2000 if name == 'foreign.pth' else len(whole)
    for _ in range(200):
        place = draw.randrange(start, end)
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(path)
    path.write_bytes(whole)
    read_checkpoint(path)


def test_a_damaged_directory_of_a_foreign_archive_ends_in_no_other_error(tmp_path):
    torch.save(weights(), tmp_path / 'foreign.pth')
    whole = (tmp_path / 'foreign.pth').read_bytes()
    refused = 0
    for bit in range(8 * 60):
        damaged = bytearray(whole)
        damaged[len(whole) - 1 - bit // 8] ^= 1 << bit % 8
        (tmp_path / 'foreign.pth').write_bytes(damaged)
        try:
            read = read_checkpoint(tmp_path / 'foreign.pth')
        except CheckpointError:
            refused += 1
        else:
            assert torch.equal(read['layer.weight'], weights()['layer.weight'])
    assert refused > 200


def test_a_digest_beside_a_download_is_checked(tmp_path):
    torch.save(weights(), tmp_path / 'd.pth')
    (tmp_path / 'd.pth.sha256').write_text('0' * 64 + '  d.pth\n')
    with pytest.raises(CheckpointError, match='SHA-256'):
        read_checkpoint(tmp_path / 'd.pth')


def test_empty_short_and_foreign_files_say_so(tmp_path):
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.pth').write_text('hello')
    torch.save([torch.zeros(1)], tmp_path / 'list.pth')
    for path, words in (
        (tmp_path / 'empty.pth', 'empty'),
        (tmp_path / 'text.pth', 'not a checkpoint'),
        (tmp_path / 'list.pth', 'holds a list'),
        (tmp_path / 'gone.pth', 'no such file'),
        (tmp_path, 'a folder'),
    ):
        with pytest.raises(CheckpointError, match=words) as error:
            read_checkpoint(path)
        assert str(path) in str(error.value)


def test_killed_while_writing_there_is_always_a_whole_one(tmp_path):
    draw = random.Random(1)
    for attempt in range(6):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        writer = start_writer(folder)
        while not (folder / 'last_checkpoint').exists():
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.05))
        writer.kill()
        writer.join()
        passed_over: list[str] = []
        found = newest_whole(folder, passed_over.append)
        assert found is not None and passed_over == []
        saved = read_checkpoint(found)
        assert torch.equal(saved['state_dict']['w'], torch.full((500_000,), float(saved['meta']['iter'])))


def test_no_room_leaves_the_old_file_and_says_what_is_needed(tmp_path):
    path = tmp_path / 'iter_1.pth'
    write_checkpoint({'state_dict': weights()}, path)
    before = path.read_bytes()
    big = {'state_dict': {'w': torch.zeros(1_000_000)}}
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
            write_checkpoint(big, path)
        except DiskFullError as error:
            status = 0 if 'iter_1.pth' in str(error) and '4.0 MB needed' in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ['iter_1.pth']


def test_a_pointer_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / 'run').mkdir()
    write_checkpoint({'state_dict': weights()}, tmp_path / 'iter_9.pth')
    write_checkpoint({'state_dict': weights()}, tmp_path / 'run/iter_1.pth')
    (tmp_path / 'run/last_checkpoint').write_text('../iter_9.pth')
    assert newest_whole(tmp_path / 'run', print) == tmp_path / 'run/iter_1.pth'
    point_to(tmp_path / 'run/iter_1.pth', tmp_path / 'run')
    assert (tmp_path / 'run/last_checkpoint').read_text() == 'iter_1.pth'
