"""mmengine's readers of checkpoints are replaced while our code runs, and only then; addresses are read as data."""

import functools
import http.server
import shutil
import sys
import threading

import pytest
import torch
from mmengine.runner import CheckpointLoader

import mmseg_tapadl.register  # noqa: F401  neither this nor any other import may replace a reader
from mmseg_tapadl.checkpoints.checkpoint_loader import READERS, load_plain, plain_readers
from mmseg_tapadl.engine import CheckpointError, load_config, trust_checkpoint
from mmseg_tapadl.inference.predictor import Predictor
from tests.checkpoints.hostile_files import reduce_in_metadata, weights
from tests.engine.tiny_run import run_tool_here, train_here, write_config, write_pictures

ADDRESS = 's3://bucket/model.pth'


def table() -> dict:
    return dict(CheckpointLoader._schemes)


@pytest.fixture
def before():
    """The table as others left it; it is put back, whatever a test does."""
    former = CheckpointLoader._schemes
    assert not set(former.values()) & set(READERS.values())
    CheckpointLoader._schemes = dict(former)  # registering changes the table in place
    yield dict(former)
    CheckpointLoader._schemes = former


def test_every_prefix_of_mmengine_has_a_reader_of_ours(before):
    assert set(READERS) == set(before)
    with plain_readers():
        assert table() == READERS
        assert list(table()) == list(before)  # mmengine takes the first that matches
    assert table() == before


def test_nested_and_after_an_error(before):
    with pytest.raises(KeyError), plain_readers():
        with plain_readers(), pytest.raises(CheckpointError):
            load_plain('gone.pth')
        assert table() == READERS
        raise KeyError
    assert table() == before


def test_two_threads_that_leave_in_the_order_they_came(before):
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with plain_readers():
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=other)
    with plain_readers():
        thread.start()
        entered.wait(20)
    assert table() == READERS
    leave.set()
    thread.join()
    assert table() == before


def test_a_reader_that_others_register_stays(before):
    def earlier(filename, map_location):
        return {'state_dict': {}}

    def meanwhile(filename, map_location):
        return {'state_dict': {'found': filename}}

    CheckpointLoader.register_scheme('earlier://', loader=earlier)
    with plain_readers():
        CheckpointLoader.register_scheme('store://', loader=meanwhile)
        CheckpointLoader.register_scheme('pavi://', loader=meanwhile, force=True)
        assert table()['earlier://'] is earlier
    assert table() == {**before, 'earlier://': earlier, 'store://': meanwhile, 'pavi://': meanwhile}
    assert load_plain('store://x') == {'state_dict': {'found': 'store://x'}}


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('loader')
    write_pictures(folder / 'data', train=2, val=1)
    write_config(folder / 'tiny.py', folder / 'data', iters=4)
    return folder


def test_a_run_leaves_the_table_as_it_was(before, tiny, monkeypatch):
    from mmseg_tapadl.engine.testing import test
    from mmseg_tapadl.engine.training import train

    seen = []
    monkeypatch.chdir(tiny)
    runner = train(
        tiny / 'tiny.py',
        check_data=lambda cfg, splits: seen.append(table()),
        cfg_options=['default_hooks.stop_signal=None'],
    )
    assert seen == [READERS] and table() == before
    runner.val()
    with pytest.raises(CheckpointError, match=r'gone\.pth'):
        test(tiny / 'tiny.py', 'gone.pth')
    assert table() == before
    predictor = Predictor(load_config(tiny / 'tiny.py'), tiny / 'work_dirs/tiny/iter_4.pth', device='cpu')
    assert predictor.classes[0] == 'road' and table() == before


def test_an_address_without_its_client_is_named_by_every_tool(tiny):
    picture = next((tiny / 'data/leftImg8bit/val').rglob('*.png'))
    runs = [
        run_tool_here('test.py', 'tiny.py', ADDRESS, '--skip-check', cwd=tiny, ok=False),
        run_tool_here('predict.py', 'tiny.py', ADDRESS, picture, '--out', 'out', cwd=tiny, ok=False),
        train_here(tiny / 'tiny.py', tiny / 'a', '--pretrained', ADDRESS, ok=False),
        train_here(tiny / 'tiny.py', tiny / 'b', '--cfg-options', f'load_from={ADDRESS}', ok=False),
        train_here(tiny / 'tiny.py', tiny / 'c', '--resume', ADDRESS, ok=False),
        run_tool_here('test_robustness.py', 'tiny.py', ADDRESS, cwd=tiny, ok=False),
        run_tool_here('model_converters/publish.py', ADDRESS, 'out.pth', cwd=tiny, ok=False),
        run_tool_here('model_converters/tapadl2mmseg.py', ADDRESS, 'out.pth', cwd=tiny, ok=False),
    ]
    for run in runs:
        assert run.status == 2, run.output[-2000:]
        last = run.output.strip().splitlines()[-1]
        assert ADDRESS in last and 'name' in last and 'by its path' in last, run.output[-2000:]
        assert 'Traceback' not in run.output
    assert not (tiny / 'out').exists() and not (tiny / 'out.pth').exists()


def test_with_its_client_the_bytes_are_read_as_data(tmp_path, monkeypatch):
    # A client of the storage service, as far as mmengine calls it, on a folder of files.
    (tmp_path / 'petrel_client').mkdir()
    (tmp_path / 'petrel_client/client.py').write_text(
        'import pathlib\n'
        'class Client:\n'
        '    def __init__(self, conf_path=None, enable_mc=True): pass\n'
        f'    def Get(self, path): return (pathlib.Path({str(tmp_path)!r}) / path.split("/")[-1]).read_bytes()\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.save({'state_dict': weights()}, tmp_path / 'model.pth')
    assert torch.equal(load_plain(ADDRESS)['state_dict']['layer.weight'], weights()['layer.weight'])
    program = reduce_in_metadata(tmp_path, tmp_path / 'witness')
    trust_checkpoint(program)  # trust is in this file, not in one of its name elsewhere
    with pytest.raises(CheckpointError, match=rf'petrel://b/{program.name}: .*holds a program'):
        load_plain(f'petrel://b/{program.name}')
    assert not (tmp_path / 'witness').exists()
    with pytest.raises(CheckpointError, match=r's3://bucket/gone\.pth: cannot be fetched: FileNotFoundError'):
        load_plain('s3://bucket/gone.pth')
    for name in ('petrel_client', 'petrel_client.client'):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ('name', 'digest'),
    [
        ('fan-1a2b3c4d.pth', '1a2b3c4d'),
        ('fan_8xb2_20220624_101010-0b1c2d3e.pth', '0b1c2d3e'),
        ('fan-99999999.pth', '99999999'),  # no date
        ('fan-20220624.pth', None),
        ('fan-20220624101010.pth', None),
        ('deadbeef.pth', None),
        ('fan-160000.pth', None),
    ],
)
def test_a_date_in_a_name_is_no_digest(served, name, digest):
    """A file of this name is fetched; one whose name promises another digest is refused."""
    address = served(name)
    with plain_readers():
        if digest is None:
            assert set(load_plain(address)) == set(weights())
        else:
            with pytest.raises(CheckpointError, match=f'invalid hash value .*{digest}'):
                load_plain(address)


def test_an_address_can_be_trusted(served, tmp_path):
    address = served('program.pth', reduce_in_metadata(tmp_path, tmp_path / 'witness'))
    with plain_readers():
        with pytest.raises(CheckpointError, match='holds a program'):
            load_plain(address)
        assert not (tmp_path / 'witness').exists()
        trust_checkpoint(address)
        load_plain(address)
    assert (tmp_path / 'witness').exists()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serves a file under a name over HTTP on this machine, with an empty cache of downloads; returns its address."""
    folder = tmp_path / 'served'
    folder.mkdir()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()

    def serve(name: str, file=None) -> str:
        if file is None:
            torch.save(weights(), folder / name)
        else:
            shutil.copy(file, folder / name)
        return f'http://127.0.0.1:{server.server_port}/{name}'

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()
