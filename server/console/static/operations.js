// What changes models: load, interpolate, try before a swap, roll back, remove.

import {h, put, head, empty, problem, percent, select, choice, cross, announce, minus} from './dom.js';
import {key, models, detail, call, modelPath, aborted} from './client.js';
import {curve, tickPercent} from './chart.js';
import {history} from './overview.js';

const poll = 500; // milliseconds between looks at a load
const recent = 6; // changes of the log that are shown at once
const stops = [0, .25, .5, .75, 1]; // where a sweep judges alpha

export default async function operations(root, signal) {
  root.append(head('Operations', 'Load a revision beside the live one, see what the guard says of it, and exchange the two without losing a request.'));
  if (!key.get()) {
    root.append(empty('lock', 'This asks for an administrator’s key', 'A server that has one (--admin-key-file) lets its bearer load, interpolate, swap and roll back models here.',
      h('p', {}, h('button', {type: 'button', class: 'button primary', onclick: () => document.getElementById('key-open').click()}, 'Enter the key'))));
    return;
  }
  const list = await models({signal});
  const details = await Promise.all(list.map(m => detail(m.id, {signal})));
  const outcome = h('div', {class: 'stack', id: 'outcome'}, empty('scales', 'No change under way', 'Trying a change builds the revision, probes it and lets the guard judge it; what is live stays as it is.'));
  const live = h('div', {class: 'stack below', id: 'live-models'});
  const refresh = async () => {
    const now = await models({signal});
    const all = await Promise.all(now.map(m => detail(m.id, {signal})));
    put(live, served(all, {signal, outcome, refresh}));
  };
  put(live, served(details, {signal, outcome, refresh}));
  root.append(h('div', {class: 'split'}, form(details, {signal, outcome, refresh}), outcome), live);
}

function form(details, context) {
  const spec = {name: details[0]?.id ?? '', replace: !details.length, members: [{path: '', weight: ''}], along: details[0]?.alpha !== undefined, base: '', alpha: details[0]?.alpha ?? 1, mode: '', dtype: '', pairs: '', loss: ''};
  const element = h('form', {class: 'stack', id: 'change', onsubmit: e => { e.preventDefault(); carryOut(false); }});
  const carryOut = async dry => {
    for (const b of element.querySelectorAll('button')) b.disabled = true;
    try {
      await change(spec.name, body(spec), dry, context);
    } catch (e) {
      if (!aborted(e)) context.outcome.replaceChildren(problem(e));
    }
    for (const b of element.querySelectorAll('button')) b.disabled = false;
  };
  const draw = () => {
    const model = details.find(d => d.id === spec.name);
    put(element,
      h('h2', {}, 'Change a model'),
      details.length ? select('change-model', 'Model', [...details.map(d => [d.id, d.id]), ['', 'A new one']], model ? spec.name : '', v => { spec.name = v; spec.replace = !v; draw(); }) : null,
      model ? null : field('change-name', 'Name', spec.name, v => { spec.name = v; }, 'helpful'),
      model ? h('div', {}, choice('members', 'Members', [['keep', `Keep its ${model.members.length === 1 ? 'member' : model.members.length + ' members'}`], ['replace', 'Other members']], spec.replace ? 'replace' : 'keep', v => { spec.replace = v === 'replace'; draw(); })) : null,
      spec.replace ? memberFields(spec, draw) : null,
      h('label', {class: 'check'}, h('input', {type: 'checkbox', id: 'along-base', checked: spec.along, onchange: e => { spec.along = e.target.checked; draw(); }}), 'Interpolate between a base and the average'),
      spec.along ? alphaFields(spec, model) : null,
      h('div', {class: 'two'}, select('change-mode', 'Held in memory', [['', model ? 'As it is' : 'Average alone'], ['wa', 'Average alone'], ['both', 'Average and members'], ['ens', 'Members alone']].slice(0, model ? 4 : 3), spec.mode, v => { spec.mode = v; }),
        select('change-dtype', 'Number format', [['', model ? 'As it is' : 'float32'], ['float32', 'float32'], ['bfloat16', 'bfloat16'], ['int8', 'int8']], spec.dtype, v => { spec.dtype = v; })),
      h('div', {class: 'two'}, field('guard-pairs', 'Guard: pairs', spec.pairs, v => { spec.pairs = v; }, 'guard.jsonl'), field('guard-loss', 'Points it may lose', spec.loss, v => { spec.loss = v; }, '0', 'number')),
      h('p', {class: 'hint'}, 'Paths lie in the server’s folder of models. An empty field stays as it is.'),
      h('div', {class: 'row'}, h('button', {type: 'button', class: 'button primary', id: 'try', onclick: () => carryOut(true)}, 'Try it'),
        h('button', {type: 'submit', class: 'button', id: 'swap'}, 'Make it live')));
  };
  draw();
  return element;

  function alphaFields(s, model) {
    const said = h('output', {for: 'alpha', class: 'num'}, s.alpha.toFixed(2));
    return h('div', {class: 'stack sunk'},
      h('div', {class: 'field'}, h('div', {class: 'row between'}, h('label', {for: 'alpha'}, 'α'), said),
        h('input', {type: 'range', id: 'alpha', min: 0, max: 1, step: .05, value: s.alpha, oninput: e => { s.alpha = Number(e.target.value); said.textContent = s.alpha.toFixed(2); }}),
        h('div', {class: 'row between hint'}, h('span', {}, '0 is the base'), h('span', {}, '1 is the average'))),
      field('base', 'Base', s.base, v => { s.base = v; }, model?.alpha !== undefined ? 'as it is' : 'sft'),
      h('div', {}, h('button', {type: 'button', class: 'button', id: 'sweep', onclick: async e => {
        const button = e.target;
        button.disabled = true;
        try { await sweep(s, context); } catch (err) { if (!aborted(err)) context.outcome.prepend(problem(err)); }
        button.disabled = false;
      }}, `Judge α at ${stops.join(', ')}`)));
  }
}

function memberFields(spec, draw) {
  return h('div', {class: 'stack sunk', role: 'group', 'aria-label': 'Members'}, h('div', {class: 'member-row hint', 'aria-hidden': 'true'}, h('span', {}, 'Checkpoint'), h('span', {}, 'Weight'), h('span', {})),
    spec.members.map((m, i) => h('div', {class: 'member-row'},
      h('input', {type: 'text', 'aria-label': `Checkpoint of member ${i + 1}`, placeholder: `runs/rm-${i + 1}`, value: m.path, spellcheck: 'false', oninput: e => { m.path = e.target.value; }}),
      h('input', {type: 'number', step: 'any', 'aria-label': `Weight of member ${i + 1}`, placeholder: '1', value: m.weight, oninput: e => { m.weight = e.target.value; }}),
      cross(`Remove member ${i + 1}`, () => { spec.members.splice(i, 1); draw(); }))),
    h('div', {}, h('button', {type: 'button', class: 'button', id: 'add-member', onclick: () => { spec.members.push({path: '', weight: ''}); draw(); }}, 'Add member')));
}

const field = (id, label, value, set, placeholder, type = 'text') => h('div', {class: 'field'}, h('label', {for: id}, label),
  h('input', {id, type, value, placeholder, step: type === 'number' ? 'any' : null, spellcheck: 'false', oninput: e => set(e.target.value)}));

/** The patch that the form describes: what is empty is not named, and stays. */
function body(spec) {
  const out = {};
  if (spec.replace) {
    const members = spec.members.filter(m => m.path.trim());
    const weighted = members.some(m => m.weight !== '');
    out.members = members.map(m => weighted ? {path: m.path.trim(), weight: m.weight === '' ? 1 : Number(m.weight)} : m.path.trim());
  }
  if (spec.along) {
    out.alpha = spec.alpha;
    if (spec.base.trim()) out.base = spec.base.trim();
  }
  if (spec.mode) out.mode = spec.mode;
  if (spec.dtype) out.dtype = spec.dtype;
  if (spec.pairs.trim() || spec.loss !== '') out.guard = {...(spec.pairs.trim() ? {pairs: spec.pairs.trim()} : {}), ...(spec.loss !== '' ? {max_loss: Number(spec.loss)} : {})};
  return out;
}

/** Asks for a change and follows it to its end: the event that it left. */
async function ask(name, patch, dry, signal, progress) {
  const before = (await detail(name, {signal}).catch(e => { if (e.code !== 'unknown_model') throw e; return {history: []}; })).history.at(-1);
  await call('PUT', modelPath(name) + (dry ? '?dry_run=true' : ''), {body: patch, signal});
  return follow(name, before, signal, progress);
}

async function follow(name, before, signal, progress) {
  for (;;) {
    const now = await detail(name, {signal});
    if (!now.loads?.length && JSON.stringify(now.history.at(-1)) !== JSON.stringify(before)) return now.history.at(-1);
    progress(now.loads?.[0]);
    await new Promise(done => setTimeout(done, poll));
  }
}

function progressOf(title) {
  const bar = h('progress', {max: 1, 'aria-label': title}), doing = h('p', {class: 'small muted', role: 'status'}, 'Asked for.');
  return [h('div', {class: 'sheet pad stack'}, h('h2', {}, title), bar, doing), load => {
    if (!load) return;
    bar.value = load.progress;
    doing.textContent = load.doing;
  }];
}

async function change(name, patch, dry, {signal, outcome, refresh}) {
  const [box, progress] = progressOf(dry ? `Trying ${name}` : `Loading ${name}`);
  outcome.replaceChildren(box);
  const event = await ask(name, patch, dry, signal, progress);
  outcome.replaceChildren(verdict(name, event));
  announce(`${name}: ${event.outcome}`);
  await refresh();
}

const outcomes = {
  live: 'It is live', unchanged: 'It is what was live already', failed: 'It could not be loaded', refused: 'The guard refused it',
  superseded: 'A later change took its place', tried: 'It would go live', removed: 'It was removed',
};

function verdict(name, event) {
  const bad = ['failed', 'refused', 'superseded'].includes(event.outcome);
  return h('div', {class: 'sheet pad stack', 'data-outcome': event.outcome},
    h('div', {class: 'row'}, h('span', {class: bad ? 'dot bad' : 'dot', 'aria-hidden': 'true'}), h('h2', {}, outcomes[event.outcome] ?? event.outcome)),
    event.error && !event.guard ? h('p', {}, event.error) : null,
    event.guard ? guard(event.guard) : h('p', {class: 'small muted'}, 'No guard judged it: give it pairs to see how the average compares with its members.'),
    h('p', {class: 'small muted'}, `${name}, built in ${event.load_seconds.toFixed(2)} s${event.outcome === 'tried' ? '; what is live stays as it is' : ''}`));
}

/** The guard's figures: what the average wins beside its members. */
function guard(g) {
  const row = (label, v, strong) => h('li', {class: strong ? 'strong' : ''}, h('span', {}, label), h('span', {class: 'track', 'aria-hidden': 'true'}, h('i', {'--share': v})), h('span', {class: 'num'}, percent(v)));
  const lost = g.loss > 0 ? `${g.loss.toFixed(2)} points less` : g.loss < 0 ? `${(-g.loss).toFixed(2)} points more` : 'as much';
  return h('div', {class: 'stack'},
    h('ul', {class: 'members bars'}, row('average', g.average, true), row('members, on average', g.interpolated), g.members.map(m => row(m.name, m.wins))),
    h('p', {}, 'The average wins ', h('b', {}, lost), g.loss ? ' than' : ' as', ` its members do, of ${g.pairs} pairs. It may lose `, h('span', {class: 'num'}, minus(String(g.max_loss))), ' points.'));
}

/** Judges a few alphas one after the other, each a try that changes nothing. */
async function sweep(spec, {signal, outcome, refresh}) {
  const points = [], members = [];
  const [box, progress] = progressOf('Judging α');
  outcome.replaceChildren(box);
  for (const alpha of stops) {
    const event = await ask(spec.name, {...body(spec), alpha}, true, signal, load => progress(load && {...load, doing: `α ${alpha}: ${load.doing}`}));
    if (!event.guard) throw Object.assign(new Error(event.error ?? 'No guard judged it: give it a file of pairs.'), {title: 'No figures'});
    points.push([alpha, event.guard.average]);
    members.push([alpha, event.guard.interpolated]);
  }
  const most = Math.max(...points.map(p => p[1]));
  const best = points.filter(p => p[1] === most).map(p => p[0]).join(', ').replace(/, (?=[^,]*$)/, ' and ');
  outcome.replaceChildren(h('div', {class: 'sheet pad stack', id: 'sweep-result'}, h('h2', {}, 'Pairs won along α'),
    curve(`Share of pairs won: ${points.map(([a, v]) => `${percent(v)} at α ${a}`).join(', ')}`, points, members, tickPercent),
    h('p', {class: 'small muted'}, `The average wins most at α ${best}: ${percent(most)}. Dashed: its members on average.`)));
  announce(`Judged. The average wins most at α ${best}.`);
  await refresh();
}

function served(details, context) {
  const events = details.flatMap(d => d.history.map(e => ({...e, model: d.id}))).sort((a, b) => a.time - b.time);
  return [
    h('section', {}, h('h2', {}, 'Live now'), details.length ? h('div', {class: 'sheet'}, details.map(d => h('div', {class: 'pad row between line'},
      h('div', {class: 'row'}, h('span', {class: 'dot', 'aria-hidden': 'true'}), h('b', {}, d.id), h('span', {class: 'revision'}, d.revision.replace('sha256:', '').slice(0, 12))),
      h('div', {class: 'row'},
        h('button', {type: 'button', class: 'button', 'data-rollback': d.id, onclick: () => confirm(`Roll back ${d.id}?`, 'The revision before takes over with the next request. Nothing is lost: a roll back can be rolled back.', 'Roll back', () => rollback(d, context))}, 'Roll back'),
        h('button', {type: 'button', class: 'button danger', 'data-remove': d.id, onclick: () => confirm(`Remove ${d.id}?`, 'Requests for it are refused from now on. A restart does not bring it back unless its configuration changes.', 'Remove', () => remove(d, context))}, 'Remove'))))) : h('p', {class: 'note'}, 'No model is live.')),
    events.length ? h('section', {}, h('h2', {}, 'Log of changes'), h('div', {class: 'sheet pad'}, history(events.slice(-recent)),
      events.length > recent ? h('details', {}, h('summary', {}, `Earlier (${events.length - recent})`), history(events.slice(0, -recent))) : null)) : null,
  ];
}

async function rollback(d, {signal, outcome, refresh}) {
  const [box, progress] = progressOf(`Rolling back ${d.id}`);
  outcome.replaceChildren(box);
  try {
    const before = (await detail(d.id, {signal})).history.at(-1);
    await call('POST', modelPath(d.id) + '/rollback', {signal});
    outcome.replaceChildren(verdict(d.id, await follow(d.id, before, signal, progress)));
    await refresh();
  } catch (e) {
    if (!aborted(e)) outcome.replaceChildren(problem(e));
  }
}

async function remove(d, {signal, outcome, refresh}) {
  try {
    await call('DELETE', modelPath(d.id), {signal});
    outcome.replaceChildren(h('p', {class: 'note', role: 'status'}, `${d.id} is out of service.`));
    await refresh();
  } catch (e) {
    if (!aborted(e)) outcome.replaceChildren(problem(e));
  }
}

/** A question before what cannot be undone by looking away. */
function confirm(title, text, yes, then) {
  const dialog = h('dialog', {'aria-labelledby': 'confirm-title'}, h('form', {method: 'dialog'}, h('h2', {id: 'confirm-title'}, title), h('p', {class: 'muted'}, text),
    h('div', {class: 'row end'}, h('button', {type: 'submit', class: 'button', value: 'no'}, 'Cancel'), h('button', {type: 'submit', class: 'button primary', value: 'yes', id: 'confirm'}, yes))));
  dialog.addEventListener('close', () => { const sure = dialog.returnValue === 'yes'; dialog.remove(); if (sure) then(); });
  document.body.append(dialog);
  dialog.showModal();
}
