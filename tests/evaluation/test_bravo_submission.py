"""The BRAVO submission: what is written is good, and every fault is named with its file."""

import gzip
import io
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.evaluation.bravo_submission import check_submission, pictures_of, write_submission
from mmseg_tapadl.utils import InputError

STEMS = ('bravo_ACDC/fog/test/S1/S1_frame_000001_rgb_anon', 'bravo_SMIYC/RoadAnomaly21/images/airplane0000')


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, 'PNG')
    return buffer.getvalue()


LABELS, CONFIDENCE = np.full((20, 30), 18, np.uint8), np.full((20, 30), 65535, np.uint16)


@pytest.fixture
def made(tmp_path):
    """The challenge's pictures and predictions of them."""
    for stem, suffix in zip(STEMS, ('.png', '.jpg'), strict=True):
        files = {
            f'data/{stem}{suffix}': None,
            f'out/labels/{stem}.png': LABELS,
            f'out/confidence/{stem}.png': CONFIDENCE,
        }
        for name, values in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if values is None:
                Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
            else:
                path.write_bytes(png(values))
    return tmp_path


def test_what_is_written_is_good(made, run_tool):
    made_it = run_tool(
        'bravo_submission.py', made / 'out', '--data-root', made / 'data', '--out', made / 'raw.tar'
    )
    assert '2 pictures' in made_it.stdout
    with tarfile.open(made / 'raw.tar') as archive:
        assert sorted(archive.getnames()) == sorted(
            f'{stem}{end}' for stem in STEMS for end in ('_pred.png', '_conf.png')
        )
    assert check_submission(made / 'raw.tar', made / 'data') == []
    checked = run_tool('bravo_submission.py', '--check', made / 'raw.tar', '--data-root', made / 'data')
    assert 'ready to be encoded' in checked.stdout


@pytest.mark.parametrize(
    ('end', 'data', 'fault'),
    [
        ('_pred.png', png(LABELS + 1), r'holds the values \[19\]'),
        ('_pred.png', png(LABELS.astype(np.uint16)), 'one grey channel of 8 bits'),
        ('_conf.png', png(LABELS), 'one grey channel of 16 bits'),
        ('_conf.png', png(CONFIDENCE[:, :10]), 'is 10x20, its picture 30x20'),
        ('_conf.png', b'nothing', 'cannot be read'),
        ('_conf.png', None, 'is missing'),
        ('_more.png', png(LABELS), 'no picture of the challenge'),
    ],
)
def test_every_fault_is_named_with_its_file(made, end, data, fault):
    files = {
        f'{stem}{kind}': png(v)
        for stem in STEMS
        for kind, v in (('_pred.png', LABELS), ('_conf.png', CONFIDENCE))
    }
    name = f'{STEMS[0]}{end}'
    files[name] = data
    with tarfile.open(made / 'wrong.tar', 'w') as archive:
        for member, content in files.items():
            if content is not None:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    (found,) = check_submission(made / 'wrong.tar', made / 'data')
    assert found.startswith(f'{name}: ')
    assert re.search(fault, found)


def test_what_cannot_be_made_or_checked_leaves_nothing(made):
    (made / 'out/confidence' / f'{STEMS[1]}.png').unlink()
    with pytest.raises(InputError, match=r'airplane0000\.png is missing.*--confidence'):
        write_submission(made / 'out', made / 'data', made / 'raw.tar')
    assert not (made / 'raw.tar').exists()
    with pytest.raises(InputError, match='holds no picture in bravo_ACDC'):
        write_submission(made / 'out', made / 'out', made / 'raw.tar')
    (made / 'text.tar').write_text('no tar')
    with pytest.raises(InputError, match='is not a whole tar file'):
        check_submission(made / 'text.tar', made / 'data')


def tarred(path, members) -> None:
    with tarfile.open(path, 'w') as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.SYMTYPE:
                info.linkname = '/etc/passwd'
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))


def good_members() -> list:
    return [
        (f'{stem}{end}', png(values), tarfile.REGTYPE)
        for stem in STEMS
        for end, values in (('_pred.png', LABELS), ('_conf.png', CONFIDENCE))
    ]


@pytest.mark.parametrize(
    ('change', 'faults'),
    [
        (lambda m: [*m, m[0]], [f'{STEMS[0]}_pred.png: occurs 2 times']),
        (lambda m: [(m[0][0], b'', tarfile.SYMTYPE), *m[1:]], [f'{STEMS[0]}_pred.png: is no file']),
        (lambda m: [(m[0][0], b'', tarfile.LNKTYPE), *m[1:]], [f'{STEMS[0]}_pred.png: is no file']),
        (lambda m: [(m[0][0], b'', tarfile.FIFOTYPE), *m[1:]], [f'{STEMS[0]}_pred.png: is no file']),
        (
            lambda m: [(f'../{m[0][0]}', m[0][1], m[0][2]), *m[1:]],
            [f'../{STEMS[0]}_pred.png: no picture', f'{STEMS[0]}_pred.png: is missing'],
        ),
        # The challenge's encoder passes these over, and says so in a warning only.
        (
            lambda m: [(f'./{m[0][0]}', m[0][1], m[0][2]), *m[1:]],
            [f'looks for {STEMS[0]}_pred.png', f'{STEMS[0]}_pred.png: is missing'],
        ),
        (lambda m: [*m, ('a\nb', b'', tarfile.REGTYPE)], ['a\\\\nb: no picture']),
    ],
)
def test_hostile_members_are_named_and_never_followed(made, change, faults):
    tarred(made / 'wrong.tar', change(good_members()))
    found = check_submission(made / 'wrong.tar', made / 'data')
    assert len(found) == len(faults)
    for line, fault in zip(found, faults, strict=True):
        assert re.search(re.escape(fault).replace('\\\\\\\\', '\\\\'), line) and line.isprintable(), (
            line,
            fault,
        )


def test_a_tar_that_is_cut_off_is_no_whole_one(made):
    tarred(made / 'whole.tar', good_members())
    data = (made / 'whole.tar').read_bytes()
    for end in (600, 1000):
        (made / 'cut.tar').write_bytes(data[:end])
        with pytest.raises(InputError, match=r'cut\.tar is not a whole tar file'):
            check_submission(made / 'cut.tar', made / 'data')
    packed = gzip.compress(data)
    (made / 'cut.tar').write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r'cut\.tar is not a whole tar file'):
        check_submission(made / 'cut.tar', made / 'data')


def test_only_what_the_challenge_calls_pictures_is_answered(made):
    """Labels, masks and thumbnails beside the pictures want no prediction."""
    for name in (
        'bravo_ACDC/fog/test/S1/S1_frame_000001_gt_labelTrainIds.png',
        'bravo_SMIYC/RoadAnomaly21/labels_masks/airplane0000_labels_semantic.png',
        'bravo_synobjs/baby/49_mask.png',
        'bravo_synobjs/baby/readme.txt',
    ):
        path = made / 'data' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(LABELS))
    assert sorted(pictures_of(made / 'data')) == sorted(STEMS)
    assert write_submission(made / 'out', made / 'data', made / 'raw.tar') == 2


@pytest.mark.parametrize(
    ('folder', 'data', 'fault'),
    [
        ('labels', png(LABELS + 1), r'holds the values \[19\]'),
        ('labels', png(CONFIDENCE), 'one grey channel of 8 bits, has 16'),
        ('confidence', png(LABELS), 'one grey channel of 16 bits, has 8'),
        ('labels', png(LABELS[:5]), 'is 30x5, its picture 30x20'),
        ('confidence', b'', 'cannot be read'),
    ],
)
def test_a_wrong_prediction_ends_the_writing_with_its_name(made, folder, data, fault):
    (made / 'raw.tar').write_bytes(b'a former one')
    path = made / 'out' / folder / f'{STEMS[1]}.png'
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf'{folder}/bravo_SMIYC/.*airplane0000\.png: .*{fault}'):
        write_submission(made / 'out', made / 'data', made / 'raw.tar')
    assert (made / 'raw.tar').read_bytes() == b'a former one'
