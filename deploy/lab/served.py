"""What served.sh compares: served.py AVERAGE ENSEMBLE MEMBER,MEMBER,… SET PAIRS,
the first two being addresses of servers."""

import json
import sys
import urllib.request

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TOLERANCE = 1e-4


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as r:
        return json.load(r)


def load(path):
    return AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()


def tokens(tokenizer, prompt, answer):
    """What a model reads: a conversation where the tokenizer has a template, an encoder's pair, or one text."""
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        return tokenizer.apply_chat_template(turns, return_dict=True, return_tensors="pt")
    if tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add():
        return tokenizer(prompt, answer, return_tensors="pt")
    return tokenizer(prompt + answer, return_tensors="pt")


@torch.inference_mode()
def rewards(model, texts):
    """One text a batch, so that nothing is padded."""
    return [model(**t).logits[0, 0].item() for t in texts]


def averaged(paths):
    """The mean of the members' weights, summed in float64."""
    model, sums = load(paths[0]), {}
    for path in paths:
        for name, p in load(path).named_parameters():
            sums[name] = sums.get(name, 0) + p.detach().double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(sums[name] / len(paths))
    return model


def main(wa, ens, members, path, pairs):
    members = members.split(",")
    with open(path) as f:
        lines = [json.loads(line) for _, line in zip(range(int(pairs)), f)]
    inputs = [{"prompt": p["prompt"], "response": p[side]} for p in lines for side in ("chosen", "rejected")]
    tokenizer = AutoTokenizer.from_pretrained(members[0])
    texts = [tokens(tokenizer, i["prompt"], i["response"]) for i in inputs]
    average = answers(wa, {"inputs": inputs})
    ensemble = answers(ens, {"inputs": inputs, "return": ["members"]})
    worst = {"average": difference([d["reward"] for d in average], rewards(averaged(members), texts))}
    for i, member in enumerate(members):
        ours = [d["members"][i]["reward"] for d in ensemble]
        worst[ensemble[0]["members"][i]["name"]] = difference(ours, rewards(load(member), texts))
    print(f"{len(texts)} rewards; largest difference from transformers' " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    print("revision", ask(wa + "/v1/models/lab")["revision"])
    if not max(worst.values()) <= TOLERANCE:
        sys.exit(f"not within {TOLERANCE}")


def answers(url, body):
    data = ask(url + "/v1/reward", body)["data"]
    failed = [d["error"] for d in data if "error" in d]
    if failed:
        sys.exit(f"refused: {failed[0]}")
    return data


def difference(ours, theirs):
    return max(abs(a - b) / max(1, abs(b)) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
