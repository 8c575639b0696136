"""Models of transformers, tiny and of random weights, through their own processors, without a network."""

import json

import numpy as np
import pytest
import torch
import transformers as hf

from mmseg_tapadl.inference.adapters.hugging_face import HuggingFaceModel
from mmseg_tapadl.inference.checked import checked_predictions
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.utils import InputError
from tests.checkpoints.hostile_files import Touch
from tests.inference.tiny_transformers import BUILDERS, NAMES, WITH_LOGITS, clip_tokenizer, save, segformer


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    made = {}
    for build in BUILDERS:
        made[build.__name__] = tmp_path_factory.mktemp(build.__name__)
        save(build, made[build.__name__])
    return made


PICTURES = [
    np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
    for number, size in enumerate([(48, 72, 3), (64, 40, 3)])
]


def labels_by_hand(kind, folder, picture):
    """As transformers' documentation does it."""
    classes = (
        hf.AutoModelForSemanticSegmentation if kind in WITH_LOGITS else hf.AutoModelForUniversalSegmentation
    )
    model = classes.from_pretrained(folder).eval()
    unused = {'class_info_file': None} if kind == 'oneformer' else {}
    processor = hf.AutoImageProcessor.from_pretrained(folder, **unused)
    inputs = processor(
        images=picture, return_tensors='pt', **({'task_inputs': ['semantic']} if unused else {})
    )
    if kind == 'oneformer':
        words = clip_tokenizer()(
            'the task is semantic', padding='max_length', max_length=24, return_tensors='pt'
        )
        inputs['task_inputs'] = words['input_ids'] * words['attention_mask']
    with torch.no_grad():
        outputs = model(**inputs)
    (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[picture.shape[:2]])
    return expected


SEEN = dict(
    segformer=['32x64'],
    upernet=['64x96'],
    dpt=['64x64'],
    beit=['64x64'],
    mask2former=['64x64'],
    eomt=['64x64'],
    oneformer=['64x96'],
)


@pytest.mark.parametrize('kind', SEEN)
def test_labels_are_those_of_the_library(kind, folders, capsys):
    ready = HuggingFaceModel(str(folders[kind]), device='cpu')
    assert ready.classes == tuple(NAMES.values())
    found = checked_predictions(ready, PICTURES, ['a.png', 'b.png'], num_classes=5)
    for picture, prediction in zip(PICTURES, found, strict=True):
        expected = labels_by_hand(kind, folders[kind], picture)
        assert torch.equal(prediction.labels, expected)
        assert len(expected.unique()) > 1
        if kind in WITH_LOGITS:
            assert torch.equal(prediction.probabilities.argmax(0), expected)
            assert torch.equal(prediction.confidence, prediction.probabilities.amax(0))
        else:
            assert prediction.confidence is None and prediction.probabilities is None
    printed = capsys.readouterr().out
    assert printed.count('there is no confidence') == (kind not in WITH_LOGITS)
    assert ready.facts()['input_sizes'] == SEEN[kind]
    assert f'a picture of 48x72 as {SEEN[kind][0]}' in printed


def test_options_and_identity(folders):
    plain = HuggingFaceModel(str(folders['segformer']), device='cpu')
    larger = HuggingFaceModel(
        str(folders['segformer']), options={'size': {'height': 64, 'width': 96}}, device='cpu'
    )
    larger.predict(PICTURES[:1])
    assert larger.facts()['input_sizes'] == ['64x96']
    assert plain.identity() != larger.identity()
    # As the command line has them; what is not named stays as it was.
    wider = open_model(
        f'hf:{folders["segformer"]}', options={'size.width': 96, 'do_reduce_labels': False}, device='cpu'
    )
    wider.predict(PICTURES[:1])
    assert wider.facts()['input_sizes'] == ['32x96']
    shortest = open_model(
        f'hf:{folders["mask2former"]}',
        options={'size.shortest_edge': 96, 'size.longest_edge': 99},
        device='cpu',
    )
    shortest.predict(PICTURES[:1])
    assert shortest.facts()['input_sizes'] == ['96x128']  # 66 x 99, filled up to a multiple of 32
    with pytest.raises(InputError, match='size is given as a whole and in parts'):
        open_model(f'hf:{folders["segformer"]}', options={'size': 3, 'size.width': 96})
    with pytest.raises(InputError, match=r'cannot be opened: .*heigth'):
        open_model(f'hf:{folders["segformer"]}', options={'size.heigth': 64}, device='cpu')
    assert plain.identity() == HuggingFaceModel(str(folders['segformer']), device='cpu').identity()
    with pytest.raises(InputError, match=r'--model-options: sise unknown; the processor has .*size'):
        HuggingFaceModel(str(folders['segformer']), options={'sise': 3}, device='cpu')


def test_what_is_no_model_is_named(folders, tmp_path):
    with pytest.raises(InputError, match=r'no config\.json'):
        HuggingFaceModel(str(tmp_path))
    with pytest.raises(InputError, match='no such folder'):
        HuggingFaceModel(str(tmp_path / 'gone'))
    with pytest.raises(InputError, match='no such folder'):
        HuggingFaceModel(str(folders['segformer'] / 'model.safetensors'))
    hf.BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(InputError, match='is no model for semantic or universal segmentation'):
        HuggingFaceModel(str(tmp_path))


def test_missing_weights_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    save(segformer, tmp_path)
    weights = load_file(tmp_path / 'model.safetensors')
    weights.pop('decode_head.classifier.weight')
    save_file(weights, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(InputError, match=r'1 weights are not in its files .*decode_head.classifier.weight'):
        HuggingFaceModel(str(tmp_path))


def test_nothing_in_a_folder_is_run(tmp_path):
    save(segformer, tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    torch.save({'x': Touch(tmp_path / 'ran')}, tmp_path / 'pytorch_model.bin')
    with pytest.raises(InputError, match='cannot be opened'):
        HuggingFaceModel(str(tmp_path))
    config = json.loads((tmp_path / 'config.json').read_text())
    config.update(
        model_type='own', auto_map={'AutoConfig': 'own.Own', 'AutoModelForSemanticSegmentation': 'own.Own'}
    )
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'own.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")\n')
    with pytest.raises(InputError, match='cannot be opened'):
        HuggingFaceModel(str(tmp_path))
    assert not (tmp_path / 'ran').exists()
