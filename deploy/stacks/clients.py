"""The clients of other stacks, each asking one thing of a warm serve: see run.sh.

    clients.py URL ROW...   runs the rows and prints one JSON line for each
    clients.py --list NAME  prints the rows of an environment

A row returns pairs of what its library answered and what POST /v1/reward gives
for the same text. A library that is not installed is a row that says so.
"""

import contextlib
import importlib.metadata
import json
import math
import os
import pathlib
import sys
import tempfile
import traceback
import urllib.request

ROWS = {}  # by name: environment, distributions, function


def row(name, environment, *distributions, note=""):
    def add(function):
        ROWS[name] = (environment, distributions, note, function)
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


@row("tritonclient, binary tensors (its default)", "light", "tritonclient")
def triton_binary(s):
    return triton(s, True)


@row("tritonclient, JSON", "light", "tritonclient")
def triton_json(s):
    return triton(s, False)


@row("huggingface_hub, text_classification", "light", "huggingface_hub")
def hub_classification(s):
    from huggingface_hub import InferenceClient

    client = InferenceClient(s.url)
    raw = client.text_classification(ANSWERS[0], function_to_apply="none")
    unsaid = client.text_classification(ANSWERS[0])
    want = s.texts(ANSWERS[0])[0]
    return [(raw[0].score, want), (unsaid[0].score, logistic(want))]


def trl(s, step):
    """A step of a trainer with a tiny policy: see trl_steps.py."""
    here = pathlib.Path(__file__).resolve().parent
    job = {"url": s.url, "files": str(here / "../../api/python"), "tokenizer": os.environ["WARM_DEMO"] + "/base", "out": tempfile.mkdtemp()}
    os.environ["WARM_JOB"] = json.dumps(job)
    sys.path.insert(0, str(here / "../../cmd/warm/testdata"))
    import trl_steps

    got = getattr(trl_steps, step)()
    conversations = [{"messages": p + c} for p, c in zip(got["prompts"], got["completions"])]
    return zip(got["rewards"], s.rewards(*conversations))


@row("TRL, GRPO", "trl", "trl", note="one step")
def trl_grpo(s):
    return trl(s, "grpo")


@row("TRL, RLOO", "trl", "trl", note="one step")
def trl_rloo(s):
    return trl(s, "rloo")


@row("TRL, OnlineDPO", "trl", "trl", note="one step")
def trl_online_dpo(s):
    return trl(s, "online_dpo")


@row("TRL, AsyncGRPO", "trl", "trl", note="its spawned worker scores a group; generation needs a vLLM server")
def trl_async_grpo(s):
    return trl(s, "async_grpo")


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


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print("\n".join(name for name, r in ROWS.items() if r[0] == sys.argv[2]))
    else:
        for name in sys.argv[2:]:
            print(json.dumps(run(sys.argv[1], name)), flush=True)
