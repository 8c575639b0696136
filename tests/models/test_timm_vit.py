"""timm's vision transformers by name: timm's own function, TAP on patches only, frozen, in a segmentor."""

import copy
import logging

import pytest
import timm
import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import mmseg_tapadl.register  # noqa: F401
from mmseg_tapadl.layers import AttentionWatch, TokenAwareAvgPool, WatchableAttention
from mmseg_tapadl.models import TimmViT
from mmseg_tapadl.models.segmentors.attention_encoder_decoder import check_normalisation
from mmseg_tapadl.utils import InputError
from tests.models.builders import batch, build_segmentor, total

# One of each family, the smallest there is: prefix tokens 0, 1, 2 and 5, learned and rotary positions, both
# forms of biases, norms of queries and keys, layer scale, an inner norm, three kinds of MLP.
FAMILIES = [
    'deit_tiny_patch16_224',
    'deit_tiny_distilled_patch16_224',
    'deit3_small_patch16_224',
    'vit_tiny_patch16_224',
    'vit_small_patch14_dinov2',
    'vit_small_patch14_reg4_dinov2',
    'vit_tiny_patch16_dinov3_qkvb',
    'vit_small_plus_patch16_dinov3',
    'vit_small_patch16_rope_mixed_224',
    'eva02_tiny_patch14_224',
    'vit_pe_spatial_tiny_patch16_512',
    'vit_base_patch16_siglip_512',
    'vit_base_patch16_radio_v3',
    'vit_base_patch14_reg1_tipsv2',
]
# timm's own for tests: 6 blocks of 64 channels, one prefix token, a grid of 10 x 10.
SMALL = 'test_vit'


@pytest.fixture(autouse=True)
def mmseg_scope():
    init_default_scope('mmseg')


def timms_own(encoder: TimmViT) -> nn.Module:
    """timm's model of the same name and weights, untouched by this project."""
    own = timm.create_model(encoder.name, dynamic_img_size=True).eval()
    own.prune_intermediate_layers(list(encoder.out_indices), prune_norm=not encoder.final_norm)
    weights = encoder.model.state_dict()
    own.load_state_dict(weights, strict=True)
    return own


@pytest.mark.parametrize('name', FAMILIES)
def test_features_are_timms_own(name):
    torch.manual_seed(0)
    encoder = TimmViT(name, out_indices=(0, 1)).eval()
    for parameter in encoder.parameters():  # so that no layer scale hides a fault
        if parameter.ndim == 1 and float(parameter.detach().abs().max()) < 1e-2:
            nn.init.normal_(parameter, std=0.5)
    own = timms_own(encoder)
    assert type(own) is type(encoder.model)
    side = encoder.patch_size
    picture = torch.randn(2, 3, 3 * side, 4 * side)
    ours = encoder(picture)
    sum(feature.square().mean() for feature in ours).backward()
    assert [key for key, p in encoder.named_parameters() if p.grad is None] == []
    with torch.no_grad():
        theirs = own.forward_intermediates(picture, indices=[0, 1], norm=False, intermediates_only=True)
    for feature, expected in zip(ours, theirs, strict=True):
        assert feature.shape == expected.shape == (2, encoder.embed_dim, 3, 4)
        assert float((feature.detach() - expected).abs().max()) <= 1e-5 * float(expected.std())


def test_final_norm_is_timms():
    encoder = TimmViT(SMALL, out_indices=(1, 3), final_norm=True).eval()
    own = timms_own(encoder)
    picture = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        theirs = own.forward_intermediates(picture, indices=[1, 3], norm=True, intermediates_only=True)
        for feature, expected in zip(encoder(picture), theirs, strict=True):
            torch.testing.assert_close(feature, expected, rtol=0, atol=1e-5)


def test_any_picture_is_padded_to_whole_patches():
    encoder = TimmViT('vit_small_patch14_dinov2', out_indices=(0, 1)).eval()
    picture = torch.randn(1, 3, 29, 43)
    padded = nn.functional.pad(picture, (0, 13, 0, 13))
    with torch.no_grad():
        for small, whole in zip(encoder(picture), encoder(padded), strict=True):
            assert small.shape == (1, 384, 3, 4)
            assert torch.equal(small, whole)


def test_blocks_are_chosen_evenly_and_the_rest_is_not_kept():
    encoder = TimmViT(SMALL)
    assert encoder.out_indices == (0, 2, 3, 5)  # a quarter of 6 blocks each, rounded down
    assert TimmViT('deit_tiny_patch16_224').out_indices == (2, 5, 8, 11)
    short = TimmViT(SMALL, out_indices=(1, 3))
    assert len(short.model.blocks) == 4
    assert not [
        key for key in short.state_dict() if key.startswith(('model.head', 'model.norm.', 'model.fc_norm'))
    ]


@pytest.mark.parametrize('name', [SMALL, 'vit_tiny_patch16_dinov3_qkvb'])
def test_every_trainable_parameter_gets_a_gradient(name):
    encoder = TimmViT(name, tap=dict(num_branches=3), out_indices=(0, 2), final_norm=True).train()
    sum(feature.square().mean() for feature in encoder(torch.randn(2, 3, 40, 60))).backward()
    assert [key for key, p in encoder.named_parameters() if p.requires_grad and p.grad is None] == []


def test_pooling_touches_patches_only_and_not_the_residual():
    """By hand: norm1 reads the prefix as it is and the pooled patches; everything else is the block without TAP."""
    encoder = TimmViT('vit_small_patch14_reg4_dinov2', tap=dict(num_branches=3), out_indices=(0,)).eval()
    block = encoder.model.blocks[0]
    nn.init.normal_(block.dilation_predictor.proj[2].weight, std=2.0)
    nn.init.ones_(block.ls1.gamma)
    tokens, grid = torch.randn(2, 5 + 12, 384), (3, 4)
    seen = []
    block.norm1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        out = block(tokens, grid)
        patches = tokens[:, 5:].transpose(1, 2).reshape(2, 384, 3, 4)
        pooled = block.dilation_predictor(patches).flatten(2).transpose(1, 2)
        expected_in = torch.cat([tokens[:, :5], pooled], dim=1)
        half = tokens + block.attn(block.norm1(expected_in)) * block.ls1.gamma
        expected = half + block.ls2(block.mlp(block.norm2(half)))
    torch.testing.assert_close(seen[0], expected_in)
    assert float((pooled - tokens[:, 5:]).abs().max()) > 0.1
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize('name', [SMALL, 'eva02_tiny_patch14_224', 'vit_small_patch14_reg4_dinov2'])
def test_pooling_starts_near_the_identity(name):
    """As docs/add_an_encoder.md states: at most 5 % of a feature's spread, in every level."""
    torch.manual_seed(0)
    plain = TimmViT(name, out_indices=(1, 3)).eval()
    pooled = TimmViT(name, tap=dict(num_branches=4), out_indices=(1, 3)).eval()
    pooled.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        for with_tap, without in zip(
            *(e(torch.full((1, 3, 48, 64), 0.5)) for e in (pooled, plain)), strict=True
        ):
            assert float((with_tap - without).abs().max()) <= 0.05 * float(without.std())


def test_frozen_trains_the_pooling_alone():
    encoder = TimmViT(
        'vit_small_patch16_dinov3', tap=dict(num_branches=4), frozen=True, drop_path_rate=0.2
    ).train()
    trainable = {key: p for key, p in encoder.named_parameters() if p.requires_grad}
    assert all('.dilation_predictor.' in key for key in trainable) and trainable
    share = sum(p.numel() for p in trainable.values()) / sum(p.numel() for p in encoder.parameters())
    assert share < 0.01
    sum(feature.square().mean() for feature in encoder(torch.randn(1, 3, 48, 64))).backward()
    for number in range(12):
        predictor = encoder.model.blocks[number].dilation_predictor
        assert float(predictor.proj[2].weight.grad.abs().sum()) > 0
    for module in encoder.model.modules():
        learns = isinstance(module, (TokenAwareAvgPool, WatchableAttention)) or any(
            module is part
            for pool in encoder.modules()
            if isinstance(pool, TokenAwareAvgPool)
            for part in pool.modules()
        )
        assert module.training == learns
    optimizer = build_optim_wrapper(encoder, dict(optimizer=dict(type='AdamW', lr=1e-3))).optimizer
    optimizer.step()
    assert len(optimizer.state) == len(trainable)


def test_a_copy_calls_its_own_pooling():
    encoder = TimmViT(SMALL, tap=dict(num_branches=3), out_indices=(1,)).eval()
    copied = copy.deepcopy(encoder)
    picture = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        before = copied(picture)[0]
        for block in encoder.model.blocks:
            nn.init.normal_(block.dilation_predictor.proj[2].weight, std=3.0)
        assert torch.equal(copied(picture)[0], before)
        assert not torch.equal(encoder(picture)[0], before)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(model='vit_smal_patch16_224'), 'no model of this name; near: .*vit_small_patch16_224'),
        (dict(model='vit_small_patch14_dinov2.nope'), "no weights with the tag 'nope'; its tags: lvd142m"),
        (dict(model='convnext_tiny'), 'neither TAP nor ADL'),
        (dict(model='vit_dpwee_patch16_reg1_gap_256'), "model='vit_dpwee.*': DiffParallelScalingBlock"),
        (dict(model='vit_dlittle_patch16_reg1_gap_256'), "model='vit_dlittle.*': DiffAttention"),
        (dict(model=SMALL, drop_path_rate=1.0), r'drop_path_rate=1\.0: it must be from 0 to below 1'),
        (dict(model=SMALL, attn_drop_rate=-0.1), r'attn_drop_rate=-0\.1: it must be from 0 to below 1'),
        (dict(model='eva02_tiny_patch14_224', out_indices=(3, 12)), r'out_indices=\(3, 12\).*blocks 0 to 11'),
        (dict(model=SMALL, out_indices=()), r'out_indices=\(\)'),
        (dict(model=SMALL, out_indices=(5, 3)), 'ascending'),
        (dict(model=SMALL, depth=3), "no argument 'depth'"),
        (dict(model=SMALL, out_indices=3), 'out_indices=3.*blocks 0 to 5'),
        (dict(model='test_vit_relpos'), 'none of timm'),
        (dict(model=SMALL, tap=dict(branches=4)), 'tap has no option branches'),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        TimmViT(**arguments)


def test_post_norm_blocks_are_refused():
    with pytest.raises(InputError, match='ResPostBlock: it norms after the attention'):
        TimmViT('vit_base_patch16_rpn_224')


def test_it_is_built_in_another_default_precision():
    torch.set_default_dtype(torch.float64)
    try:
        encoder = TimmViT(SMALL, out_indices=(1,))
    finally:
        torch.set_default_dtype(torch.float32)
    assert encoder(torch.zeros(1, 3, 16, 16, dtype=torch.float64))[0].dtype == torch.float64


def test_without_memory_it_has_the_shapes_of_its_features():
    with torch.device('meta'):
        encoder = TimmViT(SMALL, out_indices=(1,)).eval()
        assert encoder(torch.zeros(1, 3, 33, 16))[0].shape == (1, 64, 3, 1)


def segmentor(**changes) -> dict:
    return dict(
        type='AttentionEncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean='encoder', std='encoder', size=(32, 32)),
        backbone=dict(type='TimmViT', model=SMALL, out_indices=(0, 1)),
        decode_head=dict(
            type='FCNHead', num_convs=0, concat_input=False, in_channels=[64, 64], in_index=[0, 1],
            input_transform='resize_concat', channels=128, num_classes=3,
        ),
        test_cfg=dict(mode='whole'),
    ) | changes  # fmt: skip


def test_pictures_are_normalised_as_the_weights_expect():
    backbone = dict(type='TimmViT', model='vit_tiny_patch16_224', out_indices=(0, 1))
    head = dict(segmentor()['decode_head'], in_channels=[192, 192], channels=384)
    model = MODELS.build(segmentor(backbone=backbone, decode_head=head))
    preprocessor = model.data_preprocessor
    assert (
        preprocessor.mean.flatten().tolist() == [127.5] * 3
        and preprocessor.std.flatten().tolist() == [127.5] * 3
    )
    blue = torch.zeros(3, 16, 16, dtype=torch.uint8)
    blue[0] = 255  # BGR, as pictures are loaded
    assert preprocessor(dict(inputs=[blue]))['inputs'][0, :, 0, 0].tolist() == [-1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(data_preprocessor=dict(type='SegDataPreProcessor', mean='imagenet')), "mean='imagenet'"),
        (
            dict(data_preprocessor=dict(type='SegDataPreProcessor', mean='encoder', bgr_to_rgb=False)),
            'bgr_to_rgb=False',
        ),
        (dict(backbone=dict(type='FAN', arch='tiny_hybrid')), 'FAN does not know'),
        (
            dict(backbone=dict(type='TimmViT', model=SMALL, frozen=True), loss_attention=dict(type='AttentionDiversificationLoss')),
            r'loss_attention: all weights of TimmViT are frozen.* with frozen=True give tap=dict\(num_branches=4\)',
        ),
        (
            dict(backbone=dict(type='TimmViT', model=SMALL, attn_drop_rate=0.1), loss_attention=dict(type='AttentionDiversificationLoss')),
            r'attn_drop_rate=0\.1',
        ),
    ],
)  # fmt: skip
def test_a_segmentor_that_cannot_be_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        MODELS.build(segmentor(**changes))


@pytest.fixture
def told():
    """The lines of the log, as they come."""
    lines: list[str] = []
    logger = MMLogger.get_current_instance()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_another_normalisation_than_the_weights_is_told(told):
    MODELS.build(
        segmentor(
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True)
        )
    )
    assert f"the weights of '{SMALL}' expect RGB with mean=[127.5, 127.5, 127.5]" in ''.join(told)


def test_it_is_told_of_any_other_segmentor_too(told):
    plain = segmentor(type='EncoderDecoder')
    with pytest.raises(
        InputError, match=r"data_preprocessor\.mean='encoder': EncoderDecoder does not ask its encoder"
    ):
        check_normalisation(plain)
    numbers = dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[127.5] * 3, bgr_to_rgb=True)
    for passing in (dict(plain, data_preprocessor=numbers), segmentor(), dict(type='SegTTAModel')):
        check_normalisation(passing)
    assert 'expect RGB' not in ''.join(told)
    check_normalisation(dict(plain, data_preprocessor=dict(numbers, mean=[0.0] * 3)))
    assert f"the weights of '{SMALL}' expect RGB" in ''.join(told)


def test_a_final_norm_that_the_model_does_not_have_is_told(told):
    TimmViT(SMALL, final_norm=True, out_indices=(1,))
    assert told == []
    TimmViT('test_vit2', final_norm=True, out_indices=(1,))
    assert "final_norm=True: model='test_vit2' has no norm behind its last block" in ''.join(told)


def test_layer_wise_decay():
    model = MODELS.build(
        segmentor(backbone=dict(type='TimmViT', model=SMALL, out_indices=(0, 1), tap=dict(num_branches=4)))
    )
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
            constructor='EncoderLayerDecayConstructor',
            paramwise_cfg=dict(decay_rate=0.5, custom_keys={'decode_head': dict(lr_mult=10.0)}),
        ),
    )
    found = {
        name: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for name in group['param_names']
    }
    assert set(found) == {name for name, _ in model.named_parameters()}
    # Two blocks: the embedding is three steps below the top.
    assert found['backbone.model.patch_embed.proj.weight'] == (0.125, 0.1)
    assert found['backbone.model.pos_embed'] == found['backbone.model.cls_token'] == (0.125, 0.0)
    assert found['backbone.model.blocks.0.attn.qkv.weight'] == (0.25, 0.1)
    assert found['backbone.model.blocks.1.attn.qkv.bias'] == (0.5, 0.0)
    assert found['backbone.model.blocks.0.dilation_predictor.proj.0.weight'] == (1.0, 0.1)
    assert found['decode_head.conv_seg.weight'] == (10.0, 0.1)


@pytest.mark.parametrize('name', ['vit_small_patch14_reg4_dinov2', 'vit_tiny_patch16_dinov3_qkvb'])
def test_it_exports_for_any_size(name):
    encoder = TimmViT(name, tap=dict(num_branches=4), out_indices=(0,)).eval()
    free = torch.export.Dim.DYNAMIC
    picture = torch.randn(2, 3, 57, 70)
    exported = torch.export.export(
        encoder, (picture,), dynamic_shapes=({0: free, 2: free, 3: free},)
    ).module()
    other = torch.randn(3, 3, 84, 43)
    with torch.no_grad():
        for ours, theirs in zip(exported(other), encoder(other), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', ['vit_small_patch14_reg4_dinov2', 'vit_tiny_patch16_dinov3_qkvb'])
def test_it_compiles_without_a_graph_break(name):
    encoder = TimmViT(name, tap=dict(num_branches=4), out_indices=(0,)).eval()
    torch.compiler.reset()
    compiled = torch.compile(encoder, backend='eager', fullgraph=True)
    picture = torch.randn(2, 3, 48, 60)
    with torch.no_grad():
        torch.testing.assert_close(compiled(picture)[0], encoder(picture)[0])
    # In training too, with the watch.
    watch = AttentionWatch(encoder.train(), threshold=1.0)
    grads = []
    for function in (compiled, encoder):
        with watch.listening() as similarities:
            feature = function(picture)[0]
        assert len(similarities) == 1
        (feature.square().mean() + similarities[0].mean()).backward()
        grads.append([p.grad for p in encoder.parameters() if p.grad is not None])
        encoder.zero_grad()
    for own, expected in zip(*grads, strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('name', [SMALL, 'vit_tiny_patch16_dinov3_qkvb'])
def test_it_runs_in_the_precision_of_its_weights(name, dtype):
    encoder = TimmViT(name, tap=dict(num_branches=3), out_indices=(1,)).eval()
    picture = torch.randn(1, 3, 33, 50)
    with torch.no_grad():
        expected = encoder(picture)[0]
        feature = encoder.to(dtype)(picture.to(dtype))[0]
    assert feature.dtype == dtype
    assert torch.cosine_similarity(feature.float().flatten(), expected.flatten(), dim=0) > 0.99


LEVELS = dict(in_channels=[64] * 4, in_index=[0, 1, 2, 3], num_classes=19)


@pytest.mark.parametrize(
    'head',
    [
        dict(type='FCNHead', num_convs=0, concat_input=False, in_channels=64, in_index=3, channels=64, num_classes=19),
        dict(LEVELS, type='FCNHead', num_convs=0, concat_input=False, input_transform='resize_concat', channels=256),
        dict(LEVELS, type='SegformerHead', channels=32, norm_cfg=dict(type='BN')),
        dict(LEVELS, type='FastSegformerHead', channels=32, norm_cfg=dict(type='BN')),
        dict(LEVELS, type='FANHead', channels=32, norm_cfg=dict(type='BN')),
    ],
    ids=['linear', 'multi-level linear', "mmseg's SegFormer", 'SegFormer', 'FAN'],
)  # fmt: skip
def test_heads_of_mmseg_and_of_this_project_train_on_it(head):
    model = build_segmentor(
        backbone=dict(type='TimmViT', model=SMALL, tap=dict(num_branches=4)), decode_head=head
    )
    losses = model.loss(*batch(2))
    assert losses['loss_adl'] > 0
    total(losses).backward()
    blind = [key for key, p in model.named_parameters() if p.grad is None]
    # A head on the last feature alone sees all of the encoder, too.
    assert blind == []
