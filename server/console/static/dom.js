// Elements, and how numbers and times are written. Text only ever becomes text:
// nothing here, or anywhere in the console, parses a string as HTML.

const svgNS = 'http://www.w3.org/2000/svg';

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.startsWith('--')) element.style.setProperty(name, value); // by script: the policy forbids style attributes
    else if (name === 'value' || name === 'checked' || name === 'selected' || name === 'disabled') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== undefined && child !== null && child !== false) element.append(child);
  }
  return element;
}

/** An HTML element: h('p', {class: 'muted'}, 'text', child). */
export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props, ...children) => fill(document.createElementNS(svgNS, tag), props, children);

/** Puts children in the place of what an element has; what is not there is left out. */
export function put(element, ...children) {
  element.replaceChildren();
  return fill(element, {}, children);
}

/** Tells a screen reader what has changed. */
export function announce(text) {
  document.getElementById('announce').textContent = text;
}

/** A page's head: its title, which takes the focus, what it is for, and perhaps controls. */
export function head(title, about, ...controls) {
  return h('div', {class: 'head'}, h('div', {}, h('h1', {tabindex: '-1'}, title), h('p', {}, about)), controls.length ? h('div', {class: 'row'}, controls) : null);
}

const pictures = {
  box: 'M6 14l14-8 14 8v14l-14 8-14-8zM6 14l14 8 14-8M20 22v14',
  chart: 'M5 33h30M9 27l8-9 6 5 9-13',
  scales: 'M20 7v26M12 33h16M8 12h24M8 12l-4 10h8zM32 12l-4 10h8z',
  lock: 'M11 18h18v15H11zM14 18v-5a6 6 0 0 1 12 0v5M20 24v4',
  pen: 'M7 33l3-9L28 6l6 6-18 18z',
};

/** What stands where there is nothing yet. */
export function empty(picture, title, text, ...more) {
  return h('div', {class: 'empty'}, s('svg', {viewBox: '0 0 40 40', width: 40, height: 40, 'aria-hidden': 'true'}, s('path', {d: pictures[picture]})), h('h2', {}, title), h('p', {}, text), more);
}

/** What stands where something went wrong: in the server's own words. */
export function problem(error, retry) {
  const where = [error.param, error.code].filter(Boolean).join(' · ');
  return h('div', {class: 'problem', role: 'alert'}, h('b', {}, error.title ?? 'That did not work'), h('span', {}, error.message), where ? [' ', h('code', {}, where)] : null,
    retry ? h('div', {class: 'row'}, h('button', {type: 'button', class: 'button', onclick: retry}, 'Try again')) : null);
}

export const minus = text => text.replace('-', '−');

/** A reward: enough digits to tell two apart, and a real minus. */
export const reward = v => minus(Math.abs(v) >= 100 ? v.toFixed(1) : Math.abs(v) >= 10 ? v.toFixed(2) : v.toFixed(3));

/** A count or a rate, in three digits. */
export function count(v) {
  if (!Number.isFinite(v)) return '–';
  for (const [unit, size] of [['B', 1e9], ['M', 1e6], ['k', 1e3]]) {
    if (Math.abs(v) >= size * .9995) return minus(trim(v / size) + ' ' + unit);
  }
  return minus(trim(v));
}

const trim = v => String(Number(v.toPrecision(Math.abs(v) >= 100 ? Math.max(3, Math.floor(Math.log10(Math.abs(v))) + 1) : 3)));

export function bytes(v) {
  for (const [unit, size] of [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) if (v >= size * .9995) return trim(v / size) + ' ' + unit;
  return v + ' B';
}

/** A length of time, from microseconds to days. */
export function seconds(v) {
  if (!Number.isFinite(v)) return '–';
  if (v === 0) return '0 s';
  if (v < 1e-3) return trim(v * 1e6) + ' µs';
  if (v < 1) return trim(v * 1e3) + ' ms';
  if (v < 120) return trim(v) + ' s';
  if (v < 7200) return Math.round(v / 60) + ' min';
  if (v < 172800) return Math.round(v / 3600) + ' h';
  return Math.round(v / 86400) + ' days';
}

export const percent = (v, digits = 1) => minus((100 * v).toFixed(digits)) + ' %';

/** When something was, by Unix time: the hour of today, else the day. */
export function time(unix) {
  const t = new Date(unix * 1000);
  const today = t.toDateString() === new Date().toDateString();
  return h('time', {datetime: t.toISOString(), title: t.toLocaleString()},
    today ? t.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false}) : t.toLocaleDateString([], {day: 'numeric', month: 'short'}));
}

export const shortRevision = r => (r ?? '').replace(/^sha256:/, '').slice(0, 12);

/**
 * Looks now, and again so many milliseconds after each look while the page is in front,
 * until a look answers false or the view is left. Returns what looks at once.
 */
export function repeat(every, signal, look) {
  let timer = 0;
  const tick = async () => {
    clearTimeout(timer);
    if (signal.aborted) return;
    const more = document.hidden || await look() !== false;
    clearTimeout(timer); // of a look that was asked for meanwhile
    if (more && !signal.aborted) timer = setTimeout(tick, every);
  };
  signal.addEventListener('abort', () => clearTimeout(timer));
  document.addEventListener('visibilitychange', () => { if (!document.hidden) tick(); }, {signal});
  return tick;
}

/** A select with a label of its own; options are texts or [value, text]. */
export function select(id, label, options, value, onchange) {
  return h('div', {class: 'field'}, h('label', {for: id}, label), h('select', {id, onchange: e => onchange?.(e.target.value)},
    options.map(o => { const [v, t] = Array.isArray(o) ? o : [o, o]; return h('option', {value: v, selected: v === value}, t); })));
}

/** A few words one of which is chosen: radio buttons that look like one control. */
export function choice(name, label, options, value, onchange) {
  return h('fieldset', {class: 'choice'}, h('legend', {class: 'sr'}, label), options.map(([v, text]) =>
    h('label', {}, h('input', {type: 'radio', name, value: v, checked: v === value, onchange: () => onchange(v)}), text)));
}

/** A button that is a picture, with words for those who do not see it. */
export const cross = (label, onclick) => h('button', {type: 'button', class: 'icon', 'aria-label': label, title: label, onclick},
  s('svg', {viewBox: '0 0 16 16', width: 14, height: 14, 'aria-hidden': 'true'}, s('path', {d: 'M4 4l8 8M12 4l-8 8'})));
