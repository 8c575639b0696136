# Looks for a recipe of TAP and ADL with DINOv2-S: trained on 187 of CamVid's 367 training pictures, chosen by the 180 others
# and by 8 corruptions that dinov2_camvid_confirm.py does not measure. The base gets the same budget of search.
#   python tools/study.py configs/studies/dinov2_camvid_search.py --pretrained work_dirs/dinov2_small.safetensors
base = '../dinov2_camvid.py'
# Neighbouring frames are alike, so the end of each of the three sequences (62, 101 and 204 frames) is held out, not frames
# from among the others.
_held_out = [*range(32, 62), *range(113, 163), *range(267, 367)]
_trained = [number for number in range(367) if number not in _held_out]
_train_folders = dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train')
changes = {
    'train_dataloader.dataset.indices': _trained,
    'test_dataloader.dataset.indices': _held_out[
        ::4
    ],  # every fourth: the sweep takes longer than the training
    'test_dataloader.dataset.data_prefix': _train_folders,
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
}


def _adl(weight=1.0, **options):
    return {
        'model.loss_attention': dict(
            type='AttentionDiversificationLoss', threshold=2.0, loss_weight=weight, **options
        )
    }


_tap = {'model.backbone.tap': dict(num_branches=4)}
_rate = 'optim_wrapper.optimizer.lr'
variants = dict(
    base_slow={_rate: 1.5e-5},
    base_fast={_rate: 6e-5},
    tap=_tap,
    tap_slow={**_tap, 'optim_wrapper.paramwise_cfg.custom_keys.dilation_predictor.lr_mult': 1.0},
    tap_fast={**_tap, 'optim_wrapper.paramwise_cfg.custom_keys.dilation_predictor.lr_mult': 33.3},
    adl_001=_adl(0.01),
    adl_01=_adl(0.1),
    adl_1=_adl(1.0),
    adl_1_warm=_adl(1.0, warmup_iters=250),
    adl_01_late=_adl(0.1, layers=[6, 7, 8, 9, 10, 11]),
    tapadl_01={**_tap, **_adl(0.1)},
)
seeds = [0]
measure = dict(
    sweep=dict(
        corruptions=[
            *('motion_blur', 'gaussian_noise', 'contrast', 'fog'),
            *('jpeg_compression', 'glass_blur', 'speckle_noise', 'frost'),
        ],
        severities=[3, 5],
    )
)
primary = dict(variant='tapadl_01', against='base', measure='mPC')
data = 'data/camvid'
