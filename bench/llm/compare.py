#!/usr/bin/env python3
"""Measures salver and llama.cpp on the same GGUF files, in one interleaved run.

    python3 compare.py --salver PATH/salver MODEL.gguf… [--threads 2] [--rounds 3] [--prompt 512] [--gen 128] [--streams 16]

Every figure is the best of the rounds: prompt tokens a second (a prompt of --prompt random
tokens), generated tokens a second (one answer of --gen tokens), and, of salver alone, those of
--streams answers at once (128 tokens of prompt, 64 of answer). llama.cpp comes with the
package llama-cpp-python, built with the processor's own instructions; its 16 streams are taken
as 1.37 times its single one, which is what its server reaches with TinyLlama in Q4_0.
"""
import argparse
import json
import subprocess
import sys
import time

PEER = """
import json, sys, time
import llama_cpp as L
path, threads, prompt, gen = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
quiet = L.llama_log_callback(lambda *_: None)
L.llama_log_set(quiet, None)
start = time.time()
m = L.Llama(path, n_ctx=prompt + gen + 8, n_batch=prompt, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False, logits_all=False)
ids = [(i * 37) % (m.n_vocab() - 300) + 300 for i in range(prompt)]
m.eval([ids[0]])
out = {"first_s": time.time() - start, "prefill": 0, "decode": 0}
for _ in range(2):
    m.reset()
    t = time.time(); m.eval(ids); out["prefill"] = max(out["prefill"], prompt / (time.time() - t))
    m.reset(); m.eval([ids[0]])
    t = time.time()
    for i in range(gen): m.eval([ids[i % prompt]])
    out["decode"] = max(out["decode"], gen / (time.time() - t))
print(json.dumps(out))
"""


def peer(a, model):
    r = subprocess.run([a.python, "-c", PEER, model, str(a.threads), str(a.prompt), str(a.gen)], capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"llama.cpp on {model}: status {r.returncode}\n{r.stderr[-2000:]}")
    return json.loads(r.stdout.strip().splitlines()[-1])


def ours(a, model):
    base = [a.salver, "bench", model, "--json", "--rounds", "1", "--threads", str(a.threads)]
    one = json.loads(subprocess.run(base + ["--prompt", str(a.prompt), "--gen", str(a.gen), "--concurrency", "1"], capture_output=True, text=True, check=True).stdout)
    many = json.loads(subprocess.run(base + ["--prompt", "128", "--gen", "64", "--concurrency", str(a.streams)], capture_output=True, text=True, check=True).stdout)
    return one, many["streams"][0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--salver", required=True)
    p.add_argument("--python", default=sys.executable, help="one that has llama_cpp")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--gen", type=int, default=128)
    p.add_argument("--streams", type=int, default=16)
    a = p.parse_args()
    print(f"{'model':28} {'':10} {'prefill':>9} {'decode':>8} {'GB/s':>6} {'of read':>7} {'streams':>8} {'TTFT p50':>9} {'first':>6}")
    for model in a.models:
        best = {}
        for _ in range(a.rounds):
            l = peer(a, model)
            one, many = ours(a, model)
            for key, v in (("l_prefill", l["prefill"]), ("l_decode", l["decode"]), ("prefill", one["prefill_tok_s"]), ("decode", one["decode_tok_s"]), ("bytes", one["decode_bytes_s"]),
                           ("read", one["read_bytes_s"]), ("gen", many["gen_tok_s"]), ("ttft", -many["ttft_p50_ms"]), ("l_first", -l["first_s"]), ("first", -one["first_token_s"])):
                best[key] = max(best.get(key, float("-inf")), v)
        name = model.rsplit("/", 1)[-1]
        b = best
        print(f"{name:28} {'llama.cpp':10} {b['l_prefill']:9.1f} {b['l_decode']:8.1f} {'':6} {'':7} {1.37 * b['l_decode']:8.1f} {'':9} {-b['l_first']:6.2f}")
        print(f"{'':28} {'salver':10} {b['prefill']:9.1f} {b['decode']:8.1f} {b['bytes'] / 1e9:6.2f} {b['bytes'] / b['read']:7.2f} {b['gen']:8.1f} {-b['ttft']:9.0f} {-b['first']:6.2f}")
        print(f"{'':28} {'ratio':10} {b['prefill'] / b['l_prefill']:9.2f} {b['decode'] / b['l_decode']:8.2f} {'':6} {'':7} {b['gen'] / (1.37 * b['l_decode']):8.2f}", flush=True)


if __name__ == "__main__":
    main()
