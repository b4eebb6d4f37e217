"""What the programs that check.py runs have printed, and what is made of it: rows of a table."""

import dataclasses
import json
import re

OK, FAILED, MISSED, MEASURED, PARTLY, NOT_RUN = "ok", "**failed**", "missed", "measured", "in part", "not run"


@dataclasses.dataclass
class Row:
    step: str
    result: str
    figure: str
    target: str = ""
    beside: str = ""


def table(rows):
    """The rows as Markdown."""
    out = ["| step | result | figure | target | beside PyTorch |", "| --- | --- | --- | --- | --- |"]
    for r in rows:
        cells = (str(c).replace("|", "\\|").replace("\n", " ") for c in dataclasses.astuple(r))
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


@dataclasses.dataclass
class Tests:
    """A run of a Go test binary with -test.v."""

    passed: int = 0  # tests without tests of their own
    skipped: int = 0
    failed: tuple = ()
    complete: bool = False  # it came to its end
    worst: dict = dataclasses.field(default_factory=dict)  # by number format, against the CPU
    compared: int = 0  # sequences
    unlike: int = 0  # of them differ in a bit


def tests(text):
    t = Tests()
    outcome, current = {}, ""
    for line in text.splitlines():
        if m := re.match(r"=== (?:RUN|NAME|CONT) +(\S+)", line):
            current = m[1]
        elif m := re.match(r" *--- (PASS|FAIL|SKIP): (\S+)", line):
            outcome[m[2]] = m[1]
        elif m := re.search(r"largest difference (\S+?)(?:, (\d+) differ in a bit)?$", line):
            kind = next((k for k in ("bfloat16", "fp8", "int8") if k in current), "float32")
            t.worst[kind] = max(t.worst.get(kind, 0), float(m[1]))
            if m[2] is not None:
                t.unlike += int(m[2])
                t.compared += int(re.search(r"(\d+) sequences", line)[1])
        elif line in ("PASS", "FAIL"):
            t.complete = True
    parents = {name.rpartition("/")[0] for name in outcome}
    leaves = {n: o for n, o in outcome.items() if n not in parents}
    t.passed = sum(o == "PASS" for o in leaves.values())
    t.skipped = sum(o == "SKIP" for o in leaves.values())
    t.failed = tuple(n for n, o in leaves.items() if o == "FAIL")
    return t


def tests_row(step, text, code, figure=lambda t: ""):
    t = tests(text)
    ok = code == 0 and t.complete and not t.failed and t.passed > 0 and t.unlike == 0
    said = f"{t.passed} passed"
    if t.skipped:
        said += f", {t.skipped} skipped"
    if t.failed:
        said += f", {len(t.failed)} failed: {', '.join(t.failed[:3])}"
    if not t.complete:
        said += ", not all were run: " + ending(text)
    return Row(step, OK if ok else FAILED, said + figure(t), "all")


def ending(text):
    """The last line with anything in it, for whoever wonders why."""
    lines = [l.strip() for l in text.splitlines() if l.strip()]
    panics = [l for l in lines if l.startswith(("panic:", "fatal error:", "warm: "))]
    return ((panics or lines or ["no output"])[-1])[:300]


def torch(text):
    """tokens/s by (what, model, shape), what is packed or transformers."""
    out = {}
    for line in text.splitlines():
        m = re.match(r"(packed|transformers)\b.*? (qwen3-0\.6b|llama-\S+) (ragged|\d+x\d+)\b.*?: +[\d.]+ ms +(\d+) tokens/s", line)
        if m:
            model = "llama-3.1-8b" if m[2].startswith("llama") else m[2]
            key = m[1], model, m[3]
            out[key] = max(out.get(key, 0), int(m[4]))  # the best of its attentions
    return out


def document(text):
    """The JSON object at the end of what a command printed; None where there is none."""
    at = text.find("{\n")
    try:
        return json.loads(text[at:]) if at >= 0 else None
    except ValueError:
        return None


def forward(report):
    """Measurements of a warm bench engine --json by shape."""
    return {f["shape"]: f for f in (report or {}).get("forward") or []}


COMPARISONS = 14  # of torch_bench.py: two models, three shapes by both, ragged lengths by transformers

RAGGED, ANSWERS = "32x32-991", "4x8x256+256"

# By model and shape: (its name, PyTorch's shape, least share of packed, of transformers, most ms).
SPEEDS = {
    "qwen3-0.6b": {
        "32x512": ("32 × 512", "32x512", 1.2, 3, None),
        "8x2048": ("8 × 2048", "8x2048", None, None, None),
        RAGGED: ("32 ragged, 32 to 991", "ragged", None, 6, None),
        ANSWERS: ("4 prompts of 256, 8 answers of 256 each", "32x512", 1.9, 5, None),
        "1x512": ("1 × 512", "1x512", None, None, 1.5),
        "1x64": ("1 × 64", None, None, None, 0.8),
    },
    "llama-3.1-8b": {
        "32x512": ("32 × 512", "32x512", 1.06, None, None),
        "8x2048": ("8 × 2048", "8x2048", None, None, None),
        RAGGED: ("32 ragged, 32 to 991", "ragged", None, None, None),
        ANSWERS: ("4 prompts of 256, 8 answers of 256 each", "32x512", None, None, None),
        "1x512": ("1 × 512", "1x512", 1.0, None, None),
        "1x64": ("1 × 64", None, None, None, None),
    },
}


def median(values):
    v = sorted(values)
    return (v[(len(v) - 1) // 2] + v[len(v) // 2]) / 2


def speed_rows(model, report, rates, code, text):
    """A row for each shape that was to be measured."""
    rows, measured = [], forward(report)
    for shape, (name, theirs, packed, padded, most) in SPEEDS[model].items():
        step = f"{model}, {name}"
        targets = [f"{packed} × packed"] if packed else []
        targets += [f"{padded} × transformers"] if padded else []
        targets += [f"{most} ms"] if most else []
        if code != 0 or shape not in measured:
            rows.append(Row(step, FAILED, "not measured: " + ending(text), ", ".join(targets)))
            continue
        f = measured[shape]
        ms = 1e3 * median(f["seconds"])
        beside, reached, unknown = [], most is None or ms <= most, False
        for what, least in (("packed", packed), ("transformers", padded)):
            rate = rates.get((what, model, theirs))
            if rate:
                beside.append(f"{f['tokens_per_s'] / rate:.2f} × {what} ({rate:,})")
                reached &= least is None or f["tokens_per_s"] >= least * rate
            unknown |= least is not None and not rate
        result = MISSED if not reached else MEASURED if unknown or not targets else OK
        rows.append(Row(step, result, f"{f['tokens_per_s']:,.0f} tokens/s, {ms:.2f} ms", ", ".join(targets), ", ".join(beside)))
    return rows


FP8_SPEEDS = {"32x512": "32 × 512", "1x512": "1 × 512"}
FOLD_SPEEDS = {**FP8_SPEEDS, "1x64": "1 × 64"}


def beside_rows(model, what, shapes, report, bf16, code, text):
    """The speed of what else there is, beside bfloat16's as it is in the same run of check.sh."""
    rows, measured, other = [], forward(report), forward(bf16)
    for shape, name in shapes.items():
        step = f"{model}, {name}, {what}"
        if code != 0 or shape not in measured:
            rows.append(Row(step, FAILED, "not measured: " + ending(text)))
            continue
        f = measured[shape]
        beside = f", {f['tokens_per_s'] / other[shape]['tokens_per_s']:.2f} × bfloat16" if shape in other else ""
        rows.append(Row(step, MEASURED, f"{f['tokens_per_s']:,.0f} tokens/s, {1e3 * median(f['seconds']):.2f} ms{beside}"))
    return rows


def cost_row(step, report, code, text):
    """What smaller number formats cost, against float32 on the same card."""
    costs = [f"{f['dtype']} {f['rms_error_of_score_std']:.2%} RMS of the rewards' spread, {f['pair_order_kept']:.1%} of pairs in the same order"
             for f in (report or {}).get("forward") or [] if "rms_error_of_score_std" in f]
    if code != 0 or len(costs) != 2:
        return Row(step, FAILED, "not measured: " + ending(text))
    return Row(step, MEASURED, "; ".join(costs))


def flops_per_token(report, shape="32x512"):
    """What the forward pass of a token takes, as the engine counts it; 0 where it is not known."""
    f = forward(report).get(shape)
    return 1e9 * f["gflop_per_s"] / f["tokens_per_s"] if f else 0


PER_CLOCK = {90: 4096}  # operations of a multiprocessor in bfloat16, by capability


def share_of_peak(tokens_per_s, flops, card, clock):
    """Of what the card can do at its clock (Hz), and the words for it; (None, why) where that is not known."""
    per = PER_CLOCK.get(card.get("capability"))
    if not (per and flops and clock and card.get("sms")):
        return None, "share of the peak not known: " + (
            "the peak of this generation" if not per else "the clock" if not clock else "operations per token")
    peak = card["sms"] * per * clock
    share = tokens_per_s * flops / peak
    return share, (f"{share:.1%} of {peak / 1e12:.0f} TFLOP/s = {card['sms']} SMs × {per} × {clock / 1e9:.3f} GHz, "
                   f"at {flops / 1e9:.2f} GFLOP a token")


def load_row(step, report, code, text, flops, card, clock, least=None):
    """A warm bench load --json."""
    target = f"{least:.0%} of the peak at its clock, 0 failed" if least else "0 failed"
    if not report:
        return Row(step, FAILED, "not measured: " + ending(text), target)
    share, words = share_of_peak(report["tokens_per_s"], flops, card, clock)
    latency = report["latency"]
    failed = report["failed"] > 0 or code != 0 or report["measured"]["requests"] == 0
    if failed:
        result = FAILED
    elif least and share is None:
        result = MEASURED
    else:
        result = MISSED if least and share < least else OK
    return Row(step, result, f"{report['tokens_per_s']:,.0f} tokens/s, {words}; {report['total']['requests']:,} answered, "
               f"{report['failed']} failed; p50 {latency['p50_ms']:.0f} ms, p99 {latency['p99_ms']:.0f} ms", target)


def clock_of(samples, begin, end):
    """The mean clock in Hz of (time, MHz) between two times; 0 without samples."""
    v = [mhz for at, mhz in samples if begin <= at <= end and mhz > 0]
    return 1e6 * sum(v) / len(v) if v else 0


def live_rows(text, code):
    """What live.py said, a row for each thing it tried."""
    rows, wanted = [], ["swap under load", "killed worker", "model that does not fit"]
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "step" in said:
            result = {True: OK, False: FAILED, None: NOT_RUN}[said["ok"]]
            rows.append(Row(said["step"], result, said["figure"], "0 failed, 0 bits"))
    for step in wanted:
        if not any(r.step == step for r in rows):
            rows.append(Row(step, FAILED, "not tried: " + ending(text), "0 failed, 0 bits"))
    if code != 0 and not any(r.result == FAILED for r in rows):
        rows.append(Row("live", FAILED, f"exit status {code}: {ending(text)}"))
    return rows
