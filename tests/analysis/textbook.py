"""The measures written as their definitions stand, in float64, with every N x M matrix in memory."""

import itertools
import math

import torch
from torch import Tensor

from mmseg_tapadl.layers.attention_watch import AttentionInputs
from mmseg_tapadl.layers.textbook import textbook_diversified_attention


def attention_of(inputs: AttentionInputs) -> Tensor:
    """P (B, H, N, M); rows without an allowed key are zero."""
    q, k = inputs.q.double(), inputs.k.double()
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if inputs.scale is None else inputs.scale)
    if inputs.gain is not None:
        gain = inputs.gain if isinstance(inputs.gain, Tensor) else inputs.gain(slice(0, q.shape[2]))
        scores = scores * gain.double()
    if inputs.bias is not None:
        scores = scores + inputs.bias.double()
    return torch.softmax(scores, dim=-1).nan_to_num(0.0)


def textbook_measures(
    inputs: AttentionInputs, *, threshold: float = 2.0, places: list | None = None
) -> dict[str, Tensor]:
    """Every measure of each entry; ``places`` are (query, key) pairs of lists of (y, x), one for each entry."""
    p, prefix = attention_of(inputs), inputs.num_prefix
    entries, heads, _, keys = p.shape
    patches = p[:, :, prefix:, prefix:]
    rows = patches.mean(1)
    abar = rows.mean(1)
    t = threshold / (keys - prefix)
    v = torch.zeros(*inputs.k.shape[:3], 1, dtype=torch.float64)
    _, similarity = textbook_diversified_attention(
        inputs.q.double(),
        inputs.k.double(),
        v,
        scale=inputs.scale,
        threshold=threshold,
        bias=None if inputs.bias is None else inputs.bias.double(),
        gain=inputs.gain,
        num_prefix=prefix,
    )
    result = {'similarity': similarity, 'mean_row': abar}
    result['concentration'] = torch.stack([(row > t).double().mean() for row in abar])
    logs = torch.where(p > 0, p.log(), 0.0)
    result['entropy'] = -(p * logs).sum(-1).mean(-1) / math.log(keys)
    count = math.ceil(abar.shape[1] / 100)
    result['top_mass'] = torch.stack(
        [row.sort(descending=True).values[:count].sum() / row.sum() for row in abar]
    )
    if prefix:
        result['prefix_attention'] = p[:, :, prefix:, :prefix].sum(-1).mean((1, 2))
    if heads > 1:
        cosines = [
            torch.cosine_similarity(patches[:, a].flatten(1), patches[:, b].flatten(1), dim=-1)
            for a, b in itertools.combinations(range(heads), 2)
        ]
        result['head_similarity'] = torch.stack(cosines).mean(0)
    if places is not None:
        distance = torch.zeros(entries, heads, dtype=torch.float64)
        for entry, (query_places, key_places) in enumerate(places):
            pixels = torch.tensor(
                [[math.dist(here, there) for there in key_places] for here in query_places],
                dtype=torch.float64,
            )
            mass = patches[entry].sum(-1)
            mean = (patches[entry] * pixels).sum(-1) / mass
            distance[entry] = torch.stack([own[~own.isnan()].mean() for own in mean])
        result['attention_distance'] = distance
    return result


def textbook_stability(clean: AttentionInputs, corrupted: AttentionInputs) -> dict[str, Tensor]:
    """Row by row and flattened."""
    first, second = (
        attention_of(inputs)[:, :, inputs.num_prefix :, inputs.num_prefix :].mean(1)
        for inputs in (clean, corrupted)
    )
    return {
        'row_cosine': torch.cosine_similarity(first, second, dim=-1).mean(-1),
        'flattened_cosine': torch.cosine_similarity(first.flatten(1), second.flatten(1), dim=-1),
    }
