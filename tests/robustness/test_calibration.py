"""The temperature of a model: fitted on one half of the pictures, reported on the other."""

import json

from mmengine.config import Config

from mmseg_tapadl.robustness.calibration import calibrate
from mmseg_tapadl.robustness.measured_model import MeasuredConfig


def test_the_other_half_is_better_calibrated(tiny, capsys):
    figures = calibrate(MeasuredConfig(Config.fromfile(tiny / 'model.py'), str(tiny / 'model.pth')))
    assert (figures['fitted_on'], figures['reported_on']) == (3, 2)
    # The random model is far too sure of what it does not know.
    assert figures['temperature'] > 2 and figures['before']['ece'] > 0.5
    assert figures['after']['ece'] < figures['before']['ece'] / 2
    assert figures['after']['brier'] < figures['before']['brier']
    assert set(figures['before']) == set(figures['after'])
    assert 'of 3 pictures' in capsys.readouterr().out


def test_the_tool_writes_what_it_prints(tiny, run_tool, tmp_path):
    done = run_tool('calibrate.py', tiny / 'model.py', tiny / 'model.pth', '--out', tmp_path / 't.json')
    figures = json.loads((tmp_path / 't.json').read_text())
    assert f'temperature {figures["temperature"]:.4f}' in done.stdout
    assert f'{figures["before"]["ece"]:8.4f}  {figures["after"]["ece"]:8.4f}' in done.stdout
