#!/usr/bin/env python3
"""Makes tests/data/quantized/*.safetensors: small matrices in each published quantised form, with their values.

Needs numpy only. Run from anywhere: tools/make_quantized_goldens.py [--check]

Each file holds the tensors of one linear layer called "layer" as its maker would publish them, "expected" F32 (rows, columns), and in its
metadata "config", the config.json. The values come from the codes before they are packed (by the layouts that vLLM, AutoGPTQ, AutoAWQ and
compressed-tensors document), so nothing here unpacks. Value = (code - zero) * scale in exact numbers, rounded once to float32.

--check compares with the files that are there instead of writing them.
"""

import argparse
import json
import pathlib
import struct
import sys

import numpy as np

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "quantized"
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# --- number formats: bits, and what they stand for as float64


def e4m3_value(code):
    sign = -1.0 if code & 0x80 else 1.0
    exponent, mantissa = (code >> 3) & 15, code & 7
    return sign * (mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7))


def to_bf16(values):
    """float32 to the nearest bf16 (away from zero on ties): bits and exact values."""
    bits = ((values.astype(np.float32).view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def numbers(values, dtype):
    """Scales as a tensor of `dtype`, and their exact values."""
    if dtype == "F32":
        stored = values.astype(np.float32)
        return (dtype, stored), stored.astype(np.float64)
    if dtype == "F16":
        stored = values.astype(np.float16)
        return (dtype, stored), stored.astype(np.float64)
    if dtype == "BF16":
        bits, exact = to_bf16(values)
        return (dtype, bits), exact
    exponents = np.round(np.log2(values)).astype(np.int64)
    return ("F8_E8M0" if dtype == "E8M0" else "U8", (exponents + 127).astype(np.uint8)), 2.0**exponents


# --- packing


def pack_words(codes, bits, axis):
    """Unsigned codes along an axis into int32 words, low bits first, the last word filled up with zeros."""
    codes = np.moveaxis(codes.astype(np.uint64), axis, -1)
    per_word = 32 // bits
    padding = -codes.shape[-1] % per_word
    codes = np.concatenate([codes, np.zeros(codes.shape[:-1] + (padding,), np.uint64)], axis=-1)
    codes = codes.reshape(codes.shape[:-1] + (-1, per_word))
    words = sum(codes[..., i] << np.uint64(bits * i) for i in range(per_word))
    return np.moveaxis(words.astype(np.uint32).view(np.int32), -1, axis)


def pack_awq(codes):
    """(n, rows) codes of 4 bits, rows interleaved in words."""
    codes = codes.reshape(codes.shape[0], -1, 8)[:, :, AWQ_ORDER]
    return pack_words(codes.reshape(codes.shape[0], -1), 4, 1)


def pack_pairs(codes):
    return (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)


def spread(grid, block_rows, block_columns, rows, columns):
    """A scale for each element."""
    return np.repeat(np.repeat(grid, block_rows, axis=0)[:rows], block_columns, axis=1)[:, :columns]


# --- forms: each returns (config, {tensor: (dtype, array)}, exact values)


def fp8(rng, rows, columns, block, dtype, config, suffix):
    codes = rng.integers(0, 256, (rows, columns), dtype=np.int64)
    codes[(codes & 0x7F) == 0x7F] = 0x7E
    codes[:3, :40] = rng.integers(0, 16, (3, 40))  # small ones side by side, subnormal too
    codes[4, :64] = 0x80
    values = np.vectorize(e4m3_value)(codes)
    shape = (-(-rows // block[0]), -(-columns // block[1]))
    scale, exact = numbers(np.exp(rng.normal(-7, 1, shape)), dtype)
    if suffix == "1":  # one number
        scale, suffix = (scale[0], scale[1].reshape(1)), "layer.weight_scale"
    tensors = {"layer.weight": ("F8_E4M3", codes.astype(np.uint8)), suffix: scale}
    return config, tensors, values * spread(exact, *block, rows, columns)


def fp8_config(block):
    return {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": block}


def gptq(rng, rows, columns, bits, group, sym, act_order, version, dtype="F16"):
    size = columns if group == -1 else group
    groups = -(-columns // size)
    codes = rng.integers(0, 1 << bits, (columns, rows), dtype=np.int64)
    zeros = np.full((groups, rows), 1 << (bits - 1)) if sym else rng.integers(1, 1 << bits, (groups, rows))
    scale, exact = numbers(np.exp(rng.normal(-4, 1, (groups, rows))), dtype)
    g_idx = np.arange(columns) // size
    if act_order:
        g_idx = rng.permutation(g_idx)
    stored = zeros - 1 if version == "gptq" else zeros
    tensors = {
        "layer.qweight": ("I32", pack_words(codes, bits, 0)),
        "layer.qzeros": ("I32", pack_words(stored, bits, 1)),
        "layer.scales": scale,
        "layer.g_idx": ("I32", g_idx.astype(np.int32)),
    }
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": act_order, "sym": sym}
    if version == "gptq_v2":
        config["checkpoint_format"] = version
    return config, tensors, ((codes - zeros[g_idx]) * exact[g_idx]).T


def awq(rng, rows, columns, group):
    codes = rng.integers(0, 16, (columns, rows), dtype=np.int64)
    zeros = rng.integers(0, 16, (columns // group, rows), dtype=np.int64)
    scale, exact = numbers(np.exp(rng.normal(-4, 1, zeros.shape)), "F16")
    tensors = {"layer.qweight": ("I32", pack_awq(codes)), "layer.qzeros": ("I32", pack_awq(zeros)), "layer.scales": scale}
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True}
    g_idx = np.arange(columns) // group
    return config, tensors, ((codes - zeros[g_idx]) * exact[g_idx]).T


def compressed_config(layout, **weights):
    group = {"targets": ["Linear"], "input_activations": None, "weights": weights}
    return {"quant_method": "compressed-tensors", "format": layout, "ignore": ["lm_head"], "config_groups": {"group_0": group}}


def packed(rng, rows, columns, bits, group, sym, dtype, act_order=False):
    groups = columns // group if group else 1
    half = 1 << (bits - 1)
    codes = rng.integers(-half, half, (rows, columns), dtype=np.int64)
    zeros = np.zeros((rows, groups), np.int64) if sym else rng.integers(-half, half, (rows, groups))
    scale, exact = numbers(np.exp(rng.normal(-5, 1, (rows, groups))), dtype)
    g_idx = np.arange(columns) // (columns // groups)
    tensors = {
        "layer.weight_packed": ("I32", pack_words(codes + half, bits, 1)),
        "layer.weight_scale": scale,
        "layer.weight_shape": ("I64", np.array([rows, columns], np.int64)),
    }
    if not sym:
        tensors["layer.weight_zero_point"] = ("I32", pack_words(zeros + half, bits, 0))
    if act_order:
        g_idx = rng.permutation(g_idx)
        tensors["layer.weight_g_idx"] = ("I32", g_idx.astype(np.int32))
    strategy = "group" if group else "channel"
    config = compressed_config("pack-quantized", num_bits=bits, type="int", strategy=strategy, group_size=group, symmetric=sym)
    return config, tensors, (codes - zeros[:, g_idx]) * exact[:, g_idx]


def int8(rng, rows, columns, strategy, sym, dtype):
    codes = rng.integers(-128, 128, (rows, columns), dtype=np.int64)
    shape = (rows, 1) if strategy == "channel" else (1, 1)
    zeros = np.zeros(shape, np.int64) if sym else rng.integers(-128, 128, shape)
    scale, exact = numbers(np.exp(rng.normal(-6, 1, shape)), dtype)
    if strategy == "tensor":
        scale = (scale[0], scale[1].reshape(1))
    tensors = {"layer.weight": ("I8", codes.astype(np.int8)), "layer.weight_scale": scale}
    if not sym:
        tensors["layer.weight_zero_point"] = ("I8", zeros.astype(np.int8).reshape(scale[1].shape))
    config = compressed_config("int-quantized", num_bits=8, type="int", strategy=strategy, group_size=None, symmetric=sym)
    return config, tensors, (codes - zeros) * exact


def fp4(rng, rows, columns, names, dtypes, config):
    codes = rng.integers(0, 16, (rows, columns), dtype=np.int64)
    scale, exact = numbers(2.0 ** rng.integers(-12, 3, (rows, columns // 32)), dtypes[1])
    pairs = pack_pairs(codes)
    tensors = {names[0]: (dtypes[0], pairs.view(np.int8) if dtypes[0] == "I8" else pairs), names[1]: scale}
    return config, tensors, E2M1[codes] * spread(exact, 1, 32, rows, columns)


CASES = {
    "fp8_block_f32": lambda r: fp8(r, 40, 160, (16, 64), "F32", fp8_config([16, 64]), "layer.weight_scale_inv"),
    "fp8_block_bf16": lambda r: fp8(r, 24, 96, (128, 128), "BF16", fp8_config([128, 128]), "layer.weight_scale_inv"),
    "fp8_block_e8m0": lambda r: fp8(r, 40, 96, (32, 32), "E8M0", fp8_config([32, 32]), "layer.scale"),
    "fp8_tensor": lambda r: fp8(r, 8, 64, (8, 64), "F32", compressed_config("float-quantized", num_bits=8, type="float", strategy="tensor"), "1"),
    "fp8_channel_bf16": lambda r: fp8(
        r, 21, 64, (1, 64), "BF16", compressed_config("float-quantized", num_bits=8, type="float", strategy="channel"), "layer.weight_scale"
    ),
    "fp8_compressed_block": lambda r: fp8(
        r, 21, 96, (10, 32), "F32",
        compressed_config("float-quantized", num_bits=8, type="float", strategy="block", block_structure=[10, 32]), "layer.weight_scale",
    ),
    "gptq4_sym": lambda r: gptq(r, 24, 96, 4, 32, True, False, "gptq"),
    "gptq4_asym": lambda r: gptq(r, 40, 160, 4, 64, False, False, "gptq"),
    "gptq4_v2_act_order": lambda r: gptq(r, 24, 128, 4, 32, False, True, "gptq_v2"),
    "gptq4_one_group_bf16": lambda r: gptq(r, 16, 96, 4, -1, True, False, "gptq", "BF16"),
    "gptq8_sym": lambda r: gptq(r, 20, 96, 8, 32, True, False, "gptq"),
    "gptq8_asym_act_order": lambda r: gptq(r, 24, 128, 8, 64, False, True, "gptq"),
    "awq": lambda r: awq(r, 40, 128, 64),
    "int4_group": lambda r: packed(r, 21, 96, 4, 32, True, "BF16"),
    "int4_group_asym": lambda r: packed(r, 21, 128, 4, 64, False, "F16"),
    "int4_act_order": lambda r: packed(r, 21, 128, 4, 32, True, "BF16", act_order=True),
    "int8_packed_channel": lambda r: packed(r, 21, 96, 8, None, True, "F32"),
    "int8_packed_asym": lambda r: packed(r, 21, 96, 8, 32, False, "BF16"),
    "int8_channel": lambda r: int8(r, 21, 96, "channel", True, "BF16"),
    "int8_channel_asym": lambda r: int8(r, 21, 96, "channel", False, "F32"),
    "int8_tensor": lambda r: int8(r, 8, 64, "tensor", True, "F32"),
    "mxfp4": lambda r: fp4(
        r, 21, 96, ("layer.weight_packed", "layer.weight_scale"), ("U8", "U8"),
        compressed_config("mxfp4-pack-quantized", num_bits=4, type="float", strategy="group", group_size=32, symmetric=True),
    ),
    "fp4_experts": lambda r: fp4(r, 21, 64, ("layer.weight", "layer.scale"), ("I8", "E8M0"), fp8_config([128, 128])),
}


def safetensors_bytes(tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    FOLDER.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for seed, (name, make) in enumerate(CASES.items()):
        config, tensors, values = make(np.random.default_rng(seed))
        tensors["expected"] = ("F32", values.astype(np.float32))
        raw = safetensors_bytes(tensors, {"config": json.dumps({"quantization_config": config})})
        path = FOLDER / f"{name}.safetensors"
        if check and path.read_bytes() != raw:
            print(f"{path} differs")
            wrong += 1
        elif not check:
            path.write_bytes(raw)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
