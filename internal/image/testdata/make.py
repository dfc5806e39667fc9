"""Writes pillow.txt: checksums of what Pillow 13 makes of generated pictures.

Run with Pillow and NumPy: python make.py
A line is SOURCE FILTER SIZE CRC-32; SOURCE is WxHxC, made by noise(), and
FILTER is one of Image.resize's or "gray" (convert("L")).
"""
import zlib

import numpy as np
from PIL import Image

FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


def noise(h, w, c, seed):
    """A picture made of integers alone, which the test can make again."""
    i = np.arange(h * w * c, dtype=np.uint64)
    v = (i * np.uint64(2654435761) + np.uint64(seed)) & np.uint64(0xFFFFFFFF)
    v = ((v ^ (v >> np.uint64(15))) * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    v = ((v >> np.uint64(24)) & np.uint64(255)).astype(np.uint8)
    return v.reshape(h, w, c) if c > 1 else v.reshape(h, w)


sources = [(8, 6, 3), (37, 53, 3), (200, 91, 1), (1, 1, 3), (640, 3, 3), (64, 300, 3)]
sizes = [(1, 1), (3, 5), (8, 6), (16, 12), (37, 20), (64, 64), (127, 33), (224, 224)]
with open("pillow.txt", "w") as out:
    for w, h, c in sources:
        im = Image.fromarray(noise(h, w, c, 7))
        name = f"{w}x{h}x{c}"
        if c == 3:
            print(name, "gray", f"{w}x{h}", zlib.crc32(im.convert("L").tobytes()), file=out)
        for f, filter_name in enumerate(FILTERS):
            for s in sizes:
                print(name, filter_name, f"{s[0]}x{s[1]}", zlib.crc32(im.resize(s, resample=f).tobytes()), file=out)

# Small pictures and, beside each, the pixels that Pillow decodes.
import pathlib  # noqa: E402

from PIL import ImageFilter  # noqa: E402

smooth = Image.fromarray(noise(18, 25, 3, 3)).resize((50, 36), 3).filter(ImageFilter.GaussianBlur(2)).crop((5, 5, 30, 24))
turned = Image.Exif()
turned[0x0112] = 6
files = {
    "420.jpg": (smooth, dict(quality=90, subsampling=2, exif=turned)),
    "422.jpg": (smooth, dict(quality=90, subsampling=1)),
    "444.jpg": (smooth, dict(quality=90, subsampling=0, progressive=True)),
    "cmyk.jpg": (smooth.convert("CMYK"), dict(quality=90)),
    "lossy.webp": (smooth, dict(quality=80, exif=turned)),
    "palette.png": (smooth.quantize(16), dict(exif=turned)),
    "alpha.png": (smooth.convert("RGBA"), {}),
    "frame.gif": (smooth, {}),
    "plain.bmp": (smooth, {}),
}
for name, (im, options) in files.items():
    im.save(name, **options)
    back = Image.open(name)
    o = back.getexif().get(0x0112, 1)
    back = back.convert("RGB")
    if o == 6:
        back = back.transpose(Image.Transpose.ROTATE_270)
    np.save(name + ".npy", np.asarray(back))
