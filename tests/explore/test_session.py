"""The live page's answers are those of the model and of the attention report, and nothing of a former picture is kept."""

import gc
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmseg_tapadl.analysis import record_attention
from mmseg_tapadl.analysis.analysed_model import AnalysedModel, Region
from mmseg_tapadl.analysis.pictures import FilePictures
from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.explore.drawing import laid_over
from mmseg_tapadl.explore.session import ExploreSession, agreement_of
from mmseg_tapadl.utils import InputError

NOISE = Cell('gaussian_noise', 3)


def model_of(street: Path, name: str, options: list[str] | None = None) -> AnalysedModel:
    return AnalysedModel(
        load_config(street / f'{name}.py', options), str(street / f'{name}.pth'), device='cpu'
    )


@pytest.fixture(scope='module')
def fan(street):
    return model_of(street, 'fan')


@pytest.fixture
def session(fan, pictures):
    return ExploreSession([fan], pictures)


def test_predictions_and_corrupted_bytes_are_those_of_the_model_and_the_sweep(session, fan, pictures):
    assert session.show(session.file(1), NOISE)
    (view,) = session.views
    for seen, cell in ((view.clean, CLEAN), (view.corrupted, NOISE)):
        packed = FilePictures(fan.config, pictures).sample(1, cell)
        assert np.array_equal(seen.picture, packed['inputs'].permute(1, 2, 0).numpy())
        with torch.no_grad():
            (sample,) = fan.model(**fan.prepare(packed), mode='predict')
        assert np.array_equal(seen.labels, sample.pred_sem_seg.data[0].numpy())
    assert np.array_equal(view.changed, view.clean.labels != view.corrupted.labels)
    assert view.changed.any()


def test_a_point_looks_where_the_recorded_attention_says(session, fan):
    session.show(session.file(0), NOISE)
    (view,) = session.views
    rows, columns = view.clean.labels.shape
    height, width = view.clean.picture.shape[:2]
    point = columns - 1.0, 2.0
    expected = record_attention(fan.encoder, view.corrupted.prepared['inputs'])
    for layer, recorded in zip(session.look(view, view.corrupted, point), expected, strict=True):
        look = recorded.looks((point[0] + 0.5) * width / columns, (point[1] + 0.5) * height / rows)
        assert np.allclose(layer.looks, look.numpy(), atol=1e-5)
        assert np.array_equal(layer.branch, recorded.branch_weights.argmax(0).numpy())
    with pytest.raises(InputError, match='outside'):
        session.look(view, view.clean, (columns, 0))


def test_windows_are_asked_for_one_by_one(street, pictures):
    model = model_of(
        street,
        'fan_base',
        ['model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(64,64)', 'model.test_cfg.stride=(32,32)'],
    )
    session = ExploreSession([model], pictures)
    session.show(session.file(0), CLEAN)
    (view,) = session.views
    assert view.clean.attention == {}
    rows, columns = view.clean.labels.shape
    first = session.look(view, view.clean, (0, 0))[0]
    last = session.look(view, view.clean, (columns - 1, rows - 1))[0]
    assert (first.region.top, first.region.left) == (0, 0)
    assert last.region != first.region
    assert len(view.clean.attention) == 1


def test_another_corruption_keeps_what_the_clean_picture_gave(session):
    source = session.file(0)
    session.show(source, NOISE)
    clean = session.views[0].clean
    assert not session.show(source, NOISE)
    assert session.show(source, Cell('fog', 1))
    assert session.views[0].clean is clean
    session.show(source, CLEAN)
    assert session.views[0].corrupted is clean


def test_the_attention_of_earlier_pictures_is_released(session):
    session.show(session.file(0), NOISE)
    kept = [
        weakref.ref(layer.inputs.q)
        for seen in (session.views[0].clean, session.views[0].corrupted)
        for layers in seen.attention.values()
        for layer in layers
    ]
    assert kept
    session.show(session.file(1), NOISE)
    gc.collect()
    assert [one() for one in kept if one() is not None] == []
    session.release()
    assert session.views == []


def test_an_upload_is_seen_as_the_file_is(session, pictures):
    session.show(session.file(0), CLEAN)
    from_file = session.views[0].clean
    session.show(session.upload('a.png', Path(pictures[0]).read_bytes()), CLEAN)
    assert np.array_equal(session.views[0].clean.picture, from_file.picture)
    assert np.array_equal(session.views[0].clean.labels, from_file.labels)


def test_after_a_fault_the_former_picture_stays(fan, pictures, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'no picture')
    session = ExploreSession([fan], [pictures[0], str(broken)])
    source = session.file(0)
    session.show(source, NOISE)
    views = session.views
    with pytest.raises(InputError, match=r'broken\.png: not a readable picture'):
        session.show(session.file(1), NOISE)
    with pytest.raises(InputError, match='notes: is no picture'):
        session.upload('notes', b'text')
    assert session.source is source and session.views is views


def test_a_picture_too_small_is_named(street, tmp_path):
    small = tmp_path / 'small.png'
    cv2.imwrite(str(small), np.zeros((3, 4, 3), np.uint8))
    model = model_of(street, 'fan', ['test_pipeline.1.scale=(4,3)'])
    session = ExploreSession([model], [str(small)])
    with pytest.raises(InputError, match=r'small\.png: 4 x 3 pixels are too small'):
        session.show(session.file(0), CLEAN)


def test_models_on_other_grids_are_named(street, fan, pictures):
    session = ExploreSession([fan, model_of(street, 'swin')], pictures)
    with pytest.raises(InputError, match='fan and swin cannot be compared'):
        session.show(session.file(0), CLEAN)
    assert session.views == [] and session.source is None


def test_two_models_share_a_picture(street, fan, pictures):
    session = ExploreSession([fan, model_of(street, 'fan_base')], pictures)
    session.show(session.file(0), NOISE)
    first, second = session.views
    assert np.array_equal(first.corrupted.picture, second.corrupted.picture)
    assert session.look(first, first.clean, (0, 0))[0].branch is not None
    assert session.look(second, second.clean, (0, 0))[0].branch is None


def test_cells_lie_over_the_part_that_they_cover():
    """By hand: 2 x 2 cells of 4 pixels from row 0, column 8 of a picture of 8 x 16, drawn at half its size."""
    colours = np.zeros((2, 2, 4), dtype=np.uint8)
    colours[0, 0] = 255, 0, 0, 255
    colours[1, 1] = 0, 0, 255, 255
    drawn = laid_over(
        np.full((4, 8, 3), 9, dtype=np.uint8), colours, stride=4, region=Region(0, 8, 8, 8), size=(8, 16)
    )
    expected = np.full((4, 8, 3), 9, dtype=np.uint8)
    expected[:2, 4:6] = 0, 0, 255
    expected[2:, 6:] = 255, 0, 0
    assert np.array_equal(drawn, expected)


def test_agreement_is_the_cosine():
    assert agreement_of(np.array([[3.0, 0.0]]), np.array([[4.0, 3.0]])) == pytest.approx(0.8)
