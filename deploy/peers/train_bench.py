"""Measures training steps of warm and PyTorch side by side.

train.sh prepares what this needs and calls it. Processes alternate (A B C A B C),
so that a slow minute of the machine hits all of them, and what other programs took
of the processors is measured beside each. A figure is the median over processes of
each process's median step; the ratio is the median of the ratios of neighbours."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import bench
import weights

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ("minilm6x384", "dec6x384", "bert12x768", "dec12x768")
ENGINES = ("warm f32", "torch f32", "warm bf16")
CURRENT = (*ENGINES, "torch bf16")
PAIRS, LENGTH = 16, 128  # train.py has the same


def config(args, model):
    own = os.path.join(HERE, f"train-{model}.json")
    return own if os.path.exists(own) else os.path.join(args.configs, model + ".json")


def checkpoint(args, model):
    """Writes the weights of warm's random model for PyTorch, once."""
    folder = os.path.join(args.dir, "models", model)
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        subprocess.run([args.warm, "bench", "checkpoint", "--random", config(args, model), folder], check=True)
    return folder


def step(args, engine, model, environment):
    """Runs one process; returns its median seconds, tokens of a step, parts, loss
    before and after, memory, and the share that others took of the processors."""
    kind, dtype = engine.split()
    steps = args.steps or (5 if "6x384" in model else 2)
    env = dict(os.environ)
    if kind == "warm":
        command = [args.warm, "bench", "train", "--random", config(args, model), "--batch", str(PAIRS), "--length", str(LENGTH),
                   "--threads", str(args.threads), "--dtype", bench.DTYPES[dtype], "--rounds", str(steps), "--json"]
    else:
        command = [sys.executable, os.path.join(HERE, "train.py"), checkpoint(args, model), str(args.threads), str(steps), dtype]
        env.update(environment, OMP_NUM_THREADS=str(args.threads))
    before, start = bench.processor_time(), time.monotonic()
    p = subprocess.run(command, env=env, capture_output=True, text=True)
    wall, after = time.monotonic() - start, bench.processor_time()
    if p.returncode != 0:
        sys.exit(f"{engine}, {model}: {p.stderr.strip()[-400:]}")
    r = json.loads(p.stdout)
    if kind == "warm":
        s = r["steps"][0]
        out = {"seconds": s["seconds"], "tokens": s["tokens"], "losses": s["losses"], "rss_bytes": s["rss_bytes"],
               "parts": list(s["parts"].values()), "peak": s["peak_gflop_per_s"], "share": s["share_of_peak"]}
    else:
        out = {"seconds": r["seconds"], "tokens": r["tokens"], "losses": r["losses"], "rss_bytes": r["rss_bytes"], "parts": list(r["phases"].values())}
    if not out["losses"][-1] < out["losses"][0]:
        sys.exit(f"{engine}, {model}: the loss does not fall: {out['losses']}")
    foreign = max(0.0, (after[0] - before[0] - (after[1] - before[1])) / wall / os.cpu_count())
    print(f"  {model:12} {engine:10} {statistics.median(out['seconds']):7.3f} s/step  others {100 * foreign:3.0f} %", file=sys.stderr)
    return dict(out, model=model, engine=engine, foreign=foreign)


def table(args, processes):
    lines = [f"Training step, {PAIRS} pairs x 2 x {LENGTH} tokens, Bradley-Terry, AdamW, {args.threads} threads", "",
             "| model | engine | tokens/s | x PyTorch | x, same work | of peak | forward | backward | update | RSS MB | processes (spread) |",
             "| --- | --- |" + " ---: |" * 9]
    for model in args.models:
        with open(config(args, model)) as f:
            s = weights.Shape(json.load(f))
        saved = s.flops(LENGTH) / s.flops(LENGTH, True)
        for engine in args.engines:
            torch = [p for p in processes if (p["model"], p["engine"]) == (model, "torch " + engine.split()[1])] or \
                [p for p in processes if (p["model"], p["engine"]) == (model, "torch f32")]
            mine = [p for p in processes if (p["model"], p["engine"]) == (model, engine)]
            if not mine:
                continue
            times = [statistics.median(p["seconds"]) for p in mine]
            ratios = [statistics.median(t["seconds"]) / x for t, x in zip(torch, times)]
            ratio = statistics.median(ratios) if ratios else float("nan")
            own = engine.startswith("warm")
            share = f"{100 * statistics.median(p['share'] for p in mine):.0f} %" if own else ""
            parts = " | ".join(f"{1e3 * statistics.median(statistics.median(p['parts'][i]) for p in mine):,.0f} ms" for i in range(3))
            lines.append(f"| {model} | {engine} | {mine[0]['tokens'] / statistics.median(times):,.0f} | {ratio:.2f} | {ratio / saved if own else 1:.2f} | {share} | {parts} | "
                         f"{statistics.median(p['rss_bytes'] for p in mine) / 1e6:,.0f} | {len(times)} ({100 * (max(times) / min(times) - 1):.0f} %) |")
    foreign = [p["foreign"] for p in processes]
    return "\n".join(lines + ["", "x PyTorch: in the same number format where that was measured, else in f32.",
                              "x, same work: without what warm leaves out because the score does not need it: in the last layer, all but the scored token after keys and values.",
                              "of peak: of all threads in warm's number format, measured in the same process; what is left out is not counted.",
                              f"Processor time that others took meanwhile: median {100 * statistics.median(foreign):.0f} %, worst {100 * max(foreign):.0f} %."])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dir", required=True, help="folder for models and results")
    p.add_argument("--warm", required=True, help="the warm program")
    p.add_argument("--configs", required=True, help="folder of the models' config.json files")
    p.add_argument("--openblas", default="", help="folder of the OpenMP build of OpenBLAS")
    p.add_argument("--models", type=lambda s: s.split(","), default=list(MODELS))
    p.add_argument("--engines", type=lambda s: s.split(","), help="some of " + ", ".join(CURRENT))
    p.add_argument("--current", action="store_true", help="this Python has the PyTorch of PyPI: in bfloat16 too")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--processes", type=int, default=5, help="of each engine and model")
    p.add_argument("--steps", type=int, default=0, help="measured steps of a process (default 5, or 2 for 12x768)")
    args = p.parse_args()
    args.engines = args.engines or list(CURRENT if args.current else ENGINES)
    environment = {} if args.current else bench.tuning(args.openblas)
    processes = []
    for model in args.models:
        checkpoint(args, model)
        for _ in range(args.processes):
            processes += [step(args, e, model, environment) for e in args.engines]
    with open(os.path.join(args.dir, "train.json"), "w") as f:
        json.dump(processes, f, indent=1)
    print(table(args, processes))


if __name__ == "__main__":
    main()
