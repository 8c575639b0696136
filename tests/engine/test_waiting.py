"""What one process does while the others wait: a check longer than any time-out, a fault in it, a download."""

import contextlib
import functools
import http.server
import multiprocessing
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from mmseg_tapadl.checkpoints.checkpoint_io import write_checkpoint
from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.one_process import OtherProcessError, on_each_machine, on_main_process
from tests.engine.tiny_run import ToolRun, free_port, write_config, write_pictures

_CONTEXT = multiprocessing.get_context('forkserver')


def _process(body, rank: int, port: str, local_rank: str, folder: Path) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE='2', LOCAL_RANK=local_rank, MASTER_ADDR='127.0.0.1', MASTER_PORT=port
    )
    torch.distributed.init_process_group('gloo', timeout=torch.distributed.default_pg_timeout / 1200)  # 1.5 s
    try:
        body(rank, folder)
        value = torch.ones(1)
        torch.distributed.all_reduce(value)
        (folder / f'{rank}.txt').write_text(f'done {int(value)}')
    except Exception as error:
        (folder / f'{rank}.txt').write_text(f'{type(error).__name__} {isinstance(error, InputError)} {error}')


def in_two_processes(body, folder: Path, local_ranks=('0', '1')) -> list[str]:
    """Runs ``body(rank, folder)`` in two processes whose collective calls give up after 1.5 s; what each said."""
    port = free_port()
    processes = [
        _CONTEXT.Process(target=_process, args=(body, rank, port, local_ranks[rank], folder))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    return [(folder / f'{rank}.txt').read_text() for rank in (0, 1)]


def note(folder: Path, rank: int) -> None:
    with open(folder / 'worked', 'a') as file:
        file.write(str(rank))


def slow(rank: int, folder: Path) -> None:
    def work():
        time.sleep(4)
        note(folder, rank)

    on_main_process(work)
    assert (folder / 'worked').read_text() == '0'


def wrong(rank: int, folder: Path) -> None:
    def work():
        raise InputError('picture 7 is broken')

    on_main_process(work)


def crashed(rank: int, folder: Path) -> None:
    def work():
        raise KeyError('oops')

    on_main_process(work)


def each_machine(rank: int, folder: Path) -> None:
    on_each_machine(lambda: note(folder, rank))


def test_the_others_wait_longer_than_a_collective_call_may(tmp_path):
    assert in_two_processes(slow, tmp_path) == ['done 2', 'done 2']


def test_a_fault_found_by_one_ends_all_in_the_same_way(tmp_path):
    first, second = in_two_processes(wrong, tmp_path)
    assert first == 'InputError True picture 7 is broken'
    assert second.startswith('InputError True stopped, because another process (0)') and 'picture 7' in second
    first, second = in_two_processes(crashed, tmp_path)
    assert first.startswith('KeyError False') and second.startswith(f'{OtherProcessError.__name__} False')


def test_the_first_process_of_every_machine_works(tmp_path):
    assert in_two_processes(each_machine, tmp_path, ('0', '1')) == ['done 2', 'done 2']
    assert (tmp_path / 'worked').read_text() == '0'
    (tmp_path / 'worked').unlink()
    assert in_two_processes(each_machine, tmp_path, ('0', '0')) == ['done 2', 'done 2']
    assert sorted((tmp_path / 'worked').read_text()) == ['0', '1']


def test_alone_there_is_nobody_to_wait_for():
    done = []
    on_main_process(lambda: done.append(1))
    on_each_machine(lambda: done.append(2))
    assert done == [1, 2]
    with pytest.raises(KeyError):
        on_main_process(lambda: {}['x'])


def test_a_fault_in_the_data_ends_every_process_with_status_2(tmp_path):
    data = write_pictures(tmp_path / 'data', train=2, val=1)
    bad = data / 'leftImg8bit/train/town/town_000001_000000_leftImg8bit.png'
    bad.write_bytes(b'')
    config = write_config(tmp_path / 'tiny.py', data)
    port = free_port()
    runs = [
        ToolRun(
            'train.py', config, '--work-dir', tmp_path / 'run', '--launcher', 'pytorch', cwd=tmp_path,
            env=dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port),
        )
        for rank in ('0', '1')
    ]  # fmt: skip
    assert [run.wait() for run in runs] == [2, 2], runs[1].output[-2000:]
    assert str(bad) in runs[0].output and 'because another process (0) stopped' in runs[1].output


def test_every_machine_fetches_for_itself(tmp_path, tiny, undisturbed):
    """Two machines on one host: each process is the first of its own, with a home of its own."""
    shared = tmp_path / 'served'
    weights = torch.load(undisturbed / 'iter_8.pth', weights_only=True)['state_dict']
    write_checkpoint({'state_dict': weights}, shared / 'tiny.pth')
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(shared))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/tiny.pth'
        port = free_port()
        runs = [
            ToolRun(
                'test.py', tiny / 'tiny.py', address, '--work-dir', tmp_path / 'run', '--skip-check',
                '--launcher', 'pytorch', cwd=tmp_path,
                env=dict(
                    RANK=rank, LOCAL_RANK='0', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
                    TORCH_HOME=str(tmp_path / f'home{rank}'),
                ),
            )
            for rank in ('0', '1')
        ]  # fmt: skip
        statuses = [run.wait() for run in runs]
        with contextlib.suppress(OSError):
            server.shutdown()
    assert statuses == [0, 0], runs[1].output[-2000:]
    for rank in ('0', '1'):
        assert (tmp_path / f'home{rank}/hub/checkpoints/tiny.pth').exists()
