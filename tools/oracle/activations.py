"""A model that rounds activations to 8 bits before products with quantised weights, as engines do.

The inputs of a product are cut into blocks of the weight type's length n (32 or 256); in each,
d = max|x| / 127 and q = round-to-nearest-even(x * (127 / max|x|)), and the product uses d * q.
Products with float weights see the inputs as they are. Needs torch and gguf.
"""

import gguf
import torch


def round_to_8_bits(x, block):
    """d * q of x (…, columns), columns a multiple of `block`."""
    blocks = x.reshape(-1, block)
    largest = blocks.abs().amax(1, keepdim=True)
    q = torch.round(blocks * (127 / largest))
    return torch.where(largest > 0, largest / 127 * q, 0.0).reshape(x.shape)


def round_inputs(model, block_of):
    """Makes each Linear of the model round its inputs; block_of(name) gives n, or 1 for floats."""

    def hook(block):
        return lambda module, inputs: (round_to_8_bits(inputs[0], block),)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and (block := block_of(name)) > 1:
            module.register_forward_pre_hook(hook(block))


def blocks_of_gguf(export, path):
    """block_of for the types in a GGUF file."""
    types = {t.name: t.tensor_type for t in gguf.GGUFReader(path).tensors}

    def block_of(name):
        tied = name == "lm_head" and export.config.tie_word_embeddings
        gguf_name = "token_embd.weight" if tied else export.gguf_name(f"{name}.weight")
        return gguf.GGML_QUANT_SIZES[types[gguf_name]][0]

    return block_of
