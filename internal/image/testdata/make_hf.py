"""Writes huggingface.json: what transformers' processors make of a picture.

Run with transformers, Pillow and NumPy: python make_hf.py
Each case holds a preprocessor_config.json, the result's shape and 64 values
spread over it. The picture is noise(151, 200, 3, 7) of make.py.
"""
import json

import numpy as np
import transformers
from PIL import Image

CLASSES = {"ViT": "vit", "DeiT": "deit", "Beit": "beit", "CLIP": "clip", "ConvNext": "convnext", "MobileNetV1": "mobilenet_v1",
           "MobileNetV2": "mobilenet_v2", "Segformer": "segformer", "Siglip": "siglip", "Blip": "blip", "Bit": "bit", "Pvt": "pvt"}
OPTIONS = {
    "ViT": [{}, {"size": 96, "resample": 3}, {"do_normalize": False}, {"do_rescale": False, "size": {"height": 40, "width": 60}}],
    "CLIP": [{}, {"size": 96, "crop_size": 64}, {"do_center_crop": False, "resample": 1}],
    "ConvNext": [{}, {"size": {"shortest_edge": 224}}, {"size": 64, "crop_pct": 0.875}],
    "DeiT": [{}, {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_reduce_labels": False}],
    "Segformer": [{"do_reduce_labels": True, "size": {"height": 128, "width": 128}}],
}


def noise(h, w, c, seed):
    i = np.arange(h * w * c, dtype=np.uint64)
    v = (i * np.uint64(2654435761) + np.uint64(seed)) & np.uint64(0xFFFFFFFF)
    v = ((v ^ (v >> np.uint64(15))) * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    return ((v >> np.uint64(24)) & np.uint64(255)).astype(np.uint8).reshape(h, w, c)


picture = Image.fromarray(noise(151, 200, 3, 7))
cases = []
for name, module in CLASSES.items():
    module = __import__(f"transformers.models.{module}.image_processing_pil_{module}", fromlist=["x"])
    for options in OPTIONS.get(name, [{}]):
        x = getattr(module, name + "ImageProcessorPil")(**options)(picture, return_tensors="np")["pixel_values"]
        flat = np.asarray(x, np.float32).ravel()
        at = np.linspace(0, flat.size - 1, 64).astype(int)
        cases.append({"config": {"image_processor_type": name + "ImageProcessor", **options}, "shape": list(x.shape),
                      "values": [float(f"{v:.7g}") for v in flat[at]]})
with open("huggingface.json", "w") as f:
    f.write(f'{{"transformers": "{transformers.__version__}", "cases": [\n')
    f.write(",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
