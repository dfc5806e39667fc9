#!/usr/bin/env python3
"""What do few-bit weights cost in accuracy, and do the files load in ONNX Runtime?

    python3 weights.py --salver PATH/salver MODEL.onnx CALIBRATION.npz HELD_OUT.npz

The model is quantized by `salver quantize` in every weight-only form and by
onnxruntime.quantization's MatMulNBitsQuantizer (its default, HQQ, and GPTQ where it runs). ONNX
Runtime loads each file; its answers on HELD_OUT, which calibration has not seen, are compared with
the original's (SQNR of the worst output in dB), and salver's answers with ONNX Runtime's on the same
file (the largest difference, relative to the largest number). The time of both runtimes is taken
on one thread, the best of runs. Prints a Markdown table.

Needs numpy, onnx and onnxruntime; graphs.py beside it.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx

from graphs import bench, best, difference, session, sqnr

FORMS = [("4 bits", "weight-only", []), ("4 bits, range", "weight-only", ["--min-max"]), ("4 bits, symmetric", "weight-only", ["--symmetric"]), ("4 bits, g128", "weight-only", ["--group", "128"]),
         ("4 bits, float activations", "weight-only", ["--accuracy-level", "0"]), ("4 bits, portable", "weight-only", ["--portable"]), ("8 bits", "weight-only", ["--bits", "8", "--symmetric"]), ("nf4, g64", "weight-only", ["--kind", "nf4", "--group", "64"]),
         ("fp8-e4m3", "weight-only", ["--kind", "fp8-e4m3"]), ("HQQ", "hqq", []), ("AWQ", "awq", []), ("AWQ, g128", "awq", ["--group", "128"]), ("GPTQ", "gptq", []),
         ("GPTQ, g128", "gptq", ["--group", "128"]), ("GPTQ, sequential", "gptq", ["--sequential"]), ("GPTQ, act-order", "gptq", ["--act-order"]),
         ("4 bits, embeddings", "weight-only", ["--embeddings"]), ("GPTQ, embeddings", "gptq", ["--embeddings"])]


def theirs(path, out, kind):
    from onnxruntime.quantization import matmul_nbits_quantizer as q
    c = {"default": None, "hqq": q.HQQWeightOnlyQuantConfig(block_size=32)}[kind]
    m = q.MatMulNBitsQuantizer(onnx.load(path), block_size=32, is_symmetric=False, accuracy_level=4, algo_config=c)
    m.process()
    m.model.save_model_to_file(out)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--salver", required=True)
    args.add_argument("--rows", type=int, default=8, help="samples of HELD_OUT that are compared")
    args.add_argument("model")
    args.add_argument("calibration")
    args.add_argument("held_out")
    a = args.parse_args()
    original = session(a.model)
    feed = {i.name: np.load(a.held_out)[i.name][:a.rows] for i in original.get_inputs()}
    want = original.run(None, feed)
    one = {k: v[:1] for k, v in feed.items()}
    print(f"float32: {os.path.getsize(a.model) / 1e6:.1f} MB, ONNX Runtime {best(lambda: original.run(None, one), 5):.1f} ms, salver {bench(a.salver, a.model, one):.1f} ms for one sample\n")
    print("| form | made in, s | size, MB | SQNR | ONNX Runtime, ms | salver, ms | salver against ONNX Runtime |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    jobs = [(name, [a.salver, "quantize", a.model, "--method", method, *flags] + (["--data", a.calibration] if method in ("gptq", "awq") else [])) for name, method, flags in FORMS]
    jobs += [(f"onnxruntime.quantization, {k}", k) for k in ("default", "hqq")]
    for name, how in jobs:
        with tempfile.TemporaryDirectory() as folder:
            out, begin = f"{folder}/out.onnx", time.perf_counter()
            if isinstance(how, str):
                try:
                    theirs(a.model, out, how)
                except Exception as e:
                    print(f"| {name} | {type(e).__name__}: {str(e)[:80]} |", flush=True)
                    continue
            else:
                made = subprocess.run(how + ["-o", out], capture_output=True, text=True)
                if made.returncode:
                    print(f"| {name} | {made.stderr.strip()} |", flush=True)
                    continue
            took = time.perf_counter() - begin
            s = session(out)
            got = s.run(None, feed)
            np.savez(f"{folder}/in.npz", **feed)
            ran = subprocess.run([a.salver, "run", out, "--input", f"{folder}/in.npz", "--output", folder], capture_output=True, text=True)
            ours = [np.load(f"{folder}/{o.name.replace('/', '_')}.npy") for o in s.get_outputs()] if ran.returncode == 0 else None
            apart = f"{difference(got, ours):.1e}" if ours else ran.stderr.strip()
            print(f"| {name} | {took:.1f} | {os.path.getsize(out) / 1e6:.1f} | {sqnr(want, got):.1f} | {best(lambda: s.run(None, one), 5):.1f} | {bench(a.salver, out, one):.1f} | {apart} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
