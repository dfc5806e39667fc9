#!/usr/bin/env python3
"""Makes ONNX models of many families, with random weights, for compare.py.

    python3 export.py FOLDER [NAME…] [--exporter torchscript] [--batch 1]

Each NAME becomes FOLDER/NAME.onnx and FOLDER/NAME.npz with its inputs, all of them without a NAME;
`--list` names them. They are networks of torchvision and transformers and those of networks.py. Transformers have
fewer layers and words than the published ones: a layer is what is measured. Batch and length are
symbolic where the network allows it.

Batch normalizations get the statistics of random images, so that numbers neither vanish nor
explode on their way through a deep network.

Needs torch, numpy and onnx; torchvision and transformers for theirs; onnxscript with --exporter dynamo.
"""
import argparse
import os
import subprocess
import sys

import numpy as np
import torch
from torch import nn

import networks

OPSET = {"torchscript": 17, "dynamo": 18}


class Network:
    """How a network is made, its inputs for a batch, and its symbolic dimensions."""

    def __init__(self, make, inputs, axes):
        self.make, self.inputs, self.axes = make, inputs, axes


class Part(nn.Module):
    """What is wanted of a network's result."""

    def __init__(self, network, call):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, *inputs):
        return self.call(self.network, *inputs)


def image(size, channels=3):
    return lambda batch: torch.randn(batch, channels, size, size)


def words(length, vocabulary=5000):
    return lambda batch: torch.randint(5, vocabulary, (batch, length))


def ones(length):
    return lambda batch: torch.ones(batch, length, dtype=torch.int64)


def from_torchvision(catalogue):
    def add(name, size=224, folder="", result=None, inputs=None, **settings):
        def make():
            from importlib import import_module

            module = import_module("torchvision.models" + folder)
            network = getattr(module, name)(weights=None, **settings)
            return Part(network, result) if result else network

        catalogue[name] = Network(make, inputs or {"x": image(size)}, {"x": {0: "batch"}})

    for name in ["alexnet", "vgg16", "squeezenet1_1", "resnet18", "resnext50_32x4d", "densenet121", "mnasnet1_0", "shufflenet_v2_x1_0", "mobilenet_v3_small",
                 "mobilenet_v3_large", "efficientnet_b0", "regnet_x_1_6gf", "regnet_y_800mf", "convnext_tiny", "vit_b_32", "swin_t", "swin_v2_t", "maxvit_t"]:
        add(name)
    add("googlenet", aux_logits=False, init_weights=True)
    add("inception_v3", 299, init_weights=True)
    add("efficientnet_b3", 300)
    add("efficientnet_v2_s", 300)
    for name in ["deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"]:
        add(name, 256, ".segmentation", lambda network, x: network(x)["out"], weights_backbone=None)
    for name, frames, size in [("r3d_18", 8, 112), ("mvit_v2_s", 16, 224)]:
        add(name, folder=".video", inputs={"x": lambda batch, f=frames, s=size: torch.randn(batch, 3, f, s, s)})


def from_transformers(catalogue):
    def add(name, kind, inputs, axes, result, **settings):
        def make():
            import transformers

            configuration = getattr(transformers, kind.removesuffix("Model").removesuffix("ForCausalLM").removesuffix("Encoder") + "Config")
            configuration = configuration(**settings)
            configuration.use_cache = False
            return Part(getattr(transformers, kind)(configuration), result)

        catalogue[name] = Network(make, inputs, axes)

    row = {0: "batch", 1: "sequence"}
    text = lambda length: ({"input_ids": words(length), "attention_mask": ones(length)}, {"input_ids": row, "attention_mask": row})
    masked = lambda network, ids, mask: network(input_ids=ids, attention_mask=mask)[0]
    small = dict(vocab_size=5000, num_hidden_layers=4)
    add("distilbert", "DistilBertModel", *text(128), masked, n_layers=4)
    add("roberta", "RobertaModel", *text(128), masked, **small)
    add("electra", "ElectraModel", *text(128), masked, **small)
    add("albert", "AlbertModel", *text(128), masked, hidden_size=768, num_attention_heads=12, intermediate_size=3072, **small)
    add("mpnet", "MPNetModel", *text(128), masked, **small)
    add("t5_encoder", "T5EncoderModel", *text(128), masked, vocab_size=5000, num_layers=4)
    add("gpt2", "GPT2Model", *text(64), masked, vocab_size=5000, n_layer=4)
    add("opt", "OPTModel", *text(64), masked, **small)
    add("llama", "LlamaModel", *text(64), masked, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3, **small)
    add("qwen2", "Qwen2Model", *text(64), masked, hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2, **small)

    pair = {"input_ids": words(64), "decoder_input_ids": words(32)}
    both = {"input_ids": {0: "batch", 1: "source"}, "decoder_input_ids": {0: "batch", 1: "target"}}
    translated = lambda network, source, target: network(input_ids=source, decoder_input_ids=target)[0]
    add("t5", "T5Model", pair, both, translated, vocab_size=5000, num_layers=3)
    add("bart", "BartModel", pair, both, translated, vocab_size=5000, d_model=512, encoder_layers=3, decoder_layers=3, encoder_ffn_dim=2048,
        decoder_ffn_dim=2048, encoder_attention_heads=8, decoder_attention_heads=8)

    picture = lambda size: ({"pixel_values": image(size)}, {"pixel_values": {0: "batch"}})
    seen = lambda network, pixels: network(pixel_values=pixels)[0]
    add("clip_vision", "CLIPVisionModel", *picture(224), seen, num_hidden_layers=4)
    add("dinov2", "Dinov2Model", *picture(224), seen, hidden_size=384, num_attention_heads=6, num_hidden_layers=4, image_size=224)
    add("segformer", "SegformerModel", *picture(256), seen)
    add("wav2vec2", "Wav2Vec2Model", {"input_values": lambda batch: torch.randn(batch, 16000)}, {"input_values": {0: "batch", 1: "time"}},
        lambda network, sound: network(input_values=sound)[0], num_hidden_layers=3)


def from_networks(catalogue):
    batch, sequence = {0: "batch"}, {0: "batch", 1: "time"}
    floats = lambda *shape: lambda n: torch.randn(n * shape[0], *shape[1:])
    integers = lambda most, *shape: lambda n: torch.randint(0, most, (n * shape[0], *shape[1:]))
    edges = lambda n: torch.randint(0, 500 * n, (2, 3000 * n))
    for make, inputs, axes in [
        (networks.DLRM, {"dense": floats(32, 13), "categories": integers(10000, 32, 26)}, {"dense": batch, "categories": batch}),
        (networks.NBeats, {"x": floats(1, 96)}, {"x": batch}),
        (networks.TCN, {"x": floats(1, 25, 500)}, {"x": {0: "batch", 2: "time"}}),
        (networks.ConvTasNet, {"x": floats(1, 1, 16000)}, {"x": batch}),
        (networks.UNet1D, {"x": floats(1, 2, 4096)}, {"x": batch}),
        (networks.BiLSTM, {"x": floats(1, 120, 64)}, {"x": sequence}),
        (networks.BiGRU, {"x": floats(1, 100, 40)}, {"x": sequence}),
        (networks.CRNN, {"x": floats(1, 1, 32, 160)}, {"x": batch}),
        (networks.DCGAN, {"x": floats(1, 100, 1, 1)}, {"x": batch}),
        (networks.EDSR, {"x": floats(1, 3, 96, 96)}, {"x": batch}),
        (networks.Style, {"x": floats(1, 3, 224, 224)}, {"x": batch}),
        (networks.GraphNet, {"x": floats(500, 16), "edges": edges}, {"x": {0: "nodes"}, "edges": {1: "edges"}}),
        (networks.Experts, {"x": floats(64, 128)}, {"x": {0: "tokens"}}),
        (networks.Rotary, {"x": floats(1, 128, 256)}, {"x": sequence}),
        (networks.PointNet, {"x": floats(1, 3, 1024)}, {"x": batch}),
    ]:
        catalogue[make.__name__.lower()] = Network(make, inputs, axes)


def calibrate(network, inputs):
    """Gives batch normalizations the statistics of the inputs."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for m in norms:
        m.momentum = None
        m.reset_running_stats()
        m.train()
    if norms:
        network(*inputs)
    network.eval()


def export(name, spec, folder, exporter, batch):
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # no exporter knows that operator
    network = spec.make().eval()
    example = tuple(make(2) for make in spec.inputs.values())
    path = os.path.join(folder, name + ".onnx")
    with torch.no_grad():
        calibrate(network, [make(4) for make in spec.inputs.values()])
        settings = {"opset_version": OPSET[exporter], "input_names": list(spec.inputs)}
        if exporter == "dynamo":
            shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in spec.axes.get(i, {})} for i in spec.inputs)
            shapes = (shapes,) if isinstance(network, Part) else shapes  # its inputs are one variadic argument
            torch.onnx.export(network, example, path, dynamo=True, dynamic_shapes=shapes, external_data=False, **settings)
        else:
            torch.onnx.export(network, example, path, dynamo=False, dynamic_axes=spec.axes, **settings)
    np.savez(os.path.join(folder, name + ".npz"), **{"in:" + i: make(batch).numpy() for i, make in spec.inputs.items()})


def main():
    catalogue = {}
    from_torchvision(catalogue)
    from_transformers(catalogue)
    from_networks(catalogue)
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?")
    p.add_argument("names", nargs="*")
    p.add_argument("--exporter", default="torchscript", choices=OPSET)
    p.add_argument("--batch", default=1, type=int, help="of the inputs")
    p.add_argument("--list", action="store_true")
    p.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    unknown = [n for n in a.names if n not in catalogue]
    if a.list or unknown or not a.folder:
        print(" ".join(catalogue))
        return p.error(f"no such network: {', '.join(unknown)}") if unknown else None
    if a.one:
        return export(a.names[0], catalogue[a.names[0]], a.folder, a.exporter, a.batch)
    os.makedirs(a.folder, exist_ok=True)
    for name in a.names or catalogue:  # in processes of their own, so that memory goes back
        command = [sys.executable, __file__, a.folder, name, "--one", "--exporter", a.exporter, "--batch", str(a.batch)]
        result = subprocess.run(command, capture_output=True, text=True)
        last = (result.stderr.strip().splitlines() or [""])[-1]
        print(name, "ok" if result.returncode == 0 else f"failed: {last}", flush=True)


if __name__ == "__main__":
    main()
