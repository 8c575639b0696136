"""What cannot be used is refused with the names of picture and label: in training, validation, test and sweep."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image
from torch.utils.data import DataLoader

import mmseg_tapadl.register  # noqa: F401
from mmseg_tapadl.engine.repeatable.placed_samples import name_samples, place_samples
from mmseg_tapadl.engine.repeatable.sample_pipeline import SamplePipeline
from mmseg_tapadl.utils import SampleError
from tests.datasets.faults import CATALOGUE, SIZE, make_root, pair_paths
from tests.engine.tiny_run import run_tool_here, train_here, write_pictures

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
# What decoding alone cannot notice is the data check's part.
UNSEEN_BY_LOADING = {
    *('label without its end', 'label with a flipped bit', 'instanceIds of 16 bits', 'label all void'),
}


@pytest.fixture(scope='module', autouse=True)
def registered():
    register_all_modules(init_default_scope=False)
    init_default_scope('mmseg')


def sample(image: Path, label: Path) -> dict:
    return dict(
        img_path=str(image), seg_map_path=str(label), seg_fields=[], label_map=None, reduce_zero_label=False
    )


@pytest.fixture(scope='module')
def pair(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp('pair')
    make_root(root, count=1, splits=('train',))
    return pair_paths(root, 'train', 0)


def built(*steps: dict, **options) -> SamplePipeline:
    return SamplePipeline(Compose(list(steps)), **options)


@pytest.mark.parametrize(
    'fault', [f for f in CATALOGUE if f.name not in UNSEEN_BY_LOADING], ids=lambda f: f.name
)
def test_a_fault_that_slips_through_is_raised_with_both_paths(tmp_path, fault):
    make_root(tmp_path, count=1, splits=('train',))
    image, label = pair_paths(tmp_path, 'train', 0)
    fault.plant(image, label)
    with pytest.raises(SampleError) as caught:
        built(*LOAD, dict(type='PackSegInputs'), num_classes=19)(sample(image, label))
    text = str(caught.value)
    assert str(image) in text and str(label) in text and '\n' not in text


def test_a_label_is_compared_with_the_picture_as_stored(pair, tmp_path):
    """Test pipelines resize the picture before they load its label."""
    image, label = pair
    resize = dict(type='Resize', scale=(96, 48), keep_ratio=True)
    resized = built(LOAD[0], resize, LOAD[1])(sample(image, label))
    assert resized['img'].shape[:2] == (48, 96) and resized['gt_seg_map'].shape == SIZE[::-1]
    small = tmp_path / 'small.png'
    Image.open(label).resize((24, 12)).save(small)
    for steps in ([*LOAD, resize], [LOAD[0], resize, LOAD[1]]):
        with pytest.raises(SampleError, match='the label is 24x12, the image 48x24'):
            built(*steps)(sample(image, small))


class LoadsBoth:
    """A person's own loading: a cut of both, of another size than the file."""

    def __call__(self, results: dict) -> dict:
        """Loads picture and label."""
        return {**results, 'img': np.zeros((8, 9, 3), np.uint8), 'gt_seg_map': np.zeros((8, 9), np.uint8)}


def test_what_loads_in_its_own_way_is_not_refused(pair):
    own = SamplePipeline(Compose([LoadsBoth()]))
    assert own({**sample(*pair), 'ori_shape': (24, 48)})['gt_seg_map'].shape == (8, 9)
    # The label at the size of a picture that was made smaller before.
    picture = built(LOAD[0], dict(type='Resize', scale=(24, 12)))(sample(*pair))
    picture['gt_seg_map'] = np.zeros((12, 24), np.uint8)
    assert SamplePipeline(Compose([lambda results: picture]))(sample(*pair)) is picture


def test_former_names_load_as_the_stock_transforms_and_count_no_classes(pair):
    former = [
        dict(type='CheckedLoadImageFromFile', to_float32=True),
        dict(type='CheckedLoadAnnotations', num_classes=3, ignore_index=7, imdecode_backend='pillow'),
    ]
    stock = [dict(type='LoadImageFromFile', to_float32=True), LOAD[1]]
    old, new = (
        Compose([TRANSFORMS.build(step) for step in steps])(sample(*pair)) for steps in (former, stock)
    )
    assert old.keys() == new.keys() and np.array_equal(old['img'], new['img'])
    assert np.array_equal(old['gt_seg_map'], new['gt_seg_map']) and old['gt_seg_map'].max() == 255


def data_set(root: Path, **options) -> dict:
    return dict(
        type='CityscapesDataset', data_root=str(root), pipeline=[*LOAD, dict(type='PackSegInputs')],
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'), **options,
    )  # fmt: skip


@pytest.mark.parametrize('workers', [0, 1])
def test_what_fails_outside_of_a_pipeline_is_named_too(tmp_path, workers):
    make_root(tmp_path, count=2, splits=('train',))
    image, label = pair_paths(tmp_path, 'train', 1)
    image.write_bytes(b'')
    passed_over = data_set(tmp_path, test_mode=True)
    passed_over['pipeline'] = [
        dict(type='LoadImageFromFile', ignore_empty=True),
        *passed_over['pipeline'][1:],
    ]
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[passed_over]))
    name_samples(dataset)
    with pytest.raises(SampleError) as caught:
        list(DataLoader(dataset, batch_size=1, num_workers=workers, collate_fn=list))
    text = str(caught.value)
    assert str(image) in text and str(label) in text and 'None' in text and '\n' not in text
    # Of a worker's error the traceback stays, for the log.
    assert ('Traceback' in str(caught.value.__cause__)) == (workers == 1)


def test_a_data_set_that_tells_no_files_is_named_by_its_index():
    class Own:
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict:
            raise LookupError('two\nlines')

    own = Own()
    place_samples(own, seed=0)
    with pytest.raises(SampleError, match=r'^sample 0 of Own: LookupError: two lines$'):
        own.__getitems__([0])


def small_label(data: Path, split: str) -> tuple[Path, Path]:
    image = data / f'leftImg8bit/{split}/town/town_000001_000000_leftImg8bit.png'
    label = data / f'gtFine/{split}/town/town_000001_000000_gtFine_labelTrainIds.png'
    with Image.open(label) as whole:
        half = whole.resize((64, 32), Image.Resampling.NEAREST)
    half.save(label)
    return image, label


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_a_label_of_another_size_ends_a_tool_in_one_line(tiny, undisturbed, tmp_path, split):
    data = write_pictures(tmp_path / 'data', train=2, val=2)
    image, label = small_label(data, 'train' if split == 'train' else 'val')
    config = tmp_path / 'config.py'
    root = f'dict(num_workers=1, dataset=dict(data_root={str(data)!r}))'
    config.write_text(
        f'_base_ = {str(tiny / "tiny.py")!r}\n'
        f'train_dataloader = val_dataloader = test_dataloader = {root}\n'
        'train_cfg = dict(max_iters=1, val_interval=1)\n'
    )
    if split == 'test':
        run = run_tool_here(
            'test.py', config, undisturbed / 'iter_8.pth', '--work-dir', tmp_path / 'run', '--skip-check',
            cwd=tmp_path, ok=False,
        )  # fmt: skip
    else:
        run = train_here(config, tmp_path / 'run', ok=False)
    tool = 'test.py' if split == 'test' else 'train.py'
    assert run.status == 2
    assert (
        f'{tool}: error: image {image}, label {label}: the label is 64x32, the image 128x64\n' in run.output
    )
    assert 'Traceback' not in run.output
