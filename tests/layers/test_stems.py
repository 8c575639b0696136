"""The stems of FAN: what stands in for timm's layers leaves nothing of them out."""

import pytest
import torch
from timm.layers import GlobalResponseNormMlp, LayerNorm2d, Mlp

from mmseg_tapadl.layers.budget import use_budget
from mmseg_tapadl.layers.stems import LeanMlp
from tests.device import DEVICE


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('pixels', [None, 20])
def test_the_lean_mlp_is_timms(training, pixels):
    torch.manual_seed(0)
    plain = Mlp(8, 24, use_conv=True).to(DEVICE).train(training)
    lean = LeanMlp.like(plain).to(DEVICE).train(training)
    lean.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 5, 7, device=DEVICE)
    with use_budget(DEVICE, stem_pixels=pixels):
        torch.testing.assert_close(lean(x), plain(x))


@pytest.mark.parametrize(
    'mlp',
    [
        Mlp(8, 24, use_conv=True, drop=0.1),
        Mlp(8, 24, use_conv=True, norm_layer=LayerNorm2d),
        Mlp(8, 24, use_conv=True, act_layer=torch.nn.ReLU),
        GlobalResponseNormMlp(8, 24, use_conv=True),
        Mlp(8, 24),
    ],
    ids=['dropout', 'norm', 'ReLU', 'response norm', 'linear'],
)
def test_what_the_lean_mlp_would_leave_out_is_refused(mlp):
    with pytest.raises(ValueError, match='two convolutions with GELU'):
        LeanMlp.like(mlp)
