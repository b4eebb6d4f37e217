"""Writes golden.json: random scores, and what the boards' own programs make of them.

The programs are not copied: their functions are taken from clones of the repositories, of the commits
that doc.go names, and run as they stand. PPE's could not be had: its figures come from the definitions,
by trying every choice of K answers. Needs numpy and pandas.

    python make.py DIR     where DIR holds reward-bench, RM-Bench and JudgeBench
"""

import ast
import itertools
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pandas as pd

root = Path(sys.argv[1])
np.seterr(all="ignore")


def functions(path, *names, **also):
    """The functions and constants of a program, without its imports."""
    space = {"np": np, "pd": pd, "defaultdict": defaultdict, "Any": Any, "Dict": Dict, "List": List, "Tuple": Tuple}
    space.update(also)
    for node in ast.parse((root / path).read_text()).body:
        name = getattr(node, "name", None) or getattr(getattr(node, "targets", [None])[0], "id", None)
        if name in names:
            exec("from __future__ import annotations\n" + ast.unparse(node), space)
    return [space[n] for n in names]


class Table(list):
    """What the programs ask of a datasets.Dataset."""

    column_names = ()

    def add_column(self, name, values):
        return self

    def to_pandas(self):
        return pd.DataFrame(list(self))

    @staticmethod
    def from_pandas(frame):
        return frame.to_dict("records")


counts, mapping = functions("reward-bench/rewardbench/constants.py", "EXAMPLE_COUNTS", "SUBSET_MAPPING")
utils = "reward-bench/rewardbench/utils.py"
(per_section,) = functions(utils, "calculate_scores_per_section")
(reroll,) = functions(utils, "reroll_and_score_dataset", Dataset=Table)
_, single_model = functions(utils, "_compute_prompt_stats", "process_single_model")
_, rm_bench = functions("RM-Bench/scripts/utils.py", "split_dataset_by_domain", "compute_accuracy", print=lambda *_: None)
_, judge_bench = functions("JudgeBench/utils/metrics.py", "flip_judgment", "compute_final_metrics")

r = random.Random(7)


def score():
    """Coarse, as bfloat16 gives, so that there are ties."""
    return round(r.gauss(0, 1) * 4) / 4


def item(id, subset, correct, answers):
    scores = [score() + (0.5 if i < correct else 0) for i in range(answers)]
    return {"id": str(id), "subset": subset, "correct": correct, "scores": scores}


def rewardbench(present):
    items = [item(n, s, 1, 2) for s in present for n in range(r.randint(3, 9))]
    metrics = {}
    for s in present:
        results = [int(i["scores"][0] > i["scores"][1]) for i in items if i["subset"] == s]
        metrics[s] = sum(results) / len(results)
    want = per_section(counts, mapping, metrics)
    return {"items": items, "want": want | metrics, "overall": float(np.mean(list(want.values())))}


def rewardbench2():
    items, want = [], {}
    for s in ["Factuality", "Precise IF", "Math", "Safety", "Focus"]:
        mine = [item(f"{s}-{n}", s, 1, 4) for n in range(25)]
        flat = Table({"scores": x, "text": "", "id": i["id"]} for i in mine for x in i["scores"])
        rows = reroll(flat, [4] * len(mine))
        want[s] = sum(row["results"] for row in rows) / len(rows)
        items += mine
    mine = []
    for n in range(30):
        mine.append(item(f"ref:{n}", "Ties", 1, 4))
        if n % 7:
            mine.append(item(f"tied:{n}", "Ties", r.randint(2, 6), 9))
        if n % 5 == 0 and n % 7:  # all right answers alike, so that the margin divides by zero
            t = mine[-1]
            t["scores"][: t["correct"]] = [t["scores"][0]] * t["correct"]
    for t in mine:  # most are right, or the margins say little
        if r.random() < 0.7:
            t["scores"] = [x + (2 if i < t["correct"] else 0) for i, x in enumerate(t["scores"])]
    _, want["Ties"] = single_model(Table(t | {"num_correct": t["correct"]} for t in mine))
    return {"items": items + mine, "want": want, "overall": float(np.mean(list(want.values())))}


def rmbench():
    items = []
    for d, n in {"chat": 9, "math": 12, "code": 7, "safety-refuse": 8, "safety-response": 5}.items():
        items += [item(f"{d}-{k}", d, 3, 6) for k in range(n)]
    want = rm_bench([{"domain": i["subset"], "score_chosen": i["scores"][:3], "score_rejected": i["scores"][3:]} for i in items])
    names = {"hard_acc": "hard", "normal_acc": "normal", "easy_acc": "easy"}
    want = {names.get(k, k): float(v) for k, v in want.items()}
    return {"items": items, "overall": want.pop("total_avg_acc"), "want": want}


def judgebench():
    items, pairs = [], []
    for n, source in enumerate(["mmlu-pro-law", "mmlu-pro-math", "livebench-reasoning", "livebench-math", "livecodebench"] * 12):
        i = item(n, source, 1, 2)
        items.append(i)
        a, b = i["scores"] if n % 2 else i["scores"][::-1]  # every second label is B>A
        decide = lambda x, y: {"decision": "A>B" if x > y else "B>A"}
        pairs.append({"source": source, "label": "A>B" if n % 2 else "B>A", "judgments": [decide(a, b), decide(b, a)]})
    names = {"mmlu-pro": "knowledge (MMLU-Pro)", "livebench-reasoning": "reasoning (LiveBench)"}
    names |= {"livebench-math": "math (LiveBench)", "livecodebench": "coding (LiveCodeBench)"}
    at = lambda begin: judge_bench(pairs, True, lambda p: p["source"].startswith(begin)) / 100
    return {"items": items, "want": {v: at(k) for k, v in names.items()}, "overall": at("")}


def ppe():
    """Correctness: 7 answers a question, of which 0 to 7 are right."""
    items, want = [], {}
    names = ["correctness", "area under the ROC curve", "best of K, highest", "best of K, end", "best of K, loss"]
    sets = ["MMLU-Pro", "MATH", "GPQA", "MBPP-Plus", "IFEval"]
    parts = {n: [] for n in names}
    for s in sets:
        mine = [item(f"{s}-{n}", s, n % 8, 7) for n in range(16)]
        wins, positives, negatives = [], [], []
        for i in mine:
            right, wrong = range(i["correct"]), range(i["correct"], 7)
            i["pairs"] = r.sample(list(itertools.product(right, wrong)), min(3, len(right) * len(wrong)))
            wins += [i["scores"][a] > i["scores"][b] for a, b in i["pairs"]]
            low, high = min(i["scores"]), max(i["scores"])
            stretched = [(x - low) / (high - low) if high > low else 0.5 for x in i["scores"]]
            positives += stretched[: i["correct"]]
            negatives += stretched[i["correct"] :]
        curve, errors = [], []
        for k in range(1, 8):
            reached, error = [], []
            for i in mine:
                for chosen in itertools.combinations(range(7), k):
                    best = max(i["scores"][c] for c in chosen)
                    top = [c < i["correct"] for c in chosen if i["scores"][c] == best]
                    possible = any(c < i["correct"] for c in chosen)
                    reached.append(np.mean(top))
                    error.append(np.mean([(possible - t) ** 2 for t in np.array(top, float)]))
            curve.append(np.mean(reached))
            errors.append(np.mean(error))
        auc = np.mean([(p > n) + (p == n) / 2 for p in positives for n in negatives])
        for name, value in zip(names, [np.mean(wins), auc, max(curve), curve[-1], np.mean(errors)]):
            parts[name].append(value)
        items += mine
    want = {n: float(np.mean(v)) for n, v in parts.items()}
    return {"items": items, "want": want, "overall": want["correctness"]}


everything = [s for section in mapping.values() for s in section]
golden = {
    "rewardbench": [rewardbench(everything), rewardbench([s for s in everything if s not in ("hep-go", "donotanswer")])],
    "rewardbench2": [rewardbench2() for _ in range(4)],
    "rm-bench": [rmbench(), rmbench()],
    "judgebench": [judgebench()],
    "ppe": [ppe()],
}
out = Path(__file__).parent / "golden.json"
out.write_text(json.dumps(golden, separators=(",", ":")).replace("]},{", "]},\n{") + "\n")
