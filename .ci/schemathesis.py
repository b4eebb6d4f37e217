"""What openapi.yaml cannot say, for the run of schemathesis in .ci/run.

Its own check, that a request which the schema allows is accepted, takes every
refusal for a fault of one of the two. Some follow from two fields together, or
from the model that happens to be served: those are told by what the server says.
"""

import re

import schemathesis

# What a refusal may say of a request that the schema allows, and why the schema
# does not forbid it.
BEYOND_THE_SCHEMA = [
    # Fields that exclude each other, or belong together: a schema of parameters
    # has no such rules, and those of bodies would be each twice as long.
    r"(lambda|aggregate) is read only with",
    r"members are returned only with",
    r"(say it in one place|ask for different revisions)",
    r"input has its template already",
    r"add_generation_prompt and continue_final_message together",
    r"path and config together",
    r"want one for each, or one of",
    r"\d+ (prompts|responses) for \d+ ",
    r"\d+ weights for \d+ members",
    r"\d+ pairs of candidates for \d+ prompts|batch_response and batch_candidates together",
    r"are fields of different protocols|infinity's replies have no room",
    r"texts \(of text-embeddings-inference\) and documents \(of vLLM\) together",
    r"(documents is|query is|texts` cannot be|input_ids together|text and )",
    # The order of a list.
    r"the role of the last message is",
    r"without tool_calls or reasoning needs a content",
    # One item among several, where the query asks that it voids them all.
    r'want a string","param":"query\[',
    # The inside of a text.
    r"is not in \w+ markup|does not end by opening the assistant's answer",
    # What the served model has.
    r"does not offer the mode",
    r"(the vocabulary has|token id out of range|id \d+, want 0 to \d+)",
    r"(the chat template refuses|has no chat template)",
    r"there is no token to score|nothing to score",
    r"std is known in the modes ens and both alone",
    # The names, shapes and elements of tensors, which are one in three fields.
    r"want the tensor TEXT, or PROMPT and RESPONSE",
    r"(elements for the shape|want the datatype|data: want a list of elements|shape \[|is given twice)",
    # Binary tensors, whose bytes no schema describes.
    r"Inference-Header-Content-Length|binary_data_size|belong to none",
    r"(sequence_lengths\[|want 1 to \d+, the width)",
    r"TEXT\[\d+\]: text is empty|sentences\[\d+\]: text is empty",
]


@schemathesis.check
def valid_requests_are_accepted(ctx, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code not in (400, 413, 415, 422):
        return
    # A description of a model is judged as a whole, by a dozen rules.
    if case.operation.definition.raw.get("operationId") == "putModel":
        return
    # What the bytes of a binary body hold no schema says, nor where a header may cut one.
    if case.media_type in ("application/octet-stream", "application/msgpack") or "Inference-Header-Content-Length" in (case.headers or {}):
        return
    if not any(re.search(p, response.text) for p in BEYOND_THE_SCHEMA):
        raise AssertionError(f"the schema allows what the server refuses with {response.status_code}: {response.text[:300]}")


@schemathesis.check
def no_request_is_a_fault(ctx, response, case):
    """Its own check takes a 503 for a fault: it is the answer to a timeout of a thousandth of a second."""
    if response.status_code in (424, 500, 501, 502, 504):
        raise AssertionError(f"a fault of the server: {response.status_code} {response.text[:300]}")
