// openapi.yaml, to read: operations by tag, what they take and answer, and a
// command to try each with.

import {h, announce} from './dom.js';
import {call} from './client.js';
import {prose, inline} from './prose.js';

const verbs = ['get', 'post', 'put', 'delete'];

export default async function docs(root, signal) {
  const doc = await call('GET', '/openapi.json', {signal});
  const find = ref => ref.slice(2).split('/').reduce((at, key) => at[key], doc);
  const open = v => v?.$ref ? open(find(v.$ref)) : v;
  const operations = [];
  for (const [path, item] of Object.entries(doc.paths)) for (const verb of verbs) if (item[verb]) operations.push({path, verb, ...item[verb], id: item[verb].operationId});
  const sections = operations.map(op => operation(op, open));
  const links = operations.map(op => h('li', {'data-op': op.id}, h('a', {href: `#${op.id}`}, h('span', {class: `verb ${op.verb}`}, op.verb === 'delete' ? 'DEL' : op.verb.toUpperCase()), h('span', {}, op.path))));
  const groups = doc.tags.map(t => {
    const of = operations.map((op, i) => [op, i]).filter(([op]) => op.tags.includes(t.name));
    const names = {dialects: 'Other stacks', reward: 'Rewards', models: 'Models', operation: 'Operation'};
    return {tag: t, nav: h('div', {}, h('h2', {}, names[t.name] ?? t.name), h('ul', {}, of.map(([, i]) => links[i]))),
      intro: h('section', {class: 'op tag'}, h('h2', {}, names[t.name] ?? t.name), prose(t.description)), sections: of.map(([, i]) => sections[i])};
  });
  const none = h('p', {class: 'muted', hidden: true}, 'Nothing is called that.');
  const search = h('input', {type: 'search', id: 'search', placeholder: 'Search paths, fields, words', autocomplete: 'off', oninput: () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    operations.forEach((op, i) => {
      const hit = words.every(w => haystack(op, open).includes(w));
      links[i].hidden = sections[i].hidden = !hit;
      shown += hit ? 1 : 0;
    });
    for (const g of groups) {
      g.nav.hidden = g.sections.every(s => s.hidden);
      g.intro.hidden = words.length > 0;
    }
    intro.hidden = words.length > 0;
    none.hidden = shown > 0;
    announce(`${shown} operations`);
  }});
  const intro = h('section', {class: 'intro'}, prose(doc.info.description));
  root.append(h('div', {class: 'docs'},
    h('nav', {class: 'docs-nav', 'aria-label': 'Operations'}, h('div', {class: 'field'}, h('label', {for: 'search'}, 'Search'), search), groups.map(g => g.nav)),
    h('div', {}, h('div', {class: 'head'}, h('div', {}, h('h1', {tabindex: '-1'}, 'API'), h('p', {}, 'Every route of this server, version ', doc.info.version, '. The same as a document: ', h('a', {href: '/openapi.yaml'}, 'openapi.yaml'), '.'))),
      none, intro, groups.map(g => [g.intro, g.sections]))));
  const jump = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || !root.contains(target)) return;
    target.scrollIntoView();
    target.querySelector('h2')?.focus({preventScroll: true});
  };
  addEventListener('hashchange', jump, {signal});
  setTimeout(jump);
}

const straws = new Map();

/** All words of an operation, its fields among them, for the search. */
function haystack(op, open) {
  if (!straws.has(op.id)) {
    const words = [op.verb, op.path, op.id, op.summary, op.description];
    const walk = (schema, depth) => {
      const s = open(schema);
      if (!s || depth > 5) return;
      for (const [name, p] of Object.entries(s.properties ?? {})) { words.push(name, open(p)?.description); walk(p, depth + 1); }
      for (const of of [...(s.oneOf ?? []), ...(s.anyOf ?? []), ...(s.allOf ?? []), s.items].filter(Boolean)) walk(of, depth + 1);
    };
    for (const p of op.parameters ?? []) words.push(open(p).name, open(p).description);
    walk(json(open(op.requestBody))?.schema, 0);
    walk(json(open(op.responses['200']))?.schema, 0);
    straws.set(op.id, words.filter(Boolean).join('\n').toLowerCase());
  }
  return straws.get(op.id);
}

const json = body => body?.content?.['application/json'];

function operation(op, open) {
  const parameters = (op.parameters ?? []).map(open).filter(p => p.name !== 'X-Request-Id'); // which the introduction tells of
  const body = open(op.requestBody);
  const content = json(body);
  const examples = content?.examples ? Object.values(content.examples).map(e => ({summary: e.summary, value: e.value})) : content?.example ? [{value: content.example}] : [];
  return h('section', {class: 'op', id: op.id}, h('div', {class: 'op-head'}, h('span', {class: `verb ${op.verb}`}, op.verb.toUpperCase()), h('h2', {tabindex: '-1'}, op.path)),
    h('p', {class: 'lead'}, inline(op.summary ?? '')), op.description ? prose(op.description) : null,
    parameters.length ? [h('h3', {}, 'Parameters'), h('ul', {class: 'schema'}, parameters.map(p => h('li', {}, h('span', {class: 'name'}, p.name), h('span', {class: 'type'}, `${p.in}, ${typeOf(p.schema, open)}`),
      p.required ? h('span', {class: 'must'}, 'required') : null, p.description ? prose(p.description) : null)))] : null,
    content ? [h('h3', {}, 'Body'), body.description ? prose(body.description) : null, schema(content.schema, open, 0)] : null,
    examples.length || op.verb === 'get' ? [h('h3', {}, examples.length > 1 ? 'Examples' : 'Example'), (examples.length ? examples : [{}]).map((e, i) => i === 0 ? code(curl(op, e.value), e.summary) : h('details', {}, h('summary', {}, e.summary ?? 'Another'), code(curl(op, e.value))))] : null,
    h('h3', {}, 'Replies'), h('ul', {class: 'schema'}, Object.entries(op.responses).map(([status, ref]) => {
      const r = open(ref), of = json(r);
      return h('li', {}, h('span', {class: 'name'}, status), h('span', {class: 'type'}, inline(r.description ?? '')), of && status < '300' ? lazily(typeOf(of.schema, open), () => schema(of.schema, open, 0)) : null);
    })));
}

const code = (text, about) => h('div', {}, about ? h('p', {class: 'hint'}, inline(about)) : null, h('pre', {tabindex: '0', role: 'region', 'aria-label': about ?? 'Command'}, h('code', {}, text)));

function curl(op, value) {
  const url = location.origin + op.path.replace(/\{(\w+)\}/g, (_, n) => n.toUpperCase());
  const method = op.verb === 'get' || (op.verb === 'post' && value !== undefined) ? '' : ` -X ${op.verb.toUpperCase()}`;
  if (value === undefined) return `curl -s${method} ${url}`;
  return `curl -s${method} ${url} -H 'Content-Type: application/json' -d '${JSON.stringify(value, null, 2).replaceAll("'", "'\\''")}'`;
}

function typeOf(ref, open) {
  const s = open(ref);
  if (!s) return '';
  const name = ref.$ref?.split('/').at(-1);
  if (s.enum) return s.enum.filter(v => v !== null).map(v => JSON.stringify(v)).join(' or ').slice(0, 160);
  if (s.oneOf ?? s.anyOf) return name ?? (s.oneOf ?? s.anyOf).map(x => typeOf(x, open)).join(' or ');
  if (s.type === 'array') return `list of ${typeOf(s.items, open) || 'anything'}`;
  if (s.allOf) return typeOf(s.allOf[0], open);
  const range = [s.minimum !== undefined ? `≥ ${s.minimum}` : '', s.maximum !== undefined ? `≤ ${s.maximum}` : ''].filter(Boolean).join(', ');
  return (s.type === 'object' ? name ?? 'object' : s.type ?? 'anything') + (range ? ` ${range}` : '');
}

/** The fields of a schema; what is inside of them opens when asked for. */
function schema(ref, open, depth) {
  const s = open(ref);
  if (!s) return null;
  const variants = s.oneOf ?? s.anyOf;
  if (variants) return h('ul', {class: 'schema'}, variants.map(v => h('li', {}, h('span', {class: 'type'}, typeOf(v, open)), inside(v, open, depth))));
  if (s.allOf) return schema(s.allOf[0], open, depth);
  if (s.type === 'array') return schema(s.items, open, depth);
  if (!s.properties) return s.description ? prose(s.description) : h('p', {class: 'small muted'}, typeOf(ref, open));
  return h('ul', {class: 'schema'}, Object.entries(s.properties).map(([name, p]) => h('li', {}, h('span', {class: 'name'}, name), h('span', {class: 'type'}, typeOf(p, open)),
    s.required?.includes(name) ? h('span', {class: 'must'}, 'required') : null, open(p)?.description ? prose(open(p).description) : null, inside(p, open, depth))));
}

function inside(ref, open, depth) {
  let s = open(ref);
  while (s?.type === 'array') { ref = s.items; s = open(ref); }
  if (depth > 5 || !s || !(s.properties || s.oneOf || s.anyOf || s.allOf)) return null;
  if (s.oneOf?.every(v => !open(v).properties)) return null;
  return lazily(typeOf(ref, open), () => schema(ref, open, depth + 1));
}

function lazily(name, make) {
  const d = h('details', {}, h('summary', {}, name));
  d.addEventListener('toggle', () => d.append(make() ?? ''), {once: true});
  return d;
}
