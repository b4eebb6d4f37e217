"""Rewards from warmserve for OpenRLHF's custom reward function.

    --reward.remote_url openrlhf_reward.py

OpenRLHF can also be given the server's own URL, http://HOST:8080/get_reward,
which needs no file; this one keeps connections alive, tries again while the
server is busy, and says why when it cannot mend a refusal. The server is
WARM_URL (default http://127.0.0.1:8080, with ?mode=ens, ?retemplate=chatml and
the like behind it as for /get_reward); WARM_API_KEY is optional.

Standard library only, Python 3.9 or later; torch where it is installed, since
OpenRLHF expects tensors of a function.
"""

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
    import torch
except ImportError:
    torch = None

# Seconds for one call, with all its tries while the server is busy or out of reach.
_TIMEOUT = 150.0
_clients = {}  # by URL and key


def reward_func(queries, prompts, labels, **kwargs):
    """Returns {"rewards", "scores", "extra_logs"}, each a tensor of one number for
    each query, or a list of them where torch is not installed. OpenRLHF calls it
    in a thread with one query at a time. Raises WarmError when there is no reward
    within 150 s, and at once where another try cannot mend it: OpenRLHF has no
    sample without a reward."""
    reply = _ask(_client(), list(queries), list(prompts), time.monotonic() + _TIMEOUT)
    return {
        "rewards": _numbers(reply["rewards"]),
        "scores": _numbers(reply["scores"]),
        "extra_logs": {name: _numbers(values) for name, values in reply["extra_logs"].items()},
    }


def _ask(client, queries, prompts, deadline):
    """The server's reply, put together from two where one request is too large."""
    path = "/get_reward" + ("?" + urllib.parse.urlencode(client.query) if client.query else "")
    try:
        return client.post(path, _encode({"query": queries, "prompts": prompts}), deadline)
    except WarmError as e:
        if e.status != 413 or len(queries) < 2:
            raise
    middle = len(queries) // 2
    first = _ask(client, queries[:middle], prompts[:middle], deadline)
    second = _ask(client, queries[middle:], prompts[middle:], deadline)
    logs = second["extra_logs"]
    return {
        "rewards": first["rewards"] + second["rewards"],
        "scores": first["scores"] + second["scores"],
        "extra_logs": {name: values + logs[name] for name, values in first["extra_logs"].items()},
    }


def _numbers(values):
    if torch is None:
        return values
    return torch.tensor(values, dtype=torch.float32)


def _client():
    key = os.environ.get("WARM_URL", "http://127.0.0.1:8080"), os.environ.get("WARM_API_KEY")
    if key not in _clients:
        _clients.setdefault(key, _Client(*key))
    return _clients[key]


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
