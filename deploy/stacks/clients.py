"""The clients of other stacks, each asking one thing of a warm serve: see run.sh.

    clients.py URL ROW...   runs the rows and prints one JSON line for each
    clients.py --list NAME  prints the rows of an environment
    clients.py --table FILE prints such lines as a table; 1 if a reward differs

A row returns pairs of what its library answered and what POST /v1/reward gives
for the same text. A library that is not installed is a row that says so.
"""

import asyncio
import contextlib
import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import math
import os
import pathlib
import sys
import tempfile
import traceback
import types
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROWS = {}  # by name: environment, distributions, function


def row(name, environment, *distributions, note="", **settings):
    """Adds a row, whose function is called with a Server and the settings."""

    def add(function):
        ROWS[name] = (environment, distributions, note, functools.partial(function, **settings))
        return function

    return add


class Server:
    def __init__(self, url):
        self.url = url.rstrip("/")
        self.host = self.url.split("//")[1]

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)

    def rewards(self, *inputs):
        return [d["reward"] for d in self.ask("/v1/reward", {"inputs": list(inputs)})["data"]]

    def texts(self, *texts, special=True):
        return self.rewards(*({"text": t, "add_special_tokens": special} for t in texts))

    def answers(self, prompt, *responses):
        return self.rewards({"prompt": prompt, "responses": list(responses)})


def logistic(x):
    return 1 / (1 + math.exp(-x))


QUERY, ANSWERS = "where is it ?", ["it is here .", "i do not know and i do not care ."]


def by_index(results, score="relevance_score"):
    """The scores of a ranking, in the order of the documents."""
    get = lambda r, k: r[k] if isinstance(r, dict) else getattr(r, k)  # noqa: E731
    return [get(r, score) for r in sorted(results, key=lambda r: get(r, "index"))]


@row("openai, embeddings", "light", "openai")
def openai_embeddings(s):
    import openai

    client = openai.OpenAI(base_url=s.url + "/v1", api_key="none")
    reply = client.embeddings.create(model="gpt-4", input=ANSWERS)
    assert reply.model == "gpt-4", reply.model
    assert client.models.list().data[0].id
    return zip([d.embedding[0] for d in reply.data], s.texts(*ANSWERS))


@row("litellm, embedding", "light", "litellm")
def litellm_embedding(s):
    import litellm

    reply = litellm.embedding(model="openai/reward", input=ANSWERS, api_base=s.url + "/v1", api_key="none")
    return zip([d["embedding"][0] for d in reply.data], s.texts(*ANSWERS))


@row("litellm, rerank", "light", "litellm", note="hosted_vllm, cohere; infinity with return_documents=False")
def litellm_rerank(s):
    import litellm

    got = []
    for provider, documents in (("hosted_vllm", True), ("cohere", True), ("infinity", False)):
        reply = litellm.rerank(
            model=provider + "/reward", query=QUERY, documents=ANSWERS, api_base=s.url, api_key="none", return_documents=documents
        )
        got += by_index(reply.results)
    return zip(got, 3 * s.answers(QUERY, *ANSWERS))


@row("cohere, rerank v1 and v2", "light", "cohere")
def cohere_rerank(s):
    import cohere

    got = []
    for client in (cohere.Client, cohere.ClientV2):
        reply = client(base_url=s.url, api_key="none").rerank(model="rerank-v3.5", query=QUERY, documents=ANSWERS)
        got += by_index(reply.results)
    return zip(got, 2 * s.answers(QUERY, *ANSWERS))


@row("langchain, OpenAIEmbeddings", "light", "langchain-openai")
def langchain_embeddings(s):
    from langchain_openai import OpenAIEmbeddings

    e = OpenAIEmbeddings(base_url=s.url + "/v1", api_key="none", model="reward", check_embedding_ctx_length=False)
    return zip([v[0] for v in e.embed_documents(ANSWERS)], s.texts(*ANSWERS))


@row("langchain, CohereRerank", "light", "langchain-cohere")
def langchain_rerank(s):
    from langchain_cohere import CohereRerank

    r = CohereRerank(base_url=s.url, cohere_api_key="none", model="rerank-v3.5", top_n=2)
    return zip(by_index(r.rerank(ANSWERS, QUERY)), s.answers(QUERY, *ANSWERS))


@row("infinity_client, classify", "light", "infinity_client")
def infinity_classify(s):
    from infinity_client import Client
    from infinity_client.api.default import classify, models
    from infinity_client.models import ClassifyInput

    with Client(base_url=s.url, raise_on_unexpected_status=True) as c:
        assert models.sync(client=c).data[0].id
        raw = classify.sync(client=c, body=ClassifyInput(input_=ANSWERS, raw_scores=True))
        unsaid = classify.sync(client=c, body=ClassifyInput(input_=ANSWERS))
    want = s.texts(*ANSWERS)
    return zip([d[0].score for d in raw.data + unsaid.data], want + [logistic(w) for w in want])


@row("infinity_client, rerank", "light", "infinity_client")
def infinity_rerank(s):
    from infinity_client import Client
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    with Client(base_url=s.url, raise_on_unexpected_status=True) as c:
        reply = rerank.sync(client=c, body=RerankInput(query=QUERY, documents=ANSWERS, raw_scores=True, return_documents=True))
    assert sorted(r.document for r in reply.results) == sorted(ANSWERS)
    return zip(by_index(reply.results), s.answers(QUERY, *ANSWERS))


def triton(s, binary):
    import numpy
    import tritonclient.http as http

    client, n = http.InferenceServerClient(s.host), len(ANSWERS)
    assert client.is_server_ready()
    name = s.ask("/v1/models")["data"][0]["id"]
    inputs = []
    for tensor, data in (("PROMPT", [QUERY] * n), ("RESPONSE", ANSWERS)):
        x = http.InferInput(tensor, [n], "BYTES")
        x.set_data_from_numpy(numpy.array(data, dtype=object), binary_data=binary)
        inputs.append(x)
    outputs = None if binary else [http.InferRequestedOutput("rewards", binary_data=False)]
    got = client.infer(name, inputs, outputs=outputs).as_numpy("rewards")
    return zip(got.reshape(-1).tolist(), s.answers(QUERY, *ANSWERS))


row("tritonclient, binary tensors (its default)", "light", "tritonclient", binary=True)(triton)
row("tritonclient, JSON", "light", "tritonclient", binary=False)(triton)


@row("huggingface_hub, text_classification", "light", "huggingface_hub")
def hub_classification(s):
    from huggingface_hub import InferenceClient

    client = InferenceClient(s.url)
    raw = client.text_classification(ANSWERS[0], function_to_apply="none")
    unsaid = client.text_classification(ANSWERS[0])
    want = s.texts(ANSWERS[0])[0]
    return [(raw[0].score, want), (unsaid[0].score, logistic(want))]


GYM_ROW = {"responses_create_params": {"input": [{"role": "user", "content": QUERY}]}, "subset": "demo"}


@row("verifiers, NeMo Gym task", "light", "verifiers", note="seed_session and verify by its own task, 50 s at most")
def verifiers_task(s):
    from verifiers.v1.tasksets.nemo_gym.taskset import NeMoGymData, NeMoGymTask, NeMoGymTaskConfig
    from verifiers.v1.tasksets.nemo_gym.toolset import NeMoGymState
    from verifiers.v1.trace import MessageNode, Trace
    from verifiers.v1.types import AssistantMessage, UserMessage

    task = NeMoGymTask(NeMoGymData(row=GYM_ROW), NeMoGymTaskConfig(resources_url=s.url, headers={"X-Request-Timeout": "50"}))
    nodes = [
        MessageNode(message=UserMessage(content=QUERY)),
        MessageNode(message=AssistantMessage(content=ANSWERS[0]), parent=0, sampled=True),
    ]
    trace = Trace.model_construct(id="t", nodes=nodes, calls=[], state=NeMoGymState(), info={}, metrics={}, rewards={})
    got = asyncio.run(score_rollout(task, trace))
    assert trace.state.cookies, "no session cookie"
    return [(got, s.answers(QUERY, ANSWERS[0])[0])]


async def score_rollout(task, trace):
    await task.setup(trace, None)
    return await task.nemo_gym(trace)


def trl(s, step):
    """A step of a trainer with a tiny policy: see trl_steps.py."""
    job = {"url": s.url, "files": str(HERE / "../../api/python"), "tokenizer": os.environ["WARM_DEMO"] + "/base", "out": tempfile.mkdtemp()}
    os.environ["WARM_JOB"] = json.dumps(job)
    sys.path.insert(0, str(HERE / "../../cmd/warm/testdata"))
    import trl_steps

    got = getattr(trl_steps, step)()
    conversations = [{"messages": p + c} for p, c in zip(got["prompts"], got["completions"])]
    return zip(got["rewards"], s.rewards(*conversations))


row("TRL, GRPO", "trl", "trl", note="one step", step="grpo")(trl)
row("TRL, RLOO", "trl", "trl", note="one step", step="rloo")(trl)
row("TRL, OnlineDPO", "trl", "trl", note="one step", step="online_dpo")(trl)
row("TRL, AsyncGRPO", "trl", "trl", note="its spawned worker scores a group; generation needs a vLLM server", step="async_grpo")(trl)


class Stub(types.ModuleType):
    """A module that is not installed, and whose every name is another one: for
    imports at the head of files of which only the client is run."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        return "0" if name == "__version__" else type(name, (), {})


class Stubs:
    """Finds stand-ins for the modules of packages that are not installed, such as engines that need a GPU."""

    def __init__(self, *roots):
        self.roots = roots

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.roots:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Stub(spec.name)

    def exec_module(self, module):
        pass


def stub(*roots):
    sys.meta_path.append(Stubs(*roots))  # behind those that find what is installed


def alone(name):
    """A module without what its packages import of their own accord."""
    parts = name.split(".")
    spec = importlib.util.find_spec(parts[0])
    if spec is None:
        raise ImportError("No module named %r" % parts[0])
    for i in range(1, len(parts)):
        package = types.ModuleType(".".join(parts[:i]))
        package.__path__ = [os.path.join(p, *parts[1:i]) for p in spec.submodule_search_locations]
        sys.modules[package.__name__] = package
    return importlib.import_module(name)


@row("OpenRLHF, reward executor", "rl", "openrlhf", note="SingleTurnAgentExecutor; stand-ins for engines")
def openrlhf(s):
    stub("deepspeed", "vllm", "flash_attn")
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    text = QUERY + " " + ANSWERS[0]
    fetch = lambda *a: asyncio.run(SingleTurnAgentExecutor([s.url + "/get_reward"])._fetch_rewards_via_http(*a))  # noqa: E731
    (reply,) = fetch([text], [QUERY], [None])
    want = s.texts(text, special=False)[0]
    return [(reply["rewards"][0], want), (reply["scores"][0], logistic(want))]


@row("LLaMA-Factory, reward_model_type api", "rl", "llamafactory", note="get_rewards_from_server")
def llama_factory(s):
    get_rewards_from_server = alone("llamafactory.train.ppo.ppo_utils").get_rewards_from_server
    got = get_rewards_from_server(s.url + "/v1/score/evaluation", ANSWERS)
    return zip(got.tolist(), s.texts(*ANSWERS, special=False))


@row("ms-swift, reward function", "rl", "ms_swift", note="its GRPO's call of api/python/trl_reward.py as a plugin; stand-ins for engines")
def swift(s):
    stub("vllm")
    import torch

    grpo_algorithm = alone("swift.rl_core.grpo_algorithm")

    sys.path.insert(0, str(HERE / "../../api/python"))
    from trl_reward import WarmReward

    class Sample:
        def __init__(self, answer):
            self.messages = [{"role": "user", "content": QUERY}, {"role": "assistant", "content": answer}]

        def to_reward_row(self):
            return {"messages": self.messages}

    score = grpo_algorithm.compute_rewards_per_func
    got = score([Sample(a) for a in ANSWERS], [WarmReward(s.url)], [None], torch.device("cpu"))
    return zip(got[:, 0].tolist(), s.answers(QUERY, *ANSWERS))


def verl_rollout():
    """One rollout as verl's workers have it, with the policy's tokenizer and the answer's text."""
    stub("vllm", "sglang", "megatron")
    import numpy
    import torch
    from transformers import AutoTokenizer
    from verl import DataProto

    tokenizer = AutoTokenizer.from_pretrained(os.environ["WARM_DEMO"] + "/base")
    prompt = torch.tensor([tokenizer(QUERY, add_special_tokens=False)["input_ids"]])
    answer = torch.tensor([tokenizer(ANSWERS[0], add_special_tokens=False)["input_ids"]])
    one = lambda v: numpy.array([v], dtype=object)  # noqa: E731
    raw = numpy.empty(1, dtype=object)
    raw[0] = [{"role": "user", "content": QUERY}]
    data = DataProto.from_dict(
        tensors={"prompts": prompt, "responses": answer, "attention_mask": torch.ones(1, prompt.shape[1] + answer.shape[1], dtype=torch.long)},
        non_tensors={"data_source": one("demo"), "reward_model": one({"ground_truth": ""}), "extra_info": one({"question": QUERY}), "raw_prompt": raw},
    )
    return tokenizer, data, tokenizer.decode(answer[0])


def verl(s, manager, function="compute_score"):
    """One sample by a reward manager, with our function as its custom one."""
    tokenizer, data, answer = verl_rollout()
    from omegaconf import OmegaConf
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.trainer.ppo.reward import get_custom_reward_fn

    config = OmegaConf.create({"reward": {
        "num_workers": 1, "reward_kwargs": {}, "max_concurrent": 2, "timeout": 60,
        "custom_reward_function": {"path": str(HERE / "../../api/python/verl_reward.py"), "name": function, "reward_kwargs": {"url": s.url}},
    }})
    score = get_custom_reward_fn(config)

    async def run():
        cls = get_reward_manager_cls(manager)
        return await cls(config, tokenizer, score).run_single(data)

    got = asyncio.run(run())
    return [(got["reward_score"], s.answers(QUERY, answer)[0])]


row("verl, naive", "rl", "verl", note="custom function compute_score", manager="naive")(verl)
row("verl, dapo", "rl", "verl", note="the same", manager="dapo")(verl)
row("verl, rate_limited", "rl", "verl", note="the same", manager="rate_limited")(verl)


@row("verl, remote", "rl", "verl", "ray", note="compute_score_sync in a Ray process")
def verl_remote(s):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        return verl(s, "remote", "compute_score_sync")
    finally:
        ray.shutdown()


def verl_disrm(s, engine):
    """RewardLoopWorker's own requests to a reward model that it takes for its own."""
    tokenizer, data, answer = verl_rollout()
    from omegaconf import OmegaConf
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    worker = object.__new__(RewardLoopWorker)  # whose constructor wants a cluster
    worker.config = OmegaConf.create({"reward": {"reward_model": {"model_path": "/ckpt/reward", "rollout": {"name": engine}}}})
    worker.reward_router_address = s.host
    worker.input_tokenizer = worker.reward_model_tokenizer = tokenizer
    got = asyncio.run(worker.compute_score_disrm(data))
    return [(got["reward_score"], s.answers(QUERY, answer)[0])]


row("verl, disrm on vLLM", "rl", "verl", note="its worker's /classify, the model named by a path", engine="vllm")(verl_disrm)
row("verl, disrm on SGLang", "rl", "verl", note="its worker's /v1/embeddings", engine="sglang")(verl_disrm)


@row("NeMo Gym, resources server", "rl", "nemo-gym", note="sessions, verify and metrics, each reply held by its schemas; stand-ins for profilers and web engines")
def nemo_gym(s):
    stub("httptools", "uvloop", "yappi", "gprof2dot", "pydot", "mlflow", "wandb", "tdigest", "devtools")
    import hydra  # noqa: F401 - nemo_gym puts its own folder at the end of sys.path

    from nemo_gym.base_resources_server import BaseMultiRewardVerifyResponse, ResourcesCloseSessionResponse, ResourcesSeedSessionResponse
    from nemo_gym.config_types import AggregateMetrics

    answer = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
              "content": [{"type": "output_text", "text": ANSWERS[0], "annotations": []}]}
    response = {"id": "r", "created_at": 0, "model": "policy", "object": "response", "output": [answer],
                "parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    session = {"resources_session_id": "s", "episode_id": "e"}
    ResourcesSeedSessionResponse.model_validate(s.ask("/ng-rollout/0-0/seed_session", session | {"task_id": "t", "task_data": {}}))
    got = BaseMultiRewardVerifyResponse.model_validate(s.ask("/ng-rollout/0-0/verify", GYM_ROW | {"response": response}))
    ResourcesCloseSessionResponse.model_validate(s.ask("/close_session", session))
    want = s.answers(QUERY, ANSWERS[0])[0]
    rollouts = [{"_ng_task_index": 0, "_ng_rollout_index": i, "reward": got.reward} for i in range(2)]
    metrics = AggregateMetrics.model_validate(s.ask("/aggregate_metrics", {"verify_responses": rollouts}))
    return [(got.reward, want), (metrics.key_metrics["mean/reward"], want)]


@row("oat, oracle in MessagePack", "rl", "msgspec", note="what oat's RemoteRMOracle sends, by msgspec: oat itself pins CUDA's vLLM")
def oat(s):
    import msgspec

    def ask(body):
        request = urllib.request.Request(s.url + "/get_feedback", msgspec.msgpack.encode(body))
        request.add_header("Content-Type", "application/msgpack")
        with urllib.request.urlopen(request) as reply:
            return msgspec.msgpack.decode(reply.read())

    want = s.answers(QUERY, *ANSWERS)
    scores = ask({"batch_prompt": [QUERY] * 2, "batch_response": ANSWERS, "batch_candidates": []})["batch_score"]
    wins = ask({"batch_prompt": [QUERY], "batch_response": [], "batch_candidates": [ANSWERS]})["batch_first_win_prob"]
    return zip(scores + wins, want + [logistic(want[0] - want[1])])


def versions(distributions):
    out = []
    for d in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out.append(d + " " + importlib.metadata.version(d))
    return ", ".join(out)


def run(url, name):
    environment, distributions, note, function = ROWS[name]
    result = {"row": name, "versions": versions(distributions), "note": note}
    try:
        pairs = [(float(got), float(want)) for got, want in function(Server(url))]
        worst = max(abs(got - want) / max(1, abs(want)) for got, want in pairs)
        result |= {"rewards": len(pairs), "worst": worst, "outcome": "equal" if worst < 1e-6 else "DIFFERENT"}
    except ImportError as e:
        result |= {"outcome": "skipped", "why": "not installed: %s" % e}
    except Exception as e:  # noqa: BLE001
        traceback.print_exc()
        result |= {"outcome": "FAILED", "why": "%s: %s" % (type(e).__name__, str(e)[:200])}
    return result


def table(file):
    print("| client | versions | rewards | compared with `POST /v1/reward` | what ran |\n| --- | --- | --- | --- | --- |")
    good = True
    for r in map(json.loads, open(file)):
        outcome = r["outcome"]
        good = good and outcome in ("equal", "skipped")
        said = "equal" if outcome == "equal" else outcome + ": " + r.get("why", "by %g" % r.get("worst", math.nan))
        cells = (r["row"], r.get("versions", ""), r.get("rewards", ""), said.replace("|", "/").replace("\n", " "), r.get("note", ""))
        print("| " + " | ".join(map(str, cells)) + " |")
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print("\n".join(name for name, r in ROWS.items() if r[0] == sys.argv[2]))
    elif sys.argv[1] == "--table":
        sys.exit(table(sys.argv[2]))
    else:
        for name in sys.argv[2:]:
            print(json.dumps(run(sys.argv[1], name)), flush=True)
