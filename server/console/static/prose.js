// The little of Markdown that openapi.yaml writes: paragraphs, lists, tables,
// code, emphasis and links. It makes elements, never HTML.

import {h} from './dom.js';

export function prose(text) {
  const out = [];
  for (const block of (text ?? '').trim().split(/\n\s*\n/)) {
    const lines = block.split('\n');
    if (lines.every(l => /^\s*\|/.test(l)) && lines.length > 2) out.push(table(lines));
    else if (lines.every(l => /^\s*[-*] /.test(l) || /^\s{2,}\S/.test(l))) out.push(h('ul', {}, items(lines).map(l => h('li', {}, inline(l)))));
    else if (block) out.push(h('p', {}, inline(lines.join(' '))));
  }
  return h('div', {class: 'prose'}, out);
}

const items = lines => lines.reduce((all, l) => { if (/^\s*[-*] /.test(l)) all.push(l.replace(/^\s*[-*] /, '')); else all[all.length - 1] += ' ' + l.trim(); return all; }, []);

function table(lines) {
  const cells = l => l.trim().replace(/^\||\|$/g, '').split('|').map(c => c.trim());
  const [first, , ...rest] = lines.map(cells);
  return h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': first.join(', ')}, h('table', {},
    h('thead', {}, h('tr', {}, first.map(c => h('th', {scope: 'col'}, inline(c))))), h('tbody', {}, rest.map(r => h('tr', {}, r.map(c => h('td', {}, inline(c))))))));
}

export function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\(https?:[^)\s]+\))/).filter(Boolean).map(part => {
    if (part.startsWith('`')) return h('code', {}, part.slice(1, -1));
    if (part.startsWith('**')) return h('b', {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\((\S+)\)$/.exec(part);
    return link ? h('a', {href: link[2], rel: 'noreferrer'}, link[1]) : part;
  });
}
