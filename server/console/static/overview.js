// What is being served.

import {h, head, empty, problem, count, bytes, seconds, time, shortRevision, announce, repeat} from './dom.js';
import {models, detail, text, aborted} from './client.js';
import {parse, sum} from './metrics.js';
import {reading} from './reading.js';

const every = 5000; // milliseconds between looks

export default async function overview(root, signal) {
  root.append(head('Models', 'What this server answers with: each model is one immutable revision until the next one takes its place.'));
  const body = h('div', {class: 'stack'}, h('p', {class: 'loading'}, 'Asking the server…'));
  root.append(body);
  show(body, await look(signal));
  const missed = h('div', {});
  root.append(missed);
  // What the first look cannot be told stands in the page's place; later ones leave what is there.
  const tick = repeat(every, signal, async () => {
    try {
      show(body, await look(signal));
      missed.replaceChildren();
    } catch (e) {
      if (aborted(e) || signal.aborted) return false;
      missed.replaceChildren(problem(e, tick));
      return e.status !== 401;
    }
  });
  setTimeout(tick, every);
}

/** What there is to show: [key, what makes it], in order. */
async function look(signal) {
  // What is missing before the server is ready is told to who bears a key.
  const ready = text('/readyz', {signal}).then(() => '', e => { if (e.status !== 503 && e.code !== 'unknown_route') throw e; return e.status === 503 ? e.message : ''; });
  // The figures of the process come from the metrics, which may listen on a port of their own.
  const measured = text('/metrics', {signal}).then(parse, e => { if (e.code !== 'unknown_route') throw e; return null; });
  const [list, metrics, lacking] = await Promise.all([models({signal}), measured, ready]);
  // A model may have been removed since it was listed.
  const details = (await Promise.all(list.map(m => detail(m.id, {signal}).catch(e => { if (e.status !== 404) throw e; return null; })))).filter(Boolean);
  const parts = [metrics ? ['figures', figures, metrics, details.length] : ['figures', () => h('p', {class: 'note'}, 'The figures of this process are at the port of its operators (--ops-addr).')]];
  if (lacking) parts.push(['lacking', why => h('p', {class: 'note', role: 'status'}, `Not ready: ${why}`), lacking]);
  if (!details.length) parts.push(['none', () => empty('box', 'No model is live yet', 'One that is being loaded shows up here once it answers. A server with models of your own:', h('pre', {}, 'warm serve --model helpful=DIR,DIR,DIR,DIR'))]);
  return [...parts, ...details.map(m => [`model ${m.id}`, card, m])];
}

/** Puts what has changed in the place of what was there; the rest stays, with its focus, what is open and what is selected. */
function show(body, parts) {
  const old = new Map([...body.children].map(e => [e.shown?.key, e]));
  const nodes = parts.map(([key, make, ...of]) => {
    const says = key === 'figures' && of.length ? null : JSON.stringify(of); // figures change at each look, and hold nothing to lose
    const before = old.get(key);
    if (before && says !== null && before.shown.says === says) return before;
    const node = make(...of);
    node.shown = {key, says};
    if (before) keep(before, node);
    return node;
  });
  // A node that moves loses the focus: what stays is never put anew.
  for (const e of [...body.children]) if (!nodes.includes(e)) e.remove();
  nodes.forEach((node, i) => { if (body.children[i] !== node) body.insertBefore(node, body.children[i] ?? null); });
}

/** Opens in one element what is open in another, and focuses what is focused there. */
function keep(from, to) {
  const all = (e, what) => [...e.querySelectorAll(what)];
  all(from, 'details').forEach((d, i) => { const there = all(to, 'details')[i]; if (there) there.open = d.open; });
  const at = all(from, 'button, summary').indexOf(document.activeElement);
  if (at >= 0) queueMicrotask(() => all(to, 'button, summary')[at]?.focus({preventScroll: true}));
}

function figures(metrics, live) {
  const build = metrics.get('warm_build_info')?.[0].labels ?? {};
  const rows = [
    ['Live models', String(live)],
    ['Answers scored', count(sum(metrics, 'warm_sequences_total') || 0)],
    ['Memory', bytes(sum(metrics, 'process_resident_memory_bytes'))],
    ['Running for', seconds(Date.now() / 1000 - sum(metrics, 'process_start_time_seconds'))],
    ...(metrics.get('warm_card_up') ?? []).map(({labels, value}) => {
      const of = what => sum(metrics, `warm_card_memory_${what}bytes`, labels);
      return [labels.card, value ? `${bytes(of('') - of('free_'))} of ${bytes(of(''))} in use` : 'is started again'];
    }),
    ['Version', build.version ?? 'unknown'],
  ].filter(([, v]) => !v.includes('NaN'));
  return h('dl', {class: 'figures'}, rows.map(([k, v]) => h('div', {}, h('dt', {}, k), h('dd', {}, v))));
}

const fact = (name, value) => value ? h('div', {class: value.length > 18 ? 'wide' : null}, h('dt', {}, name), h('dd', {}, value)) : null;

const serves = {wa: 'weight average', ens: 'ensemble of the members', both: 'weight average, and the members beside it'};

function card(m) {
  const modes = m.modes.includes('both') ? 'both' : m.mode;
  return h('article', {class: 'sheet pad model', 'data-model': m.id},
    h('div', {class: 'model-name'},
      h('span', {class: m.loads?.length ? 'dot busy' : 'dot', 'aria-hidden': 'true'}), h('h2', {}, m.id),
      h('span', {class: 'chip warm'}, serves[modes] ?? modes.replace('member:', 'the member ')),
      m.loads?.length ? h('span', {class: 'chip'}, `loading: ${m.loads[0].doing}`) : null,
      h('span', {class: 'row since'}, copyRevision(m.revision), h('span', {class: 'small muted'}, 'live since ', time(m.created)))),
    m.warning ? h('p', {class: 'problem'}, m.warning) : null,
    h('dl', {class: 'facts'},
      fact('Architecture', m.architecture), fact('Parameters', m.parameters ? count(m.parameters) + (m.members.length > 1 ? ' a member' : '') : ''),
      fact('Number format', m.dtype), fact('Device', m.device), fact('Memory', m.memory_bytes ? bytes(m.memory_bytes) : ''), fact('Context', `${m.context_length} tokens`), reading(m).map(([name, value]) => fact(name, value)),
      fact('α', m.alpha !== undefined ? `${m.alpha} from the base to the average` : ''),
      fact('Kept for pinned requests', m.previous ? h('span', {class: 'revision'}, shortRevision(m.previous)) : '')),
    m.members.length ? h('section', {}, h('h3', {}, m.members.length === 1 ? 'One member' : `${m.members.length} members${m.weights && new Set(m.weights).size === 1 ? ', of equal weight' : ''}`), members(m)) : null,
    m.history.length ? h('details', {}, h('summary', {}, `History (${m.history.length})`), history(m.history)) : null);
}

/** The members: by name where they count alike, else with what each counts. */
function members(m) {
  const weights = m.weights ?? m.members.map(() => 1 / m.members.length);
  if (weights.every(w => Math.abs(w - weights[0]) < 1e-9)) return h('ul', {class: 'names'}, m.members.map(name => h('li', {class: 'chip'}, name)));
  const most = Math.max(...weights.map(Math.abs));
  return h('ul', {class: 'members'}, m.members.map((name, i) => h('li', {},
    h('span', {}, name), h('span', {class: 'track', 'aria-hidden': 'true'}, h('i', {'--share': Math.abs(weights[i]) / most})), h('span', {class: 'num'}, weights[i].toFixed(3).replace('-', '−')))));
}

function copyRevision(revision) {
  return h('button', {type: 'button', class: 'button quiet revision', title: revision, 'aria-label': `Copy the revision ${shortRevision(revision)}`, onclick: async () => {
    await navigator.clipboard.writeText(revision);
    announce('The revision is copied.');
  }}, shortRevision(revision));
}

const good = ['live', 'unchanged', 'tried', 'removed', 'superseded'];

/** The log of a model's changes, newest first. */
export function history(events) {
  return h('ol', {class: 'log', reversed: true}, events.toReversed().map(e => h('li', {},
    time(e.time),
    h('span', {}, h('span', {class: good.includes(e.outcome) ? 'chip' : 'chip bad'}, e.outcome)),
    h('div', {class: 'what'},
      e.model ? h('b', {}, e.model, ' ') : null, h('span', {}, e.dry_run ? 'Tried by an administrator' : causes[e.cause] ?? e.cause), e.revision ? [' ', h('span', {class: 'revision'}, shortRevision(e.revision))] : null,
      e.load_seconds ? h('span', {class: 'muted'}, ` in ${seconds(e.load_seconds)}`) : null,
      e.error ? h('div', {class: 'why'}, e.error) : null,
      e.kept?.length ? h('div', {class: 'why'}, `kept: ${e.kept.join(', ')}`) : null))));
}

const causes = {start: 'At the start', put: 'Loaded by an administrator', rollback: 'Rolled back', watch: 'By the manifest', reload: 'By the configuration', retry: 'Tried again', delete: 'Removed'};
