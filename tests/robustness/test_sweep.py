"""The sweep: right numbers, whatever interrupts it and however many processes and workers share it."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.robustness.benchmark import measure
from mmseg_tapadl.robustness.cell_data import dataset_for_cell
from mmseg_tapadl.robustness.cell_store import SweepMismatch
from mmseg_tapadl.robustness.sweep import prepare_sweep
from mmseg_tapadl.robustness.sweep_model import build_model
from mmseg_tapadl.utils import InputError, RunStopped, SampleError
from tests.robustness.conftest import numbers_of
from tests.robustness.tiny_model import make_tree, write_config


def cell_files(work_dir: Path) -> list[str]:
    return sorted(path.name for path in (work_dir / 'cells').iterdir())


def cells_of(results: dict) -> list[dict]:
    return [results['clean'], *results['cells']]


def test_numbers_are_those_of_mmseg_over_the_same_pictures(finished, config, tiny):
    results = numbers_of(finished)
    model = build_model(config, str(tiny / 'model.pth'))
    pipeline = config.test_dataloader.dataset.pipeline
    corrupt = dict(type='CorruptImage', corruption='fog', severity=3)
    for inserted, found in (([], results['clean']), ([corrupt], results['cells'][-1])):
        dataset = DATASETS.build(
            {**config.test_dataloader.dataset, 'pipeline': [pipeline[0], *inserted, *pipeline[1:]]}
        )
        metric = IoUMetric()
        metric.dataset_meta = dataset.metainfo
        with torch.no_grad():
            for index in range(len(dataset)):
                samples = model.test_step(pseudo_collate([dataset[index]]))
                metric.process({}, [samples[0].to_dict()])
        theirs = metric.evaluate(len(dataset))
        # mmseg rounds to two decimals.
        assert found['mIoU'] == pytest.approx(theirs['mIoU'], abs=0.00501)
        assert found['aAcc'] == pytest.approx(theirs['aAcc'], abs=0.00501)
    assert [(c['corruption'], c['severity']) for c in results['cells']] == [
        ('gaussian_noise', 1), ('gaussian_noise', 3), ('fog', 1), ('fog', 3),
    ]  # fmt: skip
    assert len({c['mIoU'] for c in results['cells']} | {results['clean']['mIoU']}) == 5


def test_scores_follow_from_the_cells(finished):
    r = numbers_of(finished)
    noise = (r['cells'][0]['mIoU'] + r['cells'][1]['mIoU']) / 2
    fog = (r['cells'][2]['mIoU'] + r['cells'][3]['mIoU']) / 2
    assert r['corruptions'] == pytest.approx({'gaussian_noise': noise, 'fog': fog})
    assert r['cityscapes_c'] == pytest.approx((noise + fog) / 2)
    assert r['cityscapes_c_complete'] is False
    assert r['mPC'] == pytest.approx(sum(c['mIoU'] for c in r['cells']) / 4)
    assert r['rPC'] == pytest.approx(r['mPC'] / r['clean']['mIoU'])
    defined = [v for v in r['clean']['IoU'].values() if v is not None]
    assert r['clean']['mIoU'] == pytest.approx(sum(defined) / len(defined))
    assert (finished / 'robustness.csv').read_text().count('\n') == 6


def test_a_sweep_broken_off_continues_and_says_so(finished, options, config, monkeypatch, capsys):
    chosen = options()
    sweep = prepare_sweep(config, chosen)
    save = sweep.store.save

    def save_two(cell, record):
        if len(cell_files(chosen.work_dir)) == 2 if (chosen.work_dir / 'cells').exists() else False:
            raise KeyboardInterrupt
        save(cell, record)

    monkeypatch.setattr(sweep.store, 'save', save_two)
    with pytest.raises(KeyboardInterrupt):
        sweep.run()
    assert cell_files(chosen.work_dir) == ['clean.json', 'gaussian_noise_1.json']
    measure(config, chosen)
    assert 'skipped 2 finished cells of 5, 3 left' in capsys.readouterr().out
    assert numbers_of(chosen.work_dir) == numbers_of(finished)
    before = {
        name: (chosen.work_dir / 'cells' / name).stat().st_mtime_ns for name in cell_files(chosen.work_dir)
    }
    measure(config, chosen)
    assert 'skipped 5 finished cells of 5, 0 left' in capsys.readouterr().out
    assert before == {name: (chosen.work_dir / 'cells' / name).stat().st_mtime_ns for name in before}


def test_ctrl_c_says_what_is_kept(options, config, monkeypatch):
    def interrupted(self, say):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmseg_tapadl.robustness.sweep.Sweep.run', interrupted)
    with pytest.raises(RunStopped, match='0 of 5 cells are finished and kept; run the same command again'):
        measure(config, options())


def test_a_label_that_is_no_class_names_who_said_what_void_is(options, config):
    path = next(Path(config.test_dataloader.dataset.data_root).rglob('*labelTrainIds.png'))
    kept = path.read_bytes()
    labels = np.asarray(Image.open(path)).copy()
    labels[0, 0] = 255
    Image.fromarray(labels).save(path)
    config.test_evaluator = dict(type='PreciseIoUMetric', ignore_index=99)
    try:
        with pytest.raises(SampleError) as caught:
            measure(config, options(corruptions=['contrast'], severities=[3]))
    finally:
        path.write_bytes(kept)
    text = str(caught.value)
    assert (
        'nor 99, the id of void by test_evaluator.ignore_index; if 255 is void, write ignore_index=255'
        in text
    )
    assert text.endswith('0 of 2 cells are finished and kept') and 'labelIds' not in text


def test_cells_of_another_sweep_are_never_taken(finished, options, config, tiny, tmp_path):
    work = tmp_path / 'copy'
    shutil.copytree(finished, work)
    changed = Config.fromfile(tiny / 'model.py')
    changed.model.test_cfg = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))
    other = tmp_path / 'other.pth'
    weights = torch.load(tiny / 'model.pth')
    weights['state_dict']['decode_head.conv_seg.bias'] += 1
    torch.save(weights, other)
    for name, arguments in (
        ('config', (changed, options(work_dir=work))),
        ('checkpoint', (config, options(work_dir=work, checkpoint=str(other)))),
        ('preset: cityscapes-c then, fan19s3 now', (config, options(work_dir=work, preset='fan19s3'))),
        ('cells', (config, options(work_dir=work, severities=[1, 2]))),
        ('seed: 0 then, 1 now', (config, options(work_dir=work, seed=1))),
        ('channel order: bgr then, rgb now', (config, options(work_dir=work, channel_order='rgb'))),
    ):
        with pytest.raises(SweepMismatch, match=f'{name}.*--fresh'):
            prepare_sweep(*arguments)
    # What changes no number is no other sweep.
    faster = Config.fromfile(tiny / 'model.py')
    faster.test_dataloader.num_workers = 3
    faster.work_dir = 'elsewhere'
    prepare_sweep(faster, options(work_dir=work))
    fresh = prepare_sweep(config, options(work_dir=work, seed=1, fresh=True))
    assert cell_files(work) == [] and fresh.store.load(CLEAN) is None


def test_cells_and_results_of_a_former_version_are_kept_apart(finished, repo_root, options, config, tmp_path):
    former = repo_root / 'tests/data/old_formats/robustness_1'
    whole, results_only, cells_only = (tmp_path / name for name in ('whole', 'results', 'cells'))
    shutil.copytree(former, whole)
    results_only.mkdir()
    shutil.copy(former / 'robustness.json', results_only)
    shutil.copytree(former / 'cells', cells_only / 'cells')
    # The same sweep as measured by the former version.
    bare = tmp_path / 'bare'
    shutil.copytree(finished, bare)
    identity = json.loads((bare / 'sweep.json').read_text())
    assert identity.pop('bootstrap') == 2
    (bare / 'sweep.json').write_text(json.dumps(identity))
    for work, message in (
        (whole, r'whole holds the cells of another sweep \(.*bootstrap: not known then, 2 now.*--fresh'),
        (bare, r'bare holds the cells of another sweep \(bootstrap: not known then, 2 now\)'),
        (results_only, r'results/robustness\.json holds the results of another sweep.*--fresh'),
        (cells_only, r'cells/cells/clean\.json is from another sweep'),
    ):
        before = {
            file: file.read_bytes()
            for file in work.rglob('*')
            if file.is_file() and file.name != 'sweep.json'
        }
        with pytest.raises(SweepMismatch, match=message):
            measure(config, options(work_dir=work))
        assert before == {file: file.read_bytes() for file in before}


def test_a_foreign_or_damaged_cell_is_refused_by_name(finished, options, config, tmp_path):
    work = tmp_path / 'copy'
    shutil.copytree(finished, work)
    sweep = prepare_sweep(config, options(work_dir=work))
    cell = work / 'cells' / 'fog_3.json'
    whole = cell.read_text()
    cell.write_text(whole[: len(whole) // 2])
    with pytest.raises(SweepMismatch, match=r'fog_3.json is damaged'):
        sweep.store.load(Cell('fog', 3))
    cell.write_text(json.dumps({**json.loads(whole), 'sweep': 'another'}))
    with pytest.raises(SweepMismatch, match=r'fog_3.json is from another sweep'):
        sweep.store.load(Cell('fog', 3))


@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_picture_stops_the_sweep_with_its_name(options, tiny, tmp_path, workers):
    root = make_tree(tmp_path / 'data', 3)
    config = Config.fromfile(write_config(tmp_path / 'model.py', root, workers))
    bad = sorted((root / 'leftImg8bit').rglob('*.png'))[-1]
    whole = bad.read_bytes()
    measured = options(corruptions=['contrast'], severities=[1])
    prepare_sweep(config, measured).run()
    for damage in (b'', whole[:50], b'not a picture'):
        bad.write_bytes(damage)
        (measured.work_dir / 'cells' / 'contrast_1.json').unlink(missing_ok=True)
        with pytest.raises(SampleError, match=f'{bad.name}.*1 of 2 cells are finished and kept') as caught:
            measure(config, measured)
        assert 'Traceback' not in str(caught.value)
    assert cell_files(measured.work_dir) == ['clean.json']
    bad.write_bytes(whole)
    label = sorted((root / 'gtFine').rglob('*.png'))[0]
    Image.fromarray(np.full((48, 64), 33, np.uint8)).save(label)
    with pytest.raises(SampleError, match=rf'{label.name}.*\[33\]'):
        measure(config, options(work_dir=tmp_path / 'labels'))
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(label)
    image = sorted((root / 'leftImg8bit').rglob('*.png'))[0]
    files = f'image {image}, label {label}'
    message = rf'^{files}: the label is 32x24, the image 64x48\. 0 of 5 cells are finished and kept$'
    with pytest.raises(SampleError, match=message):
        measure(config, options(work_dir=tmp_path / 'sizes'))


def test_what_cannot_be_measured_is_said_before_the_model_is_built(options, tiny, config, tmp_path):
    with pytest.raises(InputError, match=r"'rust'.*motion_blur"):
        measure(config, options(corruptions=['rust']))
    with pytest.raises(InputError, match=r'nowhere.pth does not exist'):
        measure(config, options(checkpoint=str(tmp_path / 'nowhere.pth')))
    with pytest.raises(InputError, match=r'^the checkpoint s3://bucket/a.pth is an address .* download it'):
        measure(config, options(checkpoint='s3://bucket/a.pth'))
    empty = Config.fromfile(tiny / 'model.py')
    empty.test_dataloader.dataset.pipeline = empty.test_dataloader.dataset.pipeline[1:]
    with pytest.raises(InputError, match='has no LoadImageFromFile'):
        sweep = options(work_dir=tmp_path / 'a')
        measure(empty, sweep)
    unlabelled = Config.fromfile(tiny / 'model.py')
    del unlabelled.test_dataloader.dataset.pipeline[2]
    with pytest.raises(SampleError, match='without labels'):
        measure(unlabelled, options(work_dir=tmp_path / 'b'))
    smaller = tmp_path / 'smaller.pth'
    weights = torch.load(tiny / 'model.pth')['state_dict']
    removed = next(iter(weights))
    del weights[removed]
    torch.save({'state_dict': weights}, smaller)
    with pytest.raises(CheckpointError, match=f'smaller.pth: does not fit the model: 1 missing: {removed}'):
        measure(config, options(work_dir=tmp_path / 'c', checkpoint=str(smaller)))


def test_data_without_a_labelled_pixel_are_told_after_the_first_cell(options, tiny, tmp_path):
    root = make_tree(tmp_path / 'data', 2)
    for label in (root / 'gtFine').rglob('*.png'):
        Image.fromarray(np.full((48, 64), 255, np.uint8)).save(label)
    config = Config.fromfile(write_config(tmp_path / 'model.py', root))
    with pytest.raises(InputError, match='the mIoU of clean is undefined: there is no labelled pixel'):
        measure(config, options())
    assert cell_files(options().work_dir) == ['clean.json']


def test_wrapped_data_sets_are_looked_through(config):
    single = config.test_dataloader.dataset
    wrapped = dict(type='ConcatDataset', datasets=[single, single])
    cell = Cell('gaussian_noise', 3)
    plain = dataset_for_cell(single, cell, seed=0, channel_order='bgr')
    double = dataset_for_cell(wrapped, cell, seed=0, channel_order='bgr')
    assert len(double) == 2 * len(plain)
    assert torch.equal(double[len(plain)]['inputs'], plain[0]['inputs'])
    assert not torch.equal(
        plain[0]['inputs'], dataset_for_cell(single, CLEAN, seed=0, channel_order='bgr')[0]['inputs']
    )


def test_pictures_of_unequal_sizes_count_as_they_do_alone(options, tiny, tmp_path):
    root = make_tree(tmp_path / 'data', 4)
    for path in sorted(root.rglob('*000001_*.png')) + sorted(root.rglob('*000002_*.png')):
        Image.open(path).crop((0, 0, 64, 40)).save(path)
    numbers = []
    for batch in (1, 3):
        config = Config.fromfile(write_config(tmp_path / 'model.py', root))
        config.test_dataloader.batch_size = batch
        work = tmp_path / f'batch_{batch}'
        measure(config, options(work_dir=work, corruptions=['gaussian_noise'], severities=[3]))
        numbers.append(numbers_of(work))
        # The batch size is part of what identifies a sweep, and nothing else differs.
        numbers[-1].pop('sweep')
    # A batch of several is multiplied in another order, which moves a probability by its last digits.
    sure = [
        [numbers_.pop('pooled'), *(cell.pop('confidence') for cell in cells_of(numbers_))]
        for numbers_ in numbers
    ]
    for number in numbers:
        for cell in cells_of(number):
            cell.pop('reliability')
    assert numbers[0] == numbers[1]
    for alone, together in zip(*(found[1:] for found in sure), strict=True):
        assert alone == pytest.approx(together, abs=1e-4)


def test_names_that_are_no_utf8_are_measured_as_any_other(finished, options, tiny, tmp_path):
    root = make_tree(tmp_path / 'data')
    for path in root.rglob('ulm_000003_*.png'):
        os.rename(path, os.fsencode(path.parent) + b'/ulm_stra\xdfe' + os.fsencode(path.name[10:]))
    config = Config.fromfile(write_config(tmp_path / 'model.py', root))
    measure(config, options(corruptions=['gaussian_noise'], severities=[3]))
    renamed, usual = numbers_of(options().work_dir), numbers_of(finished)
    assert renamed['clean']['pixels'] == usual['clean']['pixels']
    assert (
        (options().work_dir / 'report.html')
        .read_text(encoding='utf-8')
        .count('Input ulm_stra\\xdfe_leftImg8bit.png')
    )


@pytest.mark.parametrize('told_by', ['metric', 'list', 'data set'])
def test_void_is_what_the_config_says(options, tiny, tmp_path, told_by):
    root = make_tree(tmp_path / 'data', 3)
    config = Config.fromfile(write_config(tmp_path / 'model.py', root))
    measured = options(work_dir=tmp_path / '255', corruptions=['contrast'], severities=[1])
    expected = measure(config, measured)
    for path in (root / 'gtFine').rglob('*.png'):
        ids = np.array(Image.open(path))
        ids[ids == 255] = 19
        Image.fromarray(ids).save(path)
    if told_by == 'data set':
        config.test_dataloader.dataset.ignore_index = 19
    elif told_by == 'metric':
        config.test_evaluator.ignore_index = 19
    else:
        config.test_evaluator = [dict(type='IoUMetric'), dict(type='IoUMetric', ignore_index=19)]
    found = measure(config, options(work_dir=tmp_path / '19', corruptions=['contrast'], severities=[1]))
    assert [cell['pixels'] for cell in found['cells']] == [cell['pixels'] for cell in expected['cells']]


def run_rank(rank: int, processes: int, folder: str, tiny: str, keywords: dict) -> None:
    from mmseg_tapadl.robustness.sweep import SweepOptions

    os.environ.update(RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank))
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=processes
    )
    config = Config.fromfile(write_config(Path(folder) / f'model{rank}.py', Path(tiny) / 'data', workers=1))
    measure(
        config, SweepOptions(work_dir=Path(folder) / 'work', **keywords), name='model', launcher='pytorch'
    )
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_and_workers_change_no_number(processes, finished, tiny, tmp_path):
    # Five pictures in batches of two: the last batch is short, and of four processes one has nothing to do.
    keywords = dict(
        checkpoint=str(tiny / 'model.pth'), corruptions=['gaussian_noise', 'fog'], severities=[1, 3]
    )
    context = multiprocessing.get_context('fork')
    ranks = [
        context.Process(target=run_rank, args=(rank, processes, str(tmp_path), str(tiny), keywords))
        for rank in range(processes)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(200)
    assert [process.exitcode for process in ranks] == [0] * processes
    alone, shared = numbers_of(finished), numbers_of(tmp_path / 'work')
    for results in (alone, shared):
        # The config's path differs, and with it nothing else.
        results.pop('config')
    assert shared == alone
