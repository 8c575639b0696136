"""``attention.json`` and ``.csv``: what they say is what ``inference_model`` and the textbook say."""

import csv
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model

from mmseg_tapadl.analysis.statistics import mean_and_error, relation
from mmseg_tapadl.datasets.corruptions import corrupt_picture, picture_identity
from mmseg_tapadl.layers import WatchableAttention
from mmseg_tapadl.layers.attention_watch import AttentionInputs
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.sweep import SweepOptions
from mmseg_tapadl.utils import InputError
from tests.analysis.textbook import textbook_measures, textbook_stability

CELL = dict(corruptions=['contrast'], severities=[3])


def heard_by_mmseg(street, name: str, picture) -> list[AttentionInputs]:
    """The attentions that a picture passes in mmseg's own inference, by a hook on each."""
    model = init_model(str(street / f'{name}.py'), str(street / f'{name}.pth'), device='cpu')
    found: list[AttentionInputs] = []

    def keep(attention, inputs, options):
        found.append(
            AttentionInputs(
                inputs[0].double(),
                inputs[1].double(),
                attention.scale,
                options.get('bias'),
                options.get('gain'),
                options.get('num_prefix', 0),
            )
        )

    for module in model.backbone.modules():
        if isinstance(module, WatchableAttention):
            module.register_forward_pre_hook(keep, with_kwargs=True)
    inference_model(model, picture)
    return found


@pytest.mark.parametrize('name', ['fan', 'vit', 'swin'])
def test_it_says_what_mmseg_sees(street, pictures, report, name):
    found = report(name, images=pictures[:1], **CELL)
    clean = heard_by_mmseg(street, name, pictures[0])
    image = cv2.imread(pictures[0])
    corrupted = corrupt_picture(
        image, identity=picture_identity(pictures[0]), corruption='contrast', severity=3
    )
    noisy = heard_by_mmseg(street, name, corrupted)
    (model,) = found['models']
    assert (model['config'], model['checkpoint']) == (str(street / f'{name}.py'), str(street / f'{name}.pth'))
    assert [layer['layer'] for layer in model['layers']] == list(range(len(clean)))
    for layer, inputs, other in zip(model['layers'], clean, noisy, strict=True):
        expected = textbook_measures(inputs)
        for key in ('similarity', 'concentration', 'head_similarity', 'top_mass', 'prefix_attention'):
            if key in expected:
                assert layer[key] == pytest.approx(float(expected[key].mean()), abs=2e-5), key
            else:
                assert layer[key] is None
        assert layer['entropy'] == pytest.approx(float(expected['entropy'].mean()), abs=2e-5)
        assert layer['stability']['contrast_3'] == pytest.approx(
            float(textbook_stability(inputs, other)['row_cosine'].mean()), abs=2e-5
        )
        again = layer['corrupted']['contrast_3']['similarity']
        assert again == pytest.approx(float(textbook_measures(other)['similarity'].mean()), abs=2e-5)
        assert len(layer['attention_distance']) == layer['heads'] == inputs.q.shape[1]
        assert sum(layer['row_cosines']['contrast_3']) == inputs.q.shape[0] * (
            inputs.q.shape[2] - inputs.num_prefix
        )
    assert max(layer['similarity'] for layer in model['layers']) > 0.05


def test_a_sliding_window_is_an_entry_as_a_window_of_swin_is(street, pictures, report, tmp_path):
    slide = ['model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(48,64)', 'model.test_cfg.stride=(24,32)']
    found = report('fan', images=pictures[:1], cfg_options=slide, **CELL)
    picture = cv2.resize(cv2.imread(pictures[0]), (96, 72), interpolation=cv2.INTER_LINEAR)
    values = []
    for top in (0, 24):
        for left in (0, 32):
            crop = tmp_path / f'{top}_{left}.png'
            cv2.imwrite(str(crop), picture[top : top + 48, left : left + 64])
            crops = report(
                'fan',
                images=[str(crop)],
                out=tmp_path / f'{top}_{left}',
                cfg_options=['test_pipeline.1.scale=(64,48)'],
            )
            values.append([layer['similarity'] for layer in crops['models'][0]['layers']])
    layers = found['models'][0]['layers']
    assert [layer['layer'] for layer in layers] == [0, 1, 2]
    assert [layer['similarity'] for layer in layers] == pytest.approx(np.mean(values, 0).tolist(), abs=1e-5)


def test_means_over_pictures_and_their_errors(pictures, report, tmp_path):
    alone = [report('fan', images=[path], out=tmp_path / str(i), **CELL) for i, path in enumerate(pictures)]
    together = report('fan', images=pictures, **CELL)
    for number, layer in enumerate(together['models'][0]['layers']):
        for get in (
            lambda x: x['similarity'],
            lambda x: x['entropy'],
            lambda x: x['attention_distance'][1],
            lambda x: x['stability']['contrast_3'],
            lambda x: x['corrupted']['contrast_3']['concentration'],
        ):
            values = np.array([get(one['models'][0]['layers'][number]) for one in alone])
            assert get(layer) == pytest.approx(values.mean(), rel=1e-12)
            error = get(layer['standard_error'])
            assert error == pytest.approx(values.std(ddof=1) / np.sqrt(len(values)), rel=1e-9, abs=1e-12)
            assert get(alone[0]['models'][0]['layers'][number]['standard_error']) is None


def test_one_process_or_two(street, report, tmp_path):
    one = report('fan', data=str(street / 'data'), out=tmp_path / 'one', **CELL)
    command = [
        *(sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--standalone'),
        *(
            'tools/analysis_tools/attention.py',
            street / 'fan.py',
            street / 'fan.pth',
            '--launcher',
            'pytorch',
        ),
        *(
            '--data',
            street / 'data',
            '--corruption',
            'contrast',
            '--severity',
            '3',
            '--out',
            tmp_path / 'two',
        ),
    ]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / 'two/attention.json').read_text()) == one
    assert (tmp_path / 'two/attention.csv').read_bytes() == (tmp_path / 'one/attention.csv').read_bytes()


def test_a_data_set_has_the_bytes_and_the_scores_of_the_sweep(street, pictures, report, tmp_path):
    found = report('fan', data=str(street / 'data'), corruptions=['gaussian_noise'], severities=[1, 3])
    by_name = report(
        'fan', images=pictures, out=tmp_path / 'files', corruptions=['gaussian_noise'], severities=[1, 3]
    )
    (model,) = found['models']
    names = [os.path.basename(one['path']) for one in model['pictures']]
    assert sorted(names) == sorted(map(os.path.basename, pictures))
    for layer, same in zip(model['layers'], by_name['models'][0]['layers'], strict=True):
        assert layer['stability'] == pytest.approx(same['stability'], rel=1e-12)
        assert set(layer['stability']) == {'gaussian_noise_1', 'gaussian_noise_3'}
        assert set(layer['relation_to_drop']) == {'similarity', 'concentration', 'entropy', 'stability'}
        assert same['relation_to_drop'] is None
    options = SweepOptions(
        checkpoint=str(street / 'fan.pth'),
        work_dir=tmp_path / 'sweep',
        corruptions=['gaussian_noise'],
        severities=[1, 3],
    )
    from mmseg_tapadl.engine.config import load_config

    sweep = measure(load_config(street / 'fan.py'), options)
    # One picture: its mIoU is that of the sweep over it alone; here that all pictures' pixels were predicted alike.
    assert sweep['pictures']['count'] == len(names)
    drops = [one['drop'] for one in model['pictures']]
    for one, drop in zip(model['pictures'], drops, strict=True):
        clean, *others = one['mIoU'].values()
        assert drop == pytest.approx(clean - np.mean(others))
    first = report('fan', data=str(street / 'data'), limit=2, out=tmp_path / 'limit')
    assert [one['path'] for one in first['models'][0]['pictures']] == [
        one['path'] for one in model['pictures'][:2]
    ]


def test_branches_of_each_class(street, report):
    (model,) = report('fan', data=str(street / 'data'))['models']
    for layer in model['layers']:
        assert sum(layer['branches']['mean']) == pytest.approx(1)
        assert len(layer['branches']['by_class']) > 5
        assert all(sum(weights) == pytest.approx(1) for weights in layer['branches']['by_class'].values())
    assert model['layers'][0]['stability'] == {} and model['layers'][0]['relation_to_drop'] is None


def test_chosen_layers_are_those_of_the_whole(pictures, report, tmp_path):
    whole = report('fan', images=pictures[:1], out=tmp_path / 'whole')['models'][0]['layers']
    chosen = report('fan', images=pictures[:1], layers=[-1, 0])['models'][0]['layers']
    assert chosen == [whole[0], whole[2]]


def test_the_table_holds_what_the_json_holds(pictures, report, tmp_path):
    found = report('fan', 'fan_base', images=pictures[:2], **CELL)
    assert json.loads((tmp_path / 'out/attention.json').read_text()) == found
    with open(tmp_path / 'out/attention.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['model'] for row in rows} == {'fan', 'fan_base'}
    for row in rows:
        model = next(one for one in found['models'] if one['name'] == row['model'])
        layer = model['layers'][int(row['layer'])]
        if row['measure'].startswith('branch_'):
            expected = layer['branches']['mean'][int(row['measure'][-1])]
        elif row['measure'].endswith('stability'):
            expected = layer[row['measure']][row['condition']]
        else:
            expected = layer if row['condition'] == 'clean' else layer['corrupted'][row['condition']]
            expected = expected[row['measure']]
            expected = expected if not row['head'] else expected[int(row['head'])]
        assert expected == (None if row['mean'] == '' else float(row['mean']))


def test_measuring_leaves_the_prediction_as_it_is(street, pictures):
    from mmengine.config import Config

    from mmseg_tapadl.analysis.analysed_model import AnalysedModel
    from mmseg_tapadl.analysis.picture_values import PictureEar
    from mmseg_tapadl.analysis.pictures import FilePictures
    from mmseg_tapadl.evaluation.robustness_presets import CLEAN

    config = Config.fromfile(street / 'fan.py')
    model = AnalysedModel(config, str(street / 'fan.pth'), device='cpu')
    packed = FilePictures(config, pictures[:1]).sample(0, CLEAN)
    plain = init_model(str(street / 'fan.py'), str(street / 'fan.pth'), device='cpu')
    expected = inference_model(plain, pictures[0]).seg_logits.data
    found = model.passage(model.prepare(packed), PictureEar(model, None)).sample.seg_logits.data
    assert torch.equal(found, expected)


def refused(match: str):
    return pytest.raises(InputError, match=match)


def test_what_cannot_be_reported(street, pictures, report, tmp_path):
    one = dict(images=pictures[:1])
    small = tmp_path / 'small.png'
    cv2.imwrite(str(small), np.zeros((3, 4, 3), np.uint8))
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'no picture')
    with refused('layers=.*3.*: FAN has 3 attentions, numbered 0 to 2'):
        report('fan', **one, layers=[3])
    with refused('head 4: layer 0 of fan has 4 heads, 0 to 3'):
        report('fan', **one, heads=[0, 4])
    with refused(r'the point 64 3 lies outside .*png: x must be from 0 to 63, y from 0 to 47'):
        report('fan', **one, point=(64, 3))
    with refused('small.png: 4 x 3 pixels are too small: no layer has more than 1 keys'):
        report('fan', images=[str(small)], cfg_options=['test_pipeline.1.scale=(4,3)'])
    with refused('broken.png: not a readable picture'):
        report('fan', images=[pictures[0], str(broken)])
    with refused('nowhere.png: no such picture or folder'):
        report('fan', images=['nowhere.png'])
    with refused('fan and swin cannot be compared: their tokens lie on different grids'):
        report('fan', 'swin', **one)
    with refused("unknown corruption 'rain'; the valid ones are motion_blur"):
        report('fan', **one, corruptions=['rain'])
    with refused('unknown severity 6'):
        report('fan', **one, corruptions=['fog'], severities=[6])
    with refused('--limit 0'):
        report('fan', data=str(street / 'data'), limit=0)
    with refused('no such folder or config'):
        report('fan', data='nowhere')
    with refused('--out .*broken.png: is a file'):
        report('fan', **one, out=broken)
    assert not (tmp_path / 'out').exists()


def test_an_encoder_without_watchable_attention(street, pictures, tmp_path, run_tool):
    from tests.robustness.tiny_model import write_checkpoint, write_config

    config = write_config(tmp_path / 'segformer.py', street / 'data')
    write_checkpoint(config, tmp_path / 'segformer.pth')
    arguments = ['analysis_tools/attention.py', config, tmp_path / 'segformer.pth', pictures[0]]
    done = run_tool(*arguments, '--out', tmp_path / 'out', ok=False)
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'MixVisionTransformer offers no attention to watch' in done.stderr
    assert not (tmp_path / 'out').exists()


def test_a_checkpoint_that_does_not_fit(street, pictures, report, tmp_path, run_tool):
    done = run_tool(
        'analysis_tools/attention.py', '--compare', f'{street}/fan.py:{street}/vit.pth', pictures[0],
        *('--out', tmp_path / 'out'), ok=False,
    )  # fmt: skip
    assert done.returncode == 2 and 'vit.pth' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.py'], 'CONFIG a.py needs a CHECKPOINT after it'),
        (['a.py', 'a.pth'], 'give pictures, or --data'),
        (['a.png'], 'CONFIG CHECKPOINT are needed, or --compare'),
        (['a.png', '--compare', 'a.py'], '--compare a.py: must be CONFIG.py:CHECKPOINT'),
        (['a.py', 'a.pth', 'a.png', '--data', 'x'], 'give pictures, or --data'),
        (['a.py', 'a.pth', 'a.png', '--severity', '3'], '--severity goes with --corruption'),
    ],
)
def test_command_lines_that_say_nothing(arguments, message, run_tool, tmp_path):
    done = run_tool('analysis_tools/attention.py', *arguments, '--out', tmp_path / 'out', ok=False)
    assert done.returncode == 2 and message in done.stderr


def test_means_and_relations_by_hand():
    assert mean_and_error([1.0, 3.0, float('nan')]) == (2.0, 1.0)
    assert mean_and_error([float('nan')]) == (None, None)
    assert mean_and_error([5.0]) == (5.0, None)
    found = relation([1, 2, 3, 4], [2, 1, 4, 3])
    assert found['r'] == pytest.approx(0.6) and found['pictures'] == 4
    assert (
        found['low'] == pytest.approx(np.tanh(np.arctanh(0.6) - 1.96)) and found['low'] < 0.6 < found['high']
    )
    assert relation([1, 2, 3], [1, 2, 3]) is None
    assert relation([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert relation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])['r'] == pytest.approx(1)
