"""Segmenters of transformers, tiny and of random weights, and the folders that ``save_pretrained`` writes of them."""

import torch
import transformers as hf

NAMES = {number: f'thing_{number}' for number in range(5)}


def classes(names):
    return dict(id2label=dict(names), label2id={name: number for number, name in names.items()})


def segformer(names=NAMES):
    config = hf.SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **classes(names),
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(
        size=dict(height=32, width=64)
    )


def mask2former(names=NAMES):
    backbone = hf.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=[f'stage{n}' for n in (1, 2, 3, 4)],
    )
    config = hf.Mask2FormerConfig(
        backbone_config=backbone, hidden_size=32, feature_size=32, mask_feature_size=32, num_queries=6,
        num_attention_heads=2, encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, **classes(names),
    )  # fmt: skip
    return (
        hf.Mask2FormerForUniversalSegmentation(config),
        hf.Mask2FormerImageProcessor(size=dict(height=64, width=64), do_resize=True),
    )


def eomt(names=NAMES):
    config = hf.EomtConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16, num_queries=6,
        num_blocks=1, num_upscale_blocks=1, **classes(names),
    )  # fmt: skip
    return (
        hf.EomtForUniversalSegmentation(config),
        hf.EomtImageProcessor(size=dict(shortest_edge=64, longest_edge=None), do_split_image=True),
    )


def upernet(names=NAMES):
    backbone = hf.ConvNextConfig(
        hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=[f'stage{n}' for n in (1, 2, 3, 4)]
    )
    config = hf.UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        auxiliary_in_channels=16,
        auxiliary_channels=8,
        **classes(names),
    )
    return hf.UperNetForSemanticSegmentation(config), hf.SegformerImageProcessor(
        size=dict(height=64, width=96)
    )


def dpt(names=NAMES):
    config = hf.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8] * 4, fusion_hidden_size=8, **classes(names),
    )  # fmt: skip
    return hf.DPTForSemanticSegmentation(config), hf.DPTImageProcessor(size=dict(height=64, width=64))


def beit(names=NAMES):
    config = hf.BeitConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, image_size=64, patch_size=16,
        out_indices=[1, 2, 3, 4], auxiliary_channels=8, use_relative_position_bias=True, **classes(names),
    )  # fmt: skip
    processor = hf.BeitImageProcessor(size=dict(height=64, width=64), do_center_crop=False)
    return hf.BeitForSemanticSegmentation(config), processor


def oneformer(names=NAMES):
    backbone = hf.SwinConfig(
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=[f'stage{n}' for n in (1, 2, 3, 4)],
    )
    config = hf.OneFormerConfig(
        backbone_config=backbone, hidden_dim=32, conv_dim=32, mask_dim=32, num_queries=6, num_attention_heads=2,
        encoder_feedforward_dim=16, dim_feedforward=16, encoder_layers=1, decoder_layers=2, query_dec_layers=1,
        text_encoder_width=16, text_encoder_num_layers=1, text_encoder_vocab_size=600, task_seq_len=24, **classes(names),
    )  # fmt: skip
    # As on the hub: the processor names a table that lies elsewhere.
    processor = hf.OneFormerImageProcessor(size=dict(height=64, width=96), num_labels=5, num_text=2)
    processor.class_info_file = 'cityscapes_panoptic.json'
    return hf.OneFormerForUniversalSegmentation(config), processor


def clip_tokenizer():
    """CLIP's, of single letters."""
    letters = [chr(number) for number in range(33, 127)]
    words = [*letters, *(f'{letter}</w>' for letter in letters), '<|startoftext|>', '<|endoftext|>']
    return hf.CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])


BUILDERS = (segformer, upernet, dpt, beit, mask2former, eomt, oneformer)
WITH_LOGITS = {'segformer', 'upernet', 'dpt', 'beit'}


def save(build, folder, names=NAMES):
    """Writes a model and its processor; returns the model."""
    torch.manual_seed(0)
    model, processor = build(names)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(6)  # as drawn, some of these models give every pixel the same class
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if build is oneformer:
        clip_tokenizer().save_pretrained(folder)
    return model.eval()
