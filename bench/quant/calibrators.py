#!/usr/bin/env python3
"""Compares the calibrators of `salver quantize` with those of onnxruntime.quantization.

    python3 calibrators.py --salver PATH/salver --assets DIR [--models NAME,…] [--calibrators NAME,…] [--seeds N]
        [--outliers] [--markdown]

Both see the same samples: crops of the pictures in DIR/inputs, prepared as each model's
meta.json says, 16 to calibrate with and 16 others to measure on. What they write (QDQ, uint8
activations, int8 weights with a scale for each channel) runs in onnxruntime. A figure is the
ratio in dB of an output to what quantization changes in it, over all test samples; the mean of
the model's outputs and of --seeds draws of samples is shown: one draw differs from another by
up to 2 dB. With --outliers one value in a million (one at least) of the calibration samples is
fifty times too large, as a broken sensor or a wrong conversion leaves it.

Needs onnx, onnxruntime, numpy and Pillow.
"""
import argparse
import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime import quantization as q
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

CALIBRATE, TEST = 16, 16


def crops(folder, n, rng, width, height, gray=False):
    """n pieces of pictures, of different sizes and places, as RGB bytes [n,height,width,3]."""
    names = ["astronaut.png", "chelsea.png", "coffee.png", "page.png"]
    pictures = [Image.open(os.path.join(folder, f)).convert("RGB") for f in names]
    out = []
    for i in range(n):
        p = pictures[i % len(pictures)]
        scale = rng.uniform(0.3, 1)
        w, h = int(p.width * scale), int(p.height * scale)
        x, y = rng.integers(0, p.width - w + 1), rng.integers(0, p.height - h + 1)
        p = p.crop((x, y, x + w, y + h)).resize((width, height), Image.BILINEAR)
        out.append(np.asarray(p.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else p))
    return np.stack(out)


def nchw(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype="float32")


def digits(folder, n, rng):
    out = []
    for i in range(n):
        a = np.asarray(Image.open(os.path.join(folder, "mnist", f"{i % 10}.png")).convert("L"), dtype="float32")
        out.append(np.roll(a, rng.integers(-3, 4, 2), (0, 1)) * rng.uniform(0.7, 1))
    return np.stack(out)[:, None]


# What each model's meta.json says of its input.
MODELS = {
    "mnist/mnist.onnx": ("Input3", lambda a, n, r: digits(a, n, r)),
    "squeezenet-v1.1/squeezenet_v1.1.onnx": (None, lambda a, n, r: nchw(crops(a, n, r, 227, 227)[..., ::-1] - np.float32([104, 117, 123]))),
    "fastestdet/fastestdet.onnx": ("input.1", lambda a, n, r: nchw(crops(a, n, r, 352, 352)[..., ::-1] / np.float32(255))),
    "ultraface-rfb320/rfb320.onnx": ("input", lambda a, n, r: nchw((crops(a, n, r, 320, 240) - np.float32(127)) / np.float32(128))),
    "yunet-n-320/yunet_n_320.onnx": ("input", lambda a, n, r: nchw(crops(a, n, r, 320, 320)[..., ::-1])),
    "ppocr-cls/ppocr_cls.onnx": ("x", lambda a, n, r: nchw((crops(a, n, r, 192, 48) / np.float32(255) - np.float32(0.5)) / np.float32(0.5))),
    "magika-v3_3/magika.onnx": ("bytes", None),
}


def data(assets, model, rng):
    """(calibration, test) arrays of a model."""
    make = MODELS[model][1]
    if make is None:
        x = np.load(os.path.join(assets, "models", os.path.dirname(model), "golden_0.npz"))
        x = x[next(k for k in x.files if k.endswith(MODELS[model][0]))]
        x = x[rng.permutation(len(x))]
        return x[:22], x[22:]
    x = make(os.path.join(assets, "inputs"), CALIBRATE + TEST, rng).astype("float32")
    return x[:CALIBRATE], x[CALIBRATE:]


def spoil(x, rng):
    """One value in a million becomes fifty times too large."""
    x = x.copy()
    n = max(1, x.size // 1000000)
    x.reshape(-1)[rng.choice(x.size, n, replace=False)] = np.abs(x).max() * 50 * rng.choice([-1, 1], n)
    return x


class Reader(q.CalibrationDataReader):
    def __init__(self, name, x):
        self.feeds = iter([{name: x[i:i + 1]} for i in range(len(x))])

    def get_next(self):
        return next(self.feeds, None)


PEER = {
    "minmax": q.CalibrationMethod.MinMax,
    "percentile": q.CalibrationMethod.Percentile,
    "entropy": q.CalibrationMethod.Entropy,
}


def session(path):
    o = ort.SessionOptions()
    o.log_severity_level = 3
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])


def run(path, name, x):
    s = session(path)
    rows = [s.run(None, {name: x[i:i + 1]}) for i in range(len(x))]
    return [np.stack([r[k] for r in rows]).astype("f8") for k in range(len(rows[0]))]


def sqnr(want, got):
    return [10 * np.log10((w ** 2).sum() / max(((w - g) ** 2).sum(), 1e-30)) for w, g in zip(want, got)]


def ours(a, model, samples, out, calibrator):
    t = time.time()
    r = subprocess.run([a.salver, "quantize", model, "-o", out, "--data", samples, "--calibrator", calibrator] + a.flag, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"salver quantize {model} --calibrator {calibrator}: {r.stderr}")
    return time.time() - t


def theirs(prepared, name, x, out, calibrator):
    t = time.time()
    for option in ({}, {"QDQDisableWeightAdjustForInt32Bias": True}):  # the adjustment fails with some biases
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                q.quantize_static(prepared, out, Reader(name, x), quant_format=q.QuantFormat.QDQ, per_channel=True, activation_type=q.QuantType.QUInt8,
                                  weight_type=q.QuantType.QInt8, calibrate_method=PEER[calibrator], extra_options=option)
            break
        except ValueError:
            if option:
                raise
    return time.time() - t


def compare(a, model, d, rng):
    path = os.path.join(a.assets, "models", model)
    calibration, test = data(a.assets, model, rng)
    if a.outliers:
        if calibration.dtype != np.float32:
            return []
        calibration = spoil(calibration, rng)
    name = MODELS[model][0] or session(path).get_inputs()[0].name
    np.savez(d + "/samples.npz", **{name: calibration})
    prepared = d + "/prepared.onnx"
    proto = onnx.load(path)
    if next(i.version for i in proto.opset_import if i.domain in ("", "ai.onnx")) < 13:  # scales for each channel
        proto = onnx.version_converter.convert_version(proto, 13)
    onnx.save(proto, d + "/raised.onnx")
    try:
        quant_pre_process(d + "/raised.onnx", prepared)
    except Exception:  # its own inference of symbolic shapes cannot read every model
        quant_pre_process(d + "/raised.onnx", prepared, skip_symbolic_shape=True)
    want = run(path, name, test)
    rows = []
    for calibrator in a.calibrators.split(","):
        out = d + "/out.onnx"
        seconds = ours(a, path, d + "/samples.npz", out, calibrator)
        row = {"model": os.path.dirname(model), "calibrator": calibrator, "ours": np.mean(sqnr(want, run(out, name, test))), "ours_s": seconds,
               "ours_bytes": os.path.getsize(out)}
        if calibrator in PEER:
            row["peer_s"] = theirs(prepared, name, calibration, out, calibrator)
            row["peer"] = np.mean(sqnr(want, run(out, name, test)))
            row["peer_bytes"] = os.path.getsize(out)
        rows.append(row)
    return rows


def show(a, r):
    peer = [f"{r['peer']:.2f}", f"{r['ours'] - r['peer']:+.2f}", f"{r['peer_s']:.1f}", f"{r['peer_bytes'] / 1e3:.0f}"] if "peer" in r else ["–"] * 4
    cells = [r["model"], r["calibrator"], f"{r['ours']:.2f}", peer[0], peer[1], f"{r['ours_s']:.1f}", peer[2], f"{r['ours_bytes'] / 1e3:.0f}", peer[3]]
    print("| " + " | ".join(cells) + " |" if a.markdown else "".join(c.ljust(18 if i == 0 else 11) for i, c in enumerate(cells)), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--salver", required=True)
    p.add_argument("--assets", required=True)
    p.add_argument("--models", default="", help="parts of names, by commas")
    p.add_argument("--calibrators", default="minmax,percentile,entropy,mse")
    p.add_argument("--outliers", action="store_true")
    p.add_argument("--markdown", action="store_true")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--flag", action="append", default=[], help="a further flag of salver quantize")
    a = p.parse_args()
    a.salver, a.assets = os.path.abspath(a.salver), os.path.abspath(a.assets)
    logging.disable(logging.WARNING)
    ort.set_default_logger_severity(3)
    head = ["model", "calibrator", "salver dB", "ORT dB", "difference", "salver s", "ORT s", "salver kB", "ORT kB"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head) if a.markdown else "".join(c.ljust(18 if i == 0 else 11) for i, c in enumerate(head)))
    worst = float("inf")
    for model in MODELS:
        if any(m in model for m in a.models.split(",")):
            draws = []
            for seed in range(1, a.seeds + 1):
                with tempfile.TemporaryDirectory() as d, contextlib.chdir(d):  # onnxruntime leaves files where it runs
                    draws.append(compare(a, model, d, np.random.default_rng(seed)))
            for rows in zip(*draws):
                mean = {k: v if isinstance(v, str) else np.mean([r[k] for r in rows]) for k, v in rows[0].items()}
                show(a, mean)
                worst = min(worst, mean["ours"] - mean.get("peer", -np.inf))
    print(f"smallest difference {worst:+.2f} dB", file=sys.stderr)


if __name__ == "__main__":
    main()
