"""ONNX files of other makes: what must be known of them, and outputs that are not what they are said to be."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mmseg_tapadl.inference.adapters.onnx_file import OnnxFile
from mmseg_tapadl.inference.checked import PredictionError, checked_predictions
from mmseg_tapadl.utils import InputError

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
TOLD = dict(names="['a', 'b', 'c']", input='rgb', mean='0', std='1', size='null', output='logits')


def write(
    file,
    nodes,
    *,
    told=TOLD,
    shape=('n', 3, 'h', 'w'),
    kind=TensorProto.FLOAT,
    taken=TensorProto.FLOAT,
    weights=(),
):
    """A graph from x to y."""
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', taken, shape)],
        [helper.make_tensor_value_info('y', kind, None)],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    helper.set_model_props(model, told)
    onnx.save(model, file)
    return file


def same(*, op='Identity', **attributes):
    return [helper.make_node(op, ['x'], ['y'], **attributes)]


def predict(file, **keywords):
    return checked_predictions(OnnxFile(file, device='cpu', **keywords), [PICTURE], ['p.png'], num_classes=3)[
        0
    ]


def test_channels_and_normalisation_are_as_told(tmp_path):
    """The three channels are the three logits."""
    rgb = predict(write(tmp_path / 'a.onnx', same()))
    assert np.array_equal(rgb.labels, PICTURE.argmax(2))
    expected = torch.from_numpy(PICTURE.astype(np.float32)).permute(2, 0, 1).softmax(0)
    assert torch.allclose(rgb.probabilities, expected)
    bgr = predict(
        write(
            tmp_path / 'b.onnx',
            same(),
            told={**TOLD, 'input': 'bgr', 'mean': '[100, 0, 0]', 'std': '[2, 1, 1]'},
        )
    )
    assert np.array_equal(bgr.labels, ((PICTURE[:, :, ::-1] - np.array([100.0, 0, 0])) / [2, 1, 1]).argmax(2))


def test_a_yaml_beside_the_file_tells_what_it_does_not(tmp_path):
    file = write(tmp_path / 'a.onnx', same(), told={})
    with pytest.raises(
        InputError, match=r'(?s)names, input, mean, std, size, output are not told.*a\.yaml:.*names: \[road'
    ):
        OnnxFile(file)
    (tmp_path / 'a.yaml').write_text(
        'names: {0: a, 1: b, 2: c}\ninput: RGB\nmean: 0\nstd: 1\nsize: [10, 15]\noutput: logits\n'
    )
    ready = OnnxFile(file, device='cpu')
    ready.predict([PICTURE])
    assert ready.classes == ('a', 'b', 'c') and ready.facts()['input_sizes'] == ['10x15']
    ready = OnnxFile(file, device='cpu', options={'size': [20, 30]})
    assert np.array_equal(ready.predict([PICTURE])[0].labels, PICTURE.argmax(2))


def test_ultralytics_is_understood(tmp_path):
    told = {'names': "{0: 'a', 1: 'b', 2: 'c'}", 'imgsz': '[30, 30]', 'stride': '32', 'task': 'semantic'}
    ready = OnnxFile(write(tmp_path / 'a.onnx', same(), told=told, shape=(1, 3, 30, 30)), device='cpu')
    assert ready.described.std == (255.0,) * 3 and ready.described.input == 'rgb'
    # 20x30 lies in 30x30 with its proportions kept, so it is not interpolated.
    assert np.array_equal(ready.predict([PICTURE])[0].labels, PICTURE.argmax(2))


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        (dict(input='gbr'), "input is 'gbr'"),
        (dict(output='boxes'), "output is 'boxes'"),
        (dict(mean='[1, 2]'), r'mean is \[1, 2\]; three numbers'),
        (dict(std='[1, 0, 1]'), 'must be above 0'),
        (dict(std='-1'), 'must be above 0'),
        (dict(mean='[1, NaN, 2]'), 'three numbers are needed'),
        (dict(mean='true'), 'three numbers are needed'),
        (dict(size='true'), 'height and width are needed'),
        (dict(size='[0, 4]'), r'size is \[0, 4\]'),
        (dict(names="{1: 'a', 2: 'b'}"), 'without a gap'),
        (dict(names='__import__("os").getcwd()'), 'must be a list of names'),
    ],
)
def test_values_that_cannot_be(changes, told, tmp_path):
    with pytest.raises(InputError, match=told):
        OnnxFile(write(tmp_path / 'a.onnx', same(), told={**TOLD, **changes}))


def test_outputs_of_another_kind_are_named(tmp_path):
    with pytest.raises(PredictionError, match=r'p\.png: .*\(1, 20, 30, 3\) \(its classes come last'):
        predict(write(tmp_path / 'a.onnx', same(op='Transpose', perm=[0, 2, 3, 1])))
    with pytest.raises(PredictionError, match='probabilities from 0 to 255'):
        predict(write(tmp_path / 'b.onnx', same(), told={**TOLD, 'output': 'probabilities'}))
    with pytest.raises(PredictionError, match='labels are whole numbers'):
        predict(write(tmp_path / 'c.onnx', same(), told={**TOLD, 'output': 'labels'}))
    argmax = same(op='ArgMax', axis=1, keepdims=0)
    file = write(tmp_path / 'd.onnx', argmax, told={**TOLD, 'output': 'labels'}, kind=TensorProto.INT64)
    found = predict(file)
    assert np.array_equal(found.labels, PICTURE.argmax(2)) and found.confidence is None


@pytest.mark.parametrize(
    ('taken', 'to'),
    [(TensorProto.FLOAT16, 'half'), (TensorProto.DOUBLE, 'double'), (TensorProto.UINT8, None)],
)
def test_other_types_of_numbers(taken, to, tmp_path):
    nodes = same() if to else same(op='Cast', to=TensorProto.FLOAT)
    kind = taken if to else TensorProto.FLOAT
    found = predict(write(tmp_path / 'a.onnx', nodes, taken=taken, kind=kind))
    assert np.array_equal(found.labels, PICTURE.argmax(2)) and found.probabilities.dtype == torch.float32
    if to is None:
        with pytest.raises(InputError, match='takes uint8, so nothing can be subtracted'):
            OnnxFile(write(tmp_path / 'b.onnx', nodes, taken=taken, told={**TOLD, 'mean': '100'}))


def test_probabilities_and_a_fixed_size(tmp_path):
    """A softmax inside, at half the picture's size: labels come back at the picture's."""
    nodes = [helper.make_node('Softmax', ['x'], ['y'], axis=1)]
    told = {key: value for key, value in TOLD.items() if key != 'size'} | {'output': 'probabilities'}
    ready = OnnxFile(write(tmp_path / 'a.onnx', nodes, told=told, shape=(1, 3, 10, 15)), device='cpu')
    (found,) = checked_predictions(ready, [PICTURE], ['p.png'], num_classes=3)
    assert found.labels.shape == (20, 30) and ready.facts()['input_sizes'] == ['10x15']
    assert torch.allclose(found.probabilities.sum(0), torch.ones(20, 30))
    assert torch.equal(found.confidence, found.probabilities.amax(0))


def test_weights_beside_the_file_are_part_of_what_it_is(tmp_path):
    def written(value):
        nodes = [helper.make_node('Add', ['x', 'w'], ['y'])]
        weights = [('w', np.full((1, 3, 1, 1), value, np.float32))]
        model = onnx.load(write(tmp_path / 'inside.onnx', nodes, weights=weights))
        (tmp_path / 'weights.bin').unlink(missing_ok=True)
        onnx.save(
            model, tmp_path / 'a.onnx', save_as_external_data=True, location='weights.bin', size_threshold=0
        )
        return OnnxFile(tmp_path / 'a.onnx', device='cpu').identity()

    first, other = written(1.0), written(2.0)
    assert first['sha256'] == other['sha256'] and first['weights'] != other['weights']
    (tmp_path / 'weights.bin').unlink()
    with pytest.raises(InputError, match=r'a\.onnx: onnxruntime cannot read it'):
        OnnxFile(tmp_path / 'a.onnx')


def test_colours_that_are_none_are_left_out(tmp_path):
    for palette, expected in (
        ('[[1, 2, 3], [4, 5, 6], [7, 8, 9]]', [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ('[[1, 2, 3]]', None),
        ('[[1, 2, 3], [4, 5, 6], [7, 8, 900]]', None),
        ('["a", "b", "c"]', None),
        ('3', None),
    ):
        assert (
            OnnxFile(write(tmp_path / 'a.onnx', same(), told={**TOLD, 'palette': palette})).palette
            == expected
        )


def test_files_that_are_no_model(tmp_path):
    (tmp_path / 'a.onnx').write_bytes(b'no graph')
    with pytest.raises(InputError, match='onnxruntime cannot read it'):
        OnnxFile(tmp_path / 'a.onnx')
    with pytest.raises(InputError, match='no such file'):
        OnnxFile(tmp_path / 'b.onnx')
    with pytest.raises(InputError, match=r'one input \(B, 3, H, W\)'):
        OnnxFile(write(tmp_path / 'c.onnx', same(), shape=(1, 30, 20, 3)))
    constant = [helper.make_node('Identity', ['w'], ['y'])]
    write(tmp_path / 'e.onnx', constant, weights=[('w', np.zeros((1, 3, 4, 4), np.float32))])
    graph = onnx.load(tmp_path / 'e.onnx')
    graph.graph.input.pop()
    onnx.save(graph, tmp_path / 'e.onnx')
    with pytest.raises(InputError, match='takes nothing; one input'):
        OnnxFile(tmp_path / 'e.onnx')
    with pytest.raises(InputError, match='takes a height of 16 only'):
        OnnxFile(write(tmp_path / 'd.onnx', same(), shape=(1, 3, 16, 16), told={**TOLD, 'size': '[8, 16]'}))
