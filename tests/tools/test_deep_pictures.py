"""Pictures of 12 bits: refused where they would be loaded as black, and trained on once their scale is given."""

import cv2
import numpy as np

from tests.engine.tiny_run import ToolRun, write_config, write_pictures


def test_twelve_bits_are_refused_and_then_trained_on_with_their_scale(tmp_path):
    write_pictures(tmp_path / 'data', train=4, val=1)
    for path in (tmp_path / 'data/leftImg8bit').rglob('*.png'):
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)
    config = write_config(tmp_path / 'tiny.py', tmp_path / 'data', iters=4)
    env = {'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    refused = ToolRun('train.py', config, cwd=tmp_path, env=env)
    assert refused.wait() == 2 and 'loading makes 0..15 of them' in refused.output
    loader = "dict(type='LoadDeepImageFromFile', max_value=4095)"
    assert loader in refused.output
    config.write_text(config.read_text().replace("dict(type='LoadImageFromFile')", loader))
    trained = ToolRun('train.py', config, cwd=tmp_path, env=env)
    assert trained.wait() == 0, trained.output
    assert (tmp_path / 'work_dirs/tiny/iter_4.pth').is_file()
