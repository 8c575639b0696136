"""SegFormer's encoder against mmseg's own: the same names, function and gradients; then what it adds."""

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from mmseg.models.backbones import MixVisionTransformer

from mmseg_tapadl.engine.config import load_config
from mmseg_tapadl.layers import TokenAwareAvgPool
from mmseg_tapadl.models.backbones import MIT_ARCHS, TAPMixVisionTransformer
from tests.models.builders import build

# Two stages more would only repeat the second: reduced and unreduced keys, one head and several.
TINY = dict(
    embed_dims=8,
    num_layers=(2, 1, 1),
    num_heads=(1, 2, 4),
    patch_sizes=(7, 3, 3),
    strides=(4, 2, 2),
    sr_ratios=(4, 2, 1),
)
SIZES = {f: TINY[f] for f in ('embed_dims', 'num_layers', 'num_heads', 'patch_sizes', 'strides', 'sr_ratios')}
TAP = dict(num_branches=4)


def mmseg_mit(arch: str | None = None, **changes) -> torch.nn.Module:
    """mmseg's own encoder of the same sizes."""
    sizes = SIZES if arch is None else {f: getattr(MIT_ARCHS[arch], f) for f in SIZES}
    stages = len(sizes['num_layers'])
    return build(
        dict(type='MixVisionTransformer', num_stages=stages, out_indices=range(stages), **sizes, **changes)
    )


def ours(**changes) -> TAPMixVisionTransformer:
    """Our tiny encoder as a config builds it."""
    return build(dict(type='TAPMixVisionTransformer', arch=TINY, out_indices=(0, 1, 2)) | changes)


def randomise(model: torch.nn.Module) -> None:
    """Weights at which norms, biases and scores all matter."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            spread = 4.0 if name.endswith('in_proj_weight') else 0.3  # attention far from uniform
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


@pytest.mark.parametrize('arch', MIT_ARCHS)
def test_every_size_has_the_names_and_shapes_of_mmseg(arch):
    theirs = {name: value.shape for name, value in mmseg_mit(arch).state_dict().items()}
    with torch.device('meta'):
        plain = build(dict(type='TAPMixVisionTransformer', arch=arch)).state_dict()
        with_tap = build(dict(type='TAPMixVisionTransformer', arch=arch, tap=TAP)).state_dict()
    assert {name: value.shape for name, value in plain.items()} == theirs
    assert {name for name in with_tap if 'dilation_predictor' not in name} == set(theirs)
    assert sum(f'{name}.'.count('dilation_predictor.proj.0.weight') for name in with_tap) == sum(
        MIT_ARCHS[arch].num_layers
    )


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize(('height', 'width'), [(64, 96), (65, 47)])
@pytest.mark.parametrize('qkv_bias', [True, False])
def test_without_tap_it_is_mmsegs_function_and_gradient(training, height, width, qkv_bias):
    options = dict(drop_path_rate=0.4, qkv_bias=qkv_bias)
    theirs = mmseg_mit(**options).double().train(training)
    randomise(theirs)
    mine = ours(**options).double().train(training)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    picture = torch.randn(2, 3, height, width, dtype=torch.float64)
    results = []
    for encoder in (theirs, mine):
        torch.manual_seed(3)
        features = encoder(picture)
        sum(f.square().mean() for f in features).backward()
        results.append((features, [p.grad for p in encoder.parameters()]))
    (features, gradients), (own_features, own_gradients) = results
    for own, reference in zip(own_features, features, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-10, atol=1e-10)
    for own, reference in zip(own_gradients, gradients, strict=True):
        torch.testing.assert_close(own, reference, rtol=1e-8, atol=1e-10)


def test_a_checkpoint_of_mmseg_loads_unchanged(tmp_path):
    theirs = mmseg_mit('b0').eval()
    randomise(theirs)
    torch.save(dict(meta={}, state_dict=theirs.state_dict()), tmp_path / 'mit_b0.pth')
    start = dict(type='Pretrained', checkpoint=str(tmp_path / 'mit_b0.pth'))
    encoder = build(dict(type='TAPMixVisionTransformer', arch='b0', init_cfg=start)).eval()
    encoder.init_weights()
    picture = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        for own, reference in zip(encoder(picture), theirs(picture), strict=True):
            assert own.shape == reference.shape
            torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-5)


def test_a_whole_segformer_of_mmseg_loads_into_our_config(repo_root):
    cfg = load_config(repo_root / 'configs' / 'segformer_b0_cityscapes.py').model
    mine = revert_sync_batchnorm(build(cfg)).eval()
    sizes = {f: getattr(MIT_ARCHS['b0'], f) for f in SIZES}
    head = {key: value for key, value in cfg.decode_head.items() if key != 'norm_cfg'}
    theirs = build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=cfg.data_preprocessor,
            backbone=dict(type='MixVisionTransformer', **sizes),
            decode_head=dict(head, type='SegformerHead', norm_cfg=dict(type='BN')),
            test_cfg=dict(mode='whole'),
        )
    ).eval()
    randomise(theirs)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    picture = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.double()(picture, mode='tensor')
        torch.testing.assert_close(mine.double()(picture, mode='tensor'), expected, rtol=1e-9, atol=1e-9)


def test_weights_without_tap_start_a_model_with_tap_as_nearly_the_same_function(tmp_path):
    theirs = mmseg_mit().eval()
    torch.save(theirs.state_dict(), tmp_path / 'mit.pth')
    for start in (dict(type='Pretrained', checkpoint=str(tmp_path / 'mit.pth')), None):
        encoder = ours(tap=TAP, init_cfg=start).eval()
        encoder.init_weights()
        if start is None:
            load_checkpoint(encoder, str(tmp_path / 'mit.pth'), strict=False)
        weights = []
        for module in encoder.modules():
            if isinstance(module, TokenAwareAvgPool):
                module.register_forward_pre_hook(
                    lambda m, inputs, seen=weights: seen.append(m.proj(inputs[0]).softmax(1)[:, 0].min())
                )
        picture = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            features, references = encoder(picture), theirs(picture)
        assert len(weights) == 4
        assert min(weights) >= 0.99
        for feature, reference in zip(features, references, strict=True):
            assert (feature - reference).std() < 0.05 * reference.std()


def test_tap_pools_what_the_attention_reads_and_not_the_residual():
    encoder = ours(tap=TAP).eval()
    block = encoder.layers[0][1][0]
    plain = ours().eval().layers[0][1][0]
    plain.load_state_dict({n: v for n, v in block.state_dict().items() if 'dilation' not in n})
    with torch.no_grad():
        # All weight on the dilation-1 mean: the block is then the plain one on averaged tokens.
        for module in (block, plain):
            module.ffn.layers[4].weight.zero_()
            module.ffn.layers[4].bias.zero_()
        block.dilation_predictor.proj[2].weight.zero_()
        block.dilation_predictor.proj[1].bias.fill_(1.0)
        block.dilation_predictor.proj[2].weight[1, :, 1, 1] = 1e4
        tokens = torch.randn(1, 12 * 8, 8)
        grid = tokens.transpose(1, 2).reshape(1, 8, 12, 8)
        mean = torch.nn.functional.avg_pool2d(grid, 3, stride=1, padding=1).flatten(2).transpose(1, 2)
        expected = tokens + (plain(mean, (12, 8)) - mean)
        torch.testing.assert_close(block(tokens, (12, 8)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(arch='b9'), 'b0, b1, b2, b3, b4, b5'),
        (dict(arch=dict(embed_dim=8)), 'embed_dims, num_layers'),
        (dict(arch=dict(embed_dims=8, num_layers=(1, 1))), 'one number a stage'),
        (dict(out_indices=(3,)), 'the stages are 0 to 2'),
        (dict(tap=dict(branches=4)), 'num_branches'),
        (dict(tap=True), r'tap=True: give dict\(num_branches=4\)'),
    ],
)
def test_a_wrong_option_says_what_is_valid(changes, message):
    with pytest.raises(ValueError, match=message):
        ours(**changes)


def test_it_is_an_mmseg_encoder():
    encoder = ours()
    assert isinstance(encoder, MixVisionTransformer)
    assert encoder.num_layers == [2, 1, 1]
    with pytest.raises(TypeError, match=r'patch_norm.*valid: arch, tap'):
        ours(patch_norm=True)
