"""Tiny random checkpoints in the Hugging Face layout, one `Variant` each.

Needs torch, transformers, safetensors and numpy.
"""

import dataclasses
import json
import pathlib
import shutil
import tempfile

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

torch.set_num_threads(1)  # tiny models gain nothing from more, and one adds in the same order
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

CONFIGS = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "seed_oss": transformers.SeedOssConfig,
    "qwen2_moe": transformers.Qwen2MoeConfig,
    "qwen3_moe": transformers.Qwen3MoeConfig,
    "deepseek_v2": transformers.DeepseekV2Config,
    "deepseek_v3": transformers.DeepseekV3Config,
    "kimi_k2": transformers.DeepseekV3Config,  # the same network
    "kimi_k25": transformers.DeepseekV3Config,  # its text part
}
MLA_TYPES = ("deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25")
EAGER = {"attn_implementation": "eager"}
EAGER_EXPERTS = {"experts_implementation": "eager"}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One checkpoint: its name, architecture, stored type and the way its files are written."""

    name: str
    model_type: str
    config: dict
    dtype: torch.dtype = torch.float32
    classic: bool = False  # config.json in the manner of transformers 4
    max_shard_size: str | None = None
    weight_std: float = 0.25
    fused_experts: bool = False  # experts.gate_up_proj, as transformers 5 holds them, else apart
    published: dict = dataclasses.field(default_factory=dict)  # further keys of config.json


def build_config(variant):
    """The transformers config object of a variant."""
    return CONFIGS[variant.model_type](**{"bos_token_id": 1, "eos_token_id": 2, **variant.config})


def _fill(name, parameter, rng, weight_std):
    """Random values that make every part of the network matter."""
    noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)).astype(np.float32))
    if name.endswith("norm.weight"):
        parameter.copy_(1.0 + 0.3 * noise)
    elif name.endswith("e_score_correction_bias"):
        parameter.copy_(0.15 * noise)  # scores are sigmoids: 0.5, give or take 0.3
    elif name.endswith(".bias"):
        parameter.copy_(0.4 * noise)
    else:
        parameter.copy_(weight_std * noise)


def _eager(model_type):
    return EAGER | (EAGER_EXPERTS if "moe" in model_type or model_type in MLA_TYPES else {})


def _is_correction_bias(name):
    return name.endswith("e_score_correction_bias")


def build_model(variant, seed):
    """A model with random weights in the variant's type (correction biases stay float32)."""
    model = transformers.AutoModelForCausalLM.from_config(
        build_config(variant), **_eager(variant.model_type)
    )
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _fill(name, parameter, rng, variant.weight_std)
        biases = {n: b for n, b in model.named_buffers() if _is_correction_bias(n)}
        for name, buffer in biases.items():
            _fill(name, buffer, rng, variant.weight_std)
        biases = {n: b.clone() for n, b in biases.items()}
    model = model.to(variant.dtype).eval()
    for name, bias in biases.items():
        model.get_submodule(name.rpartition(".")[0]).e_score_correction_bias = bias
    return model


def to_classic_config(config):
    """Rewrites a transformers 5 config.json as transformers 4 wrote it."""
    classic = {k: v for k, v in config.items() if k not in ("rope_parameters", "dtype")}
    rope = dict(config["rope_parameters"])
    classic["rope_theta"] = rope.pop("rope_theta")
    classic["torch_dtype"] = config["dtype"]
    classic["transformers_version"] = "4.46.0"
    rope_type = rope.pop("rope_type")
    if rope_type == "default":
        classic["rope_scaling"] = None
    else:  # Llama 3.1 wrote "rope_type", the older scalings "type"
        key = "rope_type" if rope_type == "llama3" else "type"
        classic["rope_scaling"] = {key: rope_type, **rope}
    classic.pop("layer_types", None)
    if "num_local_experts" in classic and config["model_type"] == "qwen3_moe":
        classic["num_experts"] = classic.pop("num_local_experts")
    if config["model_type"] in MLA_TYPES:  # transformers 5 calls the rotated part head_dim
        for key in ("head_dim", "qk_head_dim", "rope_interleave"):
            classic.pop(key, None)
    usual_head_dim = config["hidden_size"] // config["num_attention_heads"]
    if config["model_type"] == "llama" and config["head_dim"] == usual_head_dim:
        classic.pop("head_dim")  # older Llamas left it out
    return dict(sorted(classic.items()))


def read_tensors(folder):
    """{name: tensor} of all safetensors files of a folder."""
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}
    return tensors


def write_tensors(folder, tensors):
    """Replaces the weights of a folder by one model.safetensors."""
    for path in pathlib.Path(folder).glob("*.safetensors*"):
        path.unlink()
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    path = pathlib.Path(folder) / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def edit_config(folder, edit):
    """Rewrites config.json by edit(dict) -> dict."""
    path = pathlib.Path(folder) / "config.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text())), indent=2) + "\n")


def _to_kimi(folder, model_type):
    """Makes a deepseek_v3 folder one of Kimi K2's, or of K2.5's with its wrapper."""

    def edit(config):
        text = {**config, "model_type": "kimi_k2", "architectures": ["DeepseekV3ForCausalLM"]}
        if model_type == "kimi_k2":
            return text
        return {
            "architectures": ["KimiK25ForConditionalGeneration"],
            "model_type": "kimi_k25",
            "tie_word_embeddings": False,
            "text_config": text,
            "vision_config": {"model_type": "kimi_k25_vision", "hidden_size": 8},
        }

    edit_config(folder, edit)
    if model_type == "kimi_k25":
        tensors = {f"language_model.{n}": t for n, t in read_tensors(folder).items()}
        tensors["mm_projector.linear_1.weight"] = torch.ones(4, 8)  # what a text engine passes over
        tensors["vision_tower.patch_embed.proj.weight"] = torch.ones(8, 3, 2, 2)
        write_tensors(folder, tensors)


def save(model, variant, folder):
    """Writes the folder anew: config.json, generation_config.json, safetensors (and index)."""
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    options = {"max_shard_size": variant.max_shard_size} if variant.max_shard_size else {}
    model.save_pretrained(folder, save_original_format=not variant.fused_experts, **options)
    for path in folder.iterdir():
        path.chmod(0o644)
    if variant.classic:
        edit_config(folder, to_classic_config)
    if variant.published:
        edit_config(folder, lambda config: dict(sorted({**config, **variant.published}.items())))
    if variant.model_type.startswith("kimi"):
        _to_kimi(folder, variant.model_type)


def _from_kimi(folder, plain):
    """Writes into `plain` the deepseek_v3 checkpoint that one of Kimi's is."""
    config = json.loads((folder / "config.json").read_text())
    text = {**config.get("text_config", config), "model_type": "deepseek_v3"}
    (plain / "config.json").write_text(json.dumps(text))
    prefix = "language_model." if "text_config" in config else ""
    tensors = read_tensors(folder)
    named = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    write_tensors(plain, named)


def load(folder, dtype=torch.float32):
    """The checkpoint as the oracle runs it: weights cast to `dtype`, eager attention."""
    folder = pathlib.Path(folder)
    model_type = json.loads((folder / "config.json").read_text())["model_type"]
    with tempfile.TemporaryDirectory() as plain:
        if model_type.startswith("kimi"):
            _from_kimi(folder, pathlib.Path(plain))
            folder = pathlib.Path(plain)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, **_eager(model_type)
        ).eval()
    model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=0)
    return model
