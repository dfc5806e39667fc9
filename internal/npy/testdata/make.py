"""Writes numpy.npz: one array per type, byte order, memory order and version.

Run with NumPy 2: python make.py
"""
import io, zipfile
import numpy as np
from numpy.lib import format as npf

base = np.arange(-3, 21).reshape(2, 3, 4)
members = {}


def add(name, a, version=(1, 0)):
    b = io.BytesIO()
    npf.write_array(b, a, version=version)
    members[name] = b.getvalue()


for t in ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]:
    v = (base % 7).astype(t) if t[0] == "u" else base.astype(t)
    if t[0] == "c":
        v = v + np.array(0.5j, dtype=v.dtype)
    for order in "<>":
        w = v.astype(v.dtype.newbyteorder(order))
        add(f"{t}/{order}/C", w)
        add(f"{t}/{order}/F", np.asfortranarray(w))
add("b1/C", base % 2 == 0)
add("b1/F", np.asfortranarray(base % 2 == 0))
add("v2", base.astype("f4"), (2, 0))
add("v3", base.astype("f4"), (3, 0))
add("scalar", np.float32(1.5))
add("vector", np.arange(5, dtype="i8"))
add("empty", np.zeros((0, 3), "f4"))
text = np.array([["a", "grüß", ""], ["日本", "xyzzy", "𝛼"]])
for order in "<>":
    add(f"U/{order}/C", text.astype(text.dtype.newbyteorder(order)))
    add(f"U/{order}/F", np.asfortranarray(text.astype(text.dtype.newbyteorder(order))))
add("S", np.array([b"ab", b"", b"\xff\x00c"]))
add("refused/object", np.array([None, 1], dtype=object))
add("refused/record", np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]))
add("refused/void", np.zeros(2, dtype="V3"))
add("refused/date", np.zeros(2, dtype="M8[s]"))
add("refused/longdouble", np.zeros(2, dtype="f16"))

with zipfile.ZipFile("numpy.npz", "w", zipfile.ZIP_DEFLATED) as z:
    for i, (k, v) in enumerate(members.items()):
        info = zipfile.ZipInfo(k + ".npy", (1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_STORED if i % 5 == 0 else zipfile.ZIP_DEFLATED
        z.writestr(info, v)
