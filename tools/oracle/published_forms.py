"""The quantised forms in which makers publish safetensors, written from their layouts.

A form turns the float weight W (out, in) of a linear named X into a `Packed`: tensors by what
replaces "weight" in X.weight, and W as the file now says it, float32. `in` is a multiple of 32.

  Fp8Block    weight F8_E4M3 (out, in); weight_scale_inv F32 or BF16 (ceil(out/128), ceil(in/128)),
              which multiplies; with ue8m0 powers of two. DeepSeek, Qwen3-FP8, Kimi K2
  Gptq        qweight I32 (in*b/32, out), codes along `in`, low bits first; qzeros I32 (groups,
              out*b/32) along `out`, one less than the zero point unless v2; scales F16 (groups,
              out); g_idx I32 (in), the group of each input, which act-order shuffles
  Awq         qweight I32 (in, out/8), nibble i of a word is output [0 2 4 6 1 3 5 7][i] of its
              eight; qzeros I32 (groups, out/8) likewise; scales F16 (groups, out)
  PackedInt   compressed-tensors "pack-quantized": weight_packed I32 (out, in*b/32), codes raised by
              2^(b-1), low bits first; weight_scale (out, groups); weight_shape I64 (2); if not
              symmetric weight_zero_point I32 (ceil(out*b/32), groups), packed along `out`
  Int8        compressed-tensors "int-quantized": weight I8 (out, in); weight_scale (out, 1)
  Fp8         compressed-tensors "float-quantized": weight F8_E4M3; weight_scale (out, 1) or (1)
  Mxfp4       compressed-tensors "mxfp4-pack-quantized": weight_packed U8 (out, in/2), E2M1, the
              even input in the low nibble; weight_scale U8 (out, in/32), exponents + 127

The E4M3 forms are products of 8-bit integers in the engine: `rounded` has each row's every 32
columns as integers times a power of two, the largest one's magnitude in [64, 128). Needs torch.
"""

import dataclasses

import torch

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


@dataclasses.dataclass
class Packed:
    """A linear's weight in a published form."""

    tensors: dict  # {suffix: tensor}
    exact: torch.Tensor  # what they mean
    rounded: torch.Tensor | None = None  # E4M3 as integers; None: as `exact`
    order: torch.Tensor | None = None  # in which the engine reads the inputs, where not as they lie


def _pack_words(codes, bits):
    """Unsigned codes (rows, n * 32/bits) to int32 words (rows, n), the first in the low bits."""
    words = codes.to(torch.int64).reshape(len(codes), -1, 32 // bits)
    shifts = torch.arange(0, 32, bits)
    return (words << shifts).sum(-1).to(torch.uint32).view(torch.int32)


def _spread(per_group, group, columns):
    """(rows, groups) to (rows, columns)."""
    return per_group.repeat_interleave(group, dim=1)[:, :columns]


def _as_integers(e4m3):
    """E4M3 numbers (out, in) rounded to integers times a power of two, a row's 32 at a time."""
    blocks = e4m3.reshape(-1, 32)
    largest = blocks.abs().amax(1, keepdim=True)
    exponent = torch.frexp(largest).exponent - 1 - 6  # floor(log2) less 6
    steps = torch.round(torch.ldexp(blocks, -exponent))  # half to even
    return torch.where(largest > 0, torch.ldexp(steps, exponent), 0.0).reshape(e4m3.shape)


def _e4m3(x):
    return x.clamp(-448, 448).to(torch.float8_e4m3fn)


@dataclasses.dataclass(frozen=True)
class Fp8Block:
    scale_dtype: torch.dtype = torch.float32
    ue8m0: bool = False
    block: int = 128

    def pack(self, w, rng):
        rows, columns = w.shape
        padded = torch.zeros(
            -(-rows // self.block) * self.block, -(-columns // self.block) * self.block
        )
        padded[:rows, :columns] = w
        tiles = padded.reshape(len(padded) // self.block, self.block, -1, self.block)
        scale = tiles.abs().amax((1, 3)).clamp_min(1e-4) / 448
        if self.ue8m0:
            scale = torch.exp2(torch.ceil(torch.log2(scale)))
        scale = scale.to(self.scale_dtype)
        per_row = scale.float().repeat_interleave(self.block, dim=0)[:rows]
        factor = _spread(per_row, self.block, columns)
        codes = _e4m3(w / factor)
        return Packed(
            {"weight": codes, "weight_scale_inv": scale},
            codes.float() * factor,
            _as_integers(codes.float()) * factor,
        )


def _integers(w, group, bits, symmetric, scale_dtype):
    """(unsigned codes (out, in), scale (out, groups), zero (out, groups)) of groups that ascend."""
    top = 2**bits - 1
    groups = w.reshape(len(w), -1, group)
    if symmetric:
        scale = (groups.abs().amax(2) / (top / 2)).to(scale_dtype)
        zero = torch.full_like(scale, (top + 1) // 2, dtype=torch.float32)
    else:
        low, high = groups.amin(2).clamp_max(0), groups.amax(2).clamp_min(0)
        scale = ((high - low) / top).to(scale_dtype)
        zero = torch.round(-low / scale.float()).clamp(1, top)
    codes = torch.round(groups / scale.float()[..., None] + zero[..., None]).clamp(0, top)
    return codes.reshape(w.shape), scale, zero


@dataclasses.dataclass(frozen=True)
class Gptq:
    bits: int = 4
    group: int = 32
    symmetric: bool = True
    act_order: bool = False
    v2: bool = False

    def pack(self, w, rng):
        columns = w.shape[1]
        order = torch.arange(columns)  # position in sorted columns -> column
        if self.act_order:
            order = torch.from_numpy(rng.permutation(columns))
        codes, scale, zero = _integers(
            w[:, order], self.group, self.bits, self.symmetric, torch.float16
        )
        exact = torch.empty_like(w)
        unpacked = (codes - _spread(zero, self.group, columns)) * _spread(
            scale.float(), self.group, columns
        )
        exact[:, order] = unpacked
        in_place = torch.empty_like(codes)
        in_place[:, order] = codes
        group_of = torch.empty(columns, dtype=torch.int32)
        group_of[order] = torch.arange(columns, dtype=torch.int32) // self.group
        stored_zero = zero if self.v2 else zero - 1
        tensors = {
            "qweight": _pack_words(in_place, self.bits).T,
            "qzeros": _pack_words(stored_zero.T, self.bits),
            "scales": scale.T,
            "g_idx": group_of,
        }
        read = torch.argsort(group_of, stable=True) if self.act_order else None
        return Packed(tensors, exact, order=read)


@dataclasses.dataclass(frozen=True)
class Awq:
    group: int = 32

    def pack(self, w, rng):
        codes, scale, zero = _integers(w, self.group, 4, False, torch.float16)
        exact = (codes - _spread(zero, self.group, w.shape[1])) * _spread(
            scale.float(), self.group, w.shape[1]
        )

        def words(x):  # (n, out)
            return _pack_words(x.reshape(len(x), -1, 8)[..., AWQ_ORDER].reshape(x.shape), 4)

        tensors = {"qweight": words(codes.T), "qzeros": words(zero.T), "scales": scale.T}
        return Packed(tensors, exact)


@dataclasses.dataclass(frozen=True)
class PackedInt:
    bits: int = 4
    group: int = 32
    symmetric: bool = True

    def pack(self, w, rng):
        codes, scale, zero = _integers(w, self.group, self.bits, self.symmetric, torch.bfloat16)
        exact = (codes - _spread(zero, self.group, w.shape[1])) * _spread(
            scale.float(), self.group, w.shape[1]
        )
        tensors = {
            "weight_packed": _pack_words(codes, self.bits),
            "weight_scale": scale,
            "weight_shape": torch.tensor(w.shape, dtype=torch.int64),
        }
        if not self.symmetric:
            tensors["weight_zero_point"] = _pack_words(zero.T, self.bits).T
        return Packed(tensors, exact)


@dataclasses.dataclass(frozen=True)
class Int8:
    def pack(self, w, rng):
        scale = (w.abs().amax(1, keepdim=True) / 127).to(torch.bfloat16)
        codes = torch.round(w / scale.float()).clamp(-128, 127)
        tensors = {"weight": codes.to(torch.int8), "weight_scale": scale}
        return Packed(tensors, codes * scale.float())


@dataclasses.dataclass(frozen=True)
class Fp8:
    per_channel: bool = True

    def pack(self, w, rng):
        scale = (w.abs().amax(1, keepdim=True) if self.per_channel else w.abs().max()) / 448
        scale = scale.reshape(-1, 1).to(torch.bfloat16) if self.per_channel else scale.reshape(1)
        codes = _e4m3(w / scale.float())
        exact, rounded = codes.float() * scale.float(), _as_integers(codes.float()) * scale.float()
        return Packed({"weight": codes, "weight_scale": scale}, exact, rounded)


@dataclasses.dataclass(frozen=True)
class Mxfp4:
    def pack(self, w, rng):
        groups = w.reshape(len(w), -1, 32)
        exponent = torch.floor(torch.log2(groups.abs().amax(2).clamp_min(2**-100))) - 2
        scaled = groups / torch.exp2(exponent)[..., None]
        codes = (scaled.abs()[..., None] - E2M1).abs().argmin(-1)
        exact = E2M1[codes] * torch.sign(scaled) * torch.exp2(exponent)[..., None]
        codes = (codes + 8 * (scaled < 0)).reshape(w.shape).to(torch.uint8)
        tensors = {
            "weight_packed": codes[:, 0::2] | (codes[:, 1::2] << 4),
            "weight_scale": (exponent + 127).to(torch.uint8),
        }
        return Packed(tensors, exact.reshape(w.shape))
