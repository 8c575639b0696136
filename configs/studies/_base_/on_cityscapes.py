# FAN-B-Hybrid by the paper's recipe, measured as the paper does: Cityscapes-C and ACDC. Days on a GPU for each run.
#   --pretrained fan_base_imagenet.pth starts from ImageNet, as the paper does.
base = '../fan_cityscapes.py'
seeds = [0, 1, 2]
measure = dict(sweep='cityscapes-c', acdc='data/acdc')
