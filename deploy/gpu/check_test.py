"""python3 deploy/gpu/check_test.py: what programs print is read as it is meant, and processes end."""

import json
import os
import struct
import sys
import tempfile
import time
import unittest

import checkpoints
import figures as f
from process import TIME_IS_UP, Process

ENGINE = """=== RUN   TestCardsScoreAsTheCPU
=== RUN   TestCardsScoreAsTheCPU/albert
=== RUN   TestCardsScoreAsTheCPU/albert/float32_on_sm_80
    engine_test.go:136: largest difference 3e-07
=== RUN   TestCardsScoreAsTheCPU/albert/bfloat16_on_sm_90
    engine_test.go:136: largest difference 0.0066
=== RUN   TestRewardsOfCardsAreEqualToTheBit/llama_deep_bfloat16_on_sm_90
    engine_test.go:187: 68 sequences: largest difference 0.67, 0 differ in a bit
--- PASS: TestCardsScoreAsTheCPU (0.10s)
    --- PASS: TestCardsScoreAsTheCPU/albert (0.10s)
        --- PASS: TestCardsScoreAsTheCPU/albert/float32_on_sm_80 (0.05s)
        --- PASS: TestCardsScoreAsTheCPU/albert/bfloat16_on_sm_90 (0.05s)
--- PASS: TestRewardsOfCardsAreEqualToTheBit (0.30s)
    --- PASS: TestRewardsOfCardsAreEqualToTheBit/llama_deep_bfloat16_on_sm_90 (0.30s)
PASS
"""

TORCH = """transformers 4.57.1
torch 2.11.0+cu130 NVIDIA H200 imported in 46 s
packed compiled cudnn qwen3-0.6b 32x512:    31.69 ms     516959 tokens/s (12 s)
packed compiled flash qwen3-0.6b 32x512:    31.85 ms     514402 tokens/s (1 s)
packed llama-3.1-8b 1x512:    11.06 ms      46279 tokens/s (2 s)
packed llama-3.1-8b 8x2048 failed: OutOfMemoryError 'CUDA out of memory: 5 tokens/s'
(packed took 32 s)
transformers sdpa qwen3-0.6b ragged 32, 15924 tokens padded to 30880:   192.75 ms      82616 tokens/s
transformers llama-3.1-8b ragged:   933.40 ms      17060 tokens/s (15924 tokens padded to 30880)
"""


def report(**tokens_per_s):
    return {"forward": [{"shape": s.replace("_", "-"), "tokens_per_s": r, "gflop_per_s": r * 0.91, "seconds": [0.0281, 0.0283, 0.0282]}
                        for s, r in tokens_per_s.items()]}


class Figures(unittest.TestCase):
    def test_tests(self):
        t = f.tests(ENGINE)
        self.assertEqual((t.passed, t.skipped, t.failed, t.complete), (3, 0, (), True))
        self.assertEqual(t.worst, {"float32": 3e-07, "bfloat16": 0.67})
        self.assertEqual((t.compared, t.unlike), (68, 0))
        self.assertEqual(f.tests_row("x", ENGINE, 0).result, f.OK)

    def test_tests_that_went_wrong(self):
        for what, text, code in (
            ("killed", ENGINE.replace("PASS\n", "", 1)[:300], 137),
            ("exit status", ENGINE, 1),
            ("nothing ran", "testing: warning: no tests to run\nPASS\n", 0),
            ("a bit", ENGINE.replace("0 differ", "1 differ"), 0),
            ("a failure", ENGINE.replace("--- PASS: TestCardsScoreAsTheCPU/albert/f", "--- FAIL: TestCardsScoreAsTheCPU/albert/f"), 0),
            ("a panic", ENGINE[:300] + "\npanic: out of registers\n\ngoroutine 1\n", 2),
        ):
            row = f.tests_row("x", text, code)
            self.assertEqual(row.result, f.FAILED, what)
        self.assertIn("panic: out of registers", row.figure)

    def test_torch(self):
        rates = f.torch(TORCH)
        self.assertEqual(rates, {
            ("packed", "qwen3-0.6b", "32x512"): 516959, ("packed", "llama-3.1-8b", "1x512"): 46279,
            ("transformers", "qwen3-0.6b", "ragged"): 82616, ("transformers", "llama-3.1-8b", "ragged"): 17060})
        self.assertEqual(f.torch("no torch"), {})

    def test_speeds(self):
        rates = f.torch(TORCH)
        rates["transformers", "qwen3-0.6b", "32x512"] = 198382
        by = lambda **r: {row.step: row for row in f.speed_rows("qwen3-0.6b", report(**r), rates, 0, "")}
        rows = by(**{"32x512": 630000})
        self.assertEqual(len(rows), len(f.SPEEDS["qwen3-0.6b"]), "a row for each shape")
        row = rows["qwen3-0.6b, 32 × 512"]
        self.assertEqual(row.result, f.OK)
        self.assertEqual(row.figure, "630,000 tokens/s, 28.20 ms")
        self.assertEqual(row.beside, "1.22 × packed (516,959), 3.18 × transformers (198,382)")
        self.assertEqual(rows["qwen3-0.6b, 1 × 64"].result, f.FAILED, "it was not measured")
        self.assertEqual(by(**{"32x512": 580000})["qwen3-0.6b, 32 × 512"].result, f.MISSED)
        self.assertEqual(by(**{"1x64": 50000})["qwen3-0.6b, 1 × 64"].result, f.MISSED, "28 ms")
        self.assertEqual(by(**{"8x2048": 50000})["qwen3-0.6b, 8 × 2048"].result, f.MEASURED, "there is no target")
        rates.clear()
        self.assertEqual(by(**{"32x512": 1})["qwen3-0.6b, 32 × 512"].result, f.MEASURED, "beside nothing")
        self.assertEqual(f.speed_rows("qwen3-0.6b", None, {}, 1, "warm: device cuda: none")[0].result, f.FAILED)

    def test_fp8(self):
        rows = f.beside_rows("m", "in fp8", f.FP8_SPEEDS, report(**{"32x512": 900, "1x512": 80}), report(**{"32x512": 600}), 0, "")
        self.assertEqual([r.figure for r in rows], ["900 tokens/s, 28.20 ms, 1.50 × bfloat16", "80 tokens/s, 28.20 ms"])
        self.assertEqual({r.result for r in rows}, {f.MEASURED})
        self.assertEqual([r.step for r in f.beside_rows("m", "norms in products", f.FOLD_SPEEDS, None, None, 1, "")],
                         [f"m, {s}, norms in products" for s in ("32 × 512", "1 × 512", "1 × 64")])
        self.assertEqual([r.result for r in f.beside_rows("m", "in fp8", f.FP8_SPEEDS, None, None, 1, "warm: no")], [f.FAILED, f.FAILED])
        cost = {"forward": [{"dtype": "float32"}, {"dtype": "bfloat16", "rms_error_of_score_std": 0.004, "pair_order_kept": 1},
                            {"dtype": "fp8", "rms_error_of_score_std": 0.06, "pair_order_kept": 0.98}]}
        row = f.cost_row("x", cost, 0, "")
        self.assertEqual(row.figure, "bfloat16 0.40% RMS of the rewards' spread, 100.0% of pairs in the same order; "
                                     "fp8 6.00% RMS of the rewards' spread, 98.0% of pairs in the same order")
        self.assertEqual(f.cost_row("x", {"forward": cost["forward"][:2]}, 0, "").result, f.FAILED)
        self.assertEqual(f.tests(ENGINE.replace("bfloat16_on", "fp8_on")).worst, {"float32": 3e-07, "fp8": 0.67})

    def test_document(self):
        self.assertEqual(f.document('computing on cuda:0\n{\n "a": 1}\n'), {"a": 1})
        self.assertIsNone(f.document("warm: device cuda: cuda: no libcuda.so.1"))
        self.assertIsNone(f.document('{\n "a": '))

    def test_share(self):
        card = {"capability": 90, "sms": 132}
        share, words = f.share_of_peak(47085, 15.2e9, card, 1.6e9)
        self.assertAlmostEqual(share, 47085 * 15.2e9 / (132 * 4096 * 1.6e9))
        self.assertEqual(words, "82.7% of 865 TFLOP/s = 132 SMs × 4096 × 1.600 GHz, at 15.20 GFLOP a token")
        self.assertIsNone(f.share_of_peak(1, 1, {"capability": 80, "sms": 108}, 1e9)[0])
        self.assertIn("the clock", f.share_of_peak(1, 1, card, 0)[1])
        self.assertEqual(round(f.flops_per_token(report(**{"32x512": 100})) / 1e6), 910)

    def test_clock(self):
        samples = [(1.0, 345), (2.0, 1500), (3.0, 1700), (4.0, 0), (9.0, 345)]
        self.assertEqual(f.clock_of(samples, 1.5, 5), 1600e6)
        self.assertEqual(f.clock_of(samples, 5, 6), 0)

    def test_load(self):
        said = {"tokens_per_s": 47000, "failed": 0, "measured": {"requests": 900}, "total": {"requests": 1000},
                "latency": {"p50_ms": 250, "p99_ms": 300}}
        card = {"capability": 90, "sms": 132}
        row = lambda clock=1.6e9, code=0, **more: f.load_row("x", said | more, code, "", 15.2e9, card, clock, 0.8)
        self.assertEqual(row().result, f.OK)
        self.assertIn("47,000 tokens/s, 82.6% of", row().figure)
        self.assertEqual(row(clock=1.75e9).result, f.MISSED)
        self.assertEqual(row(clock=0).result, f.MEASURED)
        self.assertEqual(row(failed=1).result, f.FAILED)
        self.assertEqual(row(code=1).result, f.FAILED)
        self.assertEqual(f.load_row("x", None, 1, "warm: refused", 0, card, 0).result, f.FAILED)
        self.assertEqual(f.load_row("x", said, 0, "", 15.2e9, card, 0).result, f.OK, "without a target")

    def test_live(self):
        line = lambda step, ok: json.dumps({"step": step, "ok": ok, "figure": "said"}) + "\n"
        text = line("swap under load", True) + line("killed worker", None)
        rows = f.live_rows(text + "Killed", 137)
        self.assertEqual([r.result for r in rows], [f.OK, f.NOT_RUN, f.FAILED])
        rows = f.live_rows(text + line("model that does not fit", False), 1)
        self.assertEqual([r.result for r in rows], [f.OK, f.NOT_RUN, f.FAILED])
        self.assertEqual(f.live_rows(text + line("model that does not fit", True), 1)[-1].result, f.FAILED)

    def test_table(self):
        self.assertEqual(f.table([f.Row("a", f.OK, "1 | 2\n3")]).splitlines()[-1], "| a | ok | 1 \\| 2 3 |  |  |")


class Processes(unittest.TestCase):
    def test_one_that_ends(self):
        with tempfile.TemporaryDirectory() as d:
            p = Process(["sh", "-c", "echo result; echo message >&2; exit 3"], d + "/log", out=d + "/out")
            self.assertEqual(p.wait(10), 3)
            self.assertEqual((p.results(), p.text()), ("result\n", "result\n\nmessage\n"))

    def test_one_that_hangs_ends_with_all_that_it_started(self):
        child = "import os, time; os.setpgid(0, 0); print(os.getpid(), flush=True); time.sleep(60)"
        parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
        with tempfile.TemporaryDirectory() as d:
            p = Process([sys.executable, "-c", parent], d + "/log")
            while not p.text().strip():
                time.sleep(0.01)
            begin = time.time()
            self.assertEqual(p.wait(0.2), TIME_IS_UP)
            self.assertLess(time.time() - begin, 5)
            self.assertIn("its limit", f.ending(p.text()))
            for _ in range(500):  # until whoever inherited it has taken note
                try:
                    if open(f"/proc/{int(p.text().split()[0])}/stat").read().rpartition(")")[2].split()[0] == "Z":
                        break
                except OSError:
                    break
                time.sleep(0.01)
            else:
                self.fail("its child is still there")


class Checkpoints(unittest.TestCase):
    def test_one_that_fits_no_card_takes_no_room(self):
        with tempfile.TemporaryDirectory() as d:
            self.assertGreater(checkpoints.huge(d + "/huge"), 200e9)
            file = d + "/huge/model.safetensors"
            self.assertLess(os.stat(file).st_blocks * 512, 1 << 20)
            with open(file, "rb") as g:
                n = struct.unpack("<Q", g.read(8))[0]
                header = json.loads(g.read(n))
            self.assertEqual(max(t["data_offsets"][1] for t in header.values()) + 8 + n, os.path.getsize(file))
            with open(d + "/huge/config.json") as g:
                self.assertEqual(json.load(g)["num_hidden_layers"], 120)


if __name__ == "__main__":
    unittest.main()
