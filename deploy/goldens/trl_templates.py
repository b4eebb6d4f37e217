"""Renders the chat templates that TRL carries, as transformers renders them.

    python -m venv v && v/bin/pip install transformers==5.24.0 jinja2==3.1.6
    v/bin/pip download --no-deps trl==1.16.0 && python -m zipfile -e trl-1.16.0-*.whl trl
    v/bin/python deploy/goldens/trl_templates.py trl/trl/chat_templates > trl.jsonl
    WARM_TRL_GOLDENS=$PWD/trl.jsonl go test -run TRL -v ./model/chat

Writes one JSON object a line: the name and text of a template first, then its renderings, each with
the messages, the options and transformers' text or error. Transformers leaves to its callers in which
of two ways they write the arguments of tool calls and a content that is null beside them, and each
template reads one way. It is given that one; we are given both.
"""

import copy
import datetime
import json
import pathlib
import re
import sys

import transformers
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2024, 7, 26, 9, 5, 3)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Gets the weather\nof a city.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "the city, in \"any\" language"},
                    "days": {"type": "integer", "description": "how many days"},
                    "unit": {"type": "string", "enum": ["C", "F"], "description": "unit"},
                    "at": {"type": "array", "items": {"type": "number"}, "description": "hours"},
                },
                "required": ["city"],
            },
        },
    }
]


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


chat_template_utils.datetime = Clock


def call(name, arguments, **more):
    return {"type": "function", "id": "call00001", "function": {"name": name, "arguments": arguments}, **more}


def says(role, content, **more):
    return {"role": role, "content": content, **more}


ASK, ANSWER = says("user", "What is 2 + 2?"), says("assistant", "4")
CALL = call("get_weather", {"city": "Gänt \"x\"", "days": 2, "at": [1, 2.5, None, True], "o": {}})
TOOL = says("tool", "{\"t\": 21}", name="get_weather", tool_call_id="call00001")
CONVERSATIONS = [
    [ASK, ANSWER],
    [says("system", "Be brief."), ASK, ANSWER],
    [says("system", "  padded \n"), says("user", "\n  a\tb \n"), says("assistant", "  c \n")],
    [ASK, ANSWER, says("user", "And 3 + 3?"), says("assistant", "6")],
    [ASK, says("assistant", "<think>\nwhy\n</think>\n\nbecause"), says("user", "more"), says("assistant", "</think>x")],
    [ASK, says("assistant", "4", reasoning_content="I add.")],
    [ASK, says("assistant", "4", thinking="I add.")],
    [ASK, says("assistant", "4", reasoning="I add."), says("user", "sure?"), says("assistant", "yes", reasoning_content=None, reasoning="He asks.")],
    [ASK, says("assistant", "", tool_calls=[CALL]), TOOL, says("assistant", "21 degrees.")],
    [ASK, says("assistant", "I look.", tool_calls=[CALL, call("get_weather", {})]), TOOL, TOOL, says("assistant", "21 degrees.")],
    [says("user", "漢字 é 😀 <|im_end|> {{ x }} \\ '\""), says("assistant", "")],
    [says("assistant", "first"), says("assistant", "second")],
    [says("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), says("assistant", [{"type": "text", "text": "c"}])],
    [ASK, says("assistant", None, tool_calls=[CALL]), TOOL, says("assistant", "21 degrees.")],
    [],
]


def as_strings(messages, **how):
    """The arguments of tool calls as JSON in a string, as OpenAI's clients send them."""
    out = copy.deepcopy(messages)
    for m in out:
        for c in m.get("tool_calls", []):
            c["function"]["arguments"] = json.dumps(c["function"]["arguments"], **how)
    return out


def as_read(source, messages):
    """Null beside tool calls as the template reads it."""
    out = copy.deepcopy(messages)
    if not re.search(r"content'\]\s+is\s+(not\s+)?none", source):
        for m in out:
            if m.get("tool_calls") and m["content"] is None:
                m["content"] = ""
    return out


def render(source, messages, tools, generation):
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[copy.deepcopy(messages)],
            tools=tools,
            chat_template=source,
            add_generation_prompt=generation,
            **TOKENS,
        )
        return {"text": texts[0]}
    except Exception as e:  # every failure is an answer
        return {"error": str(e), "type": type(e).__name__}


def write(**line):
    print(json.dumps(line, ensure_ascii=False))


print(f"transformers {transformers.__version__}", file=sys.stderr)
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
    source = path.read_text()
    write(template=path.name, source=source, tokens=TOKENS, now=NOW.isoformat() + "Z")
    for messages in CONVERSATIONS:
        for tools in (None, TOOLS):
            for generation in (False, True):
                read = as_read(source, messages)
                answer = render(source, read, tools, generation)
                if answer.get("type") == "TypeError":
                    text = render(source, as_strings(read, ensure_ascii=False), tools, generation)
                    answer = text if "text" in text else answer
                write(template=path.name, given=messages, tools=tools, generation=generation, **answer)
                if any("tool_calls" in m for m in messages):
                    write(template=path.name, given=as_strings(messages, separators=(",", ":")), tools=tools, generation=generation, **answer)
