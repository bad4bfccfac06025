"""A model that rounds activations to 8 bits before products with quantised weights, as engines do.

The inputs of a product are cut into blocks of the weight type's length n (32 or 256); in each,
d = max|x| / 127 and q = round-to-nearest-even(x * (127 / max|x|)), and the product uses d * q.
Products with float weights see the inputs as they are; so do routers, which are always floats.
Multi-head latent attention is computed in its absorbed form (absorbed.py): kv_b's part of the keys
is a product of its own only where a file holds it apart (GGUF's attn_k_b), else it is turned as
floats; its part of the values always is. Needs torch and gguf.
"""

import functools
import types

import gguf
import torch

from oracle import absorbed


def round_to_8_bits(x, block):
    """d * q of x (…, columns), columns a multiple of `block`."""
    blocks = x.reshape(-1, block)
    largest = blocks.abs().amax(1, keepdim=True)
    q = torch.round(blocks * (127 / largest))
    return torch.where(largest > 0, largest / 127 * q, 0.0).reshape(x.shape)


def _rounding(block):
    """A function that rounds, or None for floats."""
    return functools.partial(round_to_8_bits, block=block) if block > 1 else None


def _round_experts(experts, round_in, round_inner):
    """Makes a module of experts round what gate and up meet, and what down meets."""

    def forward(self, hidden, chosen, weights):
        out = torch.zeros_like(hidden)
        seen = round_in(hidden) if round_in else hidden
        for expert in range(self.num_experts):
            tokens, slots = torch.where(chosen == expert)
            if len(tokens) == 0:
                continue
            gate, up = (seen[tokens] @ self.gate_up_proj[expert].T).chunk(2, dim=-1)
            inner = self.act_fn(gate) * up
            inner = round_inner(inner) if round_inner else inner
            result = inner @ self.down_proj[expert].T
            out.index_add_(0, tokens, result * weights[tokens, slots, None])
        return out

    experts.forward = types.MethodType(forward, experts)


def _round_columns(x, block, order):
    """As round_to_8_bits with the columns of a block being neighbours in `order`, where given."""
    if order is None:
        return round_to_8_bits(x, block)
    return round_to_8_bits(x[..., order], block)[..., torch.argsort(order)]


def round_inputs(model, block_of, orders=None):
    """Makes the products of the model round their inputs; block_of(name) gives n, or 1 for floats.

    Names are those of Linear modules, "….experts.gate_up_proj" and "….experts.down_proj" of stacked
    experts, and of latent attention "….k_b_proj" and "….v_b_proj" for kv_b's two parts. `orders` is
    {Linear module: order in which its columns are read}.
    """

    def hook(block, order):
        return lambda module, inputs: (_round_columns(inputs[0], block, order),)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            if not name.endswith(".kv_b_proj") and (block := block_of(name)) > 1:
                module.register_forward_pre_hook(hook(block, (orders or {}).get(name)))
        elif name.endswith(".experts"):
            parts = [_rounding(block_of(f"{name}.{p}")) for p in ("gate_up_proj", "down_proj")]
            _round_experts(module, *parts)
    for name, module in absorbed.latent_attentions(model).items():
        parts = [_rounding(block_of(f"{name}.{part}")) for part in ("k_b_proj", "v_b_proj")]
        absorbed.absorb(module, *parts)


def blocks_of_gguf(export, path):
    """block_of for the types in a GGUF file."""
    types_in_file = {t.name: t.tensor_type for t in gguf.GGUFReader(path).tensors}

    def block_of(name):
        if name.endswith(".k_b_proj") and not export.latent.split:
            return 1
        if name.endswith(".v_b_proj") and not export.latent.split:
            name = name.replace("v_b_proj", "kv_b_proj")
        tied = name == "lm_head" and export.config.tie_word_embeddings
        stacked = name.replace("experts.gate_up_proj", "experts.gate_proj")
        gguf_name = "token_embd.weight" if tied else export.gguf_name(f"{stacked}.weight")
        return gguf.GGML_QUANT_SIZES[types_in_file[gguf_name]][0]

    return block_of
