"""A model of Hugging Face's transformers as a predictor: its own processor before it and behind it.

Files are read as data: no code of the folder is run (``trust_remote_code`` stays off), weights are safetensors or are
read with ``weights_only``.
"""

import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device
from torch.nn import functional

from mmseg_tapadl.inference.adapters.seen_sizes import SeenSizes, say
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.utils import InputError, sha256_of, shown

_SAFE = {'trust_remote_code': False, 'local_files_only': True}
_FILES = ('*.json', '*.txt', '*.model', '*.safetensors', 'pytorch_model*.bin')
_HUB_NAME = re.compile(r'[\w.-]+(/[\w.-]+)?')


class HuggingFaceModel(PicturePredictor):
    """A semantic or universal segmenter of transformers.

    Args:
        place: A folder as ``save_pretrained`` writes it (model and image processor), or a name on the hub.
        options: Settings in place of the image processor's, such as ``size``.
        device: ``'cpu'``, ``'cuda:0'``, ...; None: a GPU where there is one.

    Raises:
        InputError: No model of such a kind, weights that are missing, or an option that the processor does not have.
    """

    def __init__(
        self, place: str, *, options: Mapping[str, Any] | None = None, device: str | None = None
    ) -> None:
        folder = _folder_of(place)
        self.name = Path(place).name
        self._options = dict(options or {})
        self.device = torch.device(device or get_device())
        try:
            self._open(folder)
        except InputError:
            raise
        except Exception as error:  # transformers raises many kinds
            reason = ' '.join(str(error).split())
            raise InputError(
                f'hf:{shown(place)}: cannot be opened: {type(error).__name__}: {reason}'
            ) from error
        labels = self.model.config.id2label
        self.classes = tuple(str(labels[number]) for number in sorted(labels))
        files = sorted(file for pattern in _FILES for file in folder.glob(pattern))
        self._digests = {file.name: sha256_of(file) for file in files}
        self._sizes = SeenSizes('hf')
        self._told_confidence = False

    def _open(self, folder: Path) -> None:
        try:
            import transformers
        except ImportError as error:
            raise InputError('hf: needs transformers: pip install "mmseg_tapadl[huggingface]"') from error
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFE)
        loader = _loader_for(config, transformers)
        told_in_words = config.model_type == 'oneformer'
        # A table of names for training and for panoptic pictures, which would be fetched from the hub each time.
        unused = {'class_info_file': None} if told_in_words else {}
        self.processor = transformers.AutoImageProcessor.from_pretrained(folder, **_SAFE, **unused)
        own = self.processor.to_dict()
        unknown = [key for key in self._options if key not in own]
        if unknown:
            raise InputError(
                f'--model-options: {", ".join(unknown)} unknown; the processor has {", ".join(own)}'
            )
        settings = {
            **unused,
            **{key: _within(own[key], value) for key, value in self._options.items()},
        }
        self.processor = transformers.AutoImageProcessor.from_pretrained(folder, **_SAFE, **settings)
        if not hasattr(self.processor, 'post_process_semantic_segmentation'):
            raise InputError(
                f'hf:{shown(folder)}: {type(self.processor).__name__} has no post_process_semantic_segmentation'
            )
        if getattr(self.processor, 'do_center_crop', False):
            say(
                'hf: the processor cuts the middle out of every picture and its labels are stretched over the whole: see '
                '--model-options do_center_crop=False'
            )
        self._prepare: Any = self.processor
        self._task: dict[str, Any] = {}
        if told_in_words:
            self._prepare = transformers.OneFormerProcessor(
                self.processor,
                transformers.AutoTokenizer.from_pretrained(folder, **_SAFE),
                task_seq_length=config.task_seq_len,
            )
            self._task = {'task_inputs': ['semantic']}
        self.model, told = loader.from_pretrained(
            folder, **_SAFE, weights_only=True, dtype=torch.float32, output_loading_info=True
        )
        if told['missing_keys']:
            missing = sorted(told['missing_keys'])
            raise InputError(
                f'hf:{shown(folder)}: {len(missing)} weights are not in its files and would be random: '
                f'{", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}'
            )
        self.model = self.model.to(self.device).eval()

    def identity(self) -> dict[str, Any]:
        """The digests of the folder's files, the options and the library's version."""
        return {
            'kind': 'hf',
            'model_type': self.model.config.model_type,
            'sha256': self._digests,
            'options': self._options,
            'transformers': importlib.metadata.version('transformers'),
        }

    def facts(self) -> dict[str, Any]:
        """The sizes that the model saw."""
        return self._sizes.facts()

    def predict(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        """Labels picture by picture."""
        return [self._predict(picture) for picture in pictures]

    @torch.no_grad()
    def _predict(self, picture: np.ndarray) -> Prediction:
        height, width = picture.shape[:2]
        # A picture of 3 rows would be taken for one of 3 channels.
        inputs = self._prepare(
            images=[picture], **self._task, return_tensors='pt', input_data_format='channels_last'
        )
        self._sizes.add((height, width), inputs['pixel_values'].shape[-2:])
        outputs = self.model(
            **{key: value.to(self.device) if hasattr(value, 'to') else value for key, value in inputs.items()}
        )
        (labels,) = self.processor.post_process_semantic_segmentation(outputs, target_sizes=[(height, width)])
        logits = getattr(outputs, 'logits', None)
        if logits is None:
            if not self._told_confidence:
                self._told_confidence = True
                say(f'hf: {type(self.model).__name__} gives masks, not logits: there is no confidence')
            return Prediction(labels)
        # As the processors do it before they take the highest.
        resized = functional.interpolate(logits, size=(height, width), mode='bilinear', align_corners=False)
        return Prediction(labels, logits=resized[0])


def _within(own: Any, value: Any) -> Any:
    """A value in place of the processor's own; of a dict that has the same keys, only those that are given."""
    if isinstance(own, Mapping) and isinstance(value, Mapping) and set(value) <= set(own):
        return {**own, **value}
    return value


def _loader_for(config: Any, transformers: Any) -> Any:
    """The class that builds the model: for semantic or for universal segmentation."""
    from transformers.models.auto import modeling_auto

    kinds = {
        'MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES': transformers.AutoModelForSemanticSegmentation,
        'MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES': transformers.AutoModelForUniversalSegmentation,
    }
    found = {
        name: loader
        for mapping, loader in kinds.items()
        if (name := getattr(modeling_auto, mapping).get(config.model_type))
    }
    built_as = config.architectures or list(found)
    for name, loader in found.items():
        if name in built_as:
            return loader
    raise InputError(
        f'hf: {", ".join(built_as) or config.model_type} is no model for semantic or universal segmentation'
    )


def _folder_of(place: str) -> Path:
    """The folder of a model; one on the hub is fetched."""
    if Path(place).is_dir():
        if not (Path(place) / 'config.json').is_file():
            raise InputError(
                f'hf:{shown(place)}: no config.json in this folder; it must be as save_pretrained writes it'
            )
        return Path(place)
    if Path(place).exists() or not _HUB_NAME.fullmatch(place):
        raise InputError(f'hf:{shown(place)}: no such folder')
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(place, allow_patterns=list(_FILES)))
    except Exception as error:
        reason = ' '.join(str(error).split())
        raise InputError(
            f'hf:{shown(place)}: no such folder, and it cannot be fetched from the hub: {reason}'
        ) from error
