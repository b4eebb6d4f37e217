"""Rewards from warmserve for verl's custom reward function: point verl at this file.

    reward.custom_reward_function.path=verl_reward.py
    reward.custom_reward_function.name=compute_score

For the reward manager "remote", which takes no async function, the name is
compute_score_sync. The prompt is read from extra_info: "question", "prompt" or
"raw_prompt". For data that has it in none of them, the manager of this file
reads the conversation that verl itself rendered:

    reward.reward_manager.source=importlib
    reward.reward_manager.name=WarmRewardManager
    reward.reward_manager.module.path=verl_reward.py

The server is WARM_URL (default http://127.0.0.1:8080), which may choose:
http://HOST:8080?mode=ens&aggregate=min. WARM_API_KEY, WARM_MODEL and WARM_MODE
are optional. reward_kwargs may hold url, key, model, mode, aggregate (with mode
both it is the score, in place of the weight average's), lambda, truncate (of
text over the context: prompt_left, left, right or error; the server's default is
prompt_left), and refused: the score of an answer that the server refuses.
Without refused such an answer ends the run, since verl has no row without a score.

Standard library only, Python 3.9 or later.
"""

import asyncio
import concurrent.futures
import contextvars
import http.client
import json
import os
import random
import socket
import ssl
import threading
import time
import urllib.parse

try:  # the span that a reward is asked for in, where there is one
    from opentelemetry.propagate import inject as _trace
except ImportError:
    _trace = None

try:
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
except ImportError:  # compute_score needs nothing of verl
    RewardManagerBase = object

# Seconds for one answer, with all tries while the server is busy or out of reach.
_TIMEOUT = 300.0
# Requests at once to one server. Each is one answer, as verl asks; the server
# batches across them.
_AT_ONCE = 64

_OPTIONS = ("url", "key", "model", "mode", "aggregate", "lambda", "truncate", "refused")
# What verl gives every function, for those that ask its own reward model.
_OF_VERL = {"reward_router_address", "reward_model_tokenizer"}
_servers = {}  # by the options' values


async def compute_score(data_source, solution_str, ground_truth, extra_info=None, **options):
    """Returns {"score", "reward_std", "reward_tokens", "truncated", "refused"}: verl
    trains on score and logs the rest, whose names are the same in every answer.
    reward_std is 0 where no ensemble answers. Raises WarmError when there is no
    reward within 300 s, and at once where another try cannot mend it."""
    server, prompt = _server(options), _prompt(extra_info)
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()  # a span is of it, and threads have none
    return await loop.run_in_executor(server.threads, context.run, server.score, prompt, solution_str)


def compute_score_sync(data_source, solution_str, ground_truth, extra_info=None, **options):
    """compute_score for a caller that does not await."""
    return _server(options).score(_prompt(extra_info), solution_str)


class WarmRewardManager(RewardManagerBase):
    """A reward manager of verl that reads the prompt from raw_prompt, and the options
    of compute_score from custom_reward_function.reward_kwargs."""

    def __init__(self, config, tokenizer, compute_score=None, **of_verl):
        super().__init__(config, tokenizer, compute_score)
        function = config.reward.get("custom_reward_function") or {}
        self._options = dict(function.get("reward_kwargs") or {})

    async def run_single(self, data):
        item = data[-1]  # of several sequences the last, as verl's managers do
        ids, mask = item.batch["responses"], item.batch["attention_mask"]
        ids = ids[: mask[-ids.shape[-1] :].sum()]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        prompt = {"raw_prompt": item.non_tensor_batch["raw_prompt"]}
        result = await compute_score(None, text, None, prompt, **self._options)
        return {"reward_score": result["score"], "reward_extra_info": result}


def _prompt(extra_info):
    """A user's text, or messages; verl keeps messages in a numpy array."""
    for name in ("question", "prompt", "raw_prompt"):
        value = (extra_info or {}).get(name)
        if value is None:
            continue
        return value if isinstance(value, str) else [dict(m) for m in value]
    raise KeyError(
        'warmserve needs the prompt: put "question", "prompt" or "raw_prompt" into extra_info, '
        "or use the manager WarmRewardManager of " + __file__
    )


def _server(options):
    unknown = set(options) - set(_OPTIONS) - _OF_VERL
    if unknown:
        raise TypeError("no option %s, only %s" % (", ".join(sorted(unknown)), ", ".join(_OPTIONS)))
    key = tuple(options.get(name) for name in _OPTIONS)
    if key not in _servers:
        _servers.setdefault(key, _Server(key))
    return _servers[key]


class _Server:
    """A server and how it is asked, from the values of _OPTIONS. It pickles without its
    threads: ray pickles a function of a file with all that the file holds."""

    def __init__(self, values):
        self._values, given = values, dict(zip(_OPTIONS, values))
        url, key, self._refused = given.pop("url"), given.pop("key"), given.pop("refused")
        url = url or os.environ.get("WARM_URL", "http://127.0.0.1:8080")
        self._client = _Client(url, key or os.environ.get("WARM_API_KEY"))
        self._path, self._fields = _request(self._client.query, given)
        for name in ("model", "mode"):
            if os.environ.get("WARM_" + name.upper()):
                self._fields.setdefault(name, os.environ["WARM_" + name.upper()])
        self.threads = concurrent.futures.ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="warm")

    def __reduce__(self):
        return type(self), (self._values,)

    def score(self, prompt, response):
        """What compute_score returns."""
        body = dict(self._fields, on_error="item", inputs=[{"prompt": prompt, "response": response}])
        try:
            reply = self._client.post(self._path, _encode(body), time.monotonic() + _TIMEOUT)
            entry = _entries(reply, [1])[0]
            if isinstance(entry, WarmError):
                raise entry
        except WarmError as e:
            if self._refused is None or not _of_input(e):
                raise
            nothing = {"reward_std": 0.0, "reward_tokens": 0, "truncated": 0}
            return dict(nothing, score=float(self._refused), refused=1)
        return {
            "score": _reward(entry, self._fields),
            "reward_std": entry.get("std", 0.0),
            "reward_tokens": entry["tokens"],
            "truncated": int(entry["truncated"]),
            "refused": 0,
        }


def _request(query, given):
    """The path and the fields of a request: what is given, else what the URL's
    query says, whose other parts stay in it."""
    query = dict(query)
    fields = {}
    for name, value in given.items():
        asked = query.pop(name, None)
        value = asked if value is None else value
        if value is not None:
            fields[name] = float(value) if name == "lambda" else value
    return "/v1/reward" + ("?" + urllib.parse.urlencode(query) if query else ""), fields


def _entries(reply, counts):
    """What the server says of each answer, where the i-th input has counts[i] of them:
    its entry, or its refusal. An input that cannot be read has one for all its answers."""
    said = {(d["input"], d["answer"]): d for d in reply.get("data") or []}
    entries = []
    for i, n in enumerate(counts):
        first = said.get((i, 0), {})
        for j in range(n):
            entry = said.get((i, j), first if "error" in first else {})
            if "error" not in entry and "reward" not in entry:
                raise WarmError("the server's reply has no entry for answer %d of input %d" % (j, i))
            entries.append(_reason(entry["error"]) if "error" in entry else entry)
    return entries


def _reward(entry, fields):
    """The reward to train on: of mode both the ensemble's, where its aggregate was asked for."""
    return entry["ensemble"] if "aggregate" in fields and "ensemble" in entry else entry["reward"]


def _of_input(e):
    """Whether a refusal is of an input or of how much there is, not of what is asked.
    unsupported_input is what a model cannot read, as messages without a template."""
    return e.status == 413 or (e.param or "").startswith("inputs[") and e.code != "unsupported_input"


class WarmError(Exception):
    """A refusal of the server, with its reason, or no answer in time."""

    def __init__(self, message, status=None, code=None, param=None):
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


class _Client:
    """Posts JSON over connections that are kept alive; safe in threads."""

    def __init__(self, url, key=None):
        u = urllib.parse.urlsplit(url)
        if u.scheme not in ("http", "https") or not u.hostname:
            raise ValueError("the server's URL must be http://… or https://…")
        self._make = http.client.HTTPSConnection if u.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._base = u.hostname, u.port, u.path.rstrip("/")
        self._server = u._replace(netloc=u.netloc.rpartition("@")[2], query="").geturl()  # without a key
        self.query = dict(urllib.parse.parse_qsl(u.query, keep_blank_values=True))
        self._idle, self._lock = [], threading.Lock()
        self._headers = {"Content-Type": "application/json"}
        key = key or (urllib.parse.unquote(u.password) if u.password else None)
        if key:
            self._headers["Authorization"] = "Bearer " + key

    def post(self, path, data, deadline):
        """Returns the decoded reply to data, a JSON text in bytes. Tries again,
        with jitter, while the server is busy or out of reach, until the deadline
        (of time.monotonic); a fault of the server three times. What another try
        cannot mend raises at once."""
        pause, faults = 0.1, 0
        while True:
            left = max(deadline - time.monotonic(), 0.1)
            try:
                status, after, reply = self._send(path, data, left)
            except ssl.SSLCertVerificationError:
                raise
            except (OSError, http.client.HTTPException) as e:
                status, after, reply = None, 0.0, "%s: %s" % (type(e).__name__, e)
            if status == 200 and isinstance(reply, dict):
                return reply
            busy = status in (None, 408, 429, 502, 503, 504)
            faults += not busy
            if not busy and (status < 500 or faults == 3):
                raise self._refusal(status, reply)
            wait = max(after, random.uniform(0.5, 1.0) * pause)
            if time.monotonic() + wait >= deadline:
                raise self._refusal(status, reply)
            time.sleep(wait)
            pause = min(2 * pause, 5.0)

    def _send(self, path, data, left):
        """One request: returns the status, Retry-After in seconds and the reply,
        which is text where it is not JSON."""
        headers = dict(self._headers, **{"X-Request-Timeout": "%.3f" % left})
        if _trace is not None:
            _trace(headers)
        while True:
            connection, kept = self._take(left)
            whole = True
            try:
                try:
                    connection.request("POST", self._base + path, data, headers)
                except (BrokenPipeError, ConnectionResetError):
                    whole = False  # who refuses a body before its end has answered all the same
                r = connection.getresponse()
                text = r.read()
                break
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                # The server may have closed a kept connection while it was idle.
                if not kept or isinstance(e, socket.timeout):
                    raise
        if r.will_close or not whole:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        try:
            reply = json.loads(text)
        except ValueError:
            reply = text[:200].decode("utf-8", "replace")
        try:
            after = float(r.headers.get("Retry-After", ""))
        except ValueError:
            after = 0.0
        return r.status, after, reply

    def _take(self, left):
        with self._lock:
            if self._idle:
                connection = self._idle.pop()
                connection.sock.settimeout(left)
                return connection, True
        return self._make(self._host, self._port, timeout=left), False

    def _refusal(self, status, reply):
        if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
            return _reason(reply["error"], status)
        if status is None:
            return WarmError("no answer of %s in time: %s" % (self._server, reply))
        return WarmError("%s answers with status %s: %s" % (self._server, status, reply), status)


def _reason(e, status=None):
    """The WarmError of the server's {"type", "message", "param", "code"}."""
    words = [str(status or ""), e.get("code"), e.get("param"), e.get("message")]
    return WarmError(": ".join(w for w in words if w), status, e.get("code"), e.get("param"))


def _encode(value):
    """JSON in bytes. What has no JSON (NaN, half a surrogate pair, an image) is a
    ValueError or a TypeError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain).encode("utf-8")


def _plain(value):
    """The list or number of one of numpy's, in which data sets keep their columns."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("%s has no JSON" % type(value).__name__)
