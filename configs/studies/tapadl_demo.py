_base_ = ['./_base_/tapadl.py', './_base_/on_demo.py']
