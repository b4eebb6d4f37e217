"""Reward models on a Ray cluster: starts, watches and scales processes of warm.
Copy this file.

    import ray, warm_ray

    ray.init()
    fleet = warm_ray.start({"detox": {"members": ["/models/rm-1", "/models/rm-2"]}}, replicas=2, num_cpus=8)
    rewards = fleet.score([("What is rain?", "Water."), {"messages": [...]}])
    fleet.scale(4)                                          # processes, one an actor
    fleet.swap("detox", members=["/models/rm-3", "/models/rm-4"])
    fleet.shutdown()

A fleet is pickled as a handle: tasks and actors that are given one score through
it. start(name="rewards", lifetime="detached") outlives its driver, and
connect("rewards") finds it. Clients of other stacks ask fleet.urls() with
fleet.key, each a server of its own.

Behind Ray Serve, whose address is then that of every dialect:

    serve.run(warm_ray.deployment(num_replicas=2, ray_actor_options={"num_cpus": 8}).bind(models))

What a caller may rely on:

* A process that ends, whatever ended it, starts again with the models that were
  live; an actor or node that is lost starts again elsewhere. No process outlives
  its actor (on Linux, not even kill -9 of the actor leaves one).
* score tries again while servers are busy or out of reach, at another process where
  there is one, until its timeout: a request that was in flight on a process that
  ended is asked again, which is safe, since scoring changes nothing. Then, and at
  once where another try cannot mend it, it raises WarmError.
* An answer that is refused (over the context, say) gets None and a warning that
  holds no text. When every answer is refused for another reason than its length,
  score raises.
* swap returns when every process serves the new revision, the same in all. Where one
  refuses it, all go back to the one before, and swap raises. While it goes on,
  requests are answered by either revision, each by one; revision= pins one.

Standard library and ray alone, Python 3.10 or later; warm on each node (binary=).
"""

import asyncio
import collections
import contextlib
import ctypes
import http.client
import itertools
import json
import logging
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import ray

_log = logging.getLogger("warm_ray")

# One request holds at most so many answers, and so many bytes of JSON: below the
# server's limits, and enough to fill its batches.
_ANSWERS, _BYTES = 512, 1 << 20
# Requests at once from one call of score.
_AT_ONCE = 8
# Seconds after which a handle asks again where the processes are, and between looks
# of the fleet at its processes.
_FRESH, _LOOK = 5.0, 1.0

# Workers of Ray need no copy of this file.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def start(models, replicas=1, num_cpus=1, num_gpus=0, binary="warm", args=(), name=None, lifetime=None,
          start_timeout=600.0, key=None):
    """Starts a fleet and returns its handle once every process serves every model.

    models         by name, what "warm serve" has in its configuration: {"members":
                   [...], "mode": "both", ...}, or the list of members alone.
                   Paths are those of every node
    replicas       processes, each in an actor of its own, spread over the nodes
    num_cpus       of each, which are its workers, too; num_gpus likewise
    binary, args   the program on each node, and further flags of "warm serve"
    name, lifetime of the fleet's actor, as Ray has them
    start_timeout  seconds in which a process has to be ready
    key            API key of the processes; default a random one
    """
    settings = {"num_cpus": num_cpus, "num_gpus": num_gpus, "binary": binary, "args": list(args),
                "start_timeout": start_timeout, "key": key or secrets.token_urlsafe(24), "admin": secrets.token_urlsafe(24)}
    # The fleet computes nothing and waits for many.
    actor = ray.remote(_Fleet).options(name=name, lifetime=lifetime, num_cpus=0, max_concurrency=64).remote(
        {n: _spec(m) for n, m in models.items()}, settings)
    try:
        ray.get(actor.scale.remote(replicas))
    except BaseException:
        ray.get(actor.shutdown.remote())
        ray.kill(actor)
        raise
    return Fleet(actor)


def connect(name, namespace=None):
    """The handle of a fleet that was started with a name."""
    return Fleet(ray.get_actor(name, namespace=namespace))


def _spec(model):
    return dict(model) if isinstance(model, dict) else {"members": list(model)}


class Fleet:
    """A handle of a fleet. It is pickled; each process that holds one has connections
    of its own. Safe in threads."""

    def __init__(self, actor):
        self._actor = actor
        self.key = ray.get(actor.secret.remote())
        self._lock, self._asked, self._clients, self._turn = threading.Lock(), None, {}, itertools.count(random.randrange(1 << 16))

    def __reduce__(self):
        return Fleet, (self._actor,)

    def urls(self):
        """The addresses of the processes that answer."""
        return ray.get(self._actor.urls.remote())

    def status(self):
        """What each process says of itself: url, node, pid, how often it was started
        again, and the revision of each model."""
        return ray.get(self._actor.status.remote())

    def scale(self, replicas):
        """Starts processes, or lets the last ones answer what they have and end.
        Returns when it is done."""
        ray.get(self._actor.scale.remote(replicas))

    def swap(self, model, timeout=3600.0, **spec):
        """Changes a model, or adds one, in every process, and returns its revision.
        What spec does not name stays as it is. Raises WarmError when it is refused."""
        revision, refused = ray.get(self._actor.swap.remote(model, spec, timeout))
        if refused:
            raise WarmError(*refused)
        return revision

    def shutdown(self):
        """Lets every process answer what it has and end, and then the fleet."""
        ray.get(self._actor.shutdown.remote())
        ray.kill(self._actor)

    async def score_async(self, inputs, **options):
        """score for a caller that awaits."""
        return await asyncio.to_thread(self.score, inputs, **options)

    def score(self, inputs, timeout=300.0, revision=None, **fields):
        """The reward of each answer, in order; None for one that is refused.

        inputs    pairs of a prompt and an answer or a list of answers, or what
                  POST /v1/reward takes: {"messages": [...]}, {"prompt", "responses"},
                  {"text"}, {"input_ids"}
        timeout   seconds, with all tries
        revision  the one to be scored by, where that is still held
        fields    of the request: model, mode, aggregate, lambda_, truncate
        """
        deadline = time.monotonic() + timeout
        fields = {name.rstrip("_"): value for name, value in fields.items() if value is not None}
        head = _encode(dict(fields, on_error="item"))[:-1]
        headers = {"X-Pin-Revision": revision} if revision else {}
        chunks = _chunks([_input(i) for i in inputs])

        def ask(chunk):
            body = head + b',"inputs":[' + b",".join(data for data, _ in chunk) + b"]}"
            try:
                return _entries(self._post("/v1/reward", body, deadline, headers), [n for _, n in chunk])
            except WarmError as e:
                if not _of_input(e):
                    raise
                if len(chunk) == 1:
                    return [e] * chunk[0][1]
                return ask(chunk[: len(chunk) // 2]) + ask(chunk[len(chunk) // 2 :])

        with contextlib.closing(_Threads(min(_AT_ONCE, len(chunks)))) as threads:
            entries = list(itertools.chain.from_iterable(threads.map(ask, chunks)))
        refused = [e for e in entries if isinstance(e, WarmError)]
        codes = collections.Counter(e.code or e.status for e in refused)
        if refused and len(refused) == len(entries) and set(codes) != {"too_long"}:
            raise refused[0]
        if refused:
            _log.warning("%d of %d answers without a reward: %s", len(refused), len(entries), dict(codes))
        return [None if isinstance(e, WarmError) else _reward(e, fields) for e in entries]

    def _post(self, path, data, deadline, headers):
        """Returns the decoded reply. Tries again, with jitter, while processes are busy
        or out of reach, each time the next one, until the deadline; a fault of a server
        three times. What another try cannot mend raises at once."""
        pause, faults = 0.1, 0
        while True:
            left = max(deadline - time.monotonic(), 0.1)
            url, status, after = None, None, 0.0
            try:
                url = self._next()
                status, after, reply = self._client(url).send(path, data, left, headers=dict(headers, **{"X-Request-Timeout": "%.3f" % left}))
            except (OSError, http.client.HTTPException) as e:
                reply = "%s: %s" % (type(e).__name__, e)
                self._asked = None
            if status == 200 and isinstance(reply, dict):
                return reply
            busy = status in (None, 408, 429, 502, 503, 504)
            faults += not busy
            wait = max(after, random.uniform(0.5, 1.0) * pause)
            if (not busy and (status < 500 or faults == 3)) or time.monotonic() + wait >= deadline:
                raise _refusal(url or "the fleet", status, reply)
            time.sleep(wait)
            pause = min(2 * pause, 5.0)

    def _next(self):
        """The process whose turn it is."""
        with self._lock:
            if self._asked is None or time.monotonic() - self._asked[0] > _FRESH:
                self._asked = time.monotonic(), self.urls()
            urls = self._asked[1]
        if not urls:
            self._asked = None
            raise ConnectionError("no process answers")
        return urls[next(self._turn) % len(urls)]

    def _client(self, url):
        with self._lock:
            return self._clients.setdefault(url, _Client(url, self.key))


class _Threads:
    """Some threads for one call; one alone is the caller's."""

    def __init__(self, n):
        import concurrent.futures

        self._pool = concurrent.futures.ThreadPoolExecutor(n) if n > 1 else None

    def map(self, f, values):
        return list((self._pool.map if self._pool else map)(f, values))

    def close(self):
        if self._pool:
            self._pool.shutdown()


class _Fleet:
    """The actor of a fleet: which processes there are, and which models they are to
    have. Changes wait for each other; what is asked for is answered beside them."""

    def __init__(self, models, settings):
        self._models, self._settings = models, settings
        self._revisions = {}  # by model, what every process is to serve
        self._replicas, self._told = [], []  # actors, and what each said last or None
        self._changes, self._looks, self._ended = threading.Lock(), threading.Lock(), threading.Event()
        self._swapping = False  # and processes serve this revision or that
        threading.Thread(target=self._watch, daemon=True).start()

    def secret(self):
        return self._settings["key"]

    def status(self):
        return [t for t in self._told if t is not None]

    def urls(self):
        return [t["url"] for t in self.status() if t["ready"]]

    def scale(self, n):
        with self._changes:
            s = self._settings
            kind = ray.remote(_Replica).options(num_cpus=s["num_cpus"], num_gpus=s["num_gpus"], max_concurrency=8,
                                                max_restarts=-1, scheduling_strategy="SPREAD")
            new = [kind.remote(self._models, s) for _ in range(n - len(self._replicas))]
            try:
                for t in ray.get([r.status.remote() for r in new]):  # or the reason why one does not start
                    for name, revision in t["models"].items():
                        if self._revisions.setdefault(name, revision) != revision:
                            raise RuntimeError("%s: the files of node %s make another revision" % (name, t["node"]))
            except BaseException:
                for r in new:
                    ray.kill(r)
                raise
            old = self._replicas[n:]
            self._replicas = self._replicas[:n] + new
            self._look()
            _stop(old)

    def swap(self, model, spec, timeout):
        """The revision, and what a WarmError is made of where it was refused."""
        with self._changes:
            before, known = self._models.get(model), dict(self._models.get(model, {}))
            known.update(spec)
            self._swapping = True
            try:
                return self._swap(model, spec, timeout, before, known)
            finally:
                self._swapping = False
                self._look()

    def _swap(self, model, spec, timeout, before, known):
        answers = _each(self._replicas, lambda r: r.put.remote(model, spec, timeout))
        refused = next((a for _, a in answers if a), None)
        if refused is None and len({r for r, _ in answers}) > 1:
            refused = ("%s: the files of the nodes make different revisions" % model, None, "load_failed", None)
        if refused is None:
            self._models = dict(self._models, **{model: {k: v for k, v in known.items() if v is not None}})
            self._revisions = dict(self._revisions, **{model: answers[0][0]})
            return answers[0][0], None
        if before is not None:  # those that took it go back; null is the default of what was new
            back = dict({k: None for k in spec}, **before)
            _each([r for r, a in zip(self._replicas, answers) if not a[1]], lambda r: r.put.remote(model, back, timeout))
        return None, refused

    def shutdown(self):
        with self._changes:
            self._ended.set()
            old, self._replicas, self._told = self._replicas, [], []
            _stop(old)

    def _watch(self):
        while not self._ended.wait(_LOOK):
            with contextlib.suppress(Exception):
                self._look()
            if self._changes.acquire(blocking=False):
                try:
                    self._mend()
                finally:
                    self._changes.release()

    def _look(self):
        with self._looks:
            self._look_at(self._replicas)

    def _look_at(self, replicas):
        """Asks all processes at once how they are; who does not say is out of reach."""
        asked = [r.status.remote() for r in replicas]
        done, _ = ray.wait(asked, num_returns=len(asked), timeout=5.0) if asked else ([], [])
        told = []
        for a in asked:
            try:
                told.append(ray.get(a) if a in done else None)
            except ray.exceptions.RayError:
                told.append(None)
        for t in told:
            if t and t["ready"] and not self._swapping:
                t["ready"] = all(t["models"].get(n) == r for n, r in self._revisions.items())
        if replicas is self._replicas:
            self._told = told

    def _mend(self):
        """Brings the models of a process that started anew, elsewhere, to what they are."""
        for r, t in zip(self._replicas, self._told):
            if t and not t["ready"] and t["models"]:
                for name, revision in self._revisions.items():
                    if t["models"].get(name) != revision:
                        with contextlib.suppress(ray.exceptions.RayError):
                            ray.get(r.put.remote(name, self._models[name], 3600.0))


def _each(replicas, ask):
    """What all of them answer, asked at once; a (None, reason) of one that is lost."""
    out = []
    for a in [ask(r) for r in replicas]:
        try:
            out.append(ray.get(a))
        except ray.exceptions.RayError as e:
            out.append((None, (type(e).__name__ + ": a process was lost", None, "unavailable", None)))
    return out


def _stop(replicas):
    for a in [r.stop.remote() for r in replicas]:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(a)
    for r in replicas:
        ray.kill(r)


class _Replica:
    """The actor of a process."""

    def __init__(self, models, settings):
        self._process = _Process(models, settings, ray.util.get_node_ip_address())

    def status(self):
        return self._process.status()

    def put(self, model, spec, timeout):
        return self._process.put(model, spec, timeout)

    def stop(self):
        self._process.stop()


class _Process:
    """A process of warm that is started again whenever it ends."""

    def __init__(self, models, settings, host):
        self._settings = settings
        self._binary = shutil.which(settings["binary"])
        if self._binary is None:
            raise RuntimeError("%s: no such program on %s: binary= names it" % (settings["binary"], socket.gethostname()))
        self._dir = tempfile.mkdtemp(prefix="warm-ray-")
        self._host, self._port, self._models = host, _free_port(host), models
        self._process, self._restarts, self._said = None, 0, collections.deque(maxlen=20)
        self._stopped = threading.Event()
        # The thread that starts processes lives as long as this one: on Linux the system
        # ends a process with the thread that started it.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait(time.monotonic() + settings["start_timeout"])

    @property
    def url(self):
        return "http://%s:%d" % (self._host if ":" not in self._host else "[%s]" % self._host, self._port)

    def _wait(self, deadline):
        """Waits until every model is live, and raises what the process said when it ends first."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._ask("GET", "/readyz", 5.0)[0] == 200:
                    return
            late = time.monotonic() > deadline
            if late or self._restarts > 1:
                self.stop()
                raise RuntimeError("warm serve %s:\n%s" % ("is not ready in time" if late else "ends", "\n".join(self._said)))
            time.sleep(0.05)

    def _ask(self, method, path, timeout, body=None):
        client = _Client(self.url, self._settings["admin"])
        try:
            return client.send(path, body, timeout, method)
        finally:
            client.close()

    def _run(self):
        config = {"addr": "%s:%d" % (self._host, self._port), "console": False, "model_root": "/",
                  "state": os.path.join(self._dir, "state.json"), "models": self._models}
        threads = ["--threads", str(max(1, int(self._settings["num_cpus"])))]
        for setting, key in (("key_file", self._settings["key"]), ("admin_key_file", self._settings["admin"])):
            if key:
                config[setting] = os.path.join(self._dir, setting)  # a directory of this user alone
                with open(config[setting], "w", encoding="utf-8") as f:
                    f.write(key + "\n")
        # The configuration says it all: no variable of the node may say otherwise.
        environment = {n: v for n, v in os.environ.items() if not n.startswith("WARM_")}
        pause = 0.1
        while not self._stopped.is_set():
            config["addr"] = "%s:%d" % (self._host, self._port)
            path = os.path.join(self._dir, "serve.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(config, f)
            began = time.monotonic()
            try:
                self._process = subprocess.Popen(
                    [self._binary, "serve", "--config", path, *threads, *self._settings["args"]], env=environment, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=_end_with_parent())
                for line in self._process.stderr:
                    text = line.decode("utf-8", "replace").rstrip()
                    self._said.append(text)
                    print(text, file=sys.stderr)  # Ray's log of this actor
                self._process.wait()
            except OSError as e:
                self._said.append(str(e))
            if self._stopped.is_set():
                return
            pause = 0.1 if time.monotonic() - began > 10 else min(2 * pause, 30.0)
            self._restarts += 1
            self._stopped.wait(pause)
            if _taken(self._host, self._port):
                self._port = _free_port(self._host)

    def status(self):
        told = {"url": self.url, "node": ray.get_runtime_context().get_node_id(), "pid": self._process.pid if self._process else None, "restarts": self._restarts,
                "ready": False, "models": {}}
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError, TypeError):
            told["ready"] = self._ask("GET", "/readyz", 2.0)[0] == 200
            status, _, reply = self._ask("GET", "/v1/models", 2.0)
            told["models"] = {m["id"]: m["revision"] for m in reply["data"]} if status == 200 else {}
        return told

    def put(self, model, spec, timeout):
        """The revision, and what a WarmError is made of where it was refused."""
        path = "/v1/models/%s?wait=true" % urllib.parse.quote(model, safe="")
        try:
            status, _, reply = self._ask("PUT", path, timeout, _encode(spec))
        except (OSError, http.client.HTTPException) as e:
            return None, ("%s: %s: %s" % (self.url, type(e).__name__, e), None, "unavailable", None)
        if status == 200:
            return reply["revision"], None
        e = _refusal(self.url, status, reply)
        return None, (str(e), e.status, e.code, e.param)

    def stop(self):
        """Lets the process answer what it has, and ends it."""
        self._stopped.set()
        p = self._process
        if p is not None and p.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGTERM)
        self._thread.join(90.0)  # above the server's own time to drain
        if self._thread.is_alive():
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._thread.join()
        shutil.rmtree(self._dir, ignore_errors=True)


def _end_with_parent():
    """What a new process does first: on Linux it asks to be killed with its parent."""
    if not sys.platform.startswith("linux"):
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask():
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _free_port(host):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def _taken(host, port):
    """Whether another program listens there, in the time between two processes."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
        return True
    return False


def deployment(**options):
    """A deployment of Ray Serve: serve.run(deployment(num_replicas=2).bind(models)).

    options are serve.deployment's. bind takes models as start does, then binary, args,
    num_cpus (workers of a process) and start_timeout. Each replica has a process on
    its own node that listens on loopback, and answers every route of it but those of
    administrators; Serve starts a replica again that is not healthy. user_config
    {"models": {...}} changes models in place, in one replica after another."""
    from ray import serve

    @serve.deployment(**options)
    class Warm:
        def __init__(self, models, binary="warm", args=(), num_cpus=1, start_timeout=600.0):
            settings = {"num_cpus": num_cpus, "binary": binary, "args": list(args), "start_timeout": start_timeout,
                        "key": "", "admin": secrets.token_urlsafe(24)}
            self._models = {n: _spec(m) for n, m in models.items()}
            self._process = _Process(self._models, settings, "127.0.0.1")
            self._client = _Client(self._process.url)

        def reconfigure(self, config):
            for name, model in ((config or {}).get("models") or {}).items():
                model = _spec(model)
                if self._models.get(name) != model:
                    _, refused = self._process.put(name, model, 3600.0)
                    if refused:
                        raise WarmError(*refused)
                    self._models[name] = model

        def check_health(self):
            if not self._process.status()["ready"]:
                raise RuntimeError("warm is not ready at %s" % self._process.url)

        async def __call__(self, request):
            from starlette.responses import Response

            body = await request.body()
            query = "?" + request.url.query if request.url.query else ""
            headers = {n: v for n, v in request.headers.items() if n.lower() not in _OF_ONE_HOP}
            try:
                r = await asyncio.to_thread(self._client.raw, request.url.path + query, body or None, 600.0, request.method, headers)
            except (OSError, http.client.HTTPException) as e:
                message = "the process is out of reach: %s" % type(e).__name__
                error = {"error": {"type": "unavailable", "message": message, "param": None, "code": "unavailable"}}
                return Response(_encode(error), 503, {"Retry-After": "1"}, "application/json")
            status, headers, content = r
            return Response(content, status, {n: v for n, v in headers if n.lower() not in _OF_ONE_HOP})

        def __del__(self):
            if hasattr(self, "_process"):
                self._process.stop()

    return Warm


# Headers that are of one connection, not of what goes through it.
_OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection", "content-length", "host",
               "expect"}


def _input(given):
    """An input as JSON in bytes, and how many answers it has."""
    if not isinstance(given, dict):
        prompt, answer = given
        given = {"prompt": prompt, "response" if isinstance(answer, str) else "responses": answer}
    return _encode(given), len(given["responses"]) if "responses" in given else 1


def _chunks(inputs):
    """The inputs in lists that are one request each."""
    chunks, answers, size = [], _ANSWERS, 0
    for data, n in inputs:
        if not chunks or answers + n > _ANSWERS or size + len(data) > _BYTES:
            chunks.append([])
            answers, size = 0, 0
        chunks[-1].append((data, n))
        answers, size = answers + n, size + len(data)
    return chunks


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
    """Whether a refusal is of an input or of how much there is, not of what is asked."""
    return e.status == 413 or (e.param or "").startswith("inputs[") and e.code != "unsupported_input"


class WarmError(Exception):
    """A refusal of the server, with its reason, or no answer in time."""

    def __init__(self, message, status=None, code=None, param=None):
        super().__init__(message)
        self.status, self.code, self.param = status, code, param


class _Client:
    """Requests over connections that are kept alive; safe in threads."""

    def __init__(self, url, key=None):
        u = urllib.parse.urlsplit(url)
        self._host, self._port = u.hostname, u.port
        self._idle, self._lock = [], threading.Lock()
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = "Bearer " + key

    def send(self, path, data, left, method="POST", headers=None):
        """One request: returns the status, Retry-After in seconds and the reply,
        which is text where it is not JSON."""
        status, headers, text = self.raw(path, data, left, method, dict(self._headers, **(headers or {})))
        try:
            reply = json.loads(text)
        except ValueError:
            reply = text[:200].decode("utf-8", "replace")
        try:
            after = float(dict(headers).get("Retry-After", ""))
        except ValueError:
            after = 0.0
        return status, after, reply

    def raw(self, path, data, left, method, headers):
        """One request: returns the status, the headers and the body."""
        while True:
            connection, kept = self._take(left)
            whole = True
            try:
                try:
                    connection.request(method, path, data, headers)
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
        return r.status, r.getheaders(), text

    def _take(self, left):
        with self._lock:
            if self._idle:
                connection = self._idle.pop()
                connection.sock.settimeout(left)
                return connection, True
        return http.client.HTTPConnection(self._host, self._port, timeout=left), False

    def close(self):
        for connection in self._idle:
            connection.close()


def _refusal(server, status, reply):
    if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
        return _reason(reply["error"], status)
    if status is None:
        return WarmError("no answer of %s in time: %s" % (server, reply))
    return WarmError("%s answers with status %s: %s" % (server, status, reply), status)


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
