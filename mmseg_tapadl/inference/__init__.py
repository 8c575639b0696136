"""Pictures in, label maps and overlays out."""

from mmseg_tapadl.utils.quiet_imports import quiet_imports

with quiet_imports():
    import mmseg.apis  # noqa: F401
