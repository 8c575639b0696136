"""A ``data.yaml``: one file that says what a person's own data are (docs/own_data.md).

``reading.read_description`` reads and checks it, ``layout.check_layout`` looks up its files, ``as_config.datasets_of``
makes configs of it. The data set that it becomes, :mod:`mmseg_tapadl.datasets.picture_mask_dataset`, uses ``coding`` and
``pictures``.
"""
