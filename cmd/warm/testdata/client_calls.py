"""Calls of the Python clients, for client_python_test.go: reads {"files", "calls"}
from stdin, a call being {"client", "options", "prompts", "completions"}, and prints
what each returned, {"rewards"} or {"raised"}.
"""

import asyncio
import importlib.util
import json
import logging
import os
import sys
import time

job = json.load(sys.stdin)
logging.getLogger("warm_reward").setLevel(logging.ERROR)


def load(name):
    spec = importlib.util.spec_from_file_location("custom_module", os.path.join(job["files"], name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trl(prompts, completions, **options):
    f = load("trl_reward.py").WarmReward(**options)
    return asyncio.run(f(prompts=prompts, completions=completions))


def verl(prompts, completions, **options):
    score = load("verl_reward.py").compute_score_sync
    return [score("d", c, "", {"prompt": p}, **options)["score"] for p, c in zip(prompts, completions)]


def openrlhf(prompts, completions, url):
    os.environ["WARM_URL"] = url
    queries = [p + c for p, c in zip(prompts, completions)]
    return [float(r) for r in load("openrlhf_reward.py").reward_func(queries, prompts, [None] * len(prompts))["rewards"]]


def result(call):
    start = time.monotonic()
    try:
        f = {"trl": trl, "verl": verl, "openrlhf": openrlhf}[call["client"]]
        out = {"rewards": f(call["prompts"], call["completions"], **call["options"])}
    except Exception as e:
        out = {"raised": "%s: %s" % (type(e).__name__, e)}
    return dict(out, seconds=time.monotonic() - start)


json.dump([result(c) for c in job["calls"]], sys.stdout)
