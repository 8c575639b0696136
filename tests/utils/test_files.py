"""Files are written whole, under any name that is allowed, whatever their file system leaves out."""

import errno
import logging
import os
import stat
import threading

import pytest

from mmseg_tapadl.utils import atomic_write, files, write_json


@pytest.fixture
def failing_sync(monkeypatch):
    """Lets ``fsync`` fail with a given error number, for folders or for files; the rest goes to the real one."""
    monkeypatch.setattr(files, '_sync_told', False)
    real = os.fsync

    def fail(number: int, of_folders: bool) -> None:
        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode) == of_folders:
                raise OSError(number, os.strerror(number))
            real(descriptor)

        monkeypatch.setattr(os, 'fsync', fsync)

    return fail


@pytest.mark.parametrize('of_folders', [True, False])
@pytest.mark.parametrize('number', [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF])
def test_a_file_system_that_cannot_sync_is_told_once(failing_sync, tmp_path, caplog, number, of_folders):
    failing_sync(number, of_folders)
    with caplog.at_level(logging.WARNING):
        for name in ('a.json', 'b.json'):
            write_json(tmp_path / name, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'b.json']
    (record,) = caplog.records
    assert str(tmp_path) in record.getMessage() and os.strerror(number) in record.getMessage()


@pytest.mark.parametrize('of_folders', [True, False])
@pytest.mark.parametrize('number', [errno.EIO, errno.ENOSPC])
def test_lost_bytes_stay_an_error(failing_sync, tmp_path, number, of_folders):
    failing_sync(number, of_folders)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_json(tmp_path / 'a.json', 1)
    assert not list(tmp_path.glob('.*'))


def test_a_folder_that_cannot_be_opened_is_no_reason_to_stop(monkeypatch, tmp_path):
    def refuse(path, flags, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, 'open', refuse)  # as on Windows, where open() itself goes another way
    write_json(tmp_path / 'a.json', 1)
    assert (tmp_path / 'a.json').read_text() == '1\n'


@pytest.mark.parametrize('name', ['x' * 251 + '.pth', '街' * 83 + '.png', 'a.' + 'b' * 253, 'é' * 127, 'a'])
def test_every_allowed_name_can_be_written(tmp_path, name):
    with atomic_write(tmp_path / name) as file:
        (temporary,) = tmp_path.iterdir()
        assert len(os.fsencode(temporary.name)) <= 40 and temporary.name.startswith('.')
        file.write(b'whole')
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_kill_leaves_is_found_where_a_run_starts_anew(tmp_path):
    from mmseg_tapadl.checkpoints.work_dir import refuse_used

    left = files.temporary_beside(tmp_path / 'iter_100.pth')
    left.touch()
    refuse_used(tmp_path, overwrite=True)
    assert not left.exists()


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path):
    write_json(tmp_path / 'a.json', 1)
    with pytest.raises(RuntimeError), atomic_write(tmp_path / 'a.json') as file:
        file.write(b'half')
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']
    assert (tmp_path / 'a.json').read_text() == '1\n'


def test_the_mask_of_rights_is_never_changed(tmp_path):
    """Another thread would make files that everybody may write meanwhile."""
    stop, wrong = threading.Event(), []

    def look() -> None:
        with open('/proc/self/status') as status:
            while not stop.is_set():
                status.seek(0)
                mask = next(line.split()[1] for line in status if line.startswith('Umask'))
                wrong.extend([mask] if mask != '0027' else [])

    before = os.umask(0o027)
    watcher = threading.Thread(target=look)
    try:
        watcher.start()
        for number in range(300):
            with atomic_write(tmp_path / 'a') as file:
                file.write(b'%d' % number)
    finally:
        stop.set()
        watcher.join()
        os.umask(before)
    assert not wrong
    assert stat.S_IMODE((tmp_path / 'a').stat().st_mode) == 0o640
