"""Making a file to hand out from a training checkpoint."""

import json
import os
from pathlib import Path

from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError, read_checkpoint, write_checkpoint
from mmseg_tapadl.checkpoints.dataset_meta import dataset_meta_of
from mmseg_tapadl.checkpoints.wrapper_names import weights_of
from mmseg_tapadl.utils import sha256_of, sync_folder, temporary_beside, write_json
from mmseg_tapadl.version import __version__


def publish(
    checkpoint: str | os.PathLike,
    target: str | os.PathLike,
    *,
    metrics: str | os.PathLike | None = None,
    notes: str | None = None,
    trust: bool = False,
) -> Path:
    """Writes the weights of a checkpoint with a few facts and a digest.

    Args:
        checkpoint: A training checkpoint.
        target: ``.safetensors`` or ``.pth``; ``-<first 8 digits of the SHA-256>`` is put before the suffix.
        metrics: ``metrics.json`` of a test, stored under ``meta['metrics']``.
        notes: A text, stored under ``meta['notes']``.
        trust: Run the program inside ``checkpoint``.

    Returns:
        The file written; beside it lies a ``.json`` with the whole digest and the facts.

    Raises:
        CheckpointError: When the checkpoint cannot be read, or the suffix is another one.
    """
    target = Path(target)
    if target.suffix not in ('.pth', '.safetensors'):
        raise CheckpointError(f'{target}: publish as .safetensors or .pth')
    read = read_checkpoint(checkpoint, trust=trust)
    weights = weights_of(read)
    stored = read.get('meta')
    meta = stored if isinstance(stored, dict) else {}
    facts = {
        'mmseg_tapadl': __version__,
        'iterations': meta.get('iter'),
        'dataset_meta': dataset_meta_of(meta),
        'seed': meta.get('seed'),
    }
    if metrics is not None:
        facts['metrics'] = json.loads(Path(metrics).read_text())['metrics']
    if notes is not None:
        facts['notes'] = notes
    draft = temporary_beside(target).with_suffix(target.suffix)
    try:
        write_checkpoint({'state_dict': weights, 'meta': facts}, draft)
        digest = sha256_of(draft)
        final = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix}')
        os.replace(draft, final)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)
    write_json(final.with_suffix('.json'), {'file': final.name, 'sha256': digest, **facts})
    return final
