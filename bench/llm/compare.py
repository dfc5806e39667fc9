#!/usr/bin/env python3
"""Measures salver and llama.cpp on the same GGUF files, in one interleaved run.

    python3 compare.py --salver PATH/salver MODEL.gguf… [--threads 2] [--rounds 3] [--prompt 512] [--gen 128] [--streams 16]

Every figure is the best of the rounds: prompt tokens a second (a prompt of --prompt random
tokens), generated tokens a second (one answer of --gen tokens), and, of salver alone, those of
--streams answers at once (128 tokens of prompt, 64 of answer). llama.cpp comes with the
package llama-cpp-python, built with the processor's own instructions; its 16 streams are taken
as 1.37 times its single one, which is what its server reaches with TinyLlama in Q4_0. A line
of its own has the median time to the first token of --streams prompts that begin with the same
--shared-prefix tokens and end with 16 others, without and with that beginning in the cache.

    python3 compare.py --cpu --salver PATH/salver MODEL.gguf…

is for machines on which others work too: tokens a second of processor time, of one thread.
salver's are differences between runs of its bench command with more and fewer tokens. Time
spent waiting for memory counts, which several threads share, so that decoding on all of them
scales less than the rest.

To compare the code for AVX2 on a processor that has more, set SALVER_ISA=avx2 and build
llama.cpp for it: CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON
-DGGML_F16C=ON -DGGML_BMI2=ON" pip install --no-binary llama-cpp-python llama-cpp-python.
"""
import argparse
import json
import resource
import subprocess
import sys
import time

PEER = """
import json, sys, time
import llama_cpp as L
path, threads, prompt, gen = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
now = time.process_time if sys.argv[5:] else time.time
quiet = L.llama_log_callback(lambda *_: None)
L.llama_log_set(quiet, None)
start = now()
m = L.Llama(path, n_ctx=prompt + gen + 8, n_batch=prompt, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False, logits_all=False)
ids = [(i * 37) % (m.n_vocab() - 300) + 300 for i in range(prompt)]
m.eval([ids[0]])
out = {"first_s": now() - start, "prefill": 0, "decode": 0}
for _ in range(2):
    m.reset()
    t = now(); m.eval(ids); out["prefill"] = max(out["prefill"], prompt / (now() - t))
    m.reset(); m.eval([ids[0]])
    t = now()
    for i in range(gen): m.eval([ids[i % prompt]])
    out["decode"] = max(out["decode"], gen / (now() - t))
print(json.dumps(out))
"""


def peer(a, model):
    r = subprocess.run([a.python, "-c", PEER, model, str(a.threads), str(a.prompt), str(a.gen)] + ["cpu"] * a.cpu, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"llama.cpp on {model}: status {r.returncode}\n{r.stderr[-2000:]}")
    return json.loads(r.stdout.strip().splitlines()[-1])


def ours(a, model):
    base = [a.salver, "bench", model, "--json", "--rounds", "1", "--threads", str(a.threads)]
    one = json.loads(subprocess.run(base + ["--prompt", str(a.prompt), "--gen", str(a.gen), "--concurrency", "1"], capture_output=True, text=True, check=True).stdout)
    many = json.loads(subprocess.run(base + ["--prompt", "128", "--gen", "64", "--concurrency", str(a.streams)], capture_output=True, text=True, check=True).stdout)
    alike = {}
    if a.shared_prefix:
        r = subprocess.run(base + ["--prompt", "16", "--gen", "2", "--shared-prefix", str(a.shared_prefix), "--concurrency", str(a.streams)], capture_output=True, text=True, check=True)
        alike = json.loads(r.stdout)["streams"][0]
    return one, many["streams"][0], alike


def cpu_seconds(a, model, prompt, gen, streams=1):
    """Least processor time of some runs: loading, then a prompt, an answer, and streams of both."""
    return min(cpu_run(a, model, prompt, gen, streams) for _ in range(a.rounds))


def cpu_run(a, model, prompt, gen, streams):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([a.salver, "bench", model, "--json", "--rounds", "1", "--threads", "1", "--prompt", str(prompt), "--gen", str(gen), "--concurrency", str(streams)], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def by_cpu(a):
    a.threads = 1
    print(f"{'model':28} {'':10} {'prefill':>9} {'decode':>8} {'streams':>8}   tokens a second of one thread's time")
    for model in a.models:
        l = peer(a, model)
        none = cpu_seconds(a, model, 1, 2)
        prefill = 2 * (a.prompt - 1) / (cpu_seconds(a, model, a.prompt, 2) - none)
        decode = 2 * (a.gen - 2) / (cpu_seconds(a, model, 1, a.gen) - none)
        many = cpu_seconds(a, model, 128, 64, a.streams) - none - 128 / prefill - 64 / decode
        gen = 64 * a.streams / many
        print(f"{model.rsplit('/', 1)[-1]:28} {'llama.cpp':10} {l['prefill']:9.1f} {l['decode']:8.1f}")
        print(f"{'':28} {'salver':10} {prefill:9.1f} {decode:8.1f} {gen:8.1f}")
        print(f"{'':28} {'ratio':10} {prefill / l['prefill']:9.2f} {decode / l['decode']:8.2f}", flush=True)


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
    p.add_argument("--shared-prefix", type=int, default=512, help="tokens; 0 leaves that measurement out")
    p.add_argument("--cpu", action="store_true", help="compare processor time of one thread")
    a = p.parse_args()
    if a.cpu:
        return by_cpu(a)
    print(f"{'model':28} {'':10} {'prefill':>9} {'decode':>8} {'GB/s':>6} {'of read':>7} {'streams':>8} {'TTFT p50':>9} {'first':>6}")
    for model in a.models:
        best = {}
        for _ in range(a.rounds):
            l = peer(a, model)
            one, many, alike = ours(a, model)
            for key in ("shared_prefix_cold_ttft_p50_ms", "shared_prefix_ttft_p50_ms"):
                best[key] = min(best.get(key, float("inf")), alike.get(key, float("inf")))
            for key, v in (("l_prefill", l["prefill"]), ("l_decode", l["decode"]), ("prefill", one["prefill_tok_s"]), ("decode", one["decode_tok_s"]), ("bytes", one["decode_bytes_s"]),
                           ("read", one["read_bytes_s"]), ("gen", many["gen_tok_s"]), ("ttft", -many["ttft_p50_ms"]), ("l_first", -l["first_s"]), ("first", -one["first_token_s"])):
                best[key] = max(best.get(key, float("-inf")), v)
        name = model.rsplit("/", 1)[-1]
        b = best
        print(f"{name:28} {'llama.cpp':10} {b['l_prefill']:9.1f} {b['l_decode']:8.1f} {'':6} {'':7} {1.37 * b['l_decode']:8.1f} {'':9} {-b['l_first']:6.2f}")
        print(f"{'':28} {'salver':10} {b['prefill']:9.1f} {b['decode']:8.1f} {b['bytes'] / 1e9:6.2f} {b['bytes'] / b['read']:7.2f} {b['gen']:8.1f} {-b['ttft']:9.0f} {-b['first']:6.2f}")
        print(f"{'':28} {'ratio':10} {b['prefill'] / b['l_prefill']:9.2f} {b['decode'] / b['l_decode']:8.2f} {'':6} {'':7} {b['gen'] / (1.37 * b['l_decode']):8.2f}", flush=True)
        if a.shared_prefix:
            cold, found = b["shared_prefix_cold_ttft_p50_ms"], b["shared_prefix_ttft_p50_ms"]
            print(f"{'':28} first tokens of {a.streams} prompts with {a.shared_prefix} tokens in common: {found:.0f} ms, without the cache {cold:.0f}: {found / cold:.3f}", flush=True)


if __name__ == "__main__":
    main()
