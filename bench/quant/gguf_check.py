"""Compares GGUF files in two engines: llama.cpp (llama-cpp-python) and salver.

For each file: the tokens of each prompt, the greedy continuation, and, with
--logits, how far llama.cpp's logits after the prompt are from those of another
file, say the original. Exits with 1 if tokens differ, or if continuations part
before --agree tokens.

    python bench/quant/gguf_check.py --salver ./salver model-q4_k_m.gguf

Needs: pip install llama-cpp-python
"""
import argparse
import json
import subprocess
import sys

import llama_cpp
import numpy as np

PROMPTS = ["Once upon a time, there was a little girl who", "The capital of France is", "1, 2, 3, 4,"]


def salver(args, program):
    out = subprocess.run([program, *args], capture_output=True, text=True, check=True)
    return out.stdout


def common(a, b):
    """The length of the common beginning."""
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def greedy(model, ids, n):
    """llama.cpp's likeliest continuation."""
    model.reset()
    out = []
    for token in model.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        if token == model.token_eos() or len(out) == n:
            break
        out.append(token)
    return out


def check(path, args):
    model = llama_cpp.Llama(path, n_ctx=512, logits_all=True, verbose=False, n_threads=args.threads)
    ok = True
    for prompt in args.prompt or PROMPTS:
        ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
        ours = json.loads(salver(["tokenize", path, prompt, "--json"], args.salver)) if args.tokens else None
        theirs = model.detokenize(greedy(model, ids, args.max_tokens), prev_tokens=ids).decode(errors="replace")
        text = salver(["run", path, prompt, "--max-tokens", str(args.max_tokens), "--temperature", "0"], args.salver)
        text = text.rstrip("\n")
        if text.startswith(prompt):
            text = text[len(prompt):]
        same = common(text.strip(), theirs.strip())
        agree = same >= min(args.agree, len(theirs.strip()))
        ok = ok and agree
        print(f"{path}: {prompt!r}: {same} of {len(theirs.strip())} characters are the same{'' if agree else ': FAILED'}")
        if not agree:
            print(f"  llama.cpp: {theirs!r}\n  salver:    {text!r}")
        if ours is not None and ours["tokens"] != ids:
            print(f"  tokens differ: {ids} and {ours}")
            ok = False
    return ok


def logits(path, prompt, threads):
    model = llama_cpp.Llama(path, n_ctx=512, logits_all=True, verbose=False, n_threads=threads)
    ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float64)


def divergence(a, b):
    """The mean Kullback-Leibler divergence of b's predictions from a's, in nats."""
    def log_softmax(x):
        x = x - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    p, q = log_softmax(a), log_softmax(b)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", nargs="+")
    p.add_argument("--salver", default="salver")
    p.add_argument("--prompt", action="append")
    p.add_argument("--max-tokens", type=int, default=24)
    p.add_argument("--agree", type=int, default=40, help="characters of the continuations that have to be the same")
    p.add_argument("--original", help="a file whose logits the others' are compared with, in llama.cpp")
    p.add_argument("--tokens", action="store_true", help="compare tokens too")
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    ok = all([check(path, args) for path in args.files])
    if args.original:
        for prompt in args.prompt or PROMPTS:
            want = logits(args.original, prompt, args.threads)
            for path in args.files:
                print(f"{path}: {prompt!r}: KLD from {args.original} in llama.cpp {divergence(want, logits(path, prompt, args.threads)):.5f} nats")
    sys.exit(not ok)


if __name__ == "__main__":
    main()
