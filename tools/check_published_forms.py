#!/usr/bin/env python3
"""Compares the packers of oracle/published_forms.py with the official ones, where those import.

    pip install torch==2.13.0 numpy
    pip install --no-deps compressed-tensors==0.20.0 autoawq==0.2.9 auto-gptq==0.7.1
    pip install loguru pydantic psutil transformers==5.24.0
    python tools/check_published_forms.py

AutoAWQ and AutoGPTQ are no longer maintained and do not import with this transformers; their
packing modules alone do, past their packages' __init__.py. Exits with 1 if anything differs.
"""

import importlib.util
import pathlib
import sys
import types

import numpy as np
import torch

from oracle import published_forms as forms

ROWS, COLUMNS = 96, 128
COMPRESSED = [
    ("pack-quantized", forms.PackedInt(), {"num_bits": 4, "type": "int", "group_size": 32}),
    (
        "pack-quantized",
        forms.PackedInt(symmetric=False),
        {"num_bits": 4, "type": "int", "group_size": 32, "symmetric": False},
    ),
    ("pack-quantized", forms.PackedInt(8, 64), {"num_bits": 8, "type": "int", "group_size": 64}),
    ("int-quantized", forms.Int8(), {"num_bits": 8, "type": "int", "strategy": "channel"}),
    ("float-quantized", forms.Fp8(), {"num_bits": 8, "type": "float", "strategy": "channel"}),
    ("float-quantized", forms.Fp8(False), {"num_bits": 8, "type": "float", "strategy": "tensor"}),
    ("mxfp4-pack-quantized", forms.Mxfp4(), {"num_bits": 4, "type": "float", "group_size": 32}),
]
GPTQ = [
    forms.Gptq(4, 32),
    forms.Gptq(4, 64, act_order=True),
    forms.Gptq(4, 32, symmetric=False),
    forms.Gptq(8, 64),
    forms.Gptq(8, 64, symmetric=False),
]


def compressed_tensors_differ(w, name, form, arguments):
    """What compressed-tensors' decompressor reads otherwise than we meant."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    packed = form.pack(w, None)
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**arguments))
    # It multiplies in the scale's type; ours are BF16, whose products are to be exact here.
    wide = dict(packed.tensors)
    if wide["weight_scale"].dtype == torch.bfloat16:
        wide["weight_scale"] = wide["weight_scale"].float()
    compressor = BaseCompressor.get_value_from_registry(name)
    read = compressor.decompress(wide, scheme)["weight"]
    return [] if torch.equal(read.float(), packed.exact) else ["weight"]


def past_init(*packages):
    """Lets modules of these packages be imported without running the packages' own code."""
    root = pathlib.Path(importlib.util.find_spec(packages[0]).origin).parent
    for name in packages:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = module


def awq_differs(w):
    """Tensors that AutoAWQ packs otherwise."""
    past_init("awq", "awq.modules", "awq.modules.linear", "awq.utils")
    for name, attribute, value in (
        ("awq.utils.utils", "get_best_device", lambda: "cpu"),
        ("awq.utils.module", "try_import", lambda _: (None, "")),
    ):
        sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[name], attribute, value)
    from awq.modules.linear.gemm import WQLinear_GEMM

    packed = forms.Awq(32).pack(w, None)
    _, scale, zero = forms._integers(w, 32, 4, False, torch.float16)
    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = packed.exact.clone()
    theirs = WQLinear_GEMM.from_linear(
        linear, 4, 32, scales=scale.T.float().contiguous(), zeros=zero.T.contiguous()
    )
    return [k for k, v in packed.tensors.items() if not torch.equal(getattr(theirs, k), v)]


def gptq_module():
    """AutoGPTQ's packer."""
    past_init("auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear")
    sys.modules["auto_gptq.nn_modules.qlinear"].GeneralQuantLinear = torch.nn.Module
    from auto_gptq.nn_modules.qlinear import qlinear_cuda

    return qlinear_cuda


def gptq_differs(w, form, module):
    """Tensors that AutoGPTQ packs otherwise."""
    packed = form.pack(w, np.random.default_rng(3))
    shifts = torch.arange(0, 32, form.bits)
    zeros = packed.tensors["qzeros"].to(torch.int64)[..., None] >> shifts & (2**form.bits - 1)
    zeros = zeros.reshape(len(zeros), -1).T.float() + 1
    theirs = module.QuantLinear(form.bits, form.group, COLUMNS, ROWS, False)
    linear = torch.nn.Linear(COLUMNS, ROWS, bias=False)
    linear.weight.data = packed.exact.clone()
    scales = packed.tensors["scales"].T.float().contiguous()
    theirs.pack(linear, scales, zeros.contiguous(), packed.tensors["g_idx"].clone())
    return [k for k, v in packed.tensors.items() if not torch.equal(getattr(theirs, k), v)]


def main():
    torch.manual_seed(0)
    w = torch.randn(ROWS, COLUMNS)
    results = {f"{n} {f}": compressed_tensors_differ(w, n, f, a) for n, f, a in COMPRESSED}
    results["AWQ"] = awq_differs(w)
    module = gptq_module()
    results |= {str(form): gptq_differs(w, form, module) for form in GPTQ}
    for name, differing in results.items():
        print(f"{name}: {'differs in ' + ', '.join(differing) if differing else 'equal'}")
    sys.exit(any(results.values()))


if __name__ == "__main__":
    main()
