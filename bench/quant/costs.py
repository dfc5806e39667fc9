#!/usr/bin/env python3
"""Measures by how much 8-bit integers make each kind of layer faster, by instruction set.

    python3 costs.py --salver PATH/salver [--seconds S] [--rounds N]

Each row is a chain of four equal layers, so that what it costs to quantize the input and
dequantize the output hardly counts, as in a network. `salver quantize` makes the 8-bit form with
random data, and `salver bench` times both in turns at the levels avx2 and avx512 (with VNNI where
the CPU has it), on one thread. Shown is the time of float32 over that of integers: the best of
all rounds of each. internal/quant/guard/costs.go holds the result.

Needs onnx and numpy.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def chain(kind, channels, size, kernel=3, groups=1, layers=4, rows=1):
    """A model of equal layers with Relu between them, and the shape of its input."""
    r = np.random.default_rng(1)
    nodes, consts, x = [], [], "x"
    shape = [1, channels, size, size] if kind == "Conv" else [rows, channels]
    for i in range(layers):
        w = [channels, channels // groups, kernel, kernel] if kind == "Conv" else [channels, channels]
        a = r.normal(0, (2 / np.prod(w[1:])) ** .5, w).astype(np.float32)
        consts += [numpy_helper.from_array(a, f"w{i}"), numpy_helper.from_array(np.zeros(channels, np.float32), f"b{i}")]
        attrs = {"pads": [kernel // 2] * 4, "group": groups} if kind == "Conv" else {}
        nodes += [helper.make_node(kind, [x, f"w{i}", f"b{i}"], [f"y{i}"], name=f"n{i}", **attrs), helper.make_node("Relu", [f"y{i}"], [f"r{i}"])]
        x = f"r{i}"
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                          [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)], consts)
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), shape


CASES = [("dense", f"{k}x{k}, {c} channels, {s}x{s}", ("Conv", c, s, k)) for k, c, s in [(3, 16, 56), (3, 64, 56), (3, 128, 28), (3, 256, 14), (1, 32, 56), (1, 64, 56), (1, 256, 28), (1, 512, 7)]]
CASES += [("depthwise", f"{k}x{k}, {c} channels, {s}x{s}", ("Conv", c, s, k, c)) for k, c, s in [(3, 32, 112), (3, 144, 28), (3, 384, 14), (5, 240, 14), (3, 960, 7)]]
CASES += [("grouped", f"3x3, {c} channels in groups of {c // g}, {s}x{s}", ("Conv", c, s, 3, g)) for c, g, s in [(64, 8, 28), (128, 32, 28), (256, 4, 14)]]
CASES += [("product", f"{m} rows of {c}", ("Gemm", c, 0, 0, 1, 4, m)) for m, c in [(1, 256), (1, 1024), (8, 512), (32, 512), (128, 768)]]


def bench(salver, model, level, seconds):
    env = dict(os.environ, SALVER_ISA=level)
    out = subprocess.run([salver, "bench", model, "--threads", "1", "--seconds", str(seconds), "--json"], env=env, capture_output=True, text=True, check=True).stdout
    return json.loads(out)["min_ms"]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--salver", required=True)
    args.add_argument("--seconds", type=float, default=.15)
    args.add_argument("--rounds", type=int, default=3)
    args = args.parse_args()
    print("| kind | layer | avx2 | vnni |\n| --- | --- | ---: | ---: |")
    for kind, name, spec in CASES:
        with tempfile.TemporaryDirectory() as folder:
            f32, i8, data = (os.path.join(folder, n) for n in ["f.onnx", "q.onnx", "d.npz"])
            model, shape = chain(*spec)
            onnx.save(model, f32)
            np.savez(data, x=np.random.default_rng(2).normal(size=[4 * shape[0]] + shape[1:]).astype(np.float32))
            subprocess.run([args.salver, "quantize", f32, "-o", i8, "--data", data], check=True, capture_output=True)
            gains = []
            for level in ["avx2", "avx512"]:
                best = {f32: 1e9, i8: 1e9}
                for _ in range(args.rounds):
                    for m in best:
                        best[m] = min(best[m], bench(args.salver, m, level, args.seconds))
                gains.append(best[f32] / best[i8])
            print(f"| {kind} | {name} | " + " | ".join(f"{g:.2f}" for g in gains) + " |", flush=True)


if __name__ == "__main__":
    main()
