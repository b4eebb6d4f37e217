"""Rewards from warmserve for OpenRLHF's custom reward function.

    --reward.remote_url openrlhf_reward.py

OpenRLHF can also be given the server's own URL, http://HOST:8080/get_reward,
which needs no file; this one keeps connections alive and tries again while the
server is busy. The server is WARM_URL (default http://127.0.0.1:8080, with
?retemplate=chatml and the like behind it as for /get_reward); WARM_API_KEY is
optional.

Standard library only, Python 3.9 or later; torch where it is installed, since
OpenRLHF expects tensors of a function.
"""

import http.client
import json
import os
import random
import threading
import time
import urllib.parse

try:
    import torch
except ImportError:
    torch = None

_clients, _clients_lock = {}, threading.Lock()


def reward_func(queries, prompts, labels, **kwargs):
    """Returns {"rewards", "scores", "extra_logs"}, each a tensor of one number for
    each query, or a list of them where torch is not installed. OpenRLHF calls it
    in a thread with one query at a time. Raises when there is no reward within 150 s."""
    client, query = _client()
    reply = client.post("/get_reward" + query, {"query": list(queries), "prompts": list(prompts), "labels": list(labels)})
    return {
        "rewards": _numbers(reply["rewards"]),
        "scores": _numbers(reply["scores"]),
        "extra_logs": {name: _numbers(values) for name, values in reply["extra_logs"].items()},
    }


def _numbers(values):
    if torch is None:
        return values
    return torch.tensor(values, dtype=torch.float32)


def _client():
    url, key = os.environ.get("WARM_URL", "http://127.0.0.1:8080"), os.environ.get("WARM_API_KEY")
    with _clients_lock:
        if (url, key) not in _clients:
            _clients[url, key] = _Client(url, key)
        query = urllib.parse.urlsplit(url).query
        return _clients[url, key], "?" + query if query else ""


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
