"""Rewards from warmserve for verl's custom reward function: point verl at this file.

    reward.custom_reward_function.path=verl_reward.py
    reward.custom_reward_function.name=compute_score

The server is WARM_URL (default http://127.0.0.1:8080); WARM_API_KEY, WARM_MODEL
and WARM_MODE are optional. The same may come as reward_kwargs: url, key, model,
mode. The prompt is read from extra_info: "question", "prompt" or "raw_prompt".

Standard library only, Python 3.9 or later.
"""

import asyncio
import concurrent.futures
import http.client
import json
import os
import random
import threading
import time
import urllib.parse

# Requests at once from this process. Each is one sample, as verl asks; the
# server batches across them.
_threads = concurrent.futures.ThreadPoolExecutor(max_workers=64, thread_name_prefix="warm")
_clients, _clients_lock = {}, threading.Lock()


async def compute_score(data_source, solution_str, ground_truth, extra_info=None, url=None, key=None, model=None, mode=None, **kwargs):
    """Returns {"score", "reward_std", "reward_tokens", "truncated"}: verl trains on
    score and logs the rest, whose names are the same in every answer. reward_std
    is 0 where no ensemble answers. Raises when there is no reward within 300 s."""
    url = url or os.environ.get("WARM_URL", "http://127.0.0.1:8080")
    key = key or os.environ.get("WARM_API_KEY")
    fields = {"model": model or os.environ.get("WARM_MODEL"), "mode": mode or os.environ.get("WARM_MODE")}
    body = {k: v for k, v in fields.items() if v}
    body["inputs"] = [{"prompt": _prompt(extra_info), "response": solution_str}]
    loop = asyncio.get_running_loop()
    reply = await loop.run_in_executor(_threads, _client(url, key).post, "/v1/reward", body)
    entry = reply["data"][0]
    return {
        "score": entry["reward"],
        "reward_std": entry.get("std", 0.0),
        "reward_tokens": entry["tokens"],
        "truncated": int(entry["truncated"]),
    }


def _prompt(extra_info):
    """A user's text, or messages; verl keeps messages in a numpy array."""
    for name in ("question", "prompt", "raw_prompt"):
        value = (extra_info or {}).get(name)
        if value is None:
            continue
        return value if isinstance(value, str) else [dict(m) for m in value]
    raise KeyError('warmserve needs the prompt: put "question", "prompt" or "raw_prompt" into extra_info')


def _client(url, key):
    with _clients_lock:
        if (url, key) not in _clients:
            _clients[url, key] = _Client(url, key, timeout=300.0)
        return _clients[url, key]


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
