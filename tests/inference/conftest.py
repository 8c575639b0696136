"""The config, the pictures and the weights of these tests, made once."""

import pytest

from tests.inference.own_data import write_config, write_pair, write_weights


@pytest.fixture(scope='session')
def own(tmp_path_factory):
    """A folder with ``own.py``, ``own.pth`` (bare weights) and ``data/{images,labels}/{left,right}/0001.png``."""
    folder = tmp_path_factory.mktemp('own')
    write_config(folder / 'own.py', folder / 'data')
    for number, side in enumerate(('left', 'right')):
        write_pair(folder / 'data', f'{side}/0001.png', number)
    write_weights(folder / 'own.py', folder / 'own.pth')
    return folder


@pytest.fixture(scope='session')
def predictor(own):
    """The model of ``own``, ready."""
    from mmseg_tapadl.engine.config import load_config
    from mmseg_tapadl.inference.predictor import Predictor

    return Predictor(load_config(own / 'own.py'), own / 'own.pth', device='cpu')
