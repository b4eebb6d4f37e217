"""Measures warm, PyTorch, ONNX Runtime, OpenVINO and llama.cpp side by side.

run.sh prepares what this needs and calls it. Every figure is the median over
processes of each process's median round. Processes of all engines alternate
(A B C A B C), so that a slow minute of the machine hits all of them, and what
other programs took of the processors is measured beside each. In each process a shape runs once unmeasured and then --rounds times."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import weights

HERE = os.path.dirname(os.path.abspath(__file__))
INT8 = ("warm int8", "ort int8", "onnxruntime int8", "openvino int8")
ENGINES = ("warm f32", "warm bf16", "warm int8", "torch f32", "ort f32 export", "ort f32 fused", "ort int8", "llama f32", "llama bf16")
ORT = ("ort f32 export", "ort f32 fused", "onnxruntime f32")
# What PyPI has today: bfloat16 beside bfloat16 and int8 beside int8.
CURRENT = ("warm f32", "pytorch f32", "openvino f32", "onnxruntime f32", "warm bf16", "pytorch bf16", "openvino bf16",
           "warm int8", "openvino int8", "onnxruntime int8")
DTYPES = {"f32": "float32", "bf16": "bfloat16", "int8": "int8"}
QUIET = 0.05  # share of the processors that other programs may take beside a process
MODELS = ("minilm6x384", "bert12x768", "dec12x768", "qwen3-0.6b")
# Scores of float32 engines must agree to this. llama.cpp takes GELU from a table
# in half precision and the others sum in another order.
TOLERANCE = {"warm": 0, "torch": 1e-4, "ort": 1e-4, "llama": 2e-3, "pytorch": 1e-4, "openvino": 1e-4, "onnxruntime": 1e-4}


def tuning(openblas):
    """The environment that makes PyTorch fast; openblas is the folder of its
    OpenMP build."""
    tuned = {
        # One thread pool instead of two, and no page faults for each activation.
        "LD_LIBRARY_PATH": openblas,
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
    }
    with open("/proc/cpuinfo") as f:
        if "avx512f" in f.read():
            # An OpenBLAS older than the processor takes its AVX2 kernels.
            tuned["OPENBLAS_CORETYPE"] = "SkylakeX"
    return tuned


class Bench:
    def __init__(self, args):
        self.args, self.start = args, time.monotonic()
        # (model, threads, engine, shape) → (median seconds, foreign share) by process
        self.results, self.processes, self.checks, self.want, self.failures = {}, [], {}, {}, []
        self.environment = dict(os.environ)
        self.tuned = {} if args.current else tuning(args.openblas)

    def folder(self, model):
        return os.path.join(self.args.dir, "models", model)

    def config(self, model):
        return os.path.join(self.args.configs, model + ".json")

    def shape(self, model):
        with open(self.config(model)) as f:
            return weights.Shape(json.load(f))

    def left(self):
        return self.args.seconds - (time.monotonic() - self.start)

    def command(self, engine, model, threads, shapes, rounds, check):
        """Returns the command line and environment of one process."""
        kind, dtype, *graph = engine.split()
        folder, env = self.folder(model), dict(self.environment)
        common = [str(threads), ",".join(shapes), str(rounds)]
        if kind == "warm":
            return [self.args.warm, "bench", "engine", "--random", self.config(model), "--dtype", DTYPES[dtype],
                    "--threads", common[0], "--shape", common[1], "--rounds", common[2], "--forward-only", "--json"], env
        if kind == "torch":
            env.update(self.tuned, OMP_NUM_THREADS=str(threads))
            return [sys.executable, os.path.join(HERE, "torch_bench.py"), folder, *common, check], env
        if kind in ("pytorch", "openvino", "onnxruntime"):
            env.update(OMP_NUM_THREADS=str(threads))
            return [sys.executable, os.path.join(HERE, "current_bench.py"), kind, dtype, folder, *common, check], env
        if kind == "ort":
            name = graph[0] if graph else "int8"
            return ["node", os.path.join(HERE, "ort_bench.js"), os.path.join(folder, name + ".onnx"), *common, check,
                    str(self.shape(model).vocab)], env
        rule = "encoder" if self.shape(model).encoder else "decoder"
        text = check if check == "-" else check + ".txt"
        return [os.path.join(self.args.dir, "llama_bench"), self.args.llama, os.path.join(folder, dtype + ".gguf"), *common, text, rule], env

    def available(self, engine, model):
        kind, dtype, *graph = engine.split()
        if kind == "llama":
            return bool(self.args.llama)
        if kind == "ort":
            return os.path.exists(os.path.join(self.folder(model), (graph[0] if graph else "int8") + ".onnx"))
        return True

    def run(self, engine, model, threads, shapes, rounds, check):
        """Runs one process and files its figures; a failure is kept and told."""
        path = os.path.join(self.args.dir, "check.json") if check else "-"
        command, env = self.command(engine, model, threads, shapes, rounds, path)
        before, start = processor_time(), time.monotonic()
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            out, err = p.communicate()
        wall, after = time.monotonic() - start, processor_time()
        print(f"  {self.args.seconds - self.left():6.1f} s  {model:12} {threads} thr  {engine:15} {wall:5.1f} s", file=sys.stderr)
        if p.returncode != 0:
            self.failures.append(f"{engine}, {model}, {threads} threads: {err.strip()[-400:]}")
            return
        report = json.loads(out)
        if engine.startswith("warm"):
            forward = report["forward"]
            report = {"seconds": {f["shape"]: f["seconds"] for f in forward}, "load_seconds": forward[0]["load_seconds"] if forward else 0,
                      "rss_bytes": max((f["rss_bytes"] for f in forward), default=0), "tokens": {f["shape"]: f["tokens"] for f in forward},
                      "peak": report["peaks"][0]["gflop_per_s"]}
        report.update(engine=engine, model=model, threads=threads, wall_seconds=wall)
        report["foreign"] = max(0.0, (after[0] - before[0] - (after[1] - before[1])) / wall / os.cpu_count())
        self.processes.append(report)
        for shape, seconds in report["seconds"].items():
            self.results.setdefault((model, threads, engine, shape), []).append((statistics.median(seconds), report["foreign"]))
        if check:
            self.check(engine, model, report.get("scores"))

    def prepare_check(self, model):
        """Writes four inputs and scores them with warm, for what is checked later."""
        top = min(4096, self.shape(model).vocab)
        inputs = [[(i * 37 + 11) % top for i in range(n)] for n in (6, 33, 64, 128)]
        path = os.path.join(self.args.dir, "check.json")
        with open(path, "w") as f:
            json.dump(inputs, f)
        with open(path + ".txt", "w") as f:
            f.writelines(" ".join(map(str, ids)) + "\n" for ids in inputs)
        self.inputs = "".join(json.dumps({"input_ids": ids}) + "\n" for ids in inputs)
        self.want[model] = self.own(model, "float32")

    def check(self, engine, model, scores):
        """Compares an engine's scores of the four inputs with those of warm f32."""
        kind, dtype, *_ = engine.split()
        if kind == "warm":
            scores = self.own(model, DTYPES[dtype])
        worst = max(abs(a - b) for a, b in zip(self.want[model], scores))
        self.checks.setdefault(model, {})[engine] = worst
        if dtype == "f32" and not worst <= TOLERANCE[kind]:
            self.failures.append(f"{engine}, {model}: scores differ by {worst:.2g} (standard deviation {statistics.pstdev(self.want[model]):.2g}): not the same function")

    def own(self, model, dtype):
        p = subprocess.run([self.args.warm, "score", "--dtype", dtype, "random:" + self.config(model)], input=self.inputs, capture_output=True, text=True)
        if p.returncode != 0:
            sys.exit(p.stderr)
        return [json.loads(line)["answers"][0]["reward"] for line in p.stdout.splitlines()]


def processor_time():
    """Seconds that the processors were busy or taken by the host, and those that
    this program's ended children have used."""
    with open("/proc/stat") as f:
        t = [int(x) for x in f.readline().split()[1:]]
    children = os.times()
    return (sum(t[:3]) + sum(t[5:8])) / os.sysconf("SC_CLK_TCK"), children.children_user + children.children_system


def plan(args):
    """Groups of processes: (model, threads, shapes by engine, rounds, whether it is
    repeated). What the others are not compared by runs once."""
    groups, machine = [], os.cpu_count()
    if args.shapes:
        return [(model, machine, {e: args.shapes for e in args.engines}, 3, True) for model in args.models]
    for model in args.models:
        tiny, qwen = model.startswith("minilm"), model.startswith("qwen3")
        small, large = ("8x128", "2x512") if qwen else ("32x128", "8x512")
        shapes = [small, "1x128"] if args.quick else [small, large, "1x32", "1x128", "1x512"]
        ragged = [] if qwen else ["32x16-128"] if args.quick else ["32x16-128", "8x64-512"]
        rare = () if tiny else ("ort f32 export", "llama f32")
        main = {e: shapes + ragged * e.startswith("warm") for e in args.engines if e not in rare}
        groups.append((model, machine, main, 3 if tiny else 1, True))
        if not args.quick:
            groups.append((model, machine, {e: [small] for e in args.engines if e in rare}, 1, False))
        if model == "dec12x768" or qwen and not args.quick:
            peers = () if qwen else ("torch f32", "ort f32 fused", "pytorch f32", "openvino f32", "onnxruntime f32")
            shared = {e: ["8x400+50", "8x450"] if e == "warm f32" else ["8x450"] for e in args.engines if e in ("warm f32", *peers)}
            groups.append((model, machine, shared, 1, False))
        if machine > 1 and not args.quick and not qwen:
            few = args.engines if tiny else [e for e in args.engines if e in ("warm f32", "warm bf16", "torch f32", "ort f32 fused", *CURRENT)]
            # A quarter of the sequences: the rate is the same.
            groups.append((model, 1, {e: ["8x128", "2x512", "1x128"] if tiny else ["8x128", "1x128"] for e in few}, 1, False))
    return groups


def measure(bench, groups):
    """Runs the repeated groups once, then the others, then repeats while there is
    time. What finds no time is told."""
    cost, checked = {}, set()

    def once(group):
        model, threads, by_engine, rounds, _ = group
        start = time.monotonic()
        for engine, shapes in by_engine.items():
            if bench.available(engine, model):
                bench.run(engine, model, threads, shapes, rounds, (model, engine) not in checked)
                checked.add((model, engine))
        cost[id(group)] = max(cost.get(id(group), 0), time.monotonic() - start)

    main = [g for g in groups if g[4]]
    for group in main:
        once(group)
    for group in groups:
        if group[4]:
            continue
        if bench.left() > 0:
            once(group)
        else:
            bench.failures.append(f"{group[0]}, {group[1]} threads, {', '.join(group[2])}: no time left (--seconds)")
    for _ in range(bench.args.repeats - 1):
        for group in main:
            if cost[id(group)] <= bench.left():
                once(group)


def train(bench):
    """The training step of the two models for which the design names one."""
    out = {}
    for model, steps in (("minilm6x384", 3), ("bert12x768", 1)):
        if model not in bench.args.models:
            continue
        env = dict(bench.environment, OMP_NUM_THREADS=str(os.cpu_count()), **bench.tuned)
        p = subprocess.run([sys.executable, os.path.join(HERE, "train.py"), bench.folder(model), str(os.cpu_count()), str(steps)],
                           env=env, capture_output=True, text=True)
        if p.returncode != 0:
            bench.failures.append(f"training {model}: {p.stderr.strip()[-400:]}")
        else:
            out[model] = json.loads(p.stdout)
    return out


class Report:
    """Turns the figures into Markdown."""

    def __init__(self, bench):
        self.b = bench
        self.tokens = {}
        for p in bench.processes:
            for shape, n in p.get("tokens", {}).items():
                self.tokens[p["model"], shape] = n

    def times(self, *key):
        """Returns seconds of the undisturbed processes, of all if there are none."""
        times = self.b.results.get(key, [])
        return [s for s, foreign in times if foreign <= QUIET] or [s for s, _ in times]

    def seconds(self, *key):
        times = self.times(*key)
        return statistics.median(times) if times else None

    def disturbed(self, *key):
        return all(foreign > QUIET for _, foreign in self.b.results[key])

    def count(self, model, shape):
        if (model, shape) in self.tokens:
            return self.tokens[model, shape]
        batch, length = map(int, shape.split("x"))
        return batch * length

    def rate(self, model, threads, engine, shape):
        s = self.seconds(model, threads, engine, shape)
        return self.count(model, shape) / s if s else None

    def best(self, model, threads, shape, engines):
        rates = [r for e in engines if (r := self.rate(model, threads, e, shape))]
        return max(rates, default=None)

    def memory(self, model, threads, engine):
        return statistics.median([p["rss_bytes"] for p in self.b.processes
                                  if (p["model"], p["threads"], p["engine"]) == (model, threads, engine) and len(p["seconds"]) > 1] or [0])

    def throughput(self, model, threads):
        shapes = [s for s in sorted({k[3] for k in self.b.results if k[:2] == (model, threads)}, key=order)
                  if plain(s) and not s.startswith("1x") and s != "8x450"]
        if not shapes:
            return []
        s = self.b.shape(model)
        lines = [f"### {model}, {threads} thread{'s' * (threads > 1)}", "",
                 "| engine | " + " | ".join(f"{x} tokens/s | GFLOP/s | x ORT f32 | processes (spread)" for x in shapes) + " | RSS MB |",
                 "| --- |" + " ---: |" * (4 * len(shapes) + 1)]
        for e in self.b.args.engines:
            cells = []
            for x in shapes:
                r = self.rate(model, threads, e, x)
                base = self.best(model, threads, x, ORT)
                if r is None:
                    cells += ["", "", "", ""]
                    continue
                length = int(x.split("x")[1])
                times = self.times(model, threads, e, x)
                noise = "*" if self.disturbed(model, threads, e, x) else ""
                work = s.flops(length) / length * r / 1e9
                cells += [f"{r:,.0f}{noise}", f"{work:,.0f}", f"{r / base:.2f}" if base else "", f"{len(times)} ({100 * (max(times) / min(times) - 1):.0f} %)"]
            if any(cells):
                lines.append(f"| {e} | " + " | ".join(cells) + f" | {self.memory(model, threads, e) / 1e6:,.0f} |")
        saved = ", ".join(f"{s.flops(n) / s.flops(n, True):.2f} at {n} tokens" for n in sorted({int(x.split('x')[1]) for x in shapes}))
        return lines + ["", f"GFLOP/s count the whole forward pass for all engines. warm leaves out what the score does not need in the last layer, which alone is worth {saved}.", ""]

    def latency(self):
        keys = sorted({(m, t, x) for m, t, _, x in self.b.results if x.startswith("1x")}, key=lambda k: (MODELS.index(k[0]), -k[1], order(k[2])))
        if not keys:
            return []
        engines = [e for e in self.b.args.engines if any(self.seconds(m, t, e, x) for m, t, x in keys)]
        lines = ["### One sequence alone, ms", "", "| model | threads | tokens | " + " | ".join(engines) + " |", "| --- |" + " ---: |" * (2 + len(engines))]
        for m, t, x in keys:
            cells = [f"{1e3 * s:.1f}{'*' * self.disturbed(m, t, e, x)}" if (s := self.seconds(m, t, e, x)) else "" for e in engines]
            lines.append(f"| {m} | {t} | {x[2:]} | " + " | ".join(cells) + " |")
        return lines + [""]

    def ragged(self):
        lines = []
        for m, t, e, x in sorted(k for k in self.b.results if "-" in k[3]):
            batch, lengths = x.split("x")
            padded = f"{batch}x{lengths.split('-')[1]}"
            real, full = self.count(m, x), self.count(m, padded)
            own, uniform = self.rate(m, t, e, x), self.rate(m, t, e, padded)
            ort = self.best(m, t, padded, ("ort int8", "onnxruntime int8") if e in INT8 else ORT)
            if not own or not uniform:
                continue
            peer = f"{ort * real / full:,.0f} | {own / (ort * real / full):.2f}" if ort else " | "
            lines.append(f"| {m} | {x} | {e} | {own:,.0f}{'*' * self.disturbed(m, t, e, x)} | {100 * own / uniform:.0f} % | {peer} |")
        if not lines:
            return []
        return ["### Ragged lengths, real tokens/s", "",
                "| model | shape | engine | warm | of its uniform batch | ORT, padded | x |", "| --- | --- | --- | ---: | ---: | ---: | ---: |", *lines, "",
                "ORT, padded: its own uniform batch of this padded size, times the share of real tokens (no mask, in its favour; int8 against int8, else against f32).", ""]

    def prefix(self):
        lines = []
        for m, t, e, x in sorted(k for k in self.b.results if "+" in k[3]):
            shared, apart = self.rate(m, t, e, x), self.rate(m, t, e, "8x450")
            for peer in self.b.args.engines:
                r = apart if peer == e else self.rate(m, t, peer, "8x450")
                if shared and r:
                    lines.append(f"| {m} | {e}, shared prompt | {shared:,.0f} | {peer}, 8 rows of 450 | {r:,.0f} | {shared / r:.2f} |")
        if not lines:
            return []
        return ["### Eight answers of 50 tokens to one prompt of 400, tokens of the eight rows a second", "",
                "| model | | tokens/s | against | tokens/s | x |", "| --- | --- | ---: | --- | ---: | ---: |", *lines, ""]

    def training(self, steps):
        if not steps:
            return []
        lines = ["### Training step in PyTorch, 16 pairs x 2 x 128 tokens, Bradley-Terry, AdamW, f32", "",
                 "| model | s/step | tokens/s | GFLOP/s | forward | backward | update |", "| --- |" + " ---: |" * 6]
        for model, r in steps.items():
            s = statistics.median(r["seconds"])
            phases = " | ".join(f"{1e3 * statistics.median(v):,.0f} ms" for v in r["phases"].values())
            lines.append(f"| {model} | {s:.2f} | {r['tokens'] / s:,.0f} | {r['flops'] / s / 1e9:.0f} | {phases} |")
        return lines + [""]

    def agreement(self):
        lines = ["### Largest difference of four scores from warm f32", "", "| engine | " + " | ".join(self.b.checks) + " |", "| --- |" + " ---: |" * len(self.b.checks)]
        for e in self.b.args.engines:
            cells = [f"{self.b.checks[m][e]:.1e}" if e in self.b.checks[m] else "" for m in self.b.checks]
            if any(cells):
                lines.append(f"| {e} | " + " | ".join(cells) + " |")
        return lines + [""]

    def text(self, steps):
        b = self.b
        foreign = [p["foreign"] for p in b.processes]
        peaks = [p["peak"] for p in b.processes if p["engine"] == "warm f32" and p["threads"] == os.cpu_count() and "peak" in p]
        versions = {p["engine"].split()[0]: p["version"] for p in b.processes if "version" in p}
        lines = [f"{len(b.processes)} processes in {time.monotonic() - b.start:.0f} s, {os.cpu_count()} processors; "
                 f"torch {versions.get('torch') or versions.get('pytorch', '-')}, ONNX Runtime {versions.get('ort') or versions.get('onnxruntime', '-')}, "
                 f"OpenVINO {versions.get('openvino', '-')}, llama.cpp {b.args.llama_version or '-'}.",
                 f"f32 peak, all processors: {statistics.median(peaks):.0f} GFLOP/s." if peaks else "",
                 f"Processor time that others took meanwhile: median {100 * statistics.median(foreign):.0f} %, worst {100 * max(foreign):.0f} %. "
                 f"Processes beside which others took over {100 * QUIET:.0f} % count only where there is no other, and are marked *: such figures prove nothing.", ""]
        for model in b.args.models:
            for threads in sorted({os.cpu_count(), 1}, reverse=True):
                lines += self.throughput(model, threads)
        lines += self.latency() + self.ragged() + self.prefix() + self.training(steps) + self.agreement()
        if b.failures:
            lines += ["### Failures", ""] + ["- " + f for f in b.failures] + [""]
        return "\n".join(lines)


def order(shape):
    batch, length = shape.split("x")
    return (batch == "1", length.isdigit() and int(length) or 0, length)


def plain(shape):
    return shape.replace("x", "").isdigit()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dir", required=True, help="folder that run.sh prepared")
    p.add_argument("--warm", required=True, help="the warm program")
    p.add_argument("--configs", required=True, help="folder of the models' config.json files")
    p.add_argument("--openblas", default="", help="folder of the OpenMP build of OpenBLAS")
    p.add_argument("--llama", default="", help="folder of llama.cpp's libraries; without it, llama.cpp is left out")
    p.add_argument("--llama-version", default="")
    p.add_argument("--models", type=lambda s: s.split(","), default=list(MODELS))
    p.add_argument("--engines", type=lambda s: s.split(","), help="some of " + ", ".join(dict.fromkeys(ENGINES + CURRENT)))
    p.add_argument("--current", action="store_true", help="this Python has the peers of PyPI, and the others are left out")
    p.add_argument("--shapes", type=lambda s: s.split(","), help="these batches alone, as in 1x32,1x128,1x512, on all threads; no training")
    p.add_argument("--seconds", type=float, default=640, help="do not begin a repetition that would end later than this")
    p.add_argument("--repeats", type=int, default=5, help="processes for each figure, as far as --seconds allows")
    p.add_argument("--quick", action="store_true", help="one length, all threads, one process of most engines")
    args = p.parse_args()
    args.engines = args.engines or list(CURRENT if args.current else ENGINES)
    bench = Bench(args)
    for model in args.models:
        bench.prepare_check(model)
    steps = {} if args.quick or args.shapes else train(bench)
    measure(bench, plan(args))
    text = Report(bench).text(steps)
    with open(os.path.join(args.dir, "peers.json"), "w") as f:
        json.dump({"processes": bench.processes, "checks": bench.checks, "training": steps, "failures": bench.failures,
                   "seconds": {" | ".join(map(str, k)): v for k, v in bench.results.items()}}, f, indent=1)
    with open(os.path.join(args.dir, "peers.md"), "w") as f:
        f.write(text + "\n")
    print(text)
    sys.exit(1 if bench.failures else 0)


if __name__ == "__main__":
    main()
