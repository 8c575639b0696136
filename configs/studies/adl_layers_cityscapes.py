_base_ = ['./_base_/adl_layers.py', './_base_/on_cityscapes.py']
