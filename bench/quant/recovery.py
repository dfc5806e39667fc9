#!/usr/bin/env python3
"""Measures what the steps of `salver quantize` that win accuracy back bring.

    python3 recovery.py --salver PATH/salver MODEL.onnx:CALIBRATION.npz:TEST.npz …

Each model is quantized to int8 with one set of flags after the other, and compared with the
original on other samples by `salver compare`. Figures are the SQNR of the outputs in dB, the
mean over them, and the time to quantize. Prints a Markdown table.
Needs nothing but Python.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

STEPS = [("as it is", []), ("--equalize", ["--equalize"]), ("--bias-correction", ["--bias-correction"]), ("--smoothquant", ["--smoothquant"]),
         ("--adaround", ["--adaround"]), ("smoothquant, adaround, bias", ["--smoothquant", "--adaround", "--bias-correction"]),
         ("--per-tensor", ["--per-tensor"]), ("--per-tensor --equalize", ["--per-tensor", "--equalize"]),
         ("--per-tensor --equalize --bias-correction", ["--per-tensor", "--equalize", "--bias-correction"])]


def measure(salver, model, data, test, flags):
    if "--bias-correction" not in flags:
        flags = flags + ["--bias-correction=false"]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.onnx")
        begin = time.time()
        made = subprocess.run([salver, "quantize", model, "-o", out, "--data", data] + flags, capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(made.stderr)
        seconds = time.time() - begin
        text = subprocess.run([salver, "compare", model, out, "--data", test, "--layers", "0", "--runs", "0", "--json"], capture_output=True, text=True, check=True).stdout
    got = json.loads(text)
    return sum(o["sqnr_db"] for o in got["outputs"]) / len(got["outputs"]), seconds


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--salver", required=True)
    args.add_argument("models", nargs="+")
    args = args.parse_args()
    names, rows = [], [[] for _ in STEPS]
    for spec in args.models:
        model, data, test = spec.split(":")
        names.append(os.path.splitext(os.path.basename(model))[0])
        for row, (_, flags) in zip(rows, STEPS):
            db, seconds = measure(args.salver, model, data, test, flags)
            row.append(f"{db:.2f} ({seconds:.0f} s)")
    print("| flags | " + " | ".join(names) + " |\n| --- |" + " ---: |" * len(names))
    for (name, _), row in zip(STEPS, rows):
        print(f"| {name} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
