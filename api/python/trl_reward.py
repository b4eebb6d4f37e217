"""Rewards from warmserve for TRL's trainers (GRPO, RLOO): copy this file.

    from trl_reward import WarmReward
    trainer = GRPOTrainer(reward_funcs=WarmReward("http://127.0.0.1:8080"), ...)

Standard library only, Python 3.9 or later.
"""

import asyncio
import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.parse

_log = logging.getLogger("warm_reward")

# Answers in one request: below the server's limit, and enough to fill its batches.
_CHUNK = 512


def WarmReward(url, key=None, model=None, mode=None, aggregate=None, as_text=False, timeout=300.0, name="warm_reward"):
    """Returns an async reward function: (prompts, completions, **kwargs) -> list[float | None].

    It is a function, and not an object, because TRL asks whether it is a
    coroutine function and for its __name__. Samples whose reward cannot be had
    get None, which TRL leaves out, and a warning that holds no text.

    key        API key; default the variable WARM_API_KEY, or the URL's password
    model      its name, where the server has several
    mode       wa, ens, both or member:NAME; default the model's own
    aggregate  of an ensemble: mean, min, median, mean_minus_std, mean_minus_var
    as_text    score prompt + completion as one text, without chat template and
               special tokens, as TRL does with a reward model in its own process
               when prompts are strings. By default a string is a user's message.
    timeout    seconds for one call, retries included
    """
    client = _Client(url, key or os.environ.get("WARM_API_KEY"), timeout)
    fields = {"model": model, "mode": mode, "aggregate": aggregate}
    fields = {k: v for k, v in fields.items() if v is not None}

    async def warm_reward(prompts, completions, **kwargs):
        items = _items(prompts, completions, as_text)
        chunks = _chunks(items)
        scored = await asyncio.gather(*[asyncio.to_thread(_score, client, fields, c) for c in chunks])
        rewards, spread = [None] * len(completions), [None] * len(completions)
        for entries in scored:
            for index, entry in entries:
                rewards[index], spread[index] = entry["reward"], entry.get("std")
        log_extra = kwargs.get("log_extra")
        if log_extra is not None and any(s is not None for s in spread):
            log_extra("reward_std", spread)
        return rewards

    warm_reward.__name__ = name
    return warm_reward


def _items(prompts, completions, as_text):
    """Makes inputs of samples; the answers to one prompt share an input, so that
    the server computes the prompt once. Returns (input, indices of its samples)."""
    groups, items = {}, []
    for i, (prompt, completion) in enumerate(zip(prompts, completions)):
        answer = _answer(completion)
        if answer is None:
            messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
            items.append(({"messages": list(messages) + list(completion)}, [i]))
            continue
        if as_text and isinstance(prompt, str):
            items.append(({"text": prompt + answer, "add_special_tokens": False}, [i]))
            continue
        same = json.dumps(prompt, sort_keys=True)
        if same not in groups:
            groups[same] = ({"prompt": prompt, "responses": []}, [])
            items.append(groups[same])
        groups[same][0]["responses"].append(answer)
        groups[same][1].append(i)
    return items


def _answer(completion):
    """The text of a completion that is one plain answer; None for a longer one."""
    if isinstance(completion, str):
        return completion
    if len(completion) == 1 and set(completion[0]) <= {"role", "content"}:
        message = completion[0]
        if message.get("role") == "assistant" and isinstance(message.get("content"), str):
            return message["content"]
    return None


def _chunks(items):
    chunks, size = [], _CHUNK
    for item in items:
        if size + len(item[1]) > _CHUNK:
            chunks.append([])
            size = 0
        chunks[-1].append(item)
        size += len(item[1])
    return chunks


def _score(client, fields, items):
    """Scores inputs; one that the server refuses is left out, and the rest sent again."""
    items = list(items)
    while items:
        try:
            reply = client.post("/v1/reward", dict(fields, inputs=[item for item, _ in items]))
            return [(items[d["input"]][1][d["answer"]], d) for d in reply["data"]]
        except WarmError as e:
            bad = _index(e.param)
            if e.status in (400, 422) and bad is not None and bad < len(items):
                _log.warning("%d samples without a reward: %s", len(items[bad][1]), e.param)
                del items[bad]
                continue
            _log.warning("%d inputs without a reward: status %s", len(items), e.status)
            return []
        except Exception as e:  # a reward that is missing must not end a training run
            _log.warning("%d inputs without a reward: %s", len(items), type(e).__name__)
            return []
    return []


def _index(param):
    """The number in "inputs[3].text"."""
    if not param or not param.startswith("inputs["):
        return None
    number = param[len("inputs["):].split("]")[0]
    return int(number) if number.isdigit() else None


class WarmError(Exception):
    """A refusal of the server, or no answer in time."""

    def __init__(self, message, status=None, param=None):
        super().__init__(message)
        self.status, self.param = status, param


class _Client:
    """Posts JSON over connections that are kept alive; safe in threads."""

    def __init__(self, url, key=None, timeout=150.0):
        u = urllib.parse.urlsplit(url)
        if u.scheme not in ("http", "https") or not u.hostname:
            raise ValueError("the server's URL must be http://… or https://…")
        self._make = http.client.HTTPSConnection if u.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = u.hostname, u.port, u.path.rstrip("/")
        self._timeout, self._idle, self._lock = timeout, [], threading.Lock()
        self._headers = {"Content-Type": "application/json"}
        key = key or (urllib.parse.unquote(u.password) if u.password else None)
        if key:
            self._headers["Authorization"] = "Bearer " + key

    def post(self, path, body):
        """Returns the decoded reply. Tries again while the server is busy
        (429, 503) or out of reach, with jitter, until the time is up."""
        data = json.dumps(body).encode()
        deadline = time.monotonic() + self._timeout
        pause = 0.1
        while True:
            left = deadline - time.monotonic()
            try:
                status, after, reply = self._send(path, data, max(left, 0.1))
            except (OSError, http.client.HTTPException) as e:
                status, after, reply = None, None, repr(e)
            if status == 200:
                return reply
            if status not in (None, 429, 502, 503, 504):
                raise _refusal(status, reply)
            wait = max(after or 0.0, random.uniform(0.5, 1.0) * pause)
            if time.monotonic() + wait >= deadline:
                raise _refusal(status, reply)
            time.sleep(wait)
            pause = min(2 * pause, 5.0)

    def _send(self, path, data, left):
        connection, kept = self._take(left)
        try:
            connection.request("POST", self._base + path, data, self._headers)
            r = connection.getresponse()
            text = r.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            if kept:  # the server may have closed it while it was idle
                return self._send(path, data, left)
            raise
        if r.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        try:
            reply = json.loads(text)
        except ValueError:
            reply = None
        try:
            after = float(r.headers.get("Retry-After", ""))
        except ValueError:
            after = None
        return r.status, after, reply

    def _take(self, left):
        with self._lock:
            if self._idle:
                connection = self._idle.pop()
                connection.sock.settimeout(left)
                return connection, True
        return self._make(self._host, self._port, timeout=left), False


def _refusal(status, reply):
    if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
        e = reply["error"]
        place = e.get("param") or ""
        return WarmError("%s: %s %s" % (status, place, e.get("message")), status, place)
    return WarmError("%s: %s" % (status or "no answer", reply), status)
