"""Presets against the protocol's own counts, scores against published numbers."""

import pytest

from mmseg_tapadl.datasets.corruptions import CORRUPTION_GROUPS, CORRUPTIONS
from mmseg_tapadl.evaluation.robustness_presets import Cell, group_of, is_cityscapes_c, select_cells
from mmseg_tapadl.evaluation.robustness_scores import (
    average_of_averages,
    corruption_means,
    mean_performance_under_corruption,
    relative_performance,
)

# SegFormer-B5 on Cityscapes-C as published: each corruption's mean, then the score.
SEGFORMER_B5 = {
    'motion_blur': 69.1, 'defocus_blur': 68.6, 'glass_blur': 64.1, 'gaussian_blur': 69.8,
    'gaussian_noise': 57.8, 'impulse_noise': 63.4, 'shot_noise': 52.3, 'speckle_noise': 72.8,
    'brightness': 81.0, 'contrast': 77.7, 'saturate': 80.1, 'jpeg_compression': 58.8,
    'snow': 40.7, 'spatter': 68.4, 'fog': 78.5, 'frost': 49.9,
}  # fmt: skip


def test_the_published_score_of_segformer_b5():
    cells = {cell: SEGFORMER_B5[cell.corruption] for cell in select_cells('cityscapes-c')}
    assert round(average_of_averages(cells), 1) == 65.8
    # Equal weight for every cell would give another number: noise has fewer severities.
    assert round(mean_performance_under_corruption(cells), 1) != 65.8


def test_presets_hold_the_cells_of_their_protocols():
    by_corruption = {}
    for cell in select_cells('cityscapes-c'):
        by_corruption.setdefault(cell.corruption, []).append(cell.severity)
    assert sum(map(len, by_corruption.values())) == 72
    assert list(by_corruption) == list(SEGFORMER_B5)
    for name, severities in by_corruption.items():
        assert severities == ([1, 2, 3] if 'noise' in name else [1, 2, 3, 4, 5])
    assert len(select_cells('imagenetc15')) == 75
    assert {c.severity for c in select_cells('level5')} == {5} and len(select_cells('level5')) == 16
    assert len(select_cells('fan19s3')) == 57
    assert is_cityscapes_c(select_cells('cityscapes-c')) and not is_cityscapes_c(select_cells('fan19s3'))
    assert (
        {group_of(name) for name in CORRUPTIONS}
        == {'blur', 'noise', 'digital', 'weather'}
        == set(CORRUPTION_GROUPS)
    )


def test_choosing_corruptions_and_severities():
    assert select_cells('cityscapes-c', corruptions=['fog'], severities=[5, 1]) == [
        Cell('fog', 1),
        Cell('fog', 5),
    ]
    # Asked for by name, noise is measured where it is asked for; a mere choice of severities keeps the protocol.
    assert select_cells('cityscapes-c', corruptions=['shot_noise'], severities=[4]) == [Cell('shot_noise', 4)]
    assert all('noise' not in cell.corruption for cell in select_cells('cityscapes-c', severities=[4]))
    assert len(select_cells('cityscapes-c', corruptions=['zoom_blur'])) == 5


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(preset='citys'), 'cityscapes-c, imagenetc15, level5, fan19s3'),
        (dict(preset='level5', corruptions=['rust']), 'motion_blur.*frost'),
        (dict(preset='level5', severities=[6]), '1, 2, 3, 4, 5'),
        (dict(preset='level5', severities=[1]), 'no cell is left'),
        (dict(preset='level5', corruptions=['fog', 'fog']), 'twice'),
    ],
)
def test_a_wrong_choice_says_what_is_right(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_cells(**arguments)


def test_scores_by_hand():
    cells = {Cell('fog', 1): 60.0, Cell('fog', 2): 40.0, Cell('snow', 1): 10.0}
    assert corruption_means(cells) == {'fog': 50.0, 'snow': 10.0}
    assert average_of_averages(cells) == 30.0
    assert mean_performance_under_corruption(cells) == pytest.approx(110 / 3)
    assert relative_performance(30.0, 60.0) == 0.5
    assert relative_performance(30.0, 0.0) is None
