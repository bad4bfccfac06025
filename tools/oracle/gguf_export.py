"""Converts a Hugging Face checkpoint to GGUF with the gguf package, as llama.cpp's converter does.

Tensor names come from the package's name map. What conversion changes: rows of the q and k
projections of `llama` are permuted to the interleaved rope layout, Llama 3's rope scaling becomes
the tensor rope_freqs.weight, a tied head is left out, norms, biases and routers are float32; for
experts and latent attention see gguf_layouts.py.

Needs gguf, torch, safetensors, transformers and numpy.
"""

import json
import math
import pathlib
import re

import gguf
import numpy as np
import torch
import transformers
from safetensors import safe_open

from oracle import gguf_layouts, gguf_metadata

FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}
ARCHITECTURES = {
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
}

# Of the layer of multi-token prediction; the rest of it is an ordinary layer.
PREDICTION = re.compile(
    r"model\.layers\.(\d+)\."
    r"(enorm|hnorm|eh_proj|embed_tokens|shared_head\.(?:norm|head))\.weight"
)


def _permute(rows, heads):
    """Half-rotated rows (heads * dim, …) to interleaved ones."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(shape)


def _unpermute(rows, heads):
    """Undoes _permute."""
    shape = rows.shape
    return rows.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)


class Export:
    """One conversion: the checkpoint's config, and where each tensor goes."""

    def __init__(self, folder, latent=gguf_layouts.LatentLayout()):
        self.folder = pathlib.Path(folder)
        self.latent = latent
        self.config = transformers.AutoConfig.from_pretrained(folder)
        self.arch = ARCHITECTURES.get(self.config.model_type, self.config.model_type)
        arch_id = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == self.arch)
        layers = self.config.num_hidden_layers
        self.prediction_layers = int(self._has(f"model.layers.{layers}.hnorm.weight"))
        self._names = gguf.get_tensor_name_map(arch_id, layers + self.prediction_layers)

    def _has(self, hf_name):
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                if hf_name in file.keys():
                    return True
        return False

    def gguf_name(self, hf_name):
        """The GGUF name of a checkpoint tensor."""
        if match := PREDICTION.fullmatch(hf_name):
            return f"blk.{match[1]}.nextn.{match[2].replace('.', '_')}.weight"
        known = hf_name.replace(".e_score_correction_bias", ".e_score_correction.bias")
        name = self._names.get_name(known, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise KeyError(f"{hf_name}: no GGUF name in {self.arch}")
        return name

    def permuted_heads(self, hf_name):
        """How many heads' rows are permuted in this tensor; 0 for none."""
        if self.arch == "llama" and ".q_proj." in hf_name:
            return self.config.num_attention_heads
        if self.arch == "llama" and ".k_proj." in hf_name:
            return self.config.num_key_value_heads
        return 0

    def tensors(self):
        """Yields (hf_name, float32 array) of the whole checkpoint, a tied head left out."""
        for path in sorted(self.folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():
                    if name == "lm_head.weight" and self.config.tie_word_embeddings:
                        continue
                    yield name, file.get_tensor(name).to(torch.float32).numpy()

    def gguf_tensors(self):
        """[(GGUF name, float32 array)] of the whole checkpoint, arranged as GGUF has them."""
        tensors = gguf_layouts.stack_experts(dict(self.tensors()))
        tensors = gguf_layouts.split_kv_b(tensors, self.config, self.latent)
        out = []
        for hf_name, values in tensors.items():
            if heads := self.permuted_heads(hf_name):
                values = _permute(values, heads)
            if hf_name.endswith(".shared_expert_gate.weight"):
                values = values[0]
            out.append((self.gguf_name(hf_name), np.ascontiguousarray(values)))
        return out

    def hf_value(self, hf_name, values):
        """What a parameter of the transformers model is, by a GGUF file's {name: array}."""
        prefix = hf_name.rpartition(".experts.")[0]
        if hf_name.endswith(".experts.gate_up_proj"):
            parts = [f"{prefix}.experts.{part}_proj.weight" for part in ("gate", "up")]
            return np.concatenate([values[self.gguf_name(part)] for part in parts], axis=1)
        if hf_name.endswith(".experts.down_proj"):
            return values[self.gguf_name(f"{hf_name}.weight")]
        if hf_name.endswith(".kv_b_proj.weight") and self.latent.split:
            names = [hf_name.replace("kv_b", part) for part in ("k_b", "v_b")]
            k_b, v_b = (values[self.gguf_name(name)] for name in names)
            return gguf_layouts.join_kv_b(k_b, v_b, self.config)
        new = values[self.gguf_name(hf_name)]
        if hf_name.endswith(".shared_expert_gate.weight"):
            return new[None]
        heads = self.permuted_heads(hf_name)
        return _unpermute(new, heads) if heads else new

    def rope_freqs(self):
        """Llama 3's divisors of the rope frequencies, or None."""
        rope = self.config.rope_parameters
        if rope["rope_type"] != "llama3":
            return None
        dim = self.config.head_dim
        original = rope["original_max_position_embeddings"]
        low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
        divisors = []
        for i in range(0, dim, 2):
            wavelength = 2 * math.pi * rope["rope_theta"] ** (i / dim)
            if wavelength < original / high:
                divisors.append(1.0)
            elif wavelength > original / low:
                divisors.append(factor)
            else:
                smooth = (original / wavelength - low) / (high - low)
                divisors.append(1 / ((1 - smooth) / factor + smooth))
        return np.array(divisors, dtype=np.float32)


def _encode(values, type_name):
    qtype = gguf.GGMLQuantizationType[type_name]
    return gguf.quants.quantize(values, qtype), qtype


def _is_float_only(name, values):
    """Norms, biases and routers stay float32, whatever the type of the matrices."""
    return values.ndim == 1 or ".ffn_gate_inp." in name


def convert(folder, path, matrix_type="F32", *, choose=None, tokenizer=None, shards=1, latent=None):
    """Writes `path` from the checkpoint in `folder`.

    Matrices become `matrix_type`; choose(gguf_name, array) may give (raw array, gguf type) instead.
    tokenizer(writer) adds a tokenizer. With `shards` > 1 the package splits the file and names the
    parts itself. `latent` is a gguf_layouts.LatentLayout for deepseek2.
    """
    export = Export(folder, latent or gguf_layouts.LatentLayout())
    out = []
    freqs = export.rope_freqs()
    if freqs is not None:
        out.append(("rope_freqs.weight", freqs, gguf.GGMLQuantizationType.F32))
    for name, values in export.gguf_tensors():
        if _is_float_only(name, values):
            out.append((name, *_encode(values, "F32")))
        elif choose is not None:
            out.append((name, *choose(name, values)))
        else:
            out.append((name, *_encode(values, matrix_type)))
    split = -(-len(out) // shards) if shards > 1 else 0
    writer = gguf.GGUFWriter(path, export.arch, split_max_tensors=split)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(export.folder.name)
    gguf_metadata.add_hyperparameters(
        writer, export.arch, export.config, export.latent.new_keys, export.prediction_layers
    )
    if choose is None:
        writer.add_file_type(FILE_TYPES[matrix_type])
    if matrix_type not in ("F32", "F16", "BF16"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if tokenizer is not None:
        tokenizer(writer)
    for name, raw, qtype in out:
        writer.add_tensor(name, raw, raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def parts(path):
    """The files that convert() wrote for `path`: itself, or its shards in order."""
    path = pathlib.Path(path)
    return [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}-*-of-*.gguf"))


def read_values(path):
    """{GGUF name: float32 array} of a GGUF file and its parts, dequantised by the package."""
    values = {}
    for part in parts(path):
        for tensor in gguf.GGUFReader(part).tensors:
            flat = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            values[tensor.name] = flat.reshape([int(n) for n in reversed(tensor.shape)])
    return values


def put_weights_of_gguf(model, folder, path, latent=None):
    """Replaces a model's weights by the GGUF file's; returns whether all were equal already."""
    export = Export(folder, latent or gguf_layouts.LatentLayout())
    values, same = read_values(path), True
    own = dict(model.named_parameters())
    own |= {n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")}
    with torch.no_grad():
        for name, parameter in own.items():
            new = torch.from_numpy(np.array(export.hf_value(name, values))).to(parameter.dtype)
            same = same and torch.equal(parameter, new)
            parameter.copy_(new)
    return same


def write_index(path, entries):
    """Writes the list of GGUF files and the goldens that hold for them."""
    lines = ",\n".join("  " + json.dumps(e) for e in entries)
    pathlib.Path(path).write_text('{\n "ggufs": [\n' + lines + "\n ]\n}\n")
