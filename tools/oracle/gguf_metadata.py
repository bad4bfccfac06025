"""The metadata keys of a GGUF file that say what a checkpoint's config.json says. Needs gguf."""

import gguf


def _add_common(writer, config, kv_heads, prediction_layers):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers + prediction_layers)
    if prediction_layers > 0:
        writer.add_nextn_predict_layers(prediction_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_plain_heads(writer, arch, config):
    head_dim = getattr(config, "head_dim", None)
    if arch == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)
    if arch in ("qwen3", "qwen3moe", "seed_oss"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)


def _add_latent_heads(writer, config, new_keys):
    """Lengths of multi-head latent attention: of its absorbed form since 2025, expanded before."""
    per_head = config.qk_nope_head_dim + config.qk_rope_head_dim
    if config.q_lora_rank is not None:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    if new_keys:
        writer.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim)
        writer.add_value_length(config.kv_lora_rank)
        writer.add_key_length_mla(per_head)
        writer.add_value_length_mla(config.v_head_dim)
    else:
        writer.add_key_length(per_head)
        writer.add_value_length(config.v_head_dim)
    writer.add_rope_dimension_count(config.qk_rope_head_dim)
    writer.add_vocab_size(config.vocab_size)


def _add_qwen_experts(writer, arch, config):
    if config.decoder_sparse_step != 1 or config.mlp_only_layers:
        raise ValueError(f"GGUF's {arch} has no dense layers")
    if config.norm_topk_prob != (arch == "qwen3moe"):
        raise ValueError(f"GGUF's {arch} cannot say norm_topk_prob {config.norm_topk_prob}")
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == "qwen2moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


def _add_deepseek_experts(writer, config, new_keys):
    """Files of before 2025 said neither how scores are made nor whether weights are normalised."""
    sigmoid = config.model_type == "deepseek_v3"
    writer.add_leading_dense_block_count(config.first_k_dense_replace)
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_expert_weights_scale(config.routed_scaling_factor)
    if not new_keys and not sigmoid:
        return
    kinds = gguf.ExpertGatingFuncType
    writer.add_expert_gating_func(kinds.SIGMOID if sigmoid else kinds.SOFTMAX)
    writer.add_expert_weights_norm(config.norm_topk_prob)
    if new_keys and config.n_group is not None:
        writer.add_expert_group_count(config.n_group)
        writer.add_expert_group_used_count(config.topk_group)


def _add_rope(writer, arch, config):
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] not in ("default", "llama3"):
        raise ValueError(f"GGUF has no {rope['rope_type']} rope scaling")
    if rope["rope_type"] == "yarn":
        if "attention_factor" in rope or not rope.get("truncate", True):
            raise ValueError("GGUF cannot say attention_factor or truncate of YaRN")
        if rope.get("mscale") != rope.get("mscale_all_dim"):
            raise ValueError("GGUF cannot say two different mscales of YaRN")
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        if "beta_fast" in rope:
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        if "beta_slow" in rope:
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        if "mscale" in rope:
            writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def add_hyperparameters(writer, arch, config, new_keys=True, prediction_layers=0):
    """Everything but the tokenizer; new_keys: as converters write deepseek2 since 2025.

    prediction_layers: of multi-token prediction, behind the config's layers.
    """
    absorbed = arch == "deepseek2" and new_keys
    kv_heads = 1 if absorbed else config.num_key_value_heads
    _add_common(writer, config, kv_heads, prediction_layers)
    if arch == "deepseek2":
        _add_latent_heads(writer, config, new_keys)
        _add_deepseek_experts(writer, config, new_keys)
    else:
        _add_plain_heads(writer, arch, config)
    if arch in ("qwen2moe", "qwen3moe"):
        _add_qwen_experts(writer, arch, config)
    _add_rope(writer, arch, config)
