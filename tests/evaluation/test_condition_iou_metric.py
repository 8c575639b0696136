"""The metric by condition: against mmseg's metric run on each condition alone, in one process and in two."""

import io
import json
import logging
import multiprocessing

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

CLASSES = ('road', 'sky', 'car', 'train')
CONDITIONS = ('fog', 'night', 'rain', 'snow')


def samples(count: int, start: int = 0) -> list[dict]:
    """Made-up predictions in all conditions; the class ``train`` does not occur."""
    made = []
    for number in range(start, start + count):
        generator = torch.Generator().manual_seed(number)
        labelled = torch.randint(0, 3, (1, 6, 8), generator=generator)
        predicted = torch.where(torch.rand(1, 6, 8, generator=generator) < 0.6, labelled, (labelled + 1) % 3)
        labelled[0, 0, :3] = 255
        made.append(
            {
                'img_path': f'data/acdc/rgb_anon/{CONDITIONS[number % 4]}/val/S{number}/S{number}_rgb_anon.png',
                'pred_sem_seg': {'data': predicted},
                'gt_sem_seg': {'data': labelled},
            }
        )
    return made


def build():
    metric = METRICS.build(dict(type='ConditionIoUMetric'))
    metric.dataset_meta = {'classes': CLASSES}
    return metric


def mmseg_miou(chosen: list[dict]) -> dict:
    metric = IoUMetric()
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, chosen)
    return metric.evaluate(len(chosen))


def test_agrees_with_mmseg_on_each_condition_and_pooled():
    everything = samples(11)
    metric = build()
    for sample in everything:
        metric.process({}, [sample])
    found = metric.evaluate(len(everything))
    pooled = mmseg_miou(everything)
    assert found['mIoU'] == pytest.approx(pooled['mIoU'], abs=0.0051)
    assert found['aAcc'] == pytest.approx(pooled['aAcc'], abs=0.0051)
    apart = []
    for name in CONDITIONS:
        alone = mmseg_miou([s for s in everything if f'/{name}/' in s['img_path']])['mIoU']
        assert found[f'mIoU_{name}'] == pytest.approx(alone, abs=0.0051)
        apart.append(found[f'mIoU_{name}'])
    assert found['mIoU_mean'] == pytest.approx(sum(apart) / 4)
    assert abs(found['mIoU_mean'] - found['mIoU']) > 0.01


def test_a_second_evaluation_starts_anew_and_memory_does_not_grow():
    metric = build()
    metric.process({}, samples(4))
    first = metric.evaluate(4)
    metric.process({}, samples(4))
    assert metric.evaluate(4) == first

    def kept() -> int:
        tensors = [v for v in vars(metric).values() if isinstance(v, torch.Tensor)]
        return sum(t.numel() for t in tensors) + len(metric.results)

    metric.process({}, samples(8))
    small = kept()
    for start in range(8, 400, 8):
        metric.process({}, samples(8, start))
    assert kept() == small


def test_only_conditions_that_occur_are_reported():
    metric = build()
    logger = MMLogger.get_current_instance()
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    logger.addHandler(handler)
    fog = [s for s in samples(9) if '/fog/' in s['img_path']]
    metric.process({}, fog)
    found = metric.evaluate(len(fog))
    logger.removeHandler(handler)
    assert sorted(k for k in found if k.startswith('mIoU_')) == ['mIoU_fog', 'mIoU_mean']
    assert found['mIoU_fog'] == found['mIoU'] == found['mIoU_mean']
    table = shown.getvalue()
    assert 'fog' in table and 'train' in table and 'night' not in table
    assert f'{found["mIoU_fog"]:.2f}' in table


def test_wrong_pictures_are_named():
    metric = build()
    (sample,) = samples(1)
    with pytest.raises(ValueError, match=r'x/y.png.*fog, night, rain, snow'):
        metric.process({}, [{**sample, 'img_path': 'x/y.png'}])
    del sample['gt_sem_seg']
    with pytest.raises(ValueError, match=r'S0_rgb_anon.png has no label'):
        metric.process({}, [sample])


def evaluate_on_rank(rank: int, processes: int, size: int, folder: str) -> None:
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet{size}', rank=rank, world_size=processes
    )
    everything = samples(size)
    metric = build()
    # The very sampler of the test loop, which repeats pictures to fill the processes up.
    for index in DefaultSampler(everything, shuffle=False):
        metric.process({}, [everything[index]])
    found = metric.evaluate(size)
    if rank == 0:
        with open(f'{folder}/{size}.json', 'w') as file:
            json.dump(found, file)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('size', [1, 2, 7])
def test_two_processes_give_the_same_numbers(size, tmp_path):
    metric = build()
    metric.process({}, samples(size))
    alone = metric.evaluate(size)
    context = multiprocessing.get_context('fork')
    ranks = [
        context.Process(target=evaluate_on_rank, args=(rank, 2, size, str(tmp_path))) for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [0, 0]
    assert json.loads((tmp_path / f'{size}.json').read_text()) == alone
