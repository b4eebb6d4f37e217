"""The loops in which RL stacks call a reward model, for client_python_test.go.

Each imitates its stack's control flow (how files are loaded, how many requests
run at once, on which connections, what is retried), with the standard library in
the place of aiohttp. Reads {"url", "files", "samples"} from stdin, prints what
each loop got, in the order of the samples.
"""

import asyncio
import concurrent.futures
import importlib.util
import inspect
import json
import math
import os
import sys
import urllib.error
import urllib.request

job = json.load(sys.stdin)
url, samples = job["url"], job["samples"]
os.environ["WARM_URL"] = url
pool = concurrent.futures.ThreadPoolExecutor(64)
tries = {"fatal": 0}


def load(name):
    """As verl and OpenRLHF load a file: by its path, outside any package."""
    spec = importlib.util.spec_from_file_location("custom_module", os.path.join(job["files"], name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def post_once(target, body):
    """One request on a connection of its own."""
    request = urllib.request.Request(target, json.dumps(body).encode(), {"Content-Type": "application/json", "Connection": "close"})
    with urllib.request.urlopen(request, timeout=60) as r:
        return json.load(r)


async def in_thread(f, *args):
    return await asyncio.get_running_loop().run_in_executor(pool, f, *args)


async def openrlhf_http():
    """SingleTurnAgentExecutor._fetch_rewards_via_http: five tries, a pause between,
    on any error; two servers, so that the second is sent empty lists."""

    async def post(target, payload):
        for _ in range(5):
            try:
                return await in_thread(post_once, target, payload)
            except Exception:
                await asyncio.sleep(0.05)
        raise RuntimeError("five tries failed")

    async def one(s):
        query, tasks = s["prompt"] + s["response"], []
        for queries in ([query], []):
            payload = {"query": queries, "prompts": [s["prompt"]] * len(queries), "labels": [None] * len(queries)}
            tasks.append(asyncio.create_task(post(url + "/get_reward", payload)))
        first, second = await asyncio.gather(*tasks)
        assert second["rewards"] == [] and second["scores"] == [], second
        logs = first.get("extra_logs") or {}
        assert all(isinstance(v[0], (int, float)) for v in logs.values()), logs
        return {"reward": first.get("rewards")[0], "score": (first.get("scores") or first.get("rewards"))[0], "keys": sorted(logs)}

    return await asyncio.gather(*[one(s) for s in samples])


async def openrlhf_func():
    """SingleTurnAgentExecutor._fetch_rewards_via_func: a thread for each query."""
    reward_func = load("openrlhf_reward.py").reward_func

    async def one(s):
        info = (await asyncio.gather(asyncio.to_thread(reward_func, [s["prompt"] + s["response"]], [s["prompt"]], [None])))[0]
        return {"reward": float(info["rewards"][0]), "score": float(info["scores"][0]), "keys": sorted(info["extra_logs"])}

    return await asyncio.gather(*[one(s) for s in samples])


async def verl_disrm(path, body, read):
    """RewardLoopManager's compute_score_disrm: 16 tries, 4xx is the end of the run."""

    async def one(s):
        for attempt in range(16):
            try:
                return read(await in_thread(post_once, url + path, body(s["prompt"] + s["response"])))
            except urllib.error.HTTPError as e:
                if 400 <= e.code < 500:
                    tries["fatal"] += 1
                    raise
            except (urllib.error.URLError, OSError):
                pass
            await asyncio.sleep(min(0.01 * 2**attempt, 0.3))
        raise RuntimeError("16 tries failed")

    return await asyncio.gather(*[one(s) for s in samples])


async def verl_func():
    """The naive reward manager with a custom function."""
    compute_score = load("verl_reward.py").compute_score
    assert inspect.iscoroutinefunction(compute_score)

    async def one(s):
        info = {"question": s["prompt"], "index": 7}
        result = await compute_score(data_source="d", solution_str=s["response"], ground_truth="", extra_info=info)
        return {"reward": result["score"], "keys": sorted(result)}

    return await asyncio.gather(*[one(s) for s in samples])


async def trl(conversational):
    """GRPOTrainer._calculate_rewards: one call a batch, None becomes NaN."""
    f = load("trl_reward.py").WarmReward(url)
    assert inspect.iscoroutinefunction(f.__call__) and f.__name__ == "warm_reward"
    prompts, completions = [s["prompt"] for s in samples], [s["response"] for s in samples]
    if conversational:
        prompts = [[{"role": "user", "content": p}] for p in prompts]
        completions = [[{"role": "assistant", "content": c}] for c in completions]
    extra = {}
    got = await asyncio.gather(f(prompts=prompts, completions=completions, completion_ids=[[1]] * len(samples), trainer_state=None, log_extra=extra.__setitem__, label=[0] * len(samples)))
    assert len(extra.get("reward_std", prompts)) == len(samples)
    return [math.nan if r is None else r for r in got[0]]


def trl_without_await():
    """OnlineDPOTrainer, and ms-swift: prompts come as messages, completions by position."""
    f = load("trl_reward.py").SyncWarmReward(url)
    said = [[{"role": "user", "content": s["prompt"]}, {"role": "assistant", "content": s["response"]}] for s in samples]
    return f([s["response"] for s in samples], trainer_state=None, messages=said)


async def verl_remote():
    """The remote reward manager, which refuses async functions; it has 8 workers."""
    score = load("verl_reward.py").compute_score_sync
    assert not inspect.iscoroutinefunction(score)
    gate = asyncio.Semaphore(8)

    async def one(s):
        async with gate:
            return (await in_thread(score, "d", s["response"], "", {"question": s["prompt"]}))["score"]

    return await asyncio.gather(*[one(s) for s in samples])


async def slime():
    """remote_rm: at most 64 requests at once, 10 tries, the whole body is the reward."""
    limit = asyncio.Semaphore(64)

    async def one(s):
        payload = {"prompt": s["prompt"], "response": s["response"], "label": None}
        for _ in range(10):
            try:
                async with limit:
                    return await in_thread(post_once, url + "/v1/score-one?bare=1", payload)
            except Exception:
                await asyncio.sleep(0.05)
        raise RuntimeError("10 tries failed")

    return await asyncio.gather(*[one(s) for s in samples])


async def main():
    plain = lambda text: {"model": "m", "input": text, "use_activation": False}
    return {
        "openrlhf_http": await openrlhf_http(),
        "openrlhf_func": await openrlhf_func(),
        "verl_vllm": await verl_disrm("/classify", plain, lambda r: r["data"][-1]["probs"][-1]),
        "verl_sglang": await verl_disrm("/v1/embeddings", lambda text: {"model": "m", "input": text}, lambda r: r["data"][-1]["embedding"][-1]),
        "verl_func": await verl_func(),
        "trl": await trl(False),
        "trl_conversational": await trl(True),
        "trl_without_await": trl_without_await(),
        "verl_remote": await verl_remote(),
        "slime": await slime(),
        "fatal": tries["fatal"],
    }


json.dump(asyncio.run(main()), sys.stdout)
