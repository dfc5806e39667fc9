"""Trains the demo's two small networks: ../models/iris.onnx and ../models/spirals.onnx.

iris: scikit-learn's bundled iris measurements (R. A. Fisher, 1936), centred
and scaled inside the graph. spirals: three spiral arms in the plane, made here.
Of both, 20 % are set aside and used once, at the end.

    venv/bin/python internal/demo/train/train_small.py
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch import nn

from export import Builder

MODELS = pathlib.Path(__file__).parent.parent / "models"
SEED = 20


def spirals(n, rng):
    """n points per arm: x, y within -1..1 and the arm's number."""
    points, labels = [], []
    for arm in range(3):
        t = rng.uniform(0.05, 1, n)
        angle = 1.75 * 2 * np.pi * t + arm * 2 * np.pi / 3
        p = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
        points.append(p + rng.normal(0, 0.022, p.shape))
        labels.append(np.full(n, arm))
    return np.concatenate(points), np.concatenate(labels)


def train(layers, x, y, steps):
    net = nn.Sequential(*layers)
    opt = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=1e-3)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    for _ in range(steps):
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        plan.step()
    return net.eval()


def export(name, doc, net, inputs, outputs, classes, mean=None, scale=None):
    b = Builder(name, doc)
    x = inputs[0]
    if mean is not None:
        x = b.node("Sub", [x, b.weight("mean", mean)], "centred")
        x = b.node("Div", [x, b.weight("scale", scale)], "scaled")
    last = len(net) - 1
    for i, layer in enumerate(net):
        if isinstance(layer, nn.Linear):
            x = b.gemm(x, f"fc{i // 2 + 1}", layer)
        else:
            x = b.node({nn.ReLU: "Relu", nn.Tanh: "Tanh"}[type(layer)], [x], f"act{i // 2 + 1}")
    assert isinstance(net[last], nn.Linear)
    b.node("Softmax", [x], outputs, axis=-1)
    return b.save(MODELS / f"{name}.onnx", inputs[0], [inputs[1]], outputs, classes)


@torch.no_grad()
def report(name, size, net, x, y):
    hits = (net(x).argmax(1) == y).float().mean().item()
    print(f"{name}.onnx: {size} bytes, held-out accuracy {hits:.4f} of {len(y)}")


def split(x, y):
    x, xt, y, yt = train_test_split(x.astype(np.float32), y, test_size=0.2, stratify=y, random_state=SEED)
    return torch.as_tensor(x), torch.as_tensor(xt), torch.as_tensor(y), torch.as_tensor(yt)


def main():
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    x, xt, y, yt = split(*load_iris(return_X_y=True))
    mean, scale = x.mean(0), x.std(0)
    net = train([nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)], (x - mean) / scale, y, 300)
    size = export("iris", "Iris species from sepal and petal length and width in cm; see internal/demo/README.md", net,
                  ("measurements", 4), "probabilities", 3, mean.numpy(), scale.numpy())
    report("iris", size, net, (xt - mean) / scale, yt)

    x, xt, y, yt = split(*spirals(1500, np.random.default_rng(SEED)))
    net = train([nn.Linear(2, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3)], 3 * x, y, 1500)
    with torch.no_grad():
        net[0].weight *= 3  # the factor of the line above, moved into the first layer
    size = export("spirals", "Which of three spiral arms a point of the plane belongs to; see internal/demo/README.md", net,
                  ("points", 2), "probabilities", 3)
    report("spirals", size, net, xt, yt)


if __name__ == "__main__":
    main()
