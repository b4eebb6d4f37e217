// Preference pairs of one's own: how often each member, their average and their
// ensemble prefer the chosen answer, and where they disagree.

import {h, head, empty, problem, reward, select, announce, count} from './dom.js';
import {models, call, aborted} from './client.js';
import {intervals} from './chart.js';
import {wilson, difference} from './stats.js';
import {parsePairs, sample} from './pairs.js';

const largest = 64 << 20; // bytes of a file that is read into memory
const shownAtOnce = 25;

export default async function compare(root, signal) {
  root.append(head('Compare', 'Preference pairs of yours, judged by every member, the weight average and the ensemble. The file is read in this page and scored in small requests; nothing of it is kept.'));
  const list = await models({signal});
  if (!list.length) {
    root.append(empty('box', 'No model is live yet', 'Pairs can be compared once one is.'));
    return;
  }
  let model = list[0], running = null;
  const out = h('div', {class: 'stack', id: 'comparison'});
  const begin = async text => {
    running?.abort();
    running = new AbortController();
    const mine = running;
    try { await run(model, text, out, mine); } catch (e) { if (!aborted(e)) out.prepend(problem(e)); }
  };
  signal.addEventListener('abort', () => running?.abort());
  const read = async file => {
    if (!file) return;
    if (file.size > largest) { out.replaceChildren(problem({title: 'That file is too large', message: `It has ${Math.round(file.size / 1e6)} MB, and this page reads up to 64 MB. warm eval reads files of any size.`})); return; }
    begin(await file.text());
  };
  const input = h('input', {type: 'file', id: 'pairs-file', class: 'sr', accept: '.jsonl,.json,.ndjson,.txt', 'aria-label': 'Preference pairs, a JSONL file', onchange: e => { read(e.target.files[0]); e.target.value = ''; }});
  const drop = h('div', {class: 'drop', id: 'drop',
    ondragover: e => { e.preventDefault(); drop.classList.add('over'); }, ondragleave: () => drop.classList.remove('over'),
    ondrop: e => { e.preventDefault(); drop.classList.remove('over'); read(e.dataTransfer.files[0]); }},
  h('h2', {}, 'Drop a JSONL file of pairs here'),
  h('p', {class: 'muted'}, 'One pair a line: ', h('code', {}, '{"prompt", "chosen", "rejected"}'), ', texts or messages.'),
  h('div', {class: 'row'}, input, h('button', {type: 'button', class: 'button primary', id: 'choose', onclick: () => input.click()}, 'Choose a file'),
    h('button', {type: 'button', class: 'button', id: 'sample', onclick: () => begin(sample)}, 'Try ten pairs')));
  root.append(h('div', {class: 'stack'},
    list.length > 1 ? select('compare-model', 'Model', list.map(m => m.id), model.id, v => { model = list.find(m => m.id === v); }) : null, drop, out));
}

const scorerName = n => n === 'wa' ? 'Weight average' : n.startsWith('ens:') ? 'Ensemble' : n.replace('member:', '');
const shortName = n => n === 'wa' ? 'WA' : n.startsWith('ens:') ? 'ENS' : n.replace('member:', '');

async function run(model, text, out, controller) {
  const {signal} = controller;
  const {pairs, bad} = parsePairs(text);
  const faults = bad.length ? h('p', {class: 'note'}, `Left out ${bad.length} ${bad.length === 1 ? 'line' : 'lines'}: `, bad.slice(0, 3).map(b => `line ${b.line} ${b.why}`).join('; '), bad.length > 3 ? '; …' : '.') : null;
  if (!pairs.length) {
    out.replaceChildren(problem({title: 'No pair in this file', message: bad.length ? `Line ${bad[0].line} ${bad[0].why}.` : 'It is empty.'}));
    return;
  }
  const bar = h('progress', {max: pairs.length, value: 0, 'aria-label': 'Pairs scored'});
  const state = h('span', {class: 'small muted num', role: 'status'}, `0 of ${count(pairs.length)} pairs`);
  let cancelled = false;
  const cancel = h('button', {type: 'button', class: 'button', id: 'cancel', onclick: () => { cancelled = true; controller.abort(); }}, 'Cancel');
  const results = h('div', {class: 'stack'});
  out.replaceChildren(h('div', {class: 'stack', id: 'progress'}, h('div', {class: 'row between'}, state, cancel), bar), faults ?? '', results);
  const rows = [];
  let names = null, revision = null, size = 8;
  const draw = () => { if (names) results.replaceChildren(...report(rows, names)); };
  try {
    for (let at = 0; at < pairs.length;) {
      const some = pairs.slice(at, at + size), start = performance.now();
      const reply = await patient({model: model.id, aggregates: ['mean'], return: ['pairs'], pairs: some.map(p => p.wire)}, signal);
      if (revision && reply.revision !== revision) throw new Error('The model was exchanged while the pairs were scored: begin again.');
      revision = reply.revision;
      names = reply.scorers.map(s => s.name);
      reply.data.forEach((d, i) => rows.push({pair: some[i], chosen: d.chosen, rejected: d.rejected, right: d.chosen.map((c, k) => c > d.rejected[k]), tie: d.chosen.map((c, k) => c === d.rejected[k])}));
      at += some.length;
      bar.value = at;
      state.textContent = `${at} of ${pairs.length} pairs`;
      draw();
      // Requests of about a second: quick to cancel, and long enough to be batches.
      const took = performance.now() - start;
      size = took < 500 ? Math.min(256, size * 2) : took > 2000 ? Math.max(2, size >> 1) : size;
    }
    announce(`All ${pairs.length} pairs are scored.`);
  } catch (e) {
    if (!aborted(e)) throw e;
    if (!cancelled) throw e;
    state.textContent = `Cancelled after ${rows.length} of ${pairs.length} pairs`;
    announce(state.textContent);
    draw();
  } finally {
    cancel.remove();
    if (rows.length === pairs.length) bar.remove();
  }
}

/** One request, tried again while the server is busy. */
async function patient(body, signal) {
  for (let tries = 0; ; tries++) {
    try { return await call('POST', '/v1/compare', {body, signal}); } catch (e) {
      if (![429, 503].includes(e.status) || tries === 20) throw e;
      await new Promise((done, stop) => {
        const timer = setTimeout(done, 1000 * (e.retryAfter ?? 2));
        signal.addEventListener('abort', () => { clearTimeout(timer); stop(new DOMException('cancelled', 'AbortError')); }, {once: true});
      });
    }
  }
}

function report(rows, names) {
  const n = rows.length;
  const figures = names.map((name, k) => ({name: scorerName(name), strong: name === 'wa', ...wilson(rows.filter(r => r.right[k]).length, n)}));
  const wa = names.indexOf('wa'), ens = names.findIndex(x => x.startsWith('ens:'));
  const ties = names.map((name, k) => [name, rows.filter(r => r.tie[k]).length]).filter(([, t]) => t);
  const said = [];
  if (wa >= 0 && ens >= 0) {
    const d = difference(rows.filter(r => r.right[wa] && !r.right[ens]).length, rows.filter(r => !r.right[wa] && r.right[ens]).length, n);
    said.push(h('p', {}, 'The average is right ', h('b', {}, d.value === 0 ? 'as often as' : `${points(d.value)} points ${d.value > 0 ? 'more' : 'less'} often than`), ' the ensemble',
      h('span', {class: 'muted num'}, ` [${signed(d.low)}, ${signed(d.high)}]`), '.'));
  } else {
    said.push(h('p', {class: 'note'}, 'This model holds one scorer. With ', h('code', {}, '--mode both'), ' its members and their ensemble are compared, too.'));
  }
  if (ties.length) said.push(h('p', {class: 'small muted'}, `Ties, which count as wrong: ${ties.map(([name, t]) => `${shortName(name)} ${t}`).join(', ')}.`));
  return [h('section', {class: 'sheet pad stack', id: 'accuracy'}, h('div', {class: 'row between'}, h('h2', {}, 'How often the chosen answer wins'), h('span', {class: 'small muted num'}, `${n} pairs, 95 % intervals by Wilson`)), intervals(figures, 'Accuracy'), said),
    names.length > 1 ? disagreements(rows, names, wa, ens) : wrong(rows)];
}

const points = v => (Math.abs(v) * 100).toFixed(1);
const signed = v => (v < 0 ? '−' : '+') + points(v);

function disagreements(rows, names, wa, ens) {
  const any = rows.filter(r => new Set(r.right).size > 1);
  const sets = {any, wa: rows.filter(r => wa >= 0 && !r.right[wa]), ens: rows.filter(r => wa >= 0 && ens >= 0 && r.right[wa] !== r.right[ens])};
  const list = h('div', {});
  const show = which => {
    list.replaceChildren();
    more(list, sets[which], names, 0);
  };
  show('any');
  return h('section', {class: 'sheet pad', id: 'disagreements'}, h('div', {class: 'row between'}, h('h2', {}, 'Where they disagree'),
    h('select', {'aria-label': 'Which pairs', class: 'narrow', onchange: e => show(e.target.value)},
      [['any', `Any two differ (${any.length})`], ['ens', `Average and ensemble differ (${sets.ens.length})`], ['wa', `The average is wrong (${sets.wa.length})`]].map(([v, t]) => h('option', {value: v}, t)))), list);
}

const wrong = rows => h('section', {class: 'sheet pad', id: 'disagreements'}, h('h2', {}, 'Where it is wrong'), (() => { const list = h('div', {}); more(list, rows.filter(r => !r.right[0]), ['wa'], 0); return list; })());

function more(list, rows, names, from) {
  if (!rows.length) { list.append(h('p', {class: 'muted'}, 'None of the pairs.')); return; }
  list.append(...rows.slice(from, from + shownAtOnce).map(r => pairDetails(r, names)));
  if (rows.length > from + shownAtOnce) {
    const button = h('button', {type: 'button', class: 'button', onclick: () => { button.remove(); more(list, rows, names, from + shownAtOnce); }}, `Show more of ${rows.length}`);
    list.append(button);
  }
}

function pairDetails(r, names) {
  return h('details', {class: 'pair'},
    h('summary', {}, h('span', {class: 'muted num'}, `line ${r.pair.line}`), h('span', {class: 'excerpt'}, r.pair.prompt || r.pair.chosen),
      h('span', {class: 'votes'}, names.map((n, k) => h('span', {class: r.right[k] ? 'chip' : 'chip bad'}, shortName(n), h('span', {'aria-hidden': 'true'}, r.right[k] ? '✓' : '✗'), h('span', {class: 'sr'}, r.right[k] ? 'right' : 'wrong'))))),
    r.pair.prompt.length > 60 ? h('p', {class: 'said muted'}, r.pair.prompt) : null,
    h('div', {class: 'pair-grid'}, h('div', {}, h('h3', {}, 'Chosen'), h('p', {}, r.pair.chosen)), h('div', {}, h('h3', {}, 'Rejected'), h('p', {}, r.pair.rejected))),
    h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Rewards of line ${r.pair.line}`}, h('table', {}, h('thead', {}, h('tr', {}, h('td', {}), names.map(n => h('th', {scope: 'col', class: 'n'}, shortName(n))))),
      h('tbody', {}, [['chosen', r.chosen], ['rejected', r.rejected]].map(([name, of]) => h('tr', {}, h('th', {scope: 'row'}, name), of.map(v => h('td', {class: 'n'}, reward(v)))))))));
}
