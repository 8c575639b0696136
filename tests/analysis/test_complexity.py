"""Counts against hand-worked ones, and the documentation's tables against their data files."""

import json

import pytest
import torch
from torch import nn

from benchmarks.model_list import RVTS, VITS, config_of, every_model
from benchmarks.page_tables import PAGES, markdown_table, with_tables
from mmseg_tapadl.analysis.complexity import complexity_of, count_macs, count_parameters
from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.models.backbones import FAN_ARCHS, MIT_ARCHS


class Worked(nn.Module):
    """A segmentor small enough to count by hand."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.decode_head = Attending()


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.classify = nn.Linear(8, 19)
        self.core = WatchableAttention()

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2).unsqueeze(1)  # (1, 1, 60, 8)
        return self.classify(self.core(tokens, tokens, tokens))


def test_counts_are_those_worked_out_by_hand():
    model = Worked().eval()
    macs = count_macs(model, 6, 10)
    # 60 pixels, 8 outputs of 3 x 3 x 3 inputs; scores and mixture of 60 x 60 x 8, then 60 x 8 x 19.
    assert macs == {'backbone': 60 * 8 * 27, 'decode_head': 2 * 60 * 60 * 8 + 60 * 8 * 19}
    assert count_parameters(model.backbone) == 8 * 27 + 8
    # Counting left the model as it was: it still computes.
    assert model.decode_head(model.backbone(torch.zeros(1, 3, 6, 10))).shape == (1, 1, 60, 19)


def test_a_config_is_counted_and_measured(repo_root):
    cfg = load_config(repo_root / 'configs' / 'segformer_tapadl_camvid.py')
    small = complexity_of(cfg, 64, 64, repeats=1)
    large = complexity_of(cfg, 128, 128, repeats=0)
    assert small.seconds > 0
    assert large.seconds is None
    assert small.parameters == large.parameters
    # Four times the pixels: more than four times the work with attention, exactly four without.
    assert large.macs['backbone'] > 4 * small.macs['backbone']
    assert large.macs['decode_head'] == pytest.approx(4 * small.macs['decode_head'], rel=1e-3)


def test_the_tool_prints_and_writes_them(run_tool, tmp_path):
    out = tmp_path / 'complexity.json'
    done = run_tool(
        'analysis_tools/complexity.py',
        'configs/fan_tapadl_demo.py',
        *('--size', '64x96', '--repeats', 1, '--out', out),
        *('--cfg-options', 'model.backbone.tap.num_branches=2'),
    )
    (row,) = json.loads(out.read_text())
    assert (row['height'], row['width']) == (64, 96)
    assert f'{sum(row["parameters"].values()) / 1e6:.2f}' in done.stdout
    assert 's a picture (cpu' in done.stdout


@pytest.mark.parametrize('name', PAGES)
def test_page_and_data_file_agree(repo_root, name):
    page = (repo_root / 'docs' / f'{name}.md').read_text(encoding='utf-8')
    data = json.loads((repo_root / 'docs' / f'{name}.json').read_text(encoding='utf-8'))
    assert with_tables(page, PAGES[name](data)) == page


def test_the_zoo_names_configs_that_exist_and_means_that_are_means(repo_root):
    zoo = json.loads((repo_root / 'docs' / 'model_zoo.json').read_text(encoding='utf-8'))
    for file in zoo['files']:
        cfg = load_config(repo_root / file['config'])
        if file['convert'] and file['arch'] == 'base_hybrid':
            assert cfg.model.backbone.arch == file['arch']
        assert ('non-commercial' in file['licence']) != file['licence'].startswith('MIT')
    row = zoo['published_corruptions']
    assert len(row['scores']) == 16
    assert round(sum(row['scores'].values()) / 16, 1) == row['mean']
    (published,) = [r for r in zoo['published'] if r['model'] == row['model']]
    assert published['cityscapes_c'] == row['mean']


def test_the_page_lists_every_size_with_todays_counts(repo_root):
    data = json.loads((repo_root / 'docs' / 'which_model.json').read_text(encoding='utf-8'))
    assert [row['model'] for row in data['models']] == every_model()
    assert len(every_model()) == len(FAN_ARCHS) + len(MIT_ARCHS) + 1 + len(RVTS) + 2 * len(VITS)
    rows = {row['model']: row for row in data['models']}
    for model in (
        'FAN tiny_hybrid',
        'FAN tiny',
        'SegFormer b0',
        'SegFormer b2',
        'Swin tiny',
        'RVT tiny',
        'DeiT small',
    ):
        counted = complexity_of(config_of(model, repo_root / 'configs'), 512, 512, repeats=0)
        assert rows[model]['parameters'] == sum(counted.parameters.values())
        assert rows[model]['macs'][data['sizes'].index(512)] == sum(counted.macs.values())


def test_a_page_without_a_place_for_its_table_is_refused():
    table = markdown_table(['a', 'b'], [[1, None]])
    assert table == '| a | b |\n| --- | --- |\n| 1 |  |'
    page = 'text\n<!-- table: t -->\nold\n<!-- /table -->\nmore'
    assert with_tables(page, {'t': table}) == f'text\n<!-- table: t -->\n{table}\n<!-- /table -->\nmore'
    with pytest.raises(ValueError, match="0 places for the table 'other'"):
        with_tables(page, {'other': table})
