#!/usr/bin/env python3
"""Does `salver quantize` lose less of a language model than other quantizers do?

    python3 quantizers.py --salver PROGRAM [--model MODEL.gguf] [--group N] [--work DIR] [--only PATTERN]

The same model, texts and KLD as in readers.py. RTN and GPTQ of salver, of GPTQModel and of AutoRound
quantize it to 4 bits with the same groups; salver's and GPTQModel's folders are computed by GPTQModel in
float16, AutoRound's model by transformers in float32.

Needs what readers.py needs, and auto-round.
"""
import argparse
import os

os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "4")  # its pools do not start with fewer on a small machine

import readers  # noqa: E402
import torch  # noqa: E402

OURS = [  # name, flags of salver quantize
    ("salver RTN, --min-max", "--format gptq --method weight-only --min-max"),
    ("salver RTN", "--format gptq --method weight-only"),
    ("salver GPTQ", "--format gptq --method gptq"),
    ("salver GPTQ, act-order", "--format gptq --method gptq --act-order"),
    ("salver GPTQ, zero points", "--format gptq --method gptq --symmetric=false"),
    ("salver GPTQ, zero points, act-order", "--format gptq --method gptq --symmetric=false --act-order"),
    ("salver AWQ, zero points", "--format awq --method awq"),
]


class Quantizers(readers.Bench):
    def compare(self):
        print("| quantizer | KLD | perplexity |\n| --- | --- | --- |", flush=True)
        self.row("original", self.original)
        calibration = readers.windows(self.tokenizer, self.calibration)
        for name, flags in OURS:
            if self.wanted(name):
                self.row(name, readers.logits(self.read("gptqmodel", self.salver(flags, self.path(name))), self.ids))
        for symmetric in (True, False):
            for act_order in (False, True):
                self.gptqmodel(calibration, symmetric, act_order)
            self.autoround(calibration, symmetric)

    def row(self, name, got):
        perplexity = torch.nn.functional.cross_entropy(got[:, :-1].flatten(0, 1), self.ids[:, 1:].flatten()).exp().item()
        print(f"| {name} | {self.kld(got):.4f} | {perplexity:.4f} |", flush=True)

    def gptqmodel(self, ids, symmetric, act_order):
        name = f"GPTQModel GPTQ{'' if symmetric else ', zero points'}{', act-order' if act_order else ''}"
        if not self.wanted(name):
            return
        out = self.path(name)
        with readers.quiet():
            from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
            config = QuantizeConfig(bits=4, group_size=self.a.group, sym=symmetric, desc_act=act_order, act_group_aware=False, device="cpu")
            model = GPTQModel.load(self.folder, config, dtype=torch.float32)
            model.quantize([{"input_ids": w[None], "attention_mask": torch.ones_like(w[None])} for w in ids], batch_size=1, backend=BACKEND.TORCH)
            model.save(out)
        self.row(name, readers.logits(self.read("gptqmodel", out), self.ids))

    def autoround(self, ids, symmetric):
        name = f"AutoRound RTN{'' if symmetric else ', zero points'}"
        if not self.wanted(name):
            return
        with readers.quiet():
            from auto_round import AutoRound
            model = readers.AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
            rounding = AutoRound(model, self.tokenizer, bits=4, group_size=self.a.group, sym=symmetric, iters=0, nsamples=len(ids),
                                 seqlen=readers.WINDOW, device_map="cpu", dataset=[w[None] for w in ids], amp=False)
            model, _ = rounding.quantize()
        self.row(name, readers.logits(model, self.ids))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--salver", required=True)
    p.add_argument("--model", default=readers.MODEL)
    p.add_argument("--group", type=int, default=128)
    p.add_argument("--work", default="quantizers.work")
    p.add_argument("--only", default="*", help="the rows whose names match, such as 'GPTQModel*'")
    Quantizers(p.parse_args()).compare()


if __name__ == "__main__":
    main()
