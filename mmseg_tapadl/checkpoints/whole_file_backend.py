"""A file backend of mmengine that writes files whole or not at all."""

from pathlib import Path

from mmengine.fileio import LocalBackend

from mmseg_tapadl.checkpoints.checkpoint_io import write_bytes


class WholeFileBackend(LocalBackend):
    """``LocalBackend`` whose ``put`` goes through a temporary file, fsync and a rename.

    Switched on by ``backend_args=dict(backend='whole_file')``, a name that :mod:`mmseg_tapadl.register` gives it;
    checkpoints get a SHA-256 digest inside.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes ``obj`` to ``filepath``.

        Raises:
            DiskFullError: With the path, the bytes needed and those free; the old file is untouched.
        """
        write_bytes(obj, filepath)
