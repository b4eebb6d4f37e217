"""Rewards from warmserve for TRL's trainers and for ms-swift: copy this file.

    from trl_reward import WarmReward
    trainer = GRPOTrainer(reward_funcs=WarmReward("http://127.0.0.1:8080"), ...)

WarmReward is awaited (GRPO, RLOO, AsyncGRPO of TRL 1.16); SyncWarmReward is the
same for a trainer that does not await (OnlineDPO; any of TRL before 1.16). For
ms-swift, a plugin beside this file:

    from swift.rewards import orms
    from trl_reward import WarmReward
    orms["warm"] = lambda args=None, **kwargs: WarmReward("http://127.0.0.1:8080")

    swift rlhf --rlhf_type grpo --external_plugins plugin.py --reward_funcs warm ...

Standard library only, Python 3.9 or later.
"""

import asyncio
import collections
import concurrent.futures
import contextvars
import http.client
import itertools
import json
import logging
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

_log = logging.getLogger("warm_reward")

# One request holds at most so many answers, and so many bytes of text with a
# prompt counted for each of its answers: below the server's limits of answers,
# bytes and tokens (a token is hardly ever less than a byte), and enough to fill
# its batches. What a template puts around an answer is _MARKUP bytes, a guess.
_ANSWERS, _BYTES, _MARKUP = 512, 1 << 20, 64

# Requests at once from one call.
_AT_ONCE = 8


class WarmReward:
    """An async reward function: (prompts, completions, **kwargs) -> list[float | None].

    An answer that the server refuses gets None, which TRL leaves out, and a
    warning that holds no text. The call raises WarmError when the server refuses
    the request itself (its key, model or mode) or does not answer in time, and
    when it refuses every answer for another reason than its length, as a model
    without a chat template does.

    key        API key; default the variable WARM_API_KEY, or the URL's password
    model      its name, where the server has several
    mode       wa, ens, both or member:NAME; default the model's own
    aggregate  of an ensemble: mean, min, median, mean_minus_std, mean_minus_var.
               With mode both it is the reward, in place of the weight average's
    as_text    score prompt + completion as one text, without chat template and
               special tokens, as TRL does with a reward model in its own process
               when prompts are strings. By default a string is a user's message
    timeout    seconds for one call, with all its tries while the server is busy
               or out of reach
    name       under which TRL logs the reward
    lambda_    weighs the spread in mean_minus_std and mean_minus_var
    truncate   what an answer over the context loses: prompt_left (the server's
               default), left or right; or error, and it gets None

    The URL may choose instead: http://HOST:8080?mode=ens&aggregate=min.
    """

    def __init__(
        self, url, key=None, model=None, mode=None, aggregate=None, as_text=False, timeout=300.0,
        name="warm_reward", lambda_=None, truncate=None,
    ):
        self._arguments = (url, key, model, mode, aggregate, as_text, timeout, name, lambda_, truncate)
        self._client = _Client(url, key or os.environ.get("WARM_API_KEY"))
        given = {"model": model, "mode": mode, "aggregate": aggregate}
        given.update({"lambda": lambda_, "truncate": truncate})
        self._path, self._fields = _request(self._client.query, given)
        self._as_text, self._timeout = as_text, timeout
        self.__name__ = name

    def __reduce__(self):  # TRL's AsyncGRPO sends it to a process of its own
        return type(self), self._arguments

    async def __call__(self, prompts=None, completions=None, messages=None, log_extra=None, **kwargs):
        rewards, spread = await asyncio.to_thread(self._score, prompts, completions, messages)
        return _logged(rewards, spread, log_extra)

    def _score(self, prompts, completions, messages):
        """The reward and the spread of each completion, None where there is none.
        ms-swift gives completions alone, by position, and whole conversations as messages."""
        if completions is None:
            prompts, completions = None, prompts
        if prompts is None and messages is not None:
            prompts = [m[:-1] for m in messages]
        if prompts is None or len(prompts) != len(completions):
            raise ValueError("want a prompt for each completion, in prompts or (ms-swift) in messages")
        rewards, spread, refused = [None] * len(completions), [None] * len(completions), []
        deadline = time.monotonic() + self._timeout
        context = contextvars.copy_context()  # a span is of it, and threads have none
        chunks = _chunks(_groups(prompts, completions, self._as_text, refused))
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = pool.map(lambda chunk: context.copy().run(self._ask, chunk, deadline), chunks)
            for sample, entry in itertools.chain.from_iterable(answers):
                if isinstance(entry, WarmError):
                    refused.append(entry)
                else:
                    rewards[sample.index] = _reward(entry, self._fields)
                    spread[sample.index] = entry.get("std")
        codes = collections.Counter(e.code or e.status for e in refused)
        if refused and len(refused) == len(completions) and set(codes) != {"too_long"}:
            raise refused[0]
        if refused:
            _log.warning("%d of %d answers without a reward: %s", len(refused), len(completions), dict(codes))
        return rewards, spread

    def _ask(self, samples, deadline):
        """Returns (sample, entry or WarmError) of each sample, from one request; from
        its halves, where the request is too large or one of its inputs unreadable."""
        inputs = _inputs(samples)
        head = _encode(dict(self._fields, on_error="item"))[:-1]
        body = head + b',"inputs":[' + b",".join(data for data, _ in inputs) + b"]}"
        try:
            reply = self._client.post(self._path, body, deadline)
        except WarmError as e:
            if not _of_input(e):
                raise
            if len(samples) == 1:
                return [(samples[0], e)]
            middle = _middle(samples)
            return self._ask(samples[:middle], deadline) + self._ask(samples[middle:], deadline)
        return list(zip(samples, _entries(reply, [n for _, n in inputs])))


class SyncWarmReward(WarmReward):
    """WarmReward for a caller that does not await."""

    def __call__(self, prompts=None, completions=None, messages=None, log_extra=None, **kwargs):
        rewards, spread = self._score(prompts, completions, messages)
        return _logged(rewards, spread, log_extra)


def _logged(rewards, spread, log_extra):
    """Shows the spread of an ensemble beside the completions that TRL logs."""
    if log_extra is not None and any(s is not None for s in spread):
        log_extra("reward_std", spread)
    return rewards


# A completion on its way: prompt and answer are JSON in bytes. Without a prompt
# (b"") the answer is an input of its own.
_Sample = collections.namedtuple("_Sample", "index prompt answer")


def _groups(prompts, completions, as_text, refused):
    """The samples, those of one prompt together so that the server computes it
    once, in lists. One that has no JSON is added to refused instead."""
    groups = collections.defaultdict(list)
    for i, (prompt, completion) in enumerate(zip(prompts, completions)):
        try:
            shared, answer = _input(prompt, completion, as_text)
            sample = _Sample(i, b"" if shared is None else _encode(shared), _encode(answer))
        except (TypeError, ValueError) as e:
            refused.append(WarmError("completion %d cannot be sent: %s" % (i, e), code=type(e).__name__))
            continue
        groups[sample.prompt or i].append(sample)
    return list(groups.values())


def _input(prompt, completion, as_text):
    """The prompt and the answer of a completion, or None and an input of its own."""
    answer = _answer(completion)
    if answer is None:
        messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        return None, {"messages": list(messages) + list(completion)}
    if as_text and isinstance(prompt, str):
        return None, {"text": prompt + answer, "add_special_tokens": False}
    return prompt, answer


def _answer(completion):
    """The text of a completion that is one plain answer; None for a longer one."""
    if isinstance(completion, str):
        return completion
    if len(completion) == 1 and set(completion[0]) <= {"role", "content"}:
        message = completion[0]
        if message.get("role") == "assistant" and isinstance(message.get("content"), str):
            return message["content"]
    return None


def _chunks(groups):
    """The groups in lists that are one request each. A group that does not fit
    beside others has requests of its own, as few as it needs."""
    chunks, answers, room = [], 0, 0  # answers and bytes that the last one still takes
    for group in groups:
        anew = len(group) > answers or sum(map(_size, group)) > room
        for sample in group:
            if anew or answers == 0 or _size(sample) > room:
                chunks.append([])
                anew, answers, room = False, _ANSWERS, _BYTES
            chunks[-1].append(sample)
            answers, room = answers - 1, room - _size(sample)
    return chunks


def _size(sample):
    return len(sample.prompt) + len(sample.answer) + _MARKUP


def _middle(samples):
    """Where to halve samples: between two prompts if there are two."""
    cuts = range(1, len(samples))
    between = [i for i in cuts if not samples[i].prompt or samples[i].prompt != samples[i - 1].prompt]
    return min(between or cuts, key=lambda i: abs(2 * i - len(samples)))


def _inputs(samples):
    """The inputs of a request, JSON in bytes, and how many answers each has."""
    inputs = []
    for prompt, group in itertools.groupby(samples, key=lambda s: s.prompt):
        answers = [s.answer for s in group]
        if prompt:
            together = b'{"prompt":%b,"responses":[%b]}' % (prompt, b",".join(answers))
            inputs.append((together, len(answers)))
        else:
            inputs += [(a, 1) for a in answers]
    return inputs


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
