// Charts in SVG, drawn again at whatever width they have, so that letters keep
// their size. Each has words for who does not see it.

import {h, s, reward, percent} from './dom.js';

/** A figure that calls draw(width) for its SVG whenever its width changes. */
export function figure(label, draw) {
  const box = h('div', {class: 'plot'});
  const redraw = () => {
    const width = Math.floor(box.clientWidth);
    if (!width) return;
    const svg = draw(width);
    svg.setAttribute('role', 'img');
    svg.setAttribute('aria-label', typeof label === 'function' ? label() : label);
    box.replaceChildren(svg);
  };
  let last = 0;
  new ResizeObserver(([e]) => {
    const width = Math.floor(e.contentRect.width);
    if (width !== last) { last = width; redraw(); }
  }).observe(box);
  box.redraw = redraw;
  return box;
}

const chart = (width, height, ...children) => s('svg', {class: 'chart', viewBox: `0 0 ${width} ${height}`, height}, children);

/** A scale and its round ticks: about n of them, from low to high. */
export function scale(low, high, from, to, n = 4) {
  if (!(high > low)) { const pad = Math.max(Math.abs(low) * .1, .5); low -= pad; high += pad; }
  const raw = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(m => m >= raw * .999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
  return {at: v => from + (v - low) / (high - low) * (to - from), ticks, low, high};
}

const extent = (values, pad = .06) => {
  const low = Math.min(...values), high = Math.max(...values);
  const more = (high - low || Math.abs(low) || 1) * pad;
  return [low - more, high + more];
};

const label = v => String(Number(v.toPrecision(6))).replace('-', '−');

/** A share at a tick, with the digits that it has: 72.5 is not 73. */
export const tickPercent = v => percent(v, Math.abs(100 * v - Math.round(100 * v)) < 1e-6 ? 0 : 1);

/** One answer on the axis of all: members as ticks, the ensemble as a ring, the average as a disc. */
export function strip(all, one) {
  const words = [one.wa !== undefined && `weight average ${reward(one.wa)}`, one.ens !== undefined && `ensemble ${reward(one.ens)}`,
    ...one.members.map(m => `${m.name} ${reward(m.reward)}`)].filter(Boolean).join(', ');
  return figure(words, width => {
    const x = scale(...extent(all), 8, width - 8, Math.max(3, Math.floor(width / 110)));
    const y = 16;
    const rewards = one.members.map(m => m.reward);
    return chart(width, 48,
      s('line', {class: 'axis', x1: 0, x2: width, y1: 32, y2: 32}),
      x.ticks.map(t => [s('line', {class: 'axis', x1: x.at(t), x2: x.at(t), y1: 32, y2: 36}), s('text', {x: x.at(t), y: 47, 'text-anchor': 'middle'}, label(t))]),
      rewards.length ? s('line', {class: 'whisker', x1: x.at(Math.min(...rewards)), x2: x.at(Math.max(...rewards)), y1: y, y2: y}) : null,
      one.members.map(m => s('line', {class: 'member', x1: x.at(m.reward), x2: x.at(m.reward), y1: y - 7, y2: y + 7}, s('title', {}, `${m.name} ${reward(m.reward)}`))),
      one.ens === undefined ? null : s('circle', {class: 'ens', cx: x.at(one.ens), cy: y, r: 5}, s('title', {}, `ensemble ${reward(one.ens)}`)),
      one.wa === undefined ? null : s('circle', {class: 'wa', cx: x.at(one.wa), cy: y, r: 6}, s('title', {}, `weight average ${reward(one.wa)}`)));
  });
}

/** What the marks of strip mean. */
export function stripLegend(has) {
  const mark = child => s('svg', {class: 'chart', viewBox: '0 0 14 14', width: 14, height: 14, 'aria-hidden': 'true'}, child);
  return h('ul', {class: 'legend'},
    has.wa ? h('li', {}, mark(s('circle', {class: 'wa', cx: 7, cy: 7, r: 5.5})), 'weight average') : null,
    has.ens ? h('li', {}, mark(s('circle', {class: 'ens', cx: 7, cy: 7, r: 4.6})), 'ensemble') : null,
    has.members ? h('li', {}, mark(s('line', {class: 'member', x1: 7, x2: 7, y1: 1, y2: 13})), 'a member') : null);
}

/** The reward along an answer, on the scale of all; mark(i) draws the cursor at point i. */
export function path(points, range, words) {
  let at = points.length - 1;
  const box = figure(words, width => {
    const height = 108, left = 40;
    const y = scale(...extent(range), height - 12, 8, 4);
    const x = i => left + (points.length < 2 ? .5 : i / (points.length - 1)) * (width - left - 8);
    return chart(width, height,
      y.ticks.map(t => [s('line', {class: t === 0 ? 'zero' : 'axis', x1: left, x2: width, y1: y.at(t), y2: y.at(t)}), s('text', {x: left - 8, y: y.at(t) + 4, 'text-anchor': 'end'}, label(t))]),
      s('path', {class: 'line', d: points.map((p, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y.at(p).toFixed(1)}`).join('')}),
      s('line', {class: 'cursor', x1: x(at), x2: x(at), y1: 4, y2: height - 6}),
      s('circle', {class: 'wa', cx: x(at), cy: y.at(points[at]), r: 5}));
  });
  box.mark = i => { at = i; box.redraw(); };
  return box;
}

/** Figures with intervals, one below the other: rows of {name, value, low, high, strong}. */
export function intervals(rows, caption) {
  const words = `${caption}: ` + rows.map(r => `${r.name} ${percent(r.value)}, from ${percent(r.low)} to ${percent(r.high)}`).join('; ');
  return figure(words, width => {
    const step = 30, left = Math.min(190, width * .34), right = width < 500 ? 8 : 178, height = rows.length * step + 26;
    const low = Math.min(...rows.map(r => r.low)), high = Math.max(...rows.map(r => r.high));
    const x = scale(Math.max(0, low - .02), Math.min(1, high + .02), left, width - right - 6, Math.max(3, Math.floor((width - left - right) / 90)));
    const clip = name => name.length > left / 7.4 ? name.slice(0, Math.floor(left / 7.4) - 1) + '…' : name;
    return chart(width, height,
      x.ticks.map(t => [s('line', {class: 'axis', x1: x.at(t), x2: x.at(t), y1: 0, y2: height - 22}), s('text', {x: x.at(t), y: height - 6, 'text-anchor': 'middle'}, tickPercent(t))]),
      rows.map((r, i) => {
        const y = i * step + 14;
        return [s('text', {class: r.strong ? 'ink' : '', x: 0, y: y + 4, 'font-size': 13, 'font-weight': r.strong ? 600 : 400}, clip(r.name), s('title', {}, r.name)),
          s('line', {class: r.strong ? 'whisker warm' : 'whisker', x1: x.at(r.low), x2: x.at(r.high), y1: y, y2: y}),
          s('circle', {class: r.strong ? 'wa' : 'ens', cx: x.at(r.value), cy: y, r: r.strong ? 5.5 : 4.2}),
          right > 8 ? s('text', {x: width, y: y + 4, 'text-anchor': 'end', class: r.strong ? 'ink' : ''}, `${percent(r.value)}  [${percent(r.low)}, ${percent(r.high)}]`) : null];
      }));
  });
}

/** Lines over the last minutes: series of {points: [[t, v]], class}; v may be NaN where nothing was. */
export function lines(title, series, span, write) {
  return figure(() => {
    const last = series()[0].points.findLast(p => Number.isFinite(p[1]));
    return `${title}: ${last ? 'now ' + write(last[1]) : 'nothing yet'}`;
  }, width => {
    const height = 132, bottom = height - 20;
    const all = series();
    const end = Math.max(...all.flatMap(x => x.points.at(-1)?.[0] ?? 0), 0);
    const values = all.flatMap(x => x.points.map(p => p[1])).filter(Number.isFinite);
    const y = scale(Math.min(0, ...values), Math.max(...values, 0) * 1.08 || 1, bottom, 14, 3);
    const window = span();
    const x = t => width - (end - t) / window * width;
    const d = points => {
      let out = '', pen = false;
      for (const [t, v] of points) {
        if (!Number.isFinite(v)) { pen = false; continue; }
        out += `${pen ? 'L' : 'M'}${x(t).toFixed(1)} ${y.at(v).toFixed(1)}`;
        pen = true;
      }
      return out;
    };
    return chart(width, height,
      y.ticks.map(t => [s('line', {class: 'axis', x1: 0, x2: width, y1: y.at(t), y2: y.at(t)}), t ? s('text', {x: 0, y: y.at(t) - 4}, write(t)) : null]),
      all.toReversed().map(one => s('path', {class: `line ${one.class ?? ''}`, d: d(one.points)})),
      s('text', {x: 0, y: height - 3}, window < 120 ? `${Math.round(window)} s ago` : `${Math.round(window / 60)} min ago`), s('text', {x: width, y: height - 3, 'text-anchor': 'end'}, 'now'));
  });
}

/** Two histograms over the same buckets: bars for now, an outline for the first. Each is [[le, share]]. */
export function histogram(words, data) {
  return figure(words, width => {
    const all = data();
    // Of the buckets those that hold something, and one more on each side.
    const held = i => all.now[i]?.[1] || all.first[i]?.[1];
    const size = Math.max(all.now.length, all.first.length);
    let from = 0, to = size - 1;
    while (from < to && !held(from)) from++;
    while (to > from && !held(to)) to--;
    if (!held(from)) [from, to] = [0, size - 1];
    const cut = list => list.slice(Math.max(0, from - 1), to + 2);
    const now = cut(all.now), first = cut(all.first);
    const height = 190, bottom = height - 22, n = Math.max(now.length, first.length, 1), step = width / n;
    const top = Math.max(...now.map(b => b[1]), ...first.map(b => b[1]), .01);
    const y = v => bottom - v / top * (bottom - 10);
    const edges = (now.length ? now : first).map(b => b[0]);
    const every = Math.ceil(n / Math.max(2, Math.floor(width / 44)));
    let outline = '';
    first.forEach(([, v], i) => { outline += `${i ? 'L' : 'M'}${(i * step).toFixed(1)} ${y(v).toFixed(1)}L${((i + 1) * step).toFixed(1)} ${y(v).toFixed(1)}`; });
    return chart(width, height,
      now.map(([, v], i) => v ? s('rect', {class: 'bar-now', x: i * step + 1, y: y(v), width: Math.max(1, step - 2), height: bottom - y(v), rx: 2}) : null),
      outline ? s('path', {class: 'bar-first', d: outline}) : null,
      s('line', {class: 'axis', x1: 0, x2: width, y1: bottom, y2: bottom}),
      edges.map((le, i) => i % every || le === Infinity ? null : s('text', {x: (i + 1) * step, y: height - 4, 'text-anchor': 'middle'}, label(le))));
  });
}

/** A figure on a line with the place where it begins to mean something. */
export function gauge(value, low, high, from) {
  return figure(`${value.toFixed(2)}, of interest from ${from}`, width => {
    const x = v => 4 + (Math.min(Math.max(v, low), high) - low) / (high - low) * (width - 8);
    return chart(width, 22,
      s('rect', {class: 'band', x: x(from), y: 3, width: width - 4 - x(from), height: 12, rx: 3}),
      s('line', {class: 'axis', x1: 4, x2: width - 4, y1: 9, y2: 9}),
      low < 0 ? s('line', {class: 'zero', x1: x(0), x2: x(0), y1: 3, y2: 15}) : null,
      s('circle', {class: 'wa', cx: x(value), cy: 9, r: 5}));
  });
}

/** A curve through a few points, [[x, y]], with a dot on each; also other's, dashed. */
export function curve(words, points, other, write) {
  return figure(words, width => {
    const height = 170, left = 52;
    const ys = [...points, ...other].map(p => p[1]);
    const y = scale(...extent(ys, .15), height - 26, 10, 3);
    const x = scale(Math.min(0, ...points.map(p => p[0])), Math.max(1, ...points.map(p => p[0])), left, width - 12, 4);
    const d = of => of.map((p, i) => `${i ? 'L' : 'M'}${x.at(p[0]).toFixed(1)} ${y.at(p[1]).toFixed(1)}`).join('');
    return chart(width, height,
      y.ticks.map(t => [s('line', {class: 'axis', x1: left, x2: width, y1: y.at(t), y2: y.at(t)}), s('text', {x: left - 8, y: y.at(t) + 4, 'text-anchor': 'end'}, write(t))]),
      x.ticks.map(t => s('text', {x: x.at(t), y: height - 4, 'text-anchor': 'middle'}, label(t))),
      s('path', {class: 'line c', d: d(other)}), s('path', {class: 'line', d: d(points)}),
      points.map(p => s('circle', {class: 'wa', cx: x.at(p[0]), cy: y.at(p[1]), r: 5}, s('title', {}, `${label(p[0])}: ${write(p[1])}`))));
  });
}
