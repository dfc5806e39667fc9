"""Trains the demo's handwritten-digit network and writes ../models/digits.onnx.

Data: scikit-learn's bundled digits (1,797 grey 8x8 images of 43 writers from the
UCI Optical Recognition of Handwritten Digits set, CC BY 4.0), of which 20 % are
set aside, stratified, before anything else and scored at the end; and a
dozen pen lines of our own (templates.py).

    python -m venv venv && venv/bin/pip install torch scikit-learn onnx onnxruntime
    venv/bin/python internal/demo/train/train_digits.py
"""
import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import templates
from export import Builder
from strokes import SIZE, dist_field, drawings, grey_field, normalise, uniform

HERE = pathlib.Path(__file__).parent
SEED = 20


class Net(nn.Module):
    """About 140,000 multiply-adds: small enough that the server, not the
    network, is what a load test measures. Windows fit without padding, and
    channels come in vectors of 16."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 7, 3, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 4, 2, bias=False), nn.BatchNorm2d(32)
        self.fc1, self.fc2 = nn.Linear(32 * 3 * 3, 48), nn.Linear(48, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.dropout(x.flatten(1), 0.2, self.training)
        return self.fc2(F.relu(self.fc1(x)))


def export(net, path):
    b = Builder("digits", "Handwritten digits, 28x28, ink 1 on ground 0; see internal/demo/README.md")
    x = "image"
    for i, stride in enumerate([3, 2], 1):
        x = b.conv(x, f"conv{i}", getattr(net, f"conv{i}"), stride)
        x = b.batchnorm(x, f"bn{i}", getattr(net, f"bn{i}"))
        x = b.node("Relu", [x], f"relu{i}")
    x = b.node("Flatten", [x], "flat", axis=1)
    x = b.node("Relu", [b.gemm(x, "fc1", net.fc1)], "relu3")
    b.node("Softmax", [b.gemm(x, "fc2", net.fc2)], "probabilities", axis=-1)
    return b.save(path, "image", [1, SIZE, SIZE], "probabilities", 10)


def batch(fields, size, g):
    grey, dist, labels = fields
    pick = torch.randint(len(labels), (size,), generator=g)
    return drawings(grey[pick], dist[pick], g), labels[pick]


def train(digits, pens, steps, g):
    net = Net()
    mean = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True)
    opt = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    plan = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=steps)
    for step in range(steps):
        ink, labels = (torch.cat(pair) for pair in zip(batch(digits, 236, g), batch(pens, 20, g)))
        jitter = (uniform((256, 2), -1.5, 1.5, g), uniform(256, 0.88, 1.14, g))
        x = normalise(ink, jitter)
        x = x * uniform(256, 0.7, 1.1, g)[:, None, None, None]
        loss = F.cross_entropy(net(x.clamp(0, 1)), labels, label_smoothing=0.05)
        opt.zero_grad()
        loss.backward()
        opt.step()
        plan.step()
        mean.update_parameters(net)
        if step % 500 == 499:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)
    return mean.module.eval()


@torch.no_grad()
def accuracy(net, x, labels):
    return (net(x).argmax(1) == labels).float().mean().item()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--steps", type=int, default=4000)
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--out", type=pathlib.Path, default=HERE.parent / "models" / "digits.onnx")
    args = args.parse_args()
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(args.threads)
    g = torch.Generator().manual_seed(SEED)

    data = load_digits()
    images, test_images, labels, test_labels = train_test_split(
        data.images, data.target, test_size=0.2, stratify=data.target, random_state=SEED)
    labels, test_labels = torch.as_tensor(labels), torch.as_tensor(test_labels)
    grey = grey_field(images)
    net = train((grey, dist_field(grey), labels), templates.fields(), args.steps, g)

    size = export(net, args.out)
    test_grey = grey_field(test_images)
    plain = normalise(test_grey)
    redrawn = normalise(drawings(test_grey, dist_field(test_grey), torch.Generator().manual_seed(1)))
    print(f"{args.out}: {size} bytes")
    print(f"held-out accuracy: {accuracy(net, plain, test_labels):.4f} of {len(test_labels)} images")
    print(f"the same images redrawn with random strokes: {accuracy(net, redrawn, test_labels):.4f}")

    import onnxruntime
    session = onnxruntime.InferenceSession(args.out, providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": plain.numpy()})[0]
    with torch.no_grad():
        print(f"largest difference from the file in ONNX Runtime: {np.abs(got - net(plain).softmax(1).numpy()).max():.2e}")


if __name__ == "__main__":
    main()
