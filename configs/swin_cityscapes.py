# Swin-T and UPerHead on Cityscapes by mmseg's recipe for Swin on ADE20K: 160,000 iterations, one rate for encoder and
# head, no decay on norms and position biases, 8 GPUs with 2 pictures each (UPerHead's batch norm needs 2). The crop is
# that of the other configs, 1024x1024.
_base_ = [
    './_base_/models/swin_tiny_upernet.py',
    './_base_/datasets/cityscapes.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime.py',
]
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True,
        norm_decay_mult=0.0,
        custom_keys={'relative_position_bias_table': dict(decay_mult=0.0)},
    )
)
train_dataloader = dict(batch_size=2)
