#!/usr/bin/env python3
"""Are the weights that `salver quantize` writes as GPTQ, AWQ or compressed-tensors what the original's are?

    python3 read_quantized.py ORIGINAL_FOLDER QUANTIZED_FOLDER [--least DB]
    python3 read_quantized.py --against FOLDER QUANTIZED_FOLDER     # the weights must be equal

Reads both folders' safetensors by their definition, unpacks the few-bit layers with numpy from the
formats' descriptions (this file shares no code with salver), and prints the signal-to-noise ratio of
each layer's weights against the original's. A wrong order of bits, rows or zero points leaves about
0 dB; 4 bits in groups give 15 to 25. AWQ and SmoothQuant move scales between layers: then norms
differ too, and only products of both are comparable, which --folded allows for: columns are
compared after the factor that fits best.

Needs numpy.
"""
import argparse
import glob
import json
import os
import struct
import sys

import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "I32": "<i4", "I64": "<i8", "I8": "i1", "U8": "u1", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1"}


def tensors(folder):
    """All tensors of a folder by name, as (dtype, array)."""
    out = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        data = np.memmap(path, "u1", "r")
        n = struct.unpack("<Q", data[:8].tobytes())[0]
        for name, t in json.loads(data[8:8 + n].tobytes()).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                out[name] = t["dtype"], data[8 + n + a:8 + n + b].view(TYPES[t["dtype"]]).reshape(t["shape"])
    return out


def floats(t):
    kind, v = t
    if kind == "BF16":
        return (v.astype("u4") << 16).view("f4")
    if kind.startswith("F8"):
        e, m = (4, 3) if kind == "F8_E4M3" else (5, 2)
        c = np.arange(256)
        exp, man = c >> m & ((1 << e) - 1), c & ((1 << m) - 1)
        bias = (1 << (e - 1)) - 1
        table = np.where(exp == 0, man / 2.0**m * 2.0**(1 - bias), (1 + man / 2.0**m) * 2.0**(exp - bias)) * np.where(c >> 7, -1, 1)
        return table[v].astype("f4")
    return v.astype("f4")


def stream(words, bits, n):
    """The first n numbers of a row of words, as GPTQ packs them: bits run on from word to word."""
    b = np.unpackbits(np.ascontiguousarray(words).view("u1").reshape(len(words), -1), axis=1, bitorder="little")
    b = b[:, :n * bits].reshape(len(words), n, bits)
    return (b * (1 << np.arange(bits))).sum(axis=2)


def whole(words, bits, n):
    """The same where each word has 32//bits numbers."""
    shifts = np.arange(32 // bits) * bits
    v = words.view("u4")[:, :, None] >> shifts.astype("u4") & np.uint32((1 << bits) - 1)
    return v.reshape(len(words), -1)[:, :n].astype("i8")


def gptq(f, layer, c):
    q, s = f[layer + ".qweight"][1], floats(f[layer + ".scales"])
    rows, groups, bits = q.shape[1], len(s), c["bits"]
    cols = q.shape[0] * 32 // bits
    w = stream(q.T, bits, cols)
    z = stream(f[layer + ".qzeros"][1], bits, rows) + (0 if c.get("checkpoint_format") == "gptq_v2" else 1)
    group = f[layer + ".g_idx"][1] if layer + ".g_idx" in f else np.arange(cols) // c["group_size"]
    assert group.max() < groups
    return (w - z.T[:, group]) * s.T[:, group]


def awq(f, layer, c):
    q, s = f[layer + ".qweight"][1], floats(f[layer + ".scales"])
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # place i of a word has this number

    def rows(words):
        v = whole(words, 4, words.shape[1] * 8).reshape(len(words), -1, 8)
        out = np.empty_like(v)
        out[:, :, order] = v
        return out.reshape(len(words), -1)
    size = c["group_size"] if c["group_size"] > 0 else len(q)
    group = np.arange(len(q)) // size
    return ((rows(q) - rows(f[layer + ".qzeros"][1])[group]) * s[group]).T


def compressed(f, layer, c):
    s = floats(f[layer + ".weight_scale"])
    scheme = next(iter(c["config_groups"].values()))["weights"]
    bits, zero = scheme["num_bits"], layer + ".weight_zero_point"
    if layer + ".weight" in f:
        w = floats(f[layer + ".weight"])
        z = floats(f[zero]) if zero in f else np.zeros_like(s)
    else:
        rows, cols = f[layer + ".weight_shape"][1]
        half = 1 << (bits - 1)
        w = whole(f[layer + ".weight_packed"][1], bits, cols) - half
        z = whole(np.ascontiguousarray(f[zero][1].T), bits, rows).T - half if zero in f else np.zeros_like(s)
    size = scheme.get("group_size") or w.shape[1]
    group = f[layer + ".weight_g_idx"][1] if layer + ".weight_g_idx" in f else np.arange(w.shape[1]) // size
    return (w - z[:, group]) * s[:, group]


def layers(folder):
    """(name, weights) of the few-bit layers of a folder."""
    f = tensors(folder)
    c = json.load(open(os.path.join(folder, "config.json")))["quantization_config"]
    mark, read = {"gptq": (".qweight", gptq), "awq": (".qweight", awq), "compressed-tensors": (".weight_scale", compressed)}[c["quant_method"]]
    for name in f:
        if name.endswith(mark):
            yield name[:-len(mark)], read(f, name[:-len(mark)], c).astype("f4")


def decibels(want, got):
    return 10 * np.log10((want.astype("f8")**2).sum() / max(((want - got).astype("f8")**2).sum(), 1e-300))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("original")
    p.add_argument("quantized")
    p.add_argument("--least", type=float, default=10, help="dB that every layer must have")
    p.add_argument("--folded", action="store_true", help="columns may have factors, as AWQ leaves them")
    p.add_argument("--against", action="store_true", help="the first folder's float weights must be equal to what the second's stand for")
    a = p.parse_args()
    original, found, bad = tensors(a.original), 0, 0
    for name, w in layers(a.quantized):
        v = floats(original[name + ".weight"])
        if a.folded:
            w = w * ((v * w).sum(0) / np.maximum((w * w).sum(0), 1e-30))
        db = decibels(v, w)
        wrong = not np.array_equal(v, w) if a.against else db < a.least
        found, bad = found + 1, bad + wrong
        print(f"{name}: {v.shape[0]}×{v.shape[1]}, {db:.2f} dB{' WRONG' if wrong else ''}")
    print(f"{found} layers, {bad} wrong")
    sys.exit(bad > 0 or found == 0)


main()
