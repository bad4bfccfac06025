"""Tiny random checkpoints in the Hugging Face layout, one `Variant` each.

Needs torch, transformers, safetensors and numpy.
"""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers

torch.set_num_threads(1)  # tiny models gain nothing from more, and one adds in the same order
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()

CONFIGS = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "seed_oss": transformers.SeedOssConfig,
}


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


def build_config(variant):
    """The transformers config object of a variant."""
    return CONFIGS[variant.model_type](**{"bos_token_id": 1, "eos_token_id": 2, **variant.config})


def _fill(name, parameter, rng, weight_std):
    """Random values that make every part of the network matter."""
    noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)).astype(np.float32))
    if name.endswith("norm.weight"):
        parameter.copy_(1.0 + 0.3 * noise)
    elif name.endswith(".bias"):
        parameter.copy_(0.4 * noise)
    else:
        parameter.copy_(weight_std * noise)


def build_model(variant, seed):
    """A model with random weights in the variant's type."""
    model = transformers.AutoModelForCausalLM.from_config(
        build_config(variant), attn_implementation="eager"
    )
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _fill(name, parameter, rng, variant.weight_std)
    return model.to(variant.dtype).eval()


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
    usual_head_dim = config["hidden_size"] // config["num_attention_heads"]
    if config["model_type"] == "llama" and config["head_dim"] == usual_head_dim:
        classic.pop("head_dim")  # older Llamas left it out
    return dict(sorted(classic.items()))


def save(model, variant, folder):
    """Writes the folder anew: config.json, generation_config.json, safetensors (and index)."""
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    options = {"max_shard_size": variant.max_shard_size} if variant.max_shard_size else {}
    model.save_pretrained(folder, **options)
    for path in folder.iterdir():
        path.chmod(0o644)
    if variant.classic:
        path = folder / "config.json"
        config = to_classic_config(json.loads(path.read_text()))
        path.write_text(json.dumps(config, indent=2) + "\n")


def load(folder, dtype=torch.float32):
    """The checkpoint as the oracle runs it: weights cast to `dtype`, eager attention."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()
    model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=0)
    return model
