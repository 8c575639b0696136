_base_ = ['./_base_/local_aggregation.py', './_base_/on_camvid.py']
