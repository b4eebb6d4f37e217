// Prometheus' text format, as far as the server writes it.

/** Parses an exposition to a Map from a sample's name to [{labels, value}]. */
export function parse(text) {
  const out = new Map();
  for (const line of text.split('\n')) {
    if (!line || line[0] === '#') continue;
    const open = line.indexOf('{');
    const close = open < 0 ? -1 : line.lastIndexOf('}');
    const name = open < 0 ? line.slice(0, line.indexOf(' ')) : line.slice(0, open);
    const labels = {};
    if (open >= 0) {
      for (const [, k, v] of line.slice(open + 1, close).matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[k] = v.replace(/\\(.)/g, (_, c) => c === 'n' ? '\n' : c);
    }
    const number = line.slice((open < 0 ? line.indexOf(' ') : close + 1)).trim().split(' ')[0];
    const value = number === '+Inf' ? Infinity : number === '-Inf' ? -Infinity : Number(number);
    if (!out.has(name)) out.set(name, []);
    out.get(name).push({labels, value});
  }
  return out;
}

const matches = (labels, want) => Object.entries(want).every(([k, v]) => typeof v === 'function' ? v(labels[k]) : labels[k] === v);

/** The sum of the samples whose labels match; NaN where there are none. */
export function sum(metrics, name, want = {}) {
  const found = (metrics.get(name) ?? []).filter(x => matches(x.labels, want));
  return found.length ? found.reduce((a, x) => a + x.value, 0) : NaN;
}

/** A histogram's cumulative buckets, summed over what matches, as [[le, count]]. */
export function buckets(metrics, name, want = {}) {
  const by = new Map();
  for (const x of metrics.get(name + '_bucket') ?? []) {
    if (!matches(x.labels, want)) continue;
    const le = x.labels.le === '+Inf' ? Infinity : Number(x.labels.le);
    by.set(le, (by.get(le) ?? 0) + x.value);
  }
  return [...by].sort((a, b) => a[0] - b[0]);
}

/** What came to a histogram between two scrapes. A restart begins anew. */
export function since(now, before) {
  const was = new Map(before);
  const total = now.at(-1)?.[1] ?? 0;
  if (total < (was.get(Infinity) ?? 0)) return now;
  return now.map(([le, n]) => [le, n - (was.get(le) ?? 0)]);
}

/** A quantile of cumulative buckets, linear within one; NaN of nothing. */
export function quantile(q, cumulative) {
  const total = cumulative.at(-1)?.[1] ?? 0;
  if (!total) return NaN;
  let low = 0, below = 0;
  for (const [le, n] of cumulative) {
    if (n >= q * total) return le === Infinity ? low : low + (le - low) * (q * total - below) / Math.max(n - below, 1e-9);
    low = le;
    below = n;
  }
  return low;
}

/** The share of each bucket by itself. */
export function shares(cumulative) {
  const total = cumulative.at(-1)?.[1] ?? 0;
  return cumulative.map(([le, n], i) => [le, total ? (n - (i ? cumulative[i - 1][1] : 0)) / total : 0]);
}
