"""Renders templates with Jinja2 set up as transformers sets it up.

Reads one JSON object a line, {"template", "vars"}, and writes one a line: {"text"} or
{"error", "type"}. The oracle of the differential tests.
"""

import json
import sys
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_support"), [], [], body).set_lineno(line)

    def _support(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


NOW = datetime(2024, 7, 26, 9, 5, 3)

env = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = lambda fmt: NOW.strftime(fmt)

cache = {}
for line in sys.stdin:
    job = json.loads(line)
    try:
        source = job["template"]
        if source not in cache:
            cache[source] = env.from_string(source)
        text = cache[source].render(**job["vars"])
        text.encode("utf-8")
        out = {"text": text}
    except Exception as e:  # every failure is an answer
        message = str(e)
        if isinstance(e, KeyError):
            message = repr(e.args[0])
        out = {"error": message, "type": type(e).__name__}
    print(json.dumps(out), flush=False)
