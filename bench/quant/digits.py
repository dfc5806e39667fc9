#!/usr/bin/env python3
"""Does the quantized digit network read what the original reads?

    python3 digits.py --salver PATH/salver

Calibrates internal/demo/models/digits.onnx on 128 of the pictures that it was trained on, and
compares its answers with those of the original, both in `salver run`, on the 360 pictures that
were set aside from training, and on 20 random redrawings of each. Prints agreement and accuracy.

Needs numpy, scikit-learn and torch (see internal/demo/train/requirements.txt).
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "internal/demo/train"))

import train_digits as train  # noqa: E402


def answers(salver, model, pictures, folder):
    np.savez(f"{folder}/in.npz", image=pictures)
    subprocess.run([salver, "run", model, "--input", f"{folder}/in.npz", "--output", folder], check=True, stdout=subprocess.DEVNULL)
    return np.load(f"{folder}/probabilities.npy").argmax(1)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--salver", required=True)
    args.add_argument("--redrawn", type=int, default=20)
    args = args.parse_args()
    data = train.load_digits()
    images, held, labels, held_labels = train.train_test_split(
        data.images, data.target, test_size=0.2, stratify=data.target, random_state=train.SEED)
    grey = train.grey_field(images[:128])
    calibration = train.normalise(train.drawings(grey, train.dist_field(grey), torch.Generator().manual_seed(5))).numpy()
    grey = train.grey_field(held)
    dist = train.dist_field(grey)
    tests = {"set aside": (train.normalise(grey).numpy(), held_labels)}
    drawn = [train.normalise(train.drawings(grey, dist, torch.Generator().manual_seed(i))).numpy() for i in range(args.redrawn)]
    tests["redrawn"] = (np.concatenate(drawn), np.tile(held_labels, args.redrawn))
    model = str(ROOT / "internal/demo/models/digits.onnx")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/calibration.npz", image=calibration)
        print("| calibrator | pictures | agreement | int8 right | float32 right |\n| --- | --- | --- | --- | --- |")
        for calibrator in ("minmax", "percentile", "entropy", "mse"):
            quantized = f"{folder}/{calibrator}.onnx"
            subprocess.run([args.salver, "quantize", model, "-o", quantized, "--data", f"{folder}/calibration.npz", "--calibrator", calibrator],
                           check=True, stdout=subprocess.DEVNULL)
            for name, (pictures, want) in tests.items():
                a, b = answers(args.salver, model, pictures, folder), answers(args.salver, quantized, pictures, folder)
                print(f"| {calibrator} | {len(want)} {name} | {(a == b).mean():.2%} | {(b == want).mean():.2%} | {(a == want).mean():.2%} |", flush=True)
        print(f"\n{os.path.getsize(model)} bytes became {os.path.getsize(quantized)}")


if __name__ == "__main__":
    main()
