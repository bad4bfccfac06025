"""Writes a random model of a given shape straight to GGUF, a tensor at a time.

Matrices are random blocks of a quantised type with scales of a natural size (weights deviate by
about 0.02), norms are ones, routers random float32; so activations and logits stay finite, and all
experts are about as likely. The model is never whole in memory. Needs numpy, gguf and transformers.
"""

import gguf
import numpy as np

from oracle import blocks, gguf_metadata, gguf_tokenizers

DEVIATION = 0.02
# What rows that are no multiple of 256 get where the type has blocks of 256, as llama.cpp does.
FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def _attention_shapes(config, arch):
    """{name after blk.N.: shape, outputs first} of a layer's attention."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    if arch == "deepseek2":
        nope, rope, value = config.qk_nope_head_dim, config.qk_rope_head_dim, config.v_head_dim
        latent, q_size = config.kv_lora_rank, heads * (nope + rope)
        if config.q_lora_rank is None:
            queries = {"attn_q": (q_size, hidden)}
        else:
            queries = {
                "attn_q_a": (config.q_lora_rank, hidden),
                "attn_q_a_norm": (config.q_lora_rank,),
                "attn_q_b": (q_size, config.q_lora_rank),
            }
        return queries | {
            "attn_kv_a_mqa": (latent + rope, hidden),
            "attn_kv_a_norm": (latent,),
            "attn_k_b": (heads, latent, nope),
            "attn_v_b": (heads, value, latent),
            "attn_output": (hidden, heads * value),
        }
    dim, kv_heads = config.head_dim, config.num_key_value_heads
    return {
        "attn_q": (heads * dim, hidden),
        "attn_k": (kv_heads * dim, hidden),
        "attn_v": (kv_heads * dim, hidden),
        "attn_q_norm": (dim,),
        "attn_k_norm": (dim,),
        "attn_output": (hidden, heads * dim),
    }


def _feed_forward(suffix, width, hidden, experts=()):
    """The three matrices of an MLP, or of a stack of them."""
    return {
        f"ffn_gate{suffix}": (*experts, width, hidden),
        f"ffn_up{suffix}": (*experts, width, hidden),
        f"ffn_down{suffix}": (*experts, hidden, width),
    }


def _mlp_shapes(config, arch, layer):
    hidden = config.hidden_size
    if arch == "qwen3":
        return _feed_forward("", config.intermediate_size, hidden)
    width = config.moe_intermediate_size
    deepseek = arch == "deepseek2"
    if deepseek and layer < config.first_k_dense_replace:
        return _feed_forward("", config.intermediate_size, hidden)
    count = config.n_routed_experts if deepseek else config.num_experts
    shapes = {"ffn_gate_inp": (count, hidden)} | _feed_forward("_exps", width, hidden, (count,))
    if deepseek:
        shapes |= _feed_forward("_shexp", width * config.n_shared_experts, hidden)
    if config.model_type == "deepseek_v3":
        shapes["exp_probs_b"] = (count,)
    return shapes


def _prediction_shapes(hidden):
    """Of a layer of multi-token prediction, beside those of an ordinary one."""
    shapes = {f"nextn.{name}": (hidden,) for name in ("enorm", "hnorm", "shared_head_norm")}
    return shapes | {"nextn.eh_proj": (hidden, 2 * hidden)}


def tensor_shapes(config, arch, prediction_layers=0):
    """[(name, shape, outputs first)] of the whole model, in the order in which it is used."""
    hidden = config.hidden_size
    out = [("token_embd.weight", (config.vocab_size, hidden))]
    for layer in range(config.num_hidden_layers + prediction_layers):
        shapes = {"attn_norm": (hidden,)} | _attention_shapes(config, arch)
        shapes |= {"ffn_norm": (hidden,)} | _mlp_shapes(config, arch, layer)
        if layer >= config.num_hidden_layers:
            shapes |= _prediction_shapes(hidden)
        for name, shape in shapes.items():
            out.append(
                (f"blk.{layer}.{name}.{'bias' if name == 'exp_probs_b' else 'weight'}", shape)
            )
    out.append(("output_norm.weight", (hidden,)))
    if not config.tie_word_embeddings:
        out.append(("output.weight", (config.vocab_size, hidden)))
    return out


def has_more_bits(layer, layers):
    """Whether "Q4_K_M" gives a layer's values and down projection 6 bits, as llama.cpp does."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def type_in_q4_k_m(name, layers):
    """The type of a matrix in llama.cpp's mixture of Q4_K and Q6_K."""
    if ".attn_v." in name or ".ffn_down." in name:
        return "Q6_K" if has_more_bits(int(name.split(".")[1]), layers) else "Q4_K"
    return "Q4_K"


def type_of(name, shape, matrix_type, config):
    """The type of a tensor in a file that is mostly `matrix_type`, or "Q4_K_M"."""
    if len(shape) == 1 or ".ffn_gate_inp." in name:
        return "F32"
    if ".eh_proj." in name:
        return "F16"
    if ".attn_k_b." in name:
        return "Q8_0"
    head = "token_embd.weight" if config.tie_word_embeddings else "output.weight"
    if name == head:
        chosen = "Q6_K"
    elif matrix_type == "Q4_K_M":
        chosen = type_in_q4_k_m(name, config.num_hidden_layers)
    else:
        chosen = matrix_type
    return chosen if shape[-1] % blocks.block_size(chosen)[0] == 0 else FALLBACK[chosen]


class RandomBlocks:
    """Random blocks of quantised types, their scales found once a type on a small sample."""

    def __init__(self, seed):
        self._rng = np.random.Generator(np.random.SFC64(seed))
        self._scales = {}

    def _scale(self, type_name):
        if type_name not in self._scales:
            sample = blocks.random_blocks(type_name, 4096, self._rng)
            unit = np.full(len(sample), 2.0**-6)
            blocks.set_scales(type_name, sample, unit, unit * blocks.BALANCE.get(type_name, 0.0))
            spread = blocks.dequantize(type_name, sample).std()
            self._scales[type_name] = DEVIATION / float(spread) * 2.0**-6
        return self._scales[type_name]

    def tensor(self, shape, type_name):
        """A tensor's bytes, shaped as GGUFWriter wants them."""
        elements, size = blocks.block_size(type_name)
        count = int(np.prod(shape)) // elements
        raw = np.frombuffer(bytearray(self._rng.bytes(count * size)), np.uint8).reshape(count, size)
        scales = self._scale(type_name) * self._rng.uniform(0.75, 1.25, count)
        blocks.set_scales(type_name, raw, scales, scales * blocks.BALANCE.get(type_name, 0.0))
        return raw.reshape(*shape[:-1], shape[-1] // elements * size)

    def silent(self, shape, type_name):
        """A tensor's bytes with all scales zero: as slow as another, and its products are zero."""
        elements, size = blocks.block_size(type_name)
        raw = self.tensor(shape, type_name).reshape(-1, size)
        zero = np.zeros(len(raw))
        blocks.set_scales(type_name, raw, zero, zero)
        return raw.reshape(*shape[:-1], shape[-1] // elements * size)

    def floats(self, name, shape):
        """Norms of ones, routers of random numbers, correction biases of small ones."""
        if "norm" in name:
            return np.ones(shape, np.float32)
        return (DEVIATION * self._rng.standard_normal(shape)).astype(np.float32)


def prediction_of_next(hidden):
    """An eh_proj that passes on the next token's embedding and nothing else."""
    return np.concatenate([np.eye(hidden), np.zeros((hidden, hidden))], 1).astype(np.float16)


def _values(random, name, shape, type_name, prediction):
    if type_name == "F16" and prediction == "foreseeing":
        return prediction_of_next(shape[0])
    if type_name == "F16":
        return random.floats(name, shape).astype(np.float16)
    if type_name == "F32":
        return random.floats(name, shape)
    if prediction == "foreseeing" and (".attn_output." in name or ".ffn_down" in name):
        return random.silent(shape, type_name)
    return random.tensor(shape, type_name)


def write(config, arch, path, matrix_type, pre="qwen2", seed=1, *, prediction=None):
    """Writes the file; `config` is a transformers config.

    prediction: "blind" adds a layer of multi-token prediction that foretells nothing, "foreseeing"
    one that is right: no layer then adds anything to the embedding, at the cost of one that does.
    """
    layers = int(prediction is not None)
    shapes = tensor_shapes(config, arch, layers)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(path.stem)
    gguf_metadata.add_hyperparameters(writer, arch, config, prediction_layers=layers)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    gguf_tokenizers.add_dummy_tokenizer(writer, config.vocab_size, pre)
    for name, shape in shapes:
        qtype = blocks.qtype(type_of(name, shape, matrix_type, config))
        elements, size = gguf.GGML_QUANT_SIZES[qtype]
        stored = (*shape[:-1], shape[-1] // elements * size)
        is_float = elements == 1
        dtype = np.float16 if qtype == gguf.GGMLQuantizationType.F16 else np.float32
        writer.add_tensor_info(
            name,
            shape if is_float else stored,
            np.dtype(dtype if is_float else np.uint8),
            int(np.prod(stored)),
            raw_dtype=qtype,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = RandomBlocks(seed)
    for name, shape in shapes:
        type_name = type_of(name, shape, matrix_type, config)
        writer.write_tensor_data(_values(random, name, shape, type_name, prediction))
    writer.close()
