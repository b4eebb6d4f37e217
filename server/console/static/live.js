// What happens now, from the metrics: one scrape in two seconds, kept for ten
// minutes in the page.

import {h, head, problem, count, seconds, select, bytes, shortRevision, repeat} from './dom.js';
import {text, aborted} from './client.js';
import {parse, sum, buckets, since, quantile, shares} from './metrics.js';
import {lines, histogram, gauge} from './chart.js';

const every = 2000; // milliseconds between scrapes
const kept = 600; // seconds that are kept
const recent = 60; // seconds that the histogram of now is of

// Routes that answer no rewards have times of their own, which say nothing here.
const scores = route => !/^(unmatched|\/|\/docs|\/console.*|\/metrics|\/livez|\/readyz|\/health|\/ping|\/info|\/openapi.*|\/tokenize|\/decode|\/models|\/v1\/models.*|\/v2|\/v2\/health.*|\/v2\/repository.*|\/v2\/models\/\{name\}(\/versions\/\{version\})?(\/ready)?|\/seed_session|\/close_session|\/aggregate_metrics|\/reverify_mode|\/get_model_info|\/update_weights_from_disk)$/.test(route);

export default async function live(root, signal) {
  const pause = h('button', {type: 'button', class: 'button', id: 'pause', 'aria-pressed': 'false', onclick: () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', String(paused));
    pause.textContent = paused ? 'Go on' : 'Pause';
    if (!paused) tick();
  }}, 'Pause');
  root.append(head('Live', 'One look at /metrics every two seconds, while this page is in front.', pause));
  const body = h('div', {class: 'stack'});
  root.append(body);
  const history = []; // {t, metrics}, oldest first
  let paused = false, view = null;
  const tick = repeat(every, signal, async () => {
    if (paused) return false;
    try {
      const metrics = parse(await text('/metrics', {signal}));
      history.push({t: Date.now() / 1000, metrics});
      while (history.at(-1).t - history[0].t > kept) history.shift();
      if (!view) body.replaceChildren(...(view = charts(history)).nodes);
      view.update();
    } catch (e) {
      if (aborted(e)) return false;
      view = null;
      body.replaceChildren(problem(e, e.code === 'unknown_route' ? undefined : tick));
      if (e.status === 401 || e.code === 'unknown_route') return false;
    }
  });
  await tick();
}

/** What is measured at each scrape: a value for each pair of neighbours. */
function series(history, value) {
  const points = [];
  for (let i = 1; i < history.length; i++) points.push([history[i].t, value(history[i].metrics, history[i - 1].metrics, history[i].t - history[i - 1].t)]);
  return points;
}

const rate = (name, want) => (now, before, dt) => {
  const a = sum(now, name, want) || 0, b = sum(before, name, want) || 0;
  return (a < b ? a : a - b) / dt; // a counter that went back began anew
};

/** The scrape that lies about so many seconds before the last. */
function ago(history, s) {
  const last = history.at(-1).t;
  return history.find(x => last - x.t <= s) ?? history[0];
}

function charts(history) {
  const redraws = [];
  const card = (title, write, about, ...lists) => {
    const now = h('span', {class: 'now'}, '–');
    const of = () => lists.map(([value, name, cls]) => ({points: value(), name, class: cls}));
    const plot = lines(title, of, () => Math.min(kept, Math.max(60, history.at(-1).t - history[0].t)), write);
    redraws.push(() => {
      const v = of()[0].points.at(-1)?.[1];
      now.textContent = v === undefined ? '–' : Number.isFinite(v) ? write(v) : 'idle';
      plot.redraw();
    });
    return h('section', {class: 'sheet pad card'}, h('div', {class: 'card-head'}, h('h2', {}, title), now), plot, h('p', {}, about));
  };
  const latency = q => () => series(history, (now, before) => quantile(q, since(buckets(now, 'warm_request_seconds', {route: scores}), buckets(before, 'warm_request_seconds', {route: scores}))));
  const gaugeOf = name => () => history.map(x => [x.t, sum(x.metrics, name)]);
  const grid = h('div', {class: 'grid'},
    card('Answers a second', count, 'Rewards given, over all models.', [() => series(history, rate('warm_sequences_total'))]),
    card('Tokens a second', count, 'Of the answers with their prompts.', [() => series(history, rate('warm_tokens_total'))]),
    card('Latency', seconds, 'Half of the requests are quicker than the strong line, 95 % than the grey one, 99 % than the dashed one.', [latency(.5), 'p50'], [latency(.95), 'p95', 'b'], [latency(.99), 'p99', 'c']),
    card('Queue', v => count(v) + ' tokens', 'Tokens that wait to be computed.', [gaugeOf('warm_queue_tokens')]),
    card('Requests in flight', count, 'Being handled now; grey: those refused or failed, a second.', [gaugeOf('warm_requests_in_flight')], [() => series(history, rate('warm_errors_total')), 'errors', 'b']),
    card('Memory of requests', bytes, 'Reserved by requests under way.', [gaugeOf('warm_request_memory_bytes')]));
  const models = h('div', {class: 'stack'});
  let known = '';
  const perModel = [];
  redraws.push(() => {
    const now = history.at(-1).metrics;
    const list = (now.get('warm_model_info') ?? []).map(x => x.labels);
    const key = JSON.stringify(list.map(m => [m.model, m.revision]));
    if (key !== known) { // another revision begins its figures anew
      known = key;
      perModel.length = 0;
      models.replaceChildren(...list.map(m => rewards(history, m, perModel)));
    }
    for (const f of perModel) f();
  });
  return {nodes: [grid, models], update: () => { for (const f of redraws) f(); }};
}

/** The rewards of one model: now against the first of its revision. */
function rewards(history, {model, revision}, redraws) {
  const of = {model, revision};
  let mode = null;
  const data = () => {
    const want = {...of, mode: mode ?? (() => true)};
    const now = buckets(history.at(-1).metrics, 'warm_reward', want);
    const before = buckets(ago(history, recent).metrics, 'warm_reward', want);
    const first = buckets(history.at(-1).metrics, 'warm_reward_reference', want);
    return {now: shares(since(now, before)), first: shares(first), total: now.at(-1)?.[1] ?? 0, lately: (now.at(-1)?.[1] ?? 0) - (before.at(-1)?.[1] ?? 0), reference: first.at(-1)?.[1] ?? 0};
  };
  const plot = histogram(() => `Rewards of ${model}`, data);
  const said = h('p', {}), gauges = h('div', {class: 'gauges'});
  const modes = () => [...new Set((history.at(-1).metrics.get('warm_reward_count') ?? []).filter(x => x.labels.model === model && x.labels.revision === revision).map(x => x.labels.mode))].sort();
  const picker = h('div', {});
  let had = '';
  redraws.push(() => {
    const all = modes();
    if (all.join() !== had) {
      had = all.join();
      mode = all.includes(mode) ? mode : all[0] ?? null;
      picker.replaceChildren(...(all.length > 1 ? [select(`mode-${model}`, 'Mode', all, mode, v => { mode = v; for (const f of redraws) f(); })] : []));
    }
    const d = data();
    said.textContent = d.total === 0 ? 'No reward of this revision yet.' : `Bars: ${d.lately ? count(d.lately) + ' rewards of the last minute' : 'none in the last minute'}. ` +
      `Outline: the first ${count(d.reference)} of this revision.`;
    plot.redraw();
    gauges.replaceChildren(...measures(history.at(-1).metrics, {...of, ...(mode ? {mode} : {})}, of));
  });
  return h('section', {class: 'sheet pad stack', 'data-rewards': model},
    h('div', {class: 'row between'}, h('div', {}, h('h2', {}, `Rewards of ${model}`), h('span', {class: 'revision'}, shortRevision(revision))), picker), plot, said, gauges);
}

/** What tells that rewards have left the range of the first ones. */
function measures(metrics, withMode, of) {
  const rows = [
    ['Drift of the mean', sum(metrics, 'warm_reward_drift_smd', withMode), -2, 2, 1, v => signed(v) + ' sd', 'in standard deviations of the first'],
    ['Drift of the shape', sum(metrics, 'warm_reward_drift_psi', withMode), 0, .5, .25, v => v.toFixed(3), 'population stability index'],
    ['Length correlation', sum(metrics, 'warm_reward_length_correlation', withMode), -1, 1, .5, signed, 'of rewards and tokens'],
    ['Disagreement', sum(metrics, 'warm_reward_disagreement_ratio', of), 0, 2, 1.5, v => v.toFixed(2) + ' ×', 'the members’ spread over that at first'],
  ];
  return rows.map(([name, v, low, high, from, write, about]) => h('div', {}, h('div', {class: 'card-head'}, h('h3', {}, name), h('span', {class: 'num'}, Number.isFinite(v) ? write(v) : '–')),
    Number.isFinite(v) ? gauge(v, low, high, from) : null, h('p', {class: 'small muted'}, Number.isFinite(v) ? about : 'not enough rewards yet')));
}

const signed = v => (v < 0 ? '−' : '+') + Math.abs(v).toFixed(2);
