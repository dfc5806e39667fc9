"""Pen lines for ways of writing that scikit-learn's digits hardly contain.

Its writers cross their sevens and give a one either nothing or a flag; people
elsewhere write a bare 7 and a 1 with a foot. Coordinates are in the 8x8 frame
of the data set, x to the right and y down; each digit is a list of lines.
"""
import numpy as np
import torch

from strokes import FIELD, FRAME

LINES = [
    (1, [[(4, .5), (4, 7.5)]]),
    (1, [[(2.5, 2.3), (4.2, .5), (4.2, 7.5)]]),
    (1, [[(2.6, 1.9), (4, .5), (4, 7.5)], [(2.2, 7.5), (5.9, 7.5)]]),
    (1, [[(3, 1.4), (4.1, .6), (4, 7.4)], [(2.8, 7.4), (5.3, 7.4)]]),
    (7, [[(1.5, .6), (6.5, .6), (3.4, 7.5)]]),
    (7, [[(1.6, .8), (6.3, .5), (5, 3), (4, 5.2), (3.4, 7.5)]]),
    (7, [[(1.5, 1.7), (1.6, .6), (6.4, .6), (3.1, 7.5)]]),
    (7, [[(2, .7), (6, .7), (5.2, 3.5), (5, 7.5)]]),
    (7, [[(1.5, .6), (6.5, .6), (3.4, 7.5)], [(3, 3.9), (6.1, 3.9)]]),
    (4, [[(5.4, 7.5), (5.4, .5), (1.3, 5.2), (6.9, 5.2)]]),
    (4, [[(2.1, .6), (1.9, 4), (6.3, 4)], [(5.3, .9), (5, 7.5)]]),
    (9, [[(6, 2.4), (5, .8), (3.2, .7), (2, 2), (2.3, 3.6), (3.8, 4.1), (5.4, 3.4), (6, 2.2), (6, 7.5)]]),
]


def distance(lines):
    """Distance of every grid point from the lines, in 8x8 pixels."""
    at = (np.arange(FIELD) + .5) * FRAME / FIELD - (FRAME - 8) / 2
    y, x = np.meshgrid(at, at, indexing="ij")
    best = np.full(x.shape, 99.)
    for line in lines:
        for (ax, ay), (bx, by) in zip(line, line[1:]):
            dx, dy = bx - ax, by - ay
            t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
            best = np.minimum(best, np.hypot(x - ax - t * dx, y - ay - t * dy))
    return best


def fields():
    """The templates as grey and distance fields, and their labels."""
    dist = torch.as_tensor(np.stack([distance(lines) for _, lines in LINES]), dtype=torch.float32)[:, None]
    grey = (1.3 - dist).clamp(0, 1)
    return grey, dist, torch.as_tensor([digit for digit, _ in LINES])
