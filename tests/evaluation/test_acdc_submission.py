"""The submission: written by the metric, found good, and every fault found and named."""

import io
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import METRICS
from PIL import Image

from mmseg_tapadl.evaluation.acdc_submission import check_submission
from mmseg_tapadl.utils import InputError
from tests.datasets.test_acdc import CONDITIONS, write

NAMES = [f'S{number}_frame_000001_rgb_anon.png' for number in range(4)]


@pytest.fixture
def acdc(tmp_path) -> Path:
    for name, condition in zip(NAMES, CONDITIONS, strict=True):
        write(tmp_path / 'acdc/rgb_anon' / condition / 'test' / name[:2] / name, 'RGB')
        write(tmp_path / 'acdc/rgb_anon' / condition / 'test_ref' / name[:2] / name, 'RGB')
    return tmp_path / 'acdc'


def png(array: np.ndarray, kind: str = 'PNG') -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def zipped(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def good_files() -> list[tuple[str, bytes]]:
    return [(f'labelTrainIds/{name}', png(np.full((6, 8), 18, np.uint8))) for name in NAMES]


def test_what_the_metric_writes_is_good(acdc, tmp_path):
    metric = METRICS.build(dict(type='ACDCSubmission', output_dir=str(tmp_path / 'out')))
    predictions = torch.arange(48).reshape(1, 6, 8) % 19
    for name, condition in zip(NAMES, CONDITIONS, strict=True):
        path = str(acdc / 'rgb_anon' / condition / 'test' / name[:2] / name)
        metric.process({}, [{'img_path': path, 'pred_sem_seg': {'data': predictions}}])
    # Left over from another run: must not be sent along.
    write(tmp_path / 'out/labelTrainIds/old_rgb_anon.png', 'L')
    assert metric.evaluate(4) == {}
    archive = tmp_path / 'out/acdc_submission.zip'
    assert check_submission(archive, acdc) == []
    with zipfile.ZipFile(archive) as opened, opened.open(f'labelTrainIds/{NAMES[2]}') as file:
        assert np.array_equal(np.asarray(Image.open(file)), predictions[0].numpy())
    # One zip a condition too: the server scores one a run.
    for name, condition in zip(NAMES, CONDITIONS, strict=True):
        part = tmp_path / f'out/acdc_submission_{condition}.zip'
        assert check_submission(part, acdc, condition=condition) == []
        assert zipfile.ZipFile(part).namelist() == [f'labelTrainIds/{name}']
    assert any('is missing' in fault for fault in check_submission(part, acdc))


def test_a_model_of_other_classes_is_refused(tmp_path):
    metric = METRICS.build(dict(type='ACDCSubmission', output_dir=str(tmp_path)))
    with pytest.raises(InputError, match='class 19'):
        metric.process({}, [{'img_path': 'a.png', 'pred_sem_seg': {'data': torch.full((1, 2, 2), 19)}}])


@pytest.mark.parametrize(
    ('change', 'fault'),
    [
        (lambda f: f[:3], f'labelTrainIds/{NAMES[3]}: is missing'),
        (
            lambda f: [*f, ('labelTrainIds/other_rgb_anon.png', f[0][1])],
            'labelTrainIds/other_rgb_anon.png: no test picture',
        ),
        (
            lambda f: [*f, ('labelTrainIds/S1_frame_000001_gt_labelTrainIds.png', f[0][1])],
            f'should it be {NAMES[1]}',
        ),
        (lambda f: [*f, f[1]], f'labelTrainIds/{NAMES[1]}: occurs 2 times'),
        (
            lambda f: [*f[:3], (f'fog/{NAMES[3]}', f[3][1])],
            f'fog/{NAMES[3]}: must lie flat in the folder labelTrainIds/',
        ),
        (
            lambda f: [*f[:3], (f[3][0], png(np.zeros((8, 6), np.uint8)))],
            f'{NAMES[3]}: is 6x8, its picture 8x6',
        ),
        (lambda f: [*f[:3], (f[3][0], png(np.zeros((6, 8), np.uint16)))], f'{NAMES[3]}: has 16 bits'),
        (lambda f: [*f[:3], (f[3][0], png(np.zeros((6, 8), bool)))], f'{NAMES[3]}: has 1 bits'),
        (
            lambda f: [*f[:3], (f[3][0], png(np.zeros((6, 8, 3), np.uint8)))],
            f'{NAMES[3]}: has 3 channels (RGB)',
        ),
        (
            lambda f: [*f[:3], (f[3][0], png(np.full((6, 8), 33, np.uint8)))],
            f'{NAMES[3]}: holds the values [33]',
        ),
        (
            lambda f: [*f[:3], (f[3][0], png(np.full((6, 8), 255, np.uint8)))],
            f'{NAMES[3]}: holds the values [255]',
        ),
        (lambda f: [*f[:3], (f[3][0], png(np.zeros((6, 8), np.uint8), 'BMP'))], f'{NAMES[3]}: is a BMP file'),
        (lambda f: [*f[:3], (f[3][0], f[3][1][:40])], f'{NAMES[3]}: cannot be read'),
        (lambda f: [*f[:3], (f[3][0], b'')], f'{NAMES[3]}: cannot be read'),
    ],
)
def test_every_fault_is_named_with_its_file(acdc, tmp_path, change, fault):
    faults = check_submission(zipped(tmp_path / 'a.zip', change(good_files())), acdc)
    assert any(fault in line for line in faults), faults
    # Only the count, where it is wrong, is added: nothing good is blamed.
    assert all('files for 4 test pictures' in line or NAMES[0] not in line for line in faults)


def encrypted(path: Path) -> Path:
    """Marks the first file of a zip as encrypted, as an archive with a password is."""
    data = bytearray(path.read_bytes())
    for signature, flags in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(bytes(data))
    return path


def packed_unusually(path: Path) -> Path:
    """Says that the first file is packed by a method that nobody has."""
    data = bytearray(path.read_bytes())
    for signature, method in ((b'PK\x03\x04', 8), (b'PK\x01\x02', 10)):
        data[data.index(signature) + method] = 97
    path.write_bytes(bytes(data))
    return path


def damaged(path: Path) -> Path:
    """Changes one byte of the first picture."""
    data = bytearray(path.read_bytes())
    data[data.index(b'IDAT') + 8] ^= 0xFF
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize('harm', [encrypted, packed_unusually, damaged])
def test_a_file_that_cannot_be_unpacked_is_a_fault_like_any_other(acdc, tmp_path, harm):
    (fault,) = check_submission(harm(zipped(tmp_path / 'a.zip', good_files())), acdc)
    assert fault.startswith(f'labelTrainIds/{NAMES[0]}: cannot be read')


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no row of it."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    chunks = [(b'IHDR', header), (b'IDAT', zlib.compress(b'')), (b'IEND', b'')]
    packed = [
        struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(packed)


def test_a_claim_of_pixels_is_not_believed(acdc, tmp_path, recwarn):
    for size in ((1 << 15, 1 << 15), (10_000, 10_000), (8, 6)):
        files = [*good_files()[:3], (good_files()[3][0], header_of(*size))]
        (fault,) = check_submission(zipped(tmp_path / 'a.zip', files), acdc)
        assert fault.startswith(f'labelTrainIds/{NAMES[3]}: ')
    assert not recwarn


def test_names_cannot_forge_lines_or_places(acdc, tmp_path):
    good = good_files()
    for name in (f'labelTrainIds/./{NAMES[3]}', f'../labelTrainIds/{NAMES[3]}', f'/labelTrainIds/{NAMES[3]}'):
        faults = check_submission(zipped(tmp_path / 'a.zip', [*good[:3], (name, good[3][1])]), acdc)
        assert faults == [f'{name}: must lie flat in the folder labelTrainIds/']
    forged = check_submission(zipped(tmp_path / 'a.zip', [*good, ('a\nb: is fine\x1b[2K', b'')]), acdc)
    assert len(forged) > 1 and all(fault.isprintable() for fault in forged)


def test_one_condition_needs_no_other(acdc, tmp_path):
    shutil.rmtree(acdc / 'rgb_anon/night')
    files = [file for file, condition in zip(good_files(), CONDITIONS, strict=True) if condition == 'fog']
    assert check_submission(zipped(tmp_path / 'a.zip', files), acdc, condition='fog') == []
    with pytest.raises(InputError, match=r'night.*holds no picture'):
        check_submission(zipped(tmp_path / 'a.zip', files), acdc)


def test_a_test_picture_that_cannot_be_read_is_named(acdc, tmp_path):
    picture = next((acdc / 'rgb_anon').rglob(NAMES[1]))
    if picture.parent.parent.name.endswith('_ref'):
        picture = acdc / 'rgb_anon' / CONDITIONS[1] / 'test' / NAMES[1][:2] / NAMES[1]
    picture.write_bytes(b'')
    with pytest.raises(InputError, match=rf'{NAMES[1]}: not a readable picture'):
        check_submission(zipped(tmp_path / 'a.zip', good_files()), acdc)


def test_a_run_of_one_condition_writes_its_zip_too(acdc, tmp_path):
    metric = METRICS.build(dict(type='ACDCSubmission', output_dir=str(tmp_path / 'out')))
    path = str(acdc / 'rgb_anon' / CONDITIONS[0] / 'test' / NAMES[0][:2] / NAMES[0])
    metric.process(
        {}, [{'img_path': path, 'pred_sem_seg': {'data': torch.zeros(1, 6, 8, dtype=torch.int64)}}]
    )
    metric.evaluate(1)
    part = tmp_path / f'out/acdc_submission_{CONDITIONS[0]}.zip'
    assert check_submission(part, acdc, condition=CONDITIONS[0]) == []


def test_several_faults_are_all_found(acdc, tmp_path):
    files = [(name, png(np.full((6, 8, 3), 40, np.uint8))) for name, _ in good_files()[:2]]
    assert len(check_submission(zipped(tmp_path / 'a.zip', files), acdc)) == 1 + 2 + 2


def test_what_cannot_be_checked(acdc, tmp_path):
    with pytest.raises(InputError, match=r'b.zip'):
        check_submission(tmp_path / 'b.zip', acdc)
    (tmp_path / 'c.zip').write_bytes(b'PK not really')
    with pytest.raises(InputError, match=r'c.zip'):
        check_submission(tmp_path / 'c.zip', acdc)
    with pytest.raises(InputError, match='no ACDC test pictures'):
        check_submission(tmp_path / 'c.zip', tmp_path)
