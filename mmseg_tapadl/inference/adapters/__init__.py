"""Models of other kinds behind :mod:`mmseg_tapadl.inference.interface`, one kind a file."""
