"""Models of transformers, tiny and of random weights, through their own processors, without a network."""

import json

import numpy as np
import pytest
import torch
import transformers as hf

from mmseg_tapadl.inference.adapters.hugging_face import HuggingFaceModel
from mmseg_tapadl.inference.checked import checked_predictions
from mmseg_tapadl.utils import InputError
from tests.checkpoints.hostile_files import Touch

NAMES = {number: f'thing_{number}' for number in range(5)}
CLASSES = dict(id2label=NAMES, label2id={name: number for number, name in NAMES.items()})


def segformer():
    config = hf.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **CLASSES,
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(
        size=dict(height=32, width=64)
    )


def mask2former():
    backbone = hf.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=[f'stage{n}' for n in (1, 2, 3, 4)],
    )
    config = hf.Mask2FormerConfig(
        backbone_config=backbone, hidden_size=32, feature_size=32, mask_feature_size=32, num_queries=6,
        num_attention_heads=2, encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, **CLASSES,
    )  # fmt: skip
    return (
        hf.Mask2FormerForUniversalSegmentation(config),
        hf.Mask2FormerImageProcessor(size=dict(height=64, width=64), do_resize=True),
    )


def eomt():
    config = hf.EomtConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16, num_queries=6,
        num_blocks=1, num_upscale_blocks=1, **CLASSES,
    )  # fmt: skip
    return (
        hf.EomtForUniversalSegmentation(config),
        hf.EomtImageProcessor(size=dict(shortest_edge=64, longest_edge=None), do_split_image=True),
    )


def save(build, folder, **changes):
    torch.manual_seed(0)
    model, processor = build()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    made = {}
    for build in (segformer, mask2former, eomt):
        made[build.__name__] = tmp_path_factory.mktemp(build.__name__)
        save(build, made[build.__name__])
    return made


PICTURES = [
    np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)
    for number, size in enumerate([(48, 72, 3), (64, 40, 3)])
]


@pytest.mark.parametrize('kind', ['segformer', 'mask2former', 'eomt'])
def test_labels_are_those_of_the_library(kind, folders, capsys):
    ready = HuggingFaceModel(str(folders[kind]), device='cpu')
    assert ready.classes == tuple(NAMES.values())
    found = checked_predictions(ready, PICTURES, ['a.png', 'b.png'], num_classes=5)
    loader = (
        hf.AutoModelForSemanticSegmentation if kind == 'segformer' else hf.AutoModelForUniversalSegmentation
    )
    model, processor = (
        loader.from_pretrained(folders[kind]).eval(),
        hf.AutoImageProcessor.from_pretrained(folders[kind]),
    )
    for picture, prediction in zip(PICTURES, found, strict=True):
        inputs = processor(images=picture, return_tensors='pt')
        with torch.no_grad():
            outputs = model(**inputs)
        (expected,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[picture.shape[:2]])
        assert torch.equal(prediction.labels, expected)
        if kind == 'segformer':
            assert torch.equal(prediction.probabilities.argmax(0), expected)
            assert torch.equal(prediction.confidence, prediction.probabilities.amax(0))
        else:
            assert prediction.confidence is None and prediction.probabilities is None
    printed = capsys.readouterr().out
    assert printed.count('there is no confidence') == (kind != 'segformer')
    seen = ready.facts()['input_sizes']
    assert seen == {'segformer': ['32x64'], 'mask2former': ['64x64'], 'eomt': ['64x64']}[kind]
    assert f'a picture of 48x72 as {seen[0]}' in printed


def test_options_and_identity(folders):
    plain = HuggingFaceModel(str(folders['segformer']), device='cpu')
    larger = HuggingFaceModel(
        str(folders['segformer']), options={'size': {'height': 64, 'width': 96}}, device='cpu'
    )
    larger.predict(PICTURES[:1])
    assert larger.facts()['input_sizes'] == ['64x96']
    assert plain.identity() != larger.identity()
    assert plain.identity() == HuggingFaceModel(str(folders['segformer']), device='cpu').identity()
    with pytest.raises(InputError, match=r'--model-options: sise unknown; the processor has .*size'):
        HuggingFaceModel(str(folders['segformer']), options={'sise': 3}, device='cpu')


def test_what_is_no_model_is_named(folders, tmp_path):
    with pytest.raises(InputError, match=r'no config\.json'):
        HuggingFaceModel(str(tmp_path))
    with pytest.raises(InputError, match='no such folder'):
        HuggingFaceModel(str(tmp_path / 'gone'))
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
