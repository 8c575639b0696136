"""What pyproject.toml cannot say: folders that stand beside the package in a checkout go into it when it is installed.

They arrive as ``mmseg_tapadl/shipped/{configs,tools,demo_city}``, side by side as here, so that the tools find what they
need in both places; see ``mmseg_tapadl/utils/shipped.py``.
"""

from setuptools import find_namespace_packages, find_packages, setup

SHIPPED = ('configs', 'tools', 'demo_city')


def with_folders_below(folder: str) -> list[str]:
    """A folder and all below it, as packages inside ``mmseg_tapadl.shipped``."""
    inner = find_namespace_packages(folder, exclude=['*__pycache__*'])
    return [f'mmseg_tapadl.shipped.{folder}', *(f'mmseg_tapadl.shipped.{folder}.{name}' for name in inner)]


setup(
    packages=[
        *find_packages(include=['mmseg_tapadl*']),
        *(name for folder in SHIPPED for name in with_folders_below(folder)),
    ],
    package_dir={f'mmseg_tapadl.shipped.{folder}': folder for folder in SHIPPED},
)
