# A sign of life: 10 iterations, 4 test pictures, two corruptions.
seeds = [0, 1, 2]
changes = {
    'train_cfg.max_iters': 10,
    'param_scheduler.0.end': 2,
    'param_scheduler.1.begin': 2,
    'param_scheduler.1.end': 10,
    'test_dataloader.dataset.indices': 4,
    'val_dataloader': None,
    'val_evaluator': None,
    'val_cfg': None,
}
measure = dict(cells=dict(fog=[3], gaussian_noise=[3]))
