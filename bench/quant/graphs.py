#!/usr/bin/env python3
"""Do the graphs that `salver quantize` writes load in ONNX Runtime, and give what salver gives?

    python3 graphs.py --salver PATH/salver MODEL.onnx[:SAMPLES.npz] …

Each model is quantized in every form: static (QDQ, QOperator with and without operators of
com.microsoft, int16 activations), dynamic, dynamic per row, and 16-bit floats. ONNX Runtime loads
each file, the answers of both runtimes on one sample are compared with the original's (SQNR of
the worst output in dB) and with each other (the largest difference, relative to the largest
number), and the time of ONNX Runtime and salver is taken on one thread, the best of runs in turns.
Samples are normal numbers unless a file has others. Prints a Markdown table.

Needs numpy, onnx and onnxruntime.
"""
import argparse
import collections
import json
import os
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort

ort.set_default_logger_severity(4)
FORMS = [("qdq", []), ("qoperator", ["--format", "qoperator"]), ("contrib", ["--format", "qoperator", "--contrib"]), ("int16", ["--to", "int16"]),
         ("dynamic", ["--method", "dynamic"]), ("per row", ["--method", "dynamic", "--per-row"]), ("fp16", ["--to", "fp16"]), ("bf16", ["--to", "bf16"])]


def session(path, optimized=None):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    if optimized:
        o.optimized_model_filepath = optimized
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def samples(s, n=8, seed=1):
    """Inputs by name, samples along the first axis; unknown sizes are 1, then 64 for indices and 224."""
    rng, out = np.random.default_rng(seed), {}
    for i in s.get_inputs():
        floats = "float" in i.type
        shape = [d if isinstance(d, int) else (1 if k == 0 else 224 if floats else 64) for k, d in enumerate(i.shape)]
        if shape and shape[0] == 1:
            shape[0] = n
        if floats:
            out[i.name] = rng.standard_normal(shape).astype("f4")
        else:
            one = "mask" in i.name
            out[i.name] = (np.ones(shape) if one else rng.integers(0, 2 if "type" in i.name else 100, shape)).astype("i8" if "64" in i.type else "i4")
    return out


def sqnr(want, got):
    def one(w, g):
        w = w.astype("f8")
        return 10 * np.log10((w ** 2).sum() / (((w - g) ** 2).sum() + 1e-30))
    return min(one(w, g) for w, g in zip(want, got) if w.dtype.kind == "f")


def difference(a, b):
    return max(np.abs(x.astype("f8") - y).max() / (np.abs(x).max() + 1e-30) for x, y in zip(a, b) if x.dtype.kind == "f")


def best(run, n=10):
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times)


def bench(salver, path, feed):
    shapes = [x for k, v in feed.items() for x in ("--shape", f"{k}=" + "x".join(map(str, v.shape)))]
    out = subprocess.run([salver, "bench", path, "--threads", "1", "--seconds", "1", "--json"] + shapes, capture_output=True, text=True)
    return json.loads(out.stdout)["median_ms"] if out.returncode == 0 else float("nan")


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--salver", required=True)
    args.add_argument("--forms", default=",".join(f for f, _ in FORMS))
    args.add_argument("models", nargs="+")
    args = args.parse_args()
    print("| model | form | size | smaller | SQNR, ONNX Runtime | SQNR, salver | difference | ONNX Runtime, ms (before) | salver, ms (before) | integer operators |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for argument in args.models:
        path, _, data = argument.partition(":")
        original = session(path)
        inputs = dict(np.load(data)) if data else samples(original)
        feed = {i.name: inputs[i.name][:1] if not i.shape or not isinstance(i.shape[0], int) or i.shape[0] == 1 else inputs[i.name] for i in original.get_inputs()}
        want = original.run(None, feed)
        before = best(lambda: original.run(None, feed)), bench(args.salver, path, feed)
        for name, flags in FORMS:
            if name not in args.forms.split(","):
                continue
            with tempfile.TemporaryDirectory() as folder:
                out, in_file = f"{folder}/out.onnx", f"{folder}/in.npz"
                np.savez(f"{folder}/data.npz", **inputs)
                np.savez(in_file, **feed)
                made = subprocess.run([args.salver, "quantize", path, "-o", out, *flags] + ([] if "dynamic" in flags or name in ("fp16", "bf16") else ["--data", f"{folder}/data.npz"]),
                                      capture_output=True, text=True)
                label = f"| {os.path.basename(path)} | {name} |"
                if made.returncode:
                    print(label, made.stderr.strip(), flush=True)
                    continue
                s = session(out, f"{folder}/optimized.onnx")
                theirs = s.run(None, feed)
                ran = subprocess.run([args.salver, "run", out, "--input", in_file, "--output", folder], capture_output=True, text=True)
                if ran.returncode:
                    print(label, ran.stderr.strip(), flush=True)
                    continue
                ours = [np.load(f"{folder}/{o.name.replace('/', '_')}.npy") for o in s.get_outputs()]
                ops = collections.Counter(n.op_type for n in onnx.load(f"{folder}/optimized.onnx").graph.node)
                integers = sum(n for op, n in ops.items() if op.startswith("QLinear") or op in ("QGemm", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"))
                size = os.path.getsize(out)
                print(label, f"{size / 1e6:.2f} MB | {os.path.getsize(path) / size:.2f} | {sqnr(want, theirs):.1f} | {sqnr(want, ours):.1f} | {difference(theirs, ours):.1e} "
                      f"| {best(lambda: s.run(None, feed)):.2f} ({before[0]:.2f}) | {bench(args.salver, out, feed):.2f} ({before[1]:.2f}) | {integers} |", flush=True)


if __name__ == "__main__":
    main()
