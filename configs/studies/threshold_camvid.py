_base_ = ['./_base_/threshold.py', './_base_/on_camvid.py']
