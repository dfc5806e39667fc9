#!/usr/bin/env python3
"""Do others read the language models that `salver quantize` writes?

    python3 readers.py --salver PROGRAM [--model MODEL.gguf] [--group N] [--work DIR] [--only PATTERN]

MODEL is a small Llama in GGUF, by default the demo's tiny-chat as it was trained; it becomes a folder of
transformers. Stories of its training's generator calibrate, others measure. Each form that salver
writes is loaded by GPTQModel (GPTQ, AWQ; in float16) or by transformers with compressed-tensors (in
float32), and its logits are compared with those of the weights that salver reads
(`salver quantize FORM -o X.gguf --type F32`), which transformers computes. KLD is the mean
Kullback-Leibler divergence of the next token's distribution from the original's, in nats.

Needs torch, transformers, gguf, gptqmodel, compressed-tensors, accelerate.
"""
import argparse
import contextlib
import fnmatch
import json
import os
import random
import shutil
import subprocess
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.setdefault("TQDM_DISABLE", "1")
HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "..", "internal", "demo")
MODEL = os.path.join(HERE, "tiny-chat-q8_0.gguf")
sys.path.insert(0, os.path.join(DEMO, "train"))

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402

transformers.logging.set_verbosity_error()
WINDOW = 256

READERS = [  # name, reader, flags of salver quantize
    ("GPTQ, symmetric", "gptqmodel", "--format gptq --method gptq"),
    ("GPTQ, zero points (v2)", "gptqmodel", "--format gptq --method gptq --symmetric=false"),
    ("GPTQ, act-order", "gptqmodel", "--format gptq --method gptq --act-order"),
    ("GPTQ, 8 bits", "gptqmodel", "--format gptq --method gptq --bits 8"),
    ("AWQ", "gptqmodel", "--format awq --method awq"),
    ("compressed-tensors, symmetric", "transformers", "--format compressed-tensors --method gptq"),
    ("compressed-tensors, zero points", "transformers", "--format compressed-tensors --method gptq --symmetric=false"),
    ("compressed-tensors, float8", "transformers", "--format compressed-tensors --method weight-only --kind fp8-e4m3"),
]


def from_gguf(path, out):
    """A GGUF file as a folder of transformers, in float32."""
    folder, name = os.path.split(path)
    m = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    c = m.config.to_dict()
    c.pop("quantization_config", None)
    plain = LlamaForCausalLM(LlamaConfig(**c)).float()
    plain.load_state_dict(m.state_dict())
    plain.tie_weights()
    plain.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
    path = os.path.join(out, "tokenizer.json")  # without what transformers adds beyond the vocabulary
    t = json.load(open(path))
    t["added_tokens"] = [a for a in t["added_tokens"] if a["id"] < c["vocab_size"]]
    json.dump(t, open(path, "w"), ensure_ascii=False)


def stories(seed, n, path):
    import smalltalk
    r = random.Random(seed)
    with open(path, "w") as f:
        f.write("\n".join(smalltalk.story(r) for _ in range(n)))


def windows(tokenizer, path):
    ids = tokenizer(open(path).read(), add_special_tokens=False).input_ids
    return torch.tensor(ids[:len(ids) // WINDOW * WINDOW]).view(-1, WINDOW)


def logits(model, ids):
    """Of all windows, in float32."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(w).logits.float() for w in ids.split(8)])


def divergence(got, want):
    """The mean KLD of the next token's distribution."""
    p, q = want[:, :-1].log_softmax(-1), got[:, :-1].log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean().item()


@contextlib.contextmanager
def quiet():
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        yield


class Bench:
    """A model, its texts, and the logits that others are compared with."""

    def __init__(self, a):
        self.a, self.folder = a, os.path.join(a.work, "original")
        os.makedirs(a.work, exist_ok=True)
        self.calibration, self.held = os.path.join(a.work, "calibration.txt"), os.path.join(a.work, "held.txt")
        stories(1, 200, self.calibration)
        stories(2, 80, self.held)
        from_gguf(os.path.abspath(a.model), self.folder)
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
        self.ids = windows(self.tokenizer, self.held)
        self.original = logits(AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32), self.ids)

    def path(self, name):
        p = os.path.join(self.a.work, "".join(c if c.isalnum() else "-" for c in name))
        shutil.rmtree(p, ignore_errors=True)
        return p

    def salver(self, flags, out):
        args = [self.a.salver, "quantize", self.folder, "-o", out, *flags.split()]
        if "fp8" not in flags:  # which has a scale for each row
            args += ["--group", str(self.a.group)]
        if "weight-only" not in flags:
            args += ["--data", self.calibration, "--max-tokens", str(WINDOW)]
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL)
        return out

    def ours(self, folder):
        """A folder as salver reads it, in transformers."""
        plain = folder + ".gguf"
        subprocess.run([self.a.salver, "quantize", folder, "-o", plain, "--type", "F32", "--allow-requantize"], check=True, stdout=subprocess.DEVNULL)
        d, name = os.path.split(plain)
        return AutoModelForCausalLM.from_pretrained(d, gguf_file=name, dtype=torch.float32)

    def read(self, reader, folder):
        with quiet():
            if reader == "gptqmodel":
                from gptqmodel import BACKEND, GPTQModel
                return GPTQModel.load(folder, device="cpu", backend=BACKEND.TORCH, dtype=torch.float16).model
            return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def readers(self):
        print("| form | reader | KLD | KLD of salver's weights | largest difference of logits | largest logit |\n| --- | --- | --- | --- | --- | --- |", flush=True)
        for name, reader, flags in READERS:
            if not self.wanted(name):
                continue
            folder = self.salver(flags, self.path(name))
            try:
                theirs = logits(self.read(reader, folder), self.ids)
            except Exception as e:  # a reader that refuses is a result too
                print(f"| {name} | {reader} | {type(e).__name__}: {str(e)[:100]} | | | |", flush=True)
                continue
            line = f"| {name} | {reader} | {self.kld(theirs):.4f} |"
            if "--act-order" in flags:  # GGUF has no form for columns out of order
                print(line, "| | |", flush=True)
                continue
            ours = logits(self.ours(folder), self.ids)
            print(line, f"{self.kld(ours):.4f} | {(theirs - ours).abs().max().item():.1e} | {ours.abs().max().item():.1f} |", flush=True)

    def wanted(self, name):
        return fnmatch.fnmatch(name, self.a.only)

    def kld(self, got):
        return divergence(got, self.original)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--salver", required=True)
    p.add_argument("--model", default=MODEL)
    p.add_argument("--group", type=int, default=128)
    p.add_argument("--work", default="readers.work")
    p.add_argument("--only", default="*", help="the rows whose names match, such as 'GPTQ*'")
    a = p.parse_args()
    Bench(a).readers()


if __name__ == "__main__":
    main()
