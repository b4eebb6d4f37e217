"""The steps of check.sh, each with a limit of its own, and their table."""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
import tarfile
import tempfile
import time
import traceback

import card as cards
import checkpoints
import figures
from figures import FAILED, MEASURED, MISSED, NOT_RUN, OK, PARTLY, Row
from process import Process

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
STEPS = ("tests", "kernels", "speeds", "torch", "serve", "live", "fp8", "fold")
MODELS = {"qwen3-0.6b": os.path.join(ROOT, "cmd/warm/testdata/qwen3-0.6b.json"), "llama-3.1-8b": os.path.join(HERE, "llama-3.1-8b.json")}

# WARM_CHECK_REHEARSE=cpu (or cuda) tries the script itself with models and tests that are tiny.
REHEARSE = os.environ.get("WARM_CHECK_REHEARSE", "")
DEVICE = REHEARSE or "cuda"
if REHEARSE:
    MODELS = dict.fromkeys(MODELS, os.path.join(HERE, "tiny.json"))
    checkpoints.ROOM = 1e9
LIMIT = 300  # of all, in seconds


class Missing(Exception):
    """Why a step cannot be run."""


class Check:
    def __init__(self, steps):
        self.begin = time.time()
        self.steps = steps or STEPS
        self.out = os.path.abspath(os.environ.get("OUT") or os.path.join(HERE, "out"))
        os.makedirs(self.out, exist_ok=True)
        self.work = tempfile.mkdtemp(prefix="warm-check-")
        self.store = None
        self.sections = {}
        self.card = {}
        self.reports = {}  # of warm bench engine, by model
        self.texts = {}
        self.codes = {}
        self.torch = self.writer = self.clock = None
        self.torch_why = ""

    def path(self, name):
        return os.path.join(self.out, name)

    def left(self, limit):
        """What a step may take of what is left for all."""
        left = LIMIT - (time.time() - self.begin)
        if left < 2:
            raise Missing(f"the {LIMIT} s for all steps are over")
        return min(limit, left)

    def run(self, name, argv, limit, **more):
        """Runs a command to its end, with its output in $OUT."""
        limit = self.left(limit)
        p = Process(argv, self.path(name + ".log"), **more)
        return p, p.wait(limit)

    def tool(self, name):
        path = os.path.join(self.work, name)
        if not os.path.exists(path):
            raise Missing(f"deploy/gpu/bin has no {name}: deploy/gpu/build.sh makes it on a machine with Go")
        return path

    def need_card(self):
        if "missing" in self.card and DEVICE != "cpu":
            raise Missing(self.card["missing"])

    # Steps.

    def unpack(self):
        folder = os.path.join(HERE, "bin")
        if os.path.exists(archive := os.path.join(folder, "programs.tar.xz")):
            with tarfile.open(archive) as t:
                t.extractall(self.work, filter="data")
        try:
            self.commit = open(os.path.join(folder, "commit")).read().strip().replace("\n", " ")
        except OSError:
            self.commit = "?"

    def find_card(self):
        p, code = self.run("card", [sys.executable, os.path.join(HERE, "card.py")], 30, out=self.path("card.json"))
        try:
            self.card = json.loads(p.results())
        except ValueError:
            self.card = {"missing": f"the driver does not answer: exit status {code}: {figures.ending(p.text())}"}
        if REHEARSE and "missing" in self.card:
            self.card |= {"name": "rehearsal", "capability": 90, "sms": 132, "memory": 0, "driver": "?", "cuda": "?"}
            del self.card["missing"]
        if "missing" in self.card:
            return [Row("card and driver", FAILED, self.card["missing"], "a card of capability 8.0 or later")]
        c = self.card
        return [Row("card and driver", OK if c["capability"] >= 80 else FAILED,
                    f"{c['name']}, capability {c['capability'] / 10}, {c['sms']} SMs, {c['memory'] / 1e9:.0f} GB; driver {c['driver']}, CUDA {c['cuda']}",
                    "capability 8.0 or later")]

    def start_background(self):
        """What needs no card yet, or leaves it alone."""
        if DEVICE != "cpu" and "missing" in self.card:
            return
        if "torch" in self.steps:
            if importlib.util.find_spec("torch") is None:
                self.torch_why = f"{sys.executable} has no PyTorch"
            else:
                self.torch = Process([sys.executable, os.path.join(HERE, "torch_bench.py"), "--wait", os.path.join(self.work, "go")],
                                     self.path("torch.log"), cwd=self.work)
        if {"serve", "live"} & set(self.steps):
            try:
                self.store = checkpoints.store()
                wanted = {"qwen3-0.6b": (MODELS["qwen3-0.6b"], 1), "other": (MODELS["qwen3-0.6b"], 2)}
                if "serve" in self.steps:
                    wanted["llama-3.1-8b"] = MODELS["llama-3.1-8b"], 1
                self.writer = checkpoints.Writer(self.tool("warm"), self.store, wanted, self.out)
            except (OSError, Missing) as e:
                self.writer_why = str(e)

    def checkpoint(self, name, limit):
        if self.writer is None:
            raise Missing(self.writer_why)
        if why := self.writer.wait(name, self.left(limit)):
            raise Missing(why)
        return os.path.join(self.store, name)

    def go_tests(self, step, binary, folder, limit, rehearsed, skip="", only="Test", log="", env=None):
        self.need_card()
        env = {**os.environ, **(env or {})}
        argv = [self.tool(binary), "-test.v", f"-test.timeout={limit}s", "-test.run=" + (only if not REHEARSE else rehearsed)]
        if skip:
            argv.append("-test.skip=" + skip)
        if not REHEARSE:
            env["WARM_TEST_CARD"] = "1"
        p, code = self.run(log or binary, argv, limit + 3, cwd=os.path.join(ROOT, folder), env=env)

        def compared(t):
            if not t.worst:
                return ""
            words = ", ".join(f"{kind} by at most {v:.2g}" for kind, v in sorted(t.worst.items(), reverse=True))
            return f"; rewards differ from the CPU's in {words}; {t.unlike} of {t.compared} differ in a bit from those alone"
        return [figures.tests_row(step, p.text(), code, compared)]

    def tests(self):
        return self.go_tests("engine: every architecture, batches, prefixes, three generations", "cuda.test", "model/cuda", 45,
                             "TestCardsScoreAsTheCPU/llama|TestAModelThat", skip="ProfileByKernel")

    def kernels(self):
        # TestPTX… compile the sources, for which a card's machine has no compiler; TestTimesOfTiles measures.
        return self.go_tests("kernels against their formulas", "kernel.test", "model/cuda/kernel", 40, "TestHead", skip="PTX|TimesOfTiles")

    def speeds(self):
        self.need_card()
        for model, config in MODELS.items():
            argv = [self.tool("warm"), "bench", "engine", "--device", DEVICE, "--random", config, "--forward-only", "--json",
                    "--rounds", "2" if REHEARSE else "15" if model.startswith("qwen") else "5", "--shape", ",".join(figures.SPEEDS[model])]
            try:
                p, self.codes[model] = self.run("speed-" + model, argv, 45, out=self.path(f"speed-{model}.json"))
                self.texts[model], self.reports[model] = p.text(), figures.document(p.results())
            except Missing as e:  # and what was measured before stands
                self.codes[model], self.texts[model], self.reports[model] = 1, str(e), None
        return self.speed_rows({})

    def speed_rows(self, rates):
        rows = []
        for model in self.reports:
            rows += figures.speed_rows(model, self.reports[model], rates, self.codes[model], self.texts[model])
        return rows

    def run_torch(self):
        self.need_card()
        if self.torch is None:
            raise Missing(self.torch_why)
        open(os.path.join(self.work, "go"), "w").close()
        code = self.torch.wait(self.left(100))
        text = self.torch.text()
        rates = figures.torch(text)
        if self.reports:
            self.sections["speeds"] = self.speed_rows(rates)
        versions = ", ".join(line.split(" imported")[0] for line in text.splitlines() if line.startswith(("torch ", "transformers ")) and " ms " not in line)
        whole = code == 0 and len(rates) == figures.COMPARISONS
        return [Row("PyTorch for comparison", OK if whole else PARTLY, f"{versions}: {len(rates)} of {figures.COMPARISONS} figures"
                    + ("" if whole else "; " + figures.ending(text)))]

    def serve(self):
        self.need_card()
        starts, loads = [], []
        self.clock = cards.Clock()  # not before: what else is timed is not to be disturbed
        for model, seconds, warmup, least, soon in (("qwen3-0.6b", 8, 2, None, 1), ("llama-3.1-8b", 10, 4, 0.8, 4)):
            title = f"start to first reward, {model}"
            try:
                folder = self.checkpoint(model, 60)
                took = []
                for again in (False, True):
                    with Served(self, folder, f"serve-{model}-{1 + again}") as s:
                        took.append(s.first_reward(self.left(30)))
                        if again:
                            starts.append(Row(title, OK if took[1] <= soon else MISSED, f"{took[1]:.2f} s (the first time {took[0]:.2f} s)", f"{soon} s"))
                            loads.append(self.load(model, s.url, seconds, warmup, least))
            except Missing as e:
                starts.append(Row(title, FAILED, str(e), f"{soon} s"))
        return loads + starts + self.compiled()

    def compiled(self):
        """The start where the driver has to compile the kernels, beside that with their machine code, of one model."""
        title = "start to first reward, qwen3-0.6b, kernels from"
        rows = []
        for words, env in (("machine code", {}), ("PTX that the driver compiles", {"WARM_CUDA_PTX": "1"})):
            try:
                with Served(self, self.checkpoint("qwen3-0.6b", 10), "start-" + words.split()[0], {"CUDA_CACHE_DISABLE": "1", **env}) as s:
                    rows.append(Row(f"{title} {words}", MEASURED, f"{s.first_reward(self.left(60)):.2f} s without the driver's cache"))
            except Missing as e:
                rows.append(Row(f"{title} {words}", FAILED, str(e)))
        return rows

    def load(self, model, url, seconds, warmup, least):
        if REHEARSE:
            seconds, warmup = 2, 1
        self.clock.watch(url, warmup + seconds)
        argv = [self.tool("warm"), "bench", "load", "--url", url, "--clients", "256", "--new-connections", "--prompt", "256",
                "--answer", "256", "--warmup", f"{warmup}s", "--duration", f"{seconds}s", "--timeout", "30s", "--json"]
        begin = time.time()
        p, code = self.run(f"load-{model}", argv, warmup + seconds + 20, out=self.path(f"load-{model}.json"))
        clock = figures.clock_of(self.clock.samples, begin + warmup + 0.5, begin + warmup + seconds)
        return figures.load_row(f"{model} over HTTP, 256 clients, one sample of 513 tokens a request", figures.document(p.results()), code,
                                p.text(), figures.flops_per_token(self.reports.get(model)), self.card, clock, least)

    def live(self):
        self.need_card()
        folders = [self.checkpoint(name, 30) for name in ("qwen3-0.6b", "other")]
        argv = [sys.executable, os.path.join(HERE, "live.py"), "--warm", self.tool("warm"), "--device", DEVICE, "--models", ",".join(folders),
                "--log", self.path("live-server.log")]
        if DEVICE != "cpu":
            huge = os.path.join(self.store, "huge")
            checkpoints.huge(huge)
            argv += ["--big", huge]
        p, code = self.run("live", argv, 75, out=self.path("live.json"))
        return figures.live_rows(p.text(), code)

    def fp8(self):
        self.need_card()
        if self.card["capability"] < 89:
            return [Row("fp8", MEASURED, "needs a card of capability 8.9 or later")]
        small = "int8" if DEVICE == "cpu" else "fp8"
        bench = [self.tool("warm"), "bench", "engine", "--device", DEVICE, "--forward-only", "--json"]
        rows = []
        for model, config in MODELS.items():
            p, code = self.run("fp8-" + model, bench + ["--random", config, "--dtype", small, "--rounds", "5", "--shape", ",".join(figures.FP8_SPEEDS)],
                               40, out=self.path(f"fp8-{model}.json"))
            rows += figures.beside_rows(model, "in fp8", figures.FP8_SPEEDS, figures.document(p.results()), self.reports.get(model), code, p.text())
        p, code = self.run("fp8-cost", bench + ["--random", MODELS["qwen3-0.6b"], "--dtype", "float32,bfloat16," + small, "--rounds", "1", "--shape", "64x64"],
                           25, out=self.path("fp8-cost.json"))
        return rows + [figures.cost_row("what number formats cost, qwen3-0.6b, random weights", figures.document(p.results()), code, p.text())]

    def fold(self):
        """RMSNorm inside the products, which has to be asked for: its bits, and its speed beside that without."""
        env = {"WARM_CUDA_FOLD": "1"}
        rows = self.go_tests("norms in products: every architecture, batches, prefixes", "cuda.test", "model/cuda", 30, "TestAModelThat",
                             only="TestCardsScoreAsTheCPU|TestRewardsOfCards|TestProductsNormalise", log="fold-tests", env=env)
        for model, config in MODELS.items():
            argv = [self.tool("warm"), "bench", "engine", "--device", DEVICE, "--random", config, "--forward-only", "--json",
                    "--rounds", "2" if REHEARSE else "15" if model.startswith("qwen") else "5", "--shape", ",".join(figures.FOLD_SPEEDS)]
            p, code = self.run("fold-" + model, argv, 30, out=self.path(f"fold-{model}.json"), env={**os.environ, **env})
            rows += figures.beside_rows(model, "norms in products", figures.FOLD_SPEEDS, figures.document(p.results()), self.reports.get(model), code,
                                        p.text())
        return rows

    # The table.

    def note(self, name, title, step):
        """Runs a step, whose rows stand in the table whatever happens."""
        begin = time.time()
        try:
            self.sections[name] = step()
        except Missing as e:
            self.sections[name] = [Row(title, NOT_RUN, str(e))]
        except Exception as e:
            traceback.print_exc()
            self.sections[name] = [Row(title, FAILED, f"{type(e).__name__}: {e}")]
        for r in self.sections[name]:
            print(f"{time.time() - self.begin:5.0f} s  {name} ({time.time() - begin:.0f} s): {r.step}: {r.result}: {r.figure}", flush=True)
        self.write()

    def rows(self):
        return [r for name in ("card",) + STEPS for r in self.sections.get(name, [])]

    def write(self):
        c = self.card
        what = c.get("missing") or f"{c['name']}, driver {c['driver']} (CUDA {c['cuda']})"
        clock = f" Clocks are of {self.clock.source}, the mean while the server was under load." if self.clock and self.clock.source else ""
        with open(self.path("check.md"), "w") as f:
            f.write(f"`deploy/gpu/check.sh{''.join(' ' + s for s in self.steps) if tuple(self.steps) != STEPS else ''}` of commit {self.commit} on {what}, "
                    f"{time.strftime('%Y-%m-%d', time.gmtime())}, {time.time() - self.begin:.0f} s.{clock}"
                    f"{' A rehearsal with tiny models: no figure means anything.' if REHEARSE else ''}\n\n" + figures.table(self.rows()))

    def main(self):
        try:
            self.unpack()
            self.note("card", "card and driver", self.find_card)
            self.start_background()
            for name, title, step in (("tests", "engine tests", self.tests), ("kernels", "kernel tests", self.kernels),
                                      ("speeds", "speeds of the engine", self.speeds), ("torch", "PyTorch for comparison", self.run_torch),
                                      ("serve", "the server over HTTP", self.serve), ("live", "a live server", self.live),
                                      ("fp8", "fp8 beside bfloat16", self.fp8), ("fold", "norms in products", self.fold)):
                if name in self.steps:
                    self.note(name, title, step)
        finally:
            if self.torch:
                self.torch.kill()
            if self.writer:
                self.writer.end()
            if self.clock:
                self.clock.end()
            for folder in (self.work, self.store):
                if folder:
                    shutil.rmtree(folder, ignore_errors=True)
        print("\n" + open(self.path("check.md")).read())
        rows = self.rows()
        # Without PyTorch there is no comparison, which is no failure of warm.
        bad = [r for r in rows if r.result == FAILED or r.result == NOT_RUN and r.step != "PyTorch for comparison" and DEVICE != "cpu"]
        print(f"{len(bad)} failed, {sum(r.result == MISSED for r in rows)} missed a target, {len(rows)} rows, {time.time() - self.begin:.0f} s")
        return 1 if bad else 0


class Served:
    """warm serve on a checkpoint, stopped at the end."""

    def __init__(self, check, folder, name, env=None):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.check = check
        self.process = Process([check.tool("warm"), "serve", "--addr", f"127.0.0.1:{self.port}", "--device", DEVICE, "--model", "bench=" + folder],
                               check.path(name + ".log"), env={**os.environ, **(env or {})})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop(10)

    def first_reward(self, limit):
        """Seconds from the start to the first reward."""
        body = json.dumps({"inputs": [{"input_ids": list(range(5, 69))}]})
        status = "no answer"
        while time.time() < self.process.begin + limit and self.process.process.poll() is None:
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
                c.request("POST", "/v1/reward", body, {"Content-Type": "application/json"})
                r = c.getresponse()
                status = f"{r.status}: {r.read().decode(errors='replace')[:200]}"
                c.close()
                if r.status == 200:
                    return time.time() - self.process.begin
            except OSError:
                pass
            time.sleep(0.005)
        raise Missing(f"no reward within {time.time() - self.process.begin:.0f} s: {status}: {figures.ending(self.process.text())}")


if __name__ == "__main__":
    wrong = set(sys.argv[1:]) - set(STEPS)
    if wrong:
        sys.exit(f"check.sh: no such step: {', '.join(sorted(wrong))}; there are {', '.join(STEPS)}")
    check = Check(tuple(sys.argv[1:]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    sys.exit(check.main())
