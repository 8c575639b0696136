_base_ = ['./_base_/branches_and_weight.py', './_base_/on_demo.py']
