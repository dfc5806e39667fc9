"""Turns 8x8 grey digits into drawings: fields that can be warped and inked.

Two fields per digit, on a FIELD x FIELD grid over a 12x12 frame around it:
- grey: a bicubic enlargement, 0..1; thresholding it gives a marker's stroke;
- dist: the distance in 8x8 pixels from the stroke's middle line (its
  skeleton); ink wherever that is below a radius gives a pen of any width.
"""
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

FRAME = 12          # 8x8 pixels and two around them
FIELD = 96          # grid of the fields: 8 points per pixel
SIZE = 28           # the network's input
BODY = 20           # the longer side of a digit in it


def grey_field(images):
    x = torch.as_tensor(images, dtype=torch.float32)[:, None] / 16
    x = F.pad(x, [2, 2, 2, 2])
    return F.interpolate(x, size=(FIELD, FIELD), mode="bicubic", align_corners=False).clamp(0, 1)


def thin(b):
    """Zhang and Suen's thinning (CACM 27(3), 1984) of a batch of bitmaps."""
    b = np.pad(b.astype(np.uint8), ((0, 0), (1, 1), (1, 1)))
    while True:
        changed = False
        for step in (0, 1):
            p = [np.roll(b, s, axis=(1, 2)) for s in
                 ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))]
            n = sum(q.astype(int) for q in p)
            crossings = sum((p[i] == 0) & (p[(i + 1) % 8] == 1) for i in range(8))
            up, right, down, left = p[0], p[2], p[4], p[6]
            if step == 0:
                corner = (up * right * down == 0) & (right * down * left == 0)
            else:
                corner = (up * right * left == 0) & (up * down * left == 0)
            drop = (b == 1) & (n >= 2) & (n <= 6) & (crossings == 1) & corner
            if drop.any():
                b[drop] = 0
                changed = True
        if not changed:
            return b[:, 1:-1, 1:-1]


def dist_field(grey):
    half = F.interpolate(grey, size=(FIELD // 2, FIELD // 2), mode="area")
    # Against the mean around, so that the small holes of 6, 8 and 9 stay open.
    around = F.avg_pool2d(half, 13, 1, 6)
    lines = thin((half > 0.25 + 0.55 * around)[:, 0].numpy())
    d = np.stack([distance_transform_edt(line == 0) if line.any() else np.full(line.shape, 99.) for line in lines])
    d = torch.as_tensor(d, dtype=torch.float32)[:, None] * (FRAME / (FIELD // 2))
    return F.interpolate(d, size=(FIELD, FIELD), mode="bilinear", align_corners=False)


def uniform(n, lo, hi, g):
    return torch.rand(n, generator=g) * (hi - lo) + lo


def warp_grid(n, size, g):
    """Random rotation, shear, stretch and a smooth elastic bend."""
    a = uniform(n, -0.35, 0.35, g)
    sx, sy = torch.exp(uniform(n, -0.3, 0.22, g)), torch.exp(uniform(n, -0.2, 0.2, g))
    sh = uniform(n, -0.3, 0.3, g)
    rot = torch.stack([torch.stack([a.cos(), -a.sin()], 1), torch.stack([a.sin(), a.cos()], 1)], 1)
    shear = torch.stack([torch.stack([1 / sx, sh], 1), torch.stack([torch.zeros(n), 1 / sy], 1)], 1)
    theta = torch.cat([rot @ shear, torch.zeros(n, 2, 1)], 2)
    grid = F.affine_grid(theta, [n, 1, size, size], align_corners=False)
    bend = torch.randn(n, 2, 4, 4, generator=g) * uniform(n, 0.01, 0.07, g)[:, None, None, None]
    bend = F.interpolate(bend, size=(size, size), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)


def drawings(grey, dist, g):
    """One random drawing per digit, not yet normalised: n x 1 x 72 x 72."""
    n, size = len(grey), 72
    grid = warp_grid(n, size, g)
    a = F.grid_sample(grey, grid, align_corners=False)
    d = F.grid_sample(dist, grid, padding_mode="border", align_corners=False)
    column = lambda v: v[:, None, None, None]
    marker = torch.sigmoid((a - column(uniform(n, 0.25, 0.6, g))) * column(uniform(n, 14, 40, g)))
    pen = torch.sigmoid((column(uniform(n, 0.22, 0.95, g)) - d) * column(uniform(n, 6, 30, g)))
    kind = column(torch.rand(n, generator=g))
    return torch.where(kind < 0.15, a, torch.where(kind < 0.4, marker, pen))


def normalise(ink, jitter=None):
    """What every client does before it asks: the ink's box is scaled so that
    its longer side is BODY pixels, and its centre of mass goes to the middle
    of a SIZE x SIZE image. jitter = (shift in pixels n x 2, scale n)."""
    n, _, h, w = ink.shape
    on = ink[:, 0] > 0.2 * ink.amax((1, 2, 3))[:, None, None]
    span = lambda v: ((v.float() * torch.arange(v.shape[1])).amax(1) -
                      v.float().argmax(1) + 1)
    side = torch.maximum(span(on.any(1)), span(on.any(2)))
    mass = ink.sum((1, 2, 3))
    cx = (ink[:, 0].sum(1) * (torch.arange(w) + 0.5)).sum(1) / mass
    cy = (ink[:, 0].sum(2) * (torch.arange(h) + 0.5)).sum(1) / mass
    step = side / BODY                     # source pixels per target pixel
    if jitter is not None:
        shift, scale = jitter
        step = step * scale
        cx, cy = cx + shift[:, 0] * step, cy + shift[:, 1] * step
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = step * SIZE / w, step * SIZE / h
    theta[:, 0, 2], theta[:, 1, 2] = 2 * cx / w - 1, 2 * cy / h - 1
    over = 3                               # samples per target pixel and axis
    grid = F.affine_grid(theta, [n, 1, SIZE * over, SIZE * over], align_corners=False)
    return F.avg_pool2d(F.grid_sample(ink, grid, align_corners=False), over)
