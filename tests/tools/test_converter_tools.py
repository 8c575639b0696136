"""Released weights on real pictures through the command line, and what the converter refuses."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from mmseg_tapadl.datasets.camvid import convert_camvid
from tests.references import released_checkpoints as made_up
from tests.references.released_fan import released_features, released_logits

SIZE = (480, 352)  # CamVid's width and height, cut to multiples of 16 for the plain formulas
MEAN = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64)[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375], dtype=torch.float64)[:, None, None]


@pytest.fixture
def convert(repo_root, monkeypatch, capsys):
    """Runs the converter's own command line in this process; returns exit status, stdout, stderr."""
    path = repo_root / 'tools' / 'model_converters' / 'tapadl2mmseg.py'
    spec = importlib.util.spec_from_file_location('tapadl2mmseg', path)
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setattr('sys.path', list(sys.path))
    spec.loader.exec_module(tool)

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr('sys.argv', ['tapadl2mmseg.py', *map(str, args)])
        capsys.readouterr()
        status = tool.main()
        return status, *capsys.readouterr()

    return run


def small_camvid(source: Path, target: Path, count: int) -> Path:
    """The first validation pictures of CamVid, cut to ``SIZE``, in the form of the public release."""
    for folder in ('val', 'valannot'):
        (target / folder).mkdir(parents=True)
        for path in sorted((source / folder).glob('*.png'))[:count]:
            Image.open(path).crop((0, 0, *SIZE)).save(target / folder / path.name)
    return target


def labels_by_formula(weights: dict, picture: Path) -> np.ndarray:
    """What the released model says about a picture, by the plain formulas in float64."""
    pixels = torch.from_numpy(np.array(Image.open(picture).convert('RGB'))).permute(2, 0, 1).double()
    weights = {name: value.double() for name, value in weights.items()}
    sizes = made_up.RELEASED['tiny_hybrid']
    features = released_features(
        weights,
        ((pixels - MEAN) / STD)[None],
        depth=sizes.depth,
        heads=sizes.heads,
        out_index=sizes.out_index,
    )
    logits = released_logits(weights, features)
    return F.interpolate(logits, pixels.shape[1:], mode='bilinear', align_corners=False).argmax(1)[0].numpy()


def test_a_released_file_through_converter_test_and_predict(convert, run_tool, tmp_path, camvid_source):
    released = made_up.segmentation_file('tiny_hybrid', 4)
    torch.save(released, tmp_path / 'released.pth')
    status, out, _ = convert(tmp_path / 'released.pth', tmp_path / 'ours.pth')
    assert status == 0
    assert "the paper's segmentation checkpoint of FAN tiny_hybrid, with TAP (num_branches=4)" in out
    assert 'dropped' in out and 'unused classifier' in out

    source = small_camvid(camvid_source, tmp_path / 'CamVid', count=1)
    convert_camvid(source, tmp_path / 'data')
    pictures = sorted((source / 'val').glob('*.png'))
    expected = {path.stem: labels_by_formula(released['state_dict'], path) for path in pictures}
    assert min(len(np.unique(labels)) for labels in expected.values()) > 3

    loaders = [f'{name}_dataloader.dataset.data_root={tmp_path / "data"}' for name in ('val', 'test')]
    done = run_tool(
        'test.py',
        'configs/fan_tapadl_camvid.py',
        tmp_path / 'ours.pth',
        *('--out', tmp_path / 'tested', '--work-dir', tmp_path / 'work'),
        *(
            '--cfg-options',
            *loaders,
            'test_dataloader.num_workers=0',
            'test_dataloader.persistent_workers=False',
        ),
    )
    assert 'mIoU' in done.stdout
    run_tool(
        'predict.py',
        'configs/fan_tapadl_camvid.py',
        tmp_path / 'ours.pth',
        source / 'val',
        '--out',
        tmp_path / 'out',
    )
    for stem, labels in expected.items():
        for folder in ('tested', 'out/labels'):
            (path,) = (tmp_path / folder).rglob(f'{stem}*.png')
            # Float32 against float64: only pixels between two classes may differ.
            assert (np.array(Image.open(path)) == labels).mean() > 0.999
    assert len(list((tmp_path / 'out' / 'overlays').rglob('*.*'))) == 1


def test_help_is_quick_and_says_what_it_does(run_tool):
    done = run_tool('model_converters/tapadl2mmseg.py', '--help')
    assert 'every key is used, dropped' in ' '.join(done.stdout.lower().split())


def test_the_imagenet_forms_are_told_apart(convert, tmp_path):
    for branches, ema, module, words in [
        (
            4,
            True,
            True,
            "the paper's ImageNet checkpoint of FAN tiny_hybrid, with TAP (num_branches=4), averaged",
        ),
        (None, False, False, "NVIDIA's ImageNet checkpoint of FAN tiny_hybrid, without TAP\n"),
    ]:
        torch.save(
            made_up.imagenet_file('tiny_hybrid', branches, ema=ema, module=module), tmp_path / 'src.pth.tar'
        )
        status, out, _ = convert(tmp_path / 'src.pth.tar', tmp_path / 'dst.pth')
        assert status == 0
        assert words in out
        assert ('behind' in out) == module
        assert '--pretrained' in out
    status, out, _ = convert(tmp_path / 'src.pth.tar', tmp_path / 'dst.safetensors', '--no-ema')
    assert status == 0 and (tmp_path / 'dst.safetensors').is_file()


class Payload:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.system, (f'touch {self.target}',)


def break_nothing_text(path: Path) -> str:
    path.write_text('this is no checkpoint')
    return 'not a checkpoint'


def break_truncated(path: Path) -> str:
    torch.save(made_up.imagenet_file('tiny_hybrid', None, ema=False), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return 'cut short|damaged|not a checkpoint'


def break_empty(path: Path) -> str:
    path.touch()
    return 'empty'


def break_program(path: Path) -> str:
    torch.save(dict(state_dict={}, meta=Payload(path.parent / 'ran')), path)
    return 'system'


def break_other_model(path: Path) -> str:
    torch.save(dict(state_dict={'conv1.weight': torch.zeros(2)}), path)
    return 'not FAN.*conv1.weight.*expected a segmentation checkpoint of FAN'


def break_missing_key(path: Path) -> str:
    released = made_up.segmentation_file('tiny_hybrid', 4)
    del released['state_dict']['backbone.blocks.2.attn.q.weight']
    torch.save(released, path)
    return r'1 missing keys, expected: backbone.blocks.2.attn.q.weight \[192, 192\]'


def break_shape(path: Path) -> str:
    released = made_up.segmentation_file('tiny_hybrid', 4)
    released['state_dict']['decode_head.linear_pred.bias'] = torch.zeros(150)
    torch.save(released, path)
    return r'decode_head.linear_pred.bias is \[150\], expected \[19\]'


def break_absent(path: Path) -> str:
    return 'no such file'


@pytest.mark.parametrize(
    'spoil',
    [
        break_nothing_text,
        break_truncated,
        break_empty,
        break_program,
        break_other_model,
        break_missing_key,
        break_shape,
        break_absent,
    ],
)
def test_bad_input_is_named_and_nothing_is_written(convert, tmp_path, spoil):
    source, target = tmp_path / 'src.pth', tmp_path / 'dst.pth'
    reason = spoil(source)
    target.write_text('what stood here before')
    status, out, err = convert(source, target)
    assert status == 2 and out == ''
    assert err.startswith(f'tapadl2mmseg.py: error: {source}: ')
    assert re.search(reason, err), err
    assert target.read_text() == 'what stood here before'
    assert not (tmp_path / 'ran').exists()
    assert {p.name for p in tmp_path.iterdir()} <= {'src.pth', 'dst.pth'}


def test_the_source_is_never_overwritten(convert, tmp_path):
    torch.save(made_up.imagenet_file('tiny_hybrid', None, ema=False), tmp_path / 'src.pth')
    before = (tmp_path / 'src.pth').read_bytes()
    status, _, err = convert(tmp_path / 'src.pth', tmp_path / '.' / 'src.pth')
    assert status == 2 and 'SRC itself' in err
    assert (tmp_path / 'src.pth').read_bytes() == before


def test_unknown_keys_need_a_word(convert, tmp_path):
    released = made_up.imagenet_file('tiny_hybrid', None, ema=False)
    released['state_dict']['surprise'] = torch.zeros(3)
    torch.save(released, tmp_path / 'src.pth')
    status, _, err = convert(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert status == 2 and 'surprise' in err and '--allow-unknown' in err
    assert not (tmp_path / 'dst.pth').exists()
    status, out, _ = convert(tmp_path / 'src.pth', tmp_path / 'dst.pth', '--allow-unknown')
    assert status == 0 and 'surprise' in out and (tmp_path / 'dst.pth').exists()


def test_an_old_file_is_a_program_only_where_it_is_trusted(convert, tmp_path):
    released = made_up.imagenet_file('tiny_hybrid', None, ema=False)
    torch.save(released | {'extra': Payload(tmp_path / 'ran')}, tmp_path / 'src.pth')
    status, _, err = convert(tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert status == 2 and 'system' in err and not (tmp_path / 'ran').exists()
    status, _, _ = convert(tmp_path / 'src.pth', tmp_path / 'dst.pth', '--trust-checkpoint')
    assert status == 0 and (tmp_path / 'ran').exists()


def test_a_compiled_release_is_converted_as_a_plain_one(convert, tmp_path):
    released = made_up.segmentation_file('tiny_hybrid', 4)
    torch.save(released, tmp_path / 'plain.pth')
    weights = {f'_orig_mod.module.{key}': value for key, value in released['state_dict'].items()}
    torch.save({**released, 'state_dict': weights}, tmp_path / 'compiled.pth')
    for name in ('plain', 'compiled'):
        assert convert(tmp_path / f'{name}.pth', tmp_path / f'{name}.ours.pth')[0] == 0
    plain, compiled = (
        torch.load(tmp_path / f'{name}.ours.pth', weights_only=True)['state_dict']
        for name in ('plain', 'compiled')
    )
    assert list(plain) == list(compiled)
    assert all(torch.equal(value, compiled[key]) for key, value in plain.items())
