"""What is wrong in a study is named in one line, with file and key, before anything is run."""

from pathlib import Path

import pytest

from mmseg_tapadl.evaluation.robustness_presets import CITYSCAPES_C_CORRUPTIONS, Cell, select_cells
from mmseg_tapadl.studies.steps import sweeps_of
from mmseg_tapadl.studies.study_file import StudyError, read_study
from mmseg_tapadl.studies.variants import configs_of, resolve_variants
from tests.studies.tiny_study import STUDY, write_study

SHIPPED = sorted((Path(__file__).parents[2] / 'configs/studies').glob('*.py'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('studies')


def refusal(folder: Path, text: str) -> str:
    study = write_study(folder, text)
    with pytest.raises(StudyError) as caught:
        resolve_variants(read_study(study))
    message = str(caught.value)
    assert 'tiny_study.py' in message and '\n' not in message
    return message


def with_variant(changes: str) -> str:
    return STUDY.replace('wide={', f'wrong={changes}, wide={{')


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ('{}', 'changes nothing'),
        ("{'log_level': 'DEBUG'}", 'changes nothing'),
        ("{'model.decode_head.channels': 32}", 'changes nothing'),
        ("{'train_dataloader.num_workers': 1}", 'changes nothing'),
        ("{'max_iters': 5}", "'max_iters'"),
        ("{'model.decode_head.channels': 48}", 'same as the variant'),
        ("{'model.decode_head': dict(channels=48)}", 'same as the variant'),
        ("{'model.backbone.drop_path': 0.5}", "did you mean 'drop_path_rate'"),
        ("{'model': dict(backbone=dict(drop_path=0.5))}", "did you mean 'drop_path_rate'"),
        ("{'modell.backbone.drop_path_rate': 0.5}", "did you mean 'model'"),
        ("{'optim_wrapper.optimizer.rate': 0.5}", "AdamW has no 'rate'"),
        ("{'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, betas=(0.9, 0.9))}", "SGD has no 'betas'"),
        ("{'optim_wrapper.optimizer.type': 'AdamX'}", "registered as 'AdamX'"),
        ("{'optim_wrapper.optimizer.lr': -1.0}", 'Invalid learning rate'),
        ("{'param_scheduler.1.end': 2}", 'end should be larger than begin'),
        ("{'model.decode_head.in_channels': [1, 2]}", 'decode_head'),
        ("{'train_cfg.max_iter': 5}", "did you mean 'max_iters'"),
        ("{'train_dataloader.batchsize': 5}", "did you mean 'batch_size'"),
        ("{'train_dataloader.dataset.pipeline.3.size': 5}", "did you mean 'crop_size'"),
        ("{'default_hooks.checkpont': dict(interval=3)}", "did you mean 'checkpoint'"),
        ("{'model.decode_head.loss_decode.type': 'CrossEntropy'}", 'CrossEntropy'),
        ("{'train_dataloader.dataset.pipeline.99.ratio': 5}", 'pipeline'),
        ("{'randomness.seed': 5}", 'seeds'),
        ("'channels'", 'must be a dict'),
    ],
)
def test_a_variant_that_cannot_be(folder, changes, words):
    message = refusal(folder, with_variant(changes))
    assert words in message
    assert 'wrong' in message or 'wide' in message


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('seeds = [0, 1]', 'seeds = [0, 1, 0]', '0 is there twice'),
        ('seeds = [0, 1]', 'seeds = [0, -1]', 'whole number'),
        ('seeds = [0, 1]', 'seeds = [0, 1.5]', 'whole number'),
        ('seeds = [0, 1]', 'seeds = []', 'must be a list'),
        ("measure='clean'", "measure='mPC'", 'must be one of clean'),
        ("variant='wide'", "variant='wild'", "did you mean 'wide'"),
        ("against='base'", "against='wide'", 'against itself'),
        ("base = 'tiny.py'", "base = 'tinny.py'", 'no such config'),
        ('seeds', 'sedes', 'sedes'),
        ('primary = ', 'measure = dict(cells=dict(fogg=[3]))\nprimary = ', 'fogg'),
        ('primary = ', 'measure = dict(cells=dict(fog=[6]))\nprimary = ', '6'),
        ('primary = ', "measure = dict(sweep='cityscapes')\nprimary = ", 'cityscapes-c'),
        ('primary = ', "measure = dict(sweeps='level5')\nprimary = ", "did you mean 'sweep'"),
        ('wide={', 'base={', 'variant by itself'),
        ('wide={', "**{'../wide': {'model.decode_head.channels': 64}}, wide={", 'letters'),
        ('wide={', "Wide={'model.decode_head.channels': 64}, wide={", 'case'),
        (
            "{'train_cfg.val_interval': 100}",
            "{'train_cfg.val_intervall': 100}",
            "did you mean 'val_interval'",
        ),
        ('primary = ', 'primary == ', 'cannot be read'),
    ],
)
def test_a_study_that_cannot_be(folder, old, new, words):
    assert old in STUDY
    assert words in refusal(folder, STUDY.replace(old, new))


def test_a_seed_given_twice_on_the_command_line(folder):
    with pytest.raises(StudyError, match='--seeds: 3 is there twice'):
        read_study(write_study(folder), seeds=[3, 3])


def test_changes_reach_the_config_of_their_variant_alone(folder):
    study = read_study(write_study(folder, with_variant("{'model.backbone': dict(drop_path_rate=0.5)}")))
    variants = resolve_variants(study)
    assert list(variants) == ['base', 'wrong', 'wide', 'calm']
    channels = {name: v.config.model.decode_head.channels for name, v in variants.items()}
    assert channels == {'base': 32, 'wrong': 32, 'wide': 48, 'calm': 32}
    assert variants['wrong'].config.model.backbone.drop_path_rate == 0.5
    assert variants['base'].config.model.backbone.drop_path_rate == 0.1
    assert {v.config.train_cfg.val_interval for v in variants.values()} == {100}
    assert variants['wide'].weights > variants['base'].weights == variants['calm'].weights


def test_a_study_without_the_unchanged_config(folder):
    text = STUDY.replace("against='base'", "against='calm'") + '\nbaseline = None\n'
    assert list(resolve_variants(read_study(write_study(folder, text)))) == ['wide', 'calm']


def test_cells_are_asked_for_in_few_calls_and_completely():
    preset = select_cells('cityscapes-c')
    assert sweeps_of(preset) == [(tuple(preset), ('--preset', 'cityscapes-c'))]
    chosen = [Cell('fog', 3), Cell('fog', 5), Cell('frost', 3), Cell('shot_noise', 1), Cell('frost', 5)]
    parts = sweeps_of(chosen)
    assert sorted(cell for cells, _ in parts for cell in cells) == sorted(chosen)
    assert [words for _, words in parts] == [
        ('--corruptions', 'fog', 'frost', '--severities', '3', '5'),
        ('--corruptions', 'shot_noise', '--severities', '1'),
    ]
    for cells, words in parts:
        severities = [int(word) for word in words[words.index('--severities') + 1 :]]
        corruptions = list(words[1 : words.index('--severities')])
        assert select_cells('cityscapes-c', corruptions=corruptions, severities=severities) == list(cells)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_can_be_run(path):
    study = read_study(path)
    assert study.primary.measure in study.measures
    assert list(configs_of(study)) == list(study.variants)
    if path.stem in ('local_aggregation_demo', 'adl_layers_demo'):  # small models: all of them are built
        assert all(variant.weights for variant in resolve_variants(study).values())


def test_the_confirming_study_measures_what_the_search_did_not_see():
    search, confirm = (
        read_study(SHIPPED[0].parent / f'dinov2_camvid_{name}.py') for name in ('search', 'confirm')
    )
    assert not set(search.corruptions) & set(confirm.corruptions)
    assert set(search.corruptions) | set(confirm.corruptions) == set(CITYSCAPES_C_CORRUPTIONS)
    assert len(confirm.cells) == 16 and len(confirm.seeds) >= 5
    config = configs_of(search)['base']
    trained, held_out = (set(config[f'{part}_dataloader'].dataset.indices) for part in ('train', 'test'))
    assert not trained & held_out and len(trained) == 367 - 180
    folders = [config[f'{part}_dataloader'].dataset.data_prefix.img_path for part in ('train', 'test')]
    assert folders == ['leftImg8bit/train'] * 2, 'the search sees nothing of the validation pictures'
    assert config.val_dataloader is None
