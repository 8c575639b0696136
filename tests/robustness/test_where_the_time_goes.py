"""The seconds of corrupting, loading and predicting stand apart."""

import json
import re
import time

import pytest
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_tapadl.datasets.cityscapes_c import Settings, pregenerate
from mmseg_tapadl.robustness.benchmark import measure

PAUSE, PICTURES = 0.02, 5


@TRANSFORMS.register_module()
class SlowLoading(BaseTransform):
    """Waits, as a slow disk would."""

    def transform(self, results):
        time.sleep(PAUSE)
        return results


def slow_model(image):
    time.sleep(PAUSE)
    return image[..., 0] // 16


def quick_model(image):
    return image[..., 0] // 16


def seconds_of(folder, cell):
    return json.loads((folder / f'cells/{cell}.json').read_text())['seconds_of']


def test_a_slow_model_is_told_from_slow_corruptions(tiny, tmp_path):
    found = measure(slow_model, tiny / 'data', work_dir=tmp_path, corruptions=['fog'], severities=[1])
    clean, fog = (seconds_of(tmp_path, cell) for cell in ('clean', 'fog_1'))
    assert min(clean['model'], fog['model']) >= PAUSE * PICTURES
    assert clean['corruption'] == 0 and fog['corruption'] > 0 and fog['loading'] > 0
    assert found['time']['corruption'] == fog['corruption']
    assert found['time']['model'] == pytest.approx(clean['model'] + fog['model'], abs=2e-3)
    assert found['time']['model'] + found['time']['waiting'] <= found['time']['seconds'] + 1e-2
    page = (tmp_path / 'report.html').read_text()
    assert re.search(r's predicting, .* s waiting for pictures; the workers were corrupting for', page)


def test_slow_loading_is_no_time_of_the_model(tiny, options, config):
    config.test_dataloader.dataset.pipeline.insert(1, dict(type='SlowLoading'))
    config.test_dataloader.num_workers = 0
    measure(config, options(corruptions=['contrast'], severities=[1]))
    for cell in ('clean', 'contrast_1'):
        seconds = seconds_of(options().work_dir, cell)
        assert seconds['loading'] >= PAUSE * PICTURES
        # Without workers the one process waits for all that is done to pictures.
        assert seconds['waiting'] >= seconds['loading'] + seconds['corruption'] - 2e-3


def test_pictures_from_files_are_corrupted_in_no_time(tiny, tmp_path):
    pregenerate(tiny / 'data', tmp_path / 'files', Settings((('fog', 1),)))
    measure(
        quick_model, tiny / 'data', work_dir=tmp_path / 'work', corruptions=['fog'], severities=[1],
        pregenerated=str(tmp_path / 'files'),
    )  # fmt: skip
    assert seconds_of(tmp_path / 'work', 'fog_1')['corruption'] == 0
