#!/usr/bin/env python3
"""Measures salver, ONNX Runtime and OpenVINO on the same ONNX models, in turns.

    python3 compare.py --salver PATH/salver MODEL.onnx[:DIM=SIZE,…]… [--threads 1,2]
                       [--precision fp32,bf16] [--rounds 4] [--seconds 0.5] [--busy 0] [--avx2] [--benchstat FILE]

Every engine, number of threads and precision is a process of its own. All of them load the
model, then run for --seconds each by turns, --rounds times after one turn that does not count.
The table has for each the best median of its turns, the 99th percentile and the slowest of all its
runs, its processor time for 1,000 inferences, and its largest memory; a ratio above 1 says how much faster
salver is than the better of the others in the same precision (ONNX Runtime has no bf16).

Symbolic dimensions are 1 unless DIM=SIZE says more (minilm.onnx:batch=4,seq=128). Inputs are
random numbers, and ones where they are integers; a file MODEL.npz beside MODEL.onnx with arrays
"in:NAME" replaces them.

--busy starts so many processes that compute without pause meanwhile, as a neighbour would.

--avx2 holds all engines to AVX2 and FMA: salver by SALVER_ISA, the others by hiding what the
processor has beyond them (avx2only.c, which a C compiler makes into a library; Linux on a
processor whose CPUID can fault). That compares the code for an instruction set, not a machine
that ends at it: caches, clock and units are still this processor's.

--benchstat writes a line for each turn in the format of Go's benchmarks, so that two builds of
salver are compared by benchstat, and a regression shows:

    python3 compare.py --engines salver --rounds 10 --salver OLD --benchstat old.txt MODEL.onnx…
    python3 compare.py --engines salver --rounds 10 --salver NEW --benchstat new.txt MODEL.onnx…
    benchstat old.txt new.txt

Needs numpy and onnx, and those of onnxruntime and openvino that --engines names.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def onnxruntime(path, threads, precision):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def openvino(path, threads, precision):
    import openvino as ov

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
              "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision)}
    request = ov.Core().compile_model(path, "CPU", config).create_infer_request()
    return lambda feed: request.infer(feed, share_inputs=True, share_outputs=True)


PEERS = {"ort": onnxruntime, "openvino": openvino}


def peak_memory():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def serve_peer(engine, precision):
    """Speaks the protocol of `salver bench --worker` for another engine."""
    import numpy as np

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not get between the answers
    run, feed = None, None
    for line in sys.stdin:
        request = json.loads(line)
        if "model" in request:
            with np.load(request["inputs"]) as arrays:
                feed = {name.removeprefix("in:"): arrays[name] for name in arrays if name.startswith("in:")}
            start = time.perf_counter()
            run = PEERS[engine](request["model"], request["threads"], precision)
            answer = {"load_s": time.perf_counter() - start}
            run(feed)
        elif "run_s" in request:
            latencies, end = [], time.perf_counter() + request["run_s"]
            while len(latencies) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                run(feed)
                latencies.append(time.perf_counter() - start)
            answer = {"lat_s": latencies}
        else:
            answer = {"rss_peak": peak_memory()}
        print(json.dumps(answer), file=out, flush=True)
        if "quit" in request:
            return


class Worker:
    """One engine with a model, in a process of its own."""

    def __init__(self, a, engine, threads, precision, case, inputs):
        self.engine, self.threads, self.precision = engine, threads, precision
        self.medians, self.latencies, self.cpu = [], [], 0.0
        command, held = [sys.executable, __file__, "--serve", engine, "--precision", precision], {"LD_PRELOAD": a.hide}
        if engine == "salver":
            command, held = [a.salver, "bench", "--worker", "--precision", precision], {"SALVER_ISA": "avx2"}
        self.process = subprocess.Popen(command, env=os.environ | (held if a.hide else {}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if a.quiet else None, text=True)
        self.ask({"model": case.path, "threads": threads, "inputs": inputs, "check": inputs})

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name()} ended on {request}: status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name()}: {answer['error']}")
        return answer

    def name(self):
        return f"{self.engine} {self.precision} on {self.threads} thread{'s' * (self.threads > 1)}"

    def processor_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def turn(self, seconds, counts):
        before = self.processor_seconds()
        latencies = self.ask({"run_s": seconds})["lat_s"]
        if counts:
            self.cpu += self.processor_seconds() - before
            self.latencies += latencies
            self.medians.append(statistics.median(latencies))

    def finish(self):
        self.memory = self.ask({"quit": 1})["rss_peak"]
        self.process.wait()

    def best(self):
        return min(self.medians)


class Case:
    """A model and the sizes of its symbolic dimensions."""

    def __init__(self, text):
        self.path, _, sizes = text.partition(":")
        self.sizes = {name: int(size) for name, size in (s.split("=") for s in sizes.split(",") if s)}
        self.name = os.path.splitext(os.path.basename(self.path))[0] + "".join(f"/{n}={s}" for n, s in self.sizes.items())

    def inputs(self, folder):
        beside = os.path.splitext(self.path)[0] + ".npz"
        if os.path.exists(beside) and not self.sizes:
            return beside
        import numpy as np
        import onnx

        graph, random, arrays = onnx.load(self.path, load_external_data=False).graph, np.random.default_rng(1), {}
        constants = {t.name for t in graph.initializer}
        for value in graph.input:
            if value.name in constants:
                continue
            tensor = value.type.tensor_type
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            shape = [d.dim_value or self.sizes.get(d.dim_param, 1) for d in tensor.shape.dim]
            floats = np.issubdtype(kind, np.floating)
            arrays["in:" + value.name] = (random.standard_normal(shape) if floats else np.ones(shape)).astype(kind)
        path = os.path.join(folder, self.name.replace("/", "-") + ".npz")
        np.savez(path, **arrays)
        return path


def measure(a, case, folder):
    inputs, workers = case.inputs(folder), []
    for precision in a.precision:
        for threads in a.threads:
            for engine in a.engines:
                if not (engine == "ort" and precision != "fp32"):
                    workers.append(Worker(a, engine, threads, precision, case, inputs))
    for turn in range(a.rounds + 1):
        for w in workers:
            w.turn(a.seconds, turn > 0)
    for w in workers:
        w.finish()
    return workers


def rows(case, workers):
    for w in workers:
        peers = [p.best() for p in workers if p.engine != "salver" and (p.threads, p.precision) == (w.threads, w.precision)]
        ratio = f"{min(peers) / w.best():.2f}" if peers and w.engine == "salver" else ""
        sort = sorted(w.latencies)
        tail, slowest = sort[int(0.99 * (len(sort) - 1))], sort[-1]
        cells = [case.name, w.precision, w.threads, w.engine, f"{1e3 * w.best():.3f}", f"{1e3 * tail:.3f}", f"{1e3 * slowest:.3f}",
                 f"{1000 * w.cpu / len(sort):.3f}", f"{w.memory / 1e6:.0f}", ratio]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def write_benchstat(path, case, workers):
    with open(path, "a") as f:
        for w in workers:
            for median in w.medians:
                f.write(f"BenchmarkModel/{case.name}/{w.engine}/{w.precision}-{w.threads} 1 {1e9 * median:.0f} ns/op\n")


def hide_beyond_avx2(folder):
    library = os.path.join(folder, "avx2only.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "avx2only.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("cases", nargs="*", metavar="MODEL.onnx[:DIM=SIZE,…]", type=Case)
    p.add_argument("--salver", default="salver")
    p.add_argument("--engines", default="salver,ort,openvino", type=lambda s: s.split(","))
    p.add_argument("--precision", default="fp32", type=lambda s: s.split(","))
    p.add_argument("--threads", default="1,2", type=numbers)
    p.add_argument("--rounds", default=4, type=int)
    p.add_argument("--seconds", default=0.5, type=float)
    p.add_argument("--busy", default=0, type=int)
    p.add_argument("--avx2", action="store_true", help="hold all engines to AVX2 and FMA")
    p.add_argument("--benchstat", metavar="FILE", help="lines are added to it")
    p.add_argument("--quiet", action="store_true", help="drop what engines print to their standard error")
    p.add_argument("--serve", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.serve:
        return serve_peer(a.serve, a.precision[0])
    unknown = [e for e in a.engines if e != "salver" and e not in PEERS]
    if unknown or not a.cases:
        p.error(f"expected engines among salver, {', '.join(PEERS)}; found {', '.join(unknown)}" if unknown else "expected a model")
    print("| model | precision | threads | engine | best median, ms | p99, ms | slowest, ms | core-seconds per 1,000 | peak MB | against the better |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(a.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            a.hide = hide_beyond_avx2(folder) if a.avx2 else None
            for case in a.cases:
                workers = measure(a, case, folder)
                rows(case, workers)
                if a.benchstat:
                    write_benchstat(a.benchstat, case, workers)
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
