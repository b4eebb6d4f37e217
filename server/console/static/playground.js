// A prompt and several answers: what each is worth to the members, their average
// and their ensemble, and which words move it.

import {h, put, head, empty, problem, reward, select, choice, cross, announce, minus} from './dom.js';
import {models, call, fullest, aborted} from './client.js';
import {strip, stripLegend, path} from './chart.js';
import {trajectories} from './trajectory.js';
import {reading} from './reading.js';

const example = {
  prompt: 'Should physical education be mandatory in schools?',
  answers: [
    'Yes. Daily exercise keeps children healthy and helps them concentrate in class.',
    'No, because every child should be free to decide how to spend the day, and those who dislike sports only learn to hate them.',
    'no its boring',
  ],
};

// What was typed outlives a look at another view, in memory alone.
const draft = {form: 'prompt', prompt: example.prompt, turns: [{role: 'user', content: example.prompt}], answers: [...example.answers], model: ''};

export default async function playground(root, signal) {
  root.append(head('Playground', 'Score answers to one prompt. A reward is a raw logit: it tells answers apart, and has no scale of its own.'));
  const list = await models({signal});
  if (!list.length) {
    root.append(empty('box', 'No model is live yet', 'Answers can be scored once one is.'));
    return;
  }
  if (!list.some(m => m.id === draft.model)) draft.model = list[0].id;
  const asked = h('div', {class: 'stack'}), answers = h('div', {class: 'stack'}), read = h('dl', {class: 'reading small'});
  const chosen = () => list.find(m => m.id === draft.model);
  const readBy = () => put(read, reading(chosen()).map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
  const results = h('div', {class: 'stack', id: 'results'}, empty('pen', 'Nothing scored yet', 'Write a prompt and some answers, or take the ones that are there, and score them.'));
  let running = null;
  signal.addEventListener('abort', () => running?.abort());

  const redraw = () => { asked.replaceChildren(...question(redraw)); answers.replaceChildren(...answerFields(redraw)); };
  const score = async () => {
    running?.abort();
    running = new AbortController();
    const mine = running;
    button.disabled = true;
    try {
      await run(chosen(), results, mine.signal);
    } catch (e) {
      if (!aborted(e)) results.replaceChildren(problem(e));
    } finally {
      if (running === mine) button.disabled = false;
    }
  };
  const button = h('button', {type: 'submit', class: 'button primary', id: 'score'}, 'Score', h('kbd', {'aria-hidden': 'true'}, 'Ctrl ↵'));
  const form = h('form', {class: 'stack', onsubmit: e => { e.preventDefault(); score(); }, onkeydown: e => { if ((e.ctrlKey || e.metaKey) && e.key === 'Enter') { e.preventDefault(); score(); } }},
    list.length > 1 ? select('model', 'Model', list.map(m => m.id), draft.model, v => { draft.model = v; readBy(); }) : null,
    h('div', {}, choice('form', 'What comes before the answer', [['prompt', 'Prompt'], ['conversation', 'Conversation']], draft.form, v => { draft.form = v; redraw(); })),
    asked, answers,
    h('div', {class: 'row'}, button,
      h('button', {type: 'button', class: 'button quiet', id: 'example', onclick: () => { Object.assign(draft, {prompt: example.prompt, turns: [{role: 'user', content: example.prompt}], answers: [...example.answers]}); redraw(); }}, 'Example'),
      h('button', {type: 'button', class: 'button quiet', id: 'clear', onclick: () => { Object.assign(draft, {prompt: '', turns: [{role: 'user', content: ''}], answers: ['', '']}); redraw(); form.querySelector('textarea').focus(); }}, 'Clear')),
    read);
  redraw();
  readBy();
  root.append(h('div', {class: 'split'}, form, results));
}

function question(redraw) {
  if (draft.form === 'prompt') {
    return [h('div', {class: 'field'}, h('label', {for: 'prompt'}, 'Prompt'), h('textarea', {id: 'prompt', rows: 3, value: draft.prompt, oninput: e => { draft.prompt = e.target.value; }}))];
  }
  return [h('div', {class: 'stack', role: 'group', 'aria-label': 'Conversation'},
    draft.turns.map((turn, i) => h('div', {class: 'turn'},
      h('select', {'aria-label': `Role of message ${i + 1}`, onchange: e => { turn.role = e.target.value; }}, ['system', 'user', 'assistant'].map(r => h('option', {selected: r === turn.role}, r))),
      h('textarea', {rows: 2, 'aria-label': `Message ${i + 1}`, value: turn.content, oninput: e => { turn.content = e.target.value; }}),
      cross(`Remove message ${i + 1}`, () => { draft.turns.splice(i, 1); redraw(); }))),
    h('div', {}, h('button', {type: 'button', class: 'button', id: 'add-turn', onclick: () => {
      draft.turns.push({role: draft.turns.at(-1)?.role === 'user' ? 'assistant' : 'user', content: ''});
      redraw();
    }}, 'Add message')))];
}

function answerFields(redraw) {
  return [...draft.answers.map((text, i) => h('div', {class: 'answer-edit'}, h('label', {for: `answer-${i}`}, `Answer ${i + 1}`),
    h('textarea', {id: `answer-${i}`, rows: 2, value: text, oninput: e => { draft.answers[i] = e.target.value; }}),
    draft.answers.length > 1 ? cross(`Remove answer ${i + 1}`, () => { draft.answers.splice(i, 1); redraw(); }) : null)),
  h('div', {}, h('button', {type: 'button', class: 'button', id: 'add-answer', onclick: () => {
    draft.answers.push('');
    redraw();
    document.getElementById(`answer-${draft.answers.length - 1}`).focus();
  }}, 'Add answer'))];
}

async function run(model, results, signal) {
  const prompt = draft.form === 'prompt' ? draft.prompt : draft.turns.map(t => ({...t}));
  const answers = [...draft.answers];
  const mode = fullest(model);
  results.replaceChildren(h('p', {class: 'loading'}, 'Scoring…'));
  const returns = mode === 'ens' ? [] : model.returns ?? []; // which are of one model's reward
  const followed = returns.includes('trajectory');
  const reply = await call('POST', '/v1/reward', {signal, body: {
    model: model.id, mode, on_error: 'item', return: [...(mode === 'both' || mode === 'ens' ? ['members'] : []), ...(followed ? ['tokens'] : []), ...returns], inputs: [{prompt, responses: answers}],
  }});
  const scored = reply.data.map(d => ({...d, text: answers[d.answer], wa: mode === 'ens' ? undefined : d.reward, ens: mode === 'ens' ? d.reward : d.ensemble, members: d.members ?? []}));
  const good = scored.filter(d => !d.error).sort((a, b) => b.reward - a.reward);
  const all = good.flatMap(d => [d.wa, d.ens, ...d.members.map(m => m.reward)]).filter(v => v !== undefined);
  const has = {wa: mode !== 'ens', ens: good[0]?.ens !== undefined, members: good[0]?.members.length > 0};
  const sheet = h('div', {class: 'sheet'}, good.map((d, i) => result(d, i, all, mode)), scored.filter(d => d.error).map(d =>
    h('div', {class: 'pad result'}, problem({title: `Answer ${d.answer + 1} was refused`, ...d.error}))));
  results.replaceChildren(h('div', {class: 'row between'}, h('h2', {}, good.length > 1 ? 'Best first' : 'Reward'), stripLegend(has)), sheet,
    has.members ? rewards(good, has) : h('p', {class: 'note'}, 'This server holds ', mode === 'wa' ? 'the average' : 'one model', ' alone. With ', h('code', {}, '--mode both'), ' the members and their ensemble answer, too.'));
  announce(good.length ? `Scored. Answer ${good[0].answer + 1} is the best, with ${reward(good[0].reward)}.` : 'No answer could be scored.');
  if (!good.length) return;
  if (!followed) {
    results.append(h('p', {class: 'note', id: 'no-path'}, mode === 'ens' ? 'No reward along the answers: an ensemble has one for each member. With --mode both the average is followed.'
      : 'No reward along the answers: this model has none, as none has that reads all tokens of a text at once.'));
    return;
  }
  let paths = [];
  try {
    paths = await trajectories(model.id, good, signal);
  } catch (e) {
    if (aborted(e)) throw e;
    results.append(problem({...e, title: 'The rewards along the answers cannot be shown', message: e.message})); // they are there without
    return;
  }
  // One scale for all answers: a word that hardly matters looks as if it did not.
  const range = paths.flatMap(p => p.steps).reduce(([low, high], {reward: v}) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);
  const most = paths.flatMap(changes).reduce((a, b) => Math.max(a, Math.abs(b)), 1e-6);
  paths.forEach((p, i) => { if (p.steps.length) along(sheet.children[i], p, range, most); });
}

function result(d, i, all, mode) {
  const spread = d.std === undefined ? null : [' · spread ', h('span', {class: 'num'}, reward(d.std).replace('−', ''))];
  return h('article', {class: `pad result ${i ? '' : 'best'}`, 'data-answer': d.answer + 1},
    h('div', {class: 'result-head'}, h('span', {class: 'rank'}, `#${i + 1}`), h('h3', {}, `Answer ${d.answer + 1}`), h('span', {class: 'reward'}, reward(d.reward))),
    strip(all, d),
    h('p', {class: 'small muted facts-line'}, d.ens !== undefined && mode !== 'ens' ? ['Ensemble ', h('span', {class: 'num'}, reward(d.ens)), spread, ' · '] : spread ? ['Ensemble', spread, ' · '] : null,
      `${d.tokens} tokens`, d.truncated ? ', truncated' : ''),
    parts(d), h('p', {class: 'words'}, d.text));
}

/** What a reward is made of, where that is more than one output, and the rewards of its steps. */
function parts(d) {
  const list = (d.attributes ?? []).map(a => h('div', {}, h('dt', {}, a.name), h('dd', {class: 'num'}, reward(a.value))));
  return [
    list.length ? h('details', {class: 'parts', open: list.length <= 8}, h('summary', {}, `Made of ${list.length} attributes`), h('dl', {}, list)) : null,
    d.steps?.length ? h('div', {class: 'parts'}, h('h4', {}, d.steps.length === 1 ? 'One step' : `${d.steps.length} steps`), h('ol', {class: 'names'}, d.steps.map(v => h('li', {class: 'chip num'}, reward(v))))) : null,
  ];
}

function rewards(good, has) {
  const names = good[0].members.map(m => m.name);
  return h('details', {}, h('summary', {}, 'All rewards'), h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'All rewards'}, h('table', {},
    h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, 'Answer'), has.wa ? h('th', {scope: 'col', class: 'n'}, 'WA') : null, h('th', {scope: 'col', class: 'n'}, 'ENS'), h('th', {scope: 'col', class: 'n'}, 'Spread'), names.map(n => h('th', {scope: 'col', class: 'n'}, n)))),
    h('tbody', {}, good.map(d => h('tr', {}, h('th', {scope: 'row'}, `Answer ${d.answer + 1}`), has.wa ? h('td', {class: 'n'}, reward(d.wa)) : null, h('td', {class: 'n'}, reward(d.ens)), h('td', {class: 'n'}, d.std.toFixed(3)),
      d.members.map(m => h('td', {class: 'n'}, reward(m.reward)))))))));
}

/** What each word does to the reward. */
const changes = ({before, steps}) => steps.map((p, i) => p.reward - (i ? steps[i - 1].reward : before ?? p.reward));

/** Puts the reward along an answer in the place of its plain text. */
function along(article, of, range, most) {
  const plain = article.querySelector('.words'), {steps} = of;
  const change = changes(of);
  const words = steps.map((p, i) => h('span', {class: `${change[i] > 0 ? 'up' : 'down'} ${p.end ? 'end' : ''}`, title: p.end ? 'what ends the text' : null, '--d': (Math.abs(change[i]) / most).toFixed(3)}, p.text));
  const points = steps.map(p => p.reward);
  const chart = path(points, range, `The reward along the answer, from ${reward(points[0])} to ${reward(points.at(-1))} in ${points.length} steps`);
  const said = h('p', {class: 'small muted num', 'aria-live': 'polite'}, hint);
  let at = -1;
  const mark = i => {
    words[at]?.classList.remove('at');
    at = i;
    words[i].classList.add('at');
    chart.mark(i);
    const by = change[i];
    said.textContent = `“${steps[i].text.trim()}” ${by < 0 ? minus(by.toFixed(3)) : '+' + by.toFixed(3)}, then ${reward(points[i])}`;
  };
  words.forEach((w, i) => w.addEventListener('pointerenter', () => mark(i)));
  const box = h('div', {class: 'path', tabindex: '0', role: 'group', 'aria-label': 'The reward along the answer; the arrow keys go from word to word', onkeydown: e => {
    const next = {ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: words.length - 1}[e.key];
    if (next === undefined) return;
    e.preventDefault();
    mark(Math.min(Math.max(next, 0), words.length - 1));
  }}, h('p', {class: 'words'}, words), chart);
  plain.replaceWith(box);
  box.after(h('div', {class: 'row between'}, said, h('span', {class: 'legend'}, h('span', {}, 'lowers'), h('i', {class: 'ramp', 'aria-hidden': 'true'}), h('span', {}, 'raises'))));
}

const hint = 'Point at a word, or use the arrow keys.';
