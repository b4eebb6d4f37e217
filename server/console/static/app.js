// The shell: which view is shown, the key, the theme.

import {h, problem, announce} from './dom.js';
import {key, aborted} from './client.js';

const views = {
  overview: () => import('./overview.js'),
  playground: () => import('./playground.js'),
  compare: () => import('./compare.js'),
  live: () => import('./live.js'),
  operations: () => import('./operations.js'),
  docs: () => import('./docs.js'),
};
const titles = {overview: 'Overview', playground: 'Playground', compare: 'Compare', live: 'Live', operations: 'Operations', docs: 'API'};

const main = document.getElementById('main');
let leave = null; // ends what the view that is shown has begun
let shown = null;

function viewName() {
  if (location.pathname === '/docs') return 'docs';
  const name = location.hash.replace(/^#\/?/, '').split('/')[0] || 'overview';
  return Object.hasOwn(views, name) && name !== 'docs' ? name : 'overview';
}

async function show(again) {
  const name = viewName();
  if (name === shown && !again) return;
  const first = shown === null;
  shown = name;
  leave?.abort();
  leave = new AbortController();
  const {signal} = leave;
  document.title = `${titles[name]} · warmserve`;
  for (const a of document.querySelectorAll('#nav a')) {
    if (a.dataset.view === name) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  }
  document.querySelector('#nav [aria-current]').scrollIntoView({block: 'nearest', inline: 'center'});
  const root = h('div', {'data-view': name});
  main.replaceChildren(root);
  try {
    const {default: view} = await views[name]();
    if (signal.aborted) return;
    await view(root, signal);
  } catch (e) {
    if (aborted(e) || signal.aborted) return;
    root.querySelector('.loading')?.remove();
    root.append(problem(e, () => show(true)));
  }
  if (signal.aborted) return;
  root.dataset.ready = 'true';
  if (!first && !again) main.querySelector('h1')?.focus({preventScroll: true});
  if (!first) scrollTo(0, 0);
}

addEventListener('hashchange', () => show());

// On the document's page the hash names an operation, and on others a view: a
// link that skips to the content must change neither.
document.getElementById('skip').addEventListener('click', e => { e.preventDefault(); main.focus(); });

const dialog = document.getElementById('key-dialog');
const input = document.getElementById('key-input');
const why = document.getElementById('key-why');
const about = why.textContent;

function ask(reason) {
  if (dialog.open) return;
  why.textContent = reason ? `The server says: ${reason}` : about;
  input.value = key.get();
  dialog.showModal();
  input.select();
}

function keyState() {
  document.getElementById('key-state').textContent = key.get() ? 'Key set' : 'Key';
  document.getElementById('key-forget').hidden = !key.get();
}

document.getElementById('key-open').addEventListener('click', () => ask());
document.getElementById('key-cancel').addEventListener('click', () => dialog.close());
document.getElementById('key-forget').addEventListener('click', () => { key.set(''); dialog.close(); announce('The key is forgotten.'); });
document.getElementById('key-form').addEventListener('submit', () => { key.set(input.value.trim()); announce('The key is set.'); });
dialog.addEventListener('close', () => { input.value = ''; });
addEventListener('keyneeded', e => ask(e.detail));
addEventListener('keychange', () => { keyState(); show(true); });

const themes = ['system', 'light', 'dark'];
const themeButton = document.getElementById('theme');

function theme(name) {
  if (name === 'system') delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  themeButton.dataset.now = name;
  const label = `Theme: ${name === 'system' ? 'as the system' : name}`;
  themeButton.setAttribute('aria-label', label);
  themeButton.title = label;
}

themeButton.addEventListener('click', () => {
  const next = themes[(themes.indexOf(themeButton.dataset.now) + 1) % themes.length];
  localStorage.setItem('warmserve.theme', next);
  theme(next);
  announce(themeButton.title);
});
theme(themes.includes(localStorage.getItem('warmserve.theme')) ? localStorage.getItem('warmserve.theme') : 'system');
keyState();
show();
