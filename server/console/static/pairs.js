// Preference pairs in JSON Lines: chosen and rejected, with or without a prompt,
// as texts or messages.

const isText = v => typeof v === 'string';
const isMessages = v => Array.isArray(v) && v.length > 0 && v.every(m => m && typeof m === 'object' && isText(m.role));
const says = v => isText(v) ? v : v.map(m => `${m.role}: ${isText(m.content) ? m.content : (m.content ?? []).map?.(p => p.text ?? '').join('') ?? ''}`).join('\n');

/** Reads a file's text: its pairs, and what is wrong with which lines. */
export function parsePairs(text) {
  const pairs = [], bad = [];
  text.split('\n').forEach((line, i) => {
    if (!line.trim()) return;
    let v;
    try { v = JSON.parse(line); } catch { bad.push({line: i + 1, why: 'is not JSON'}); return; }
    const why = fault(v);
    if (why) bad.push({line: i + 1, why}); else pairs.push(pair(v, i + 1));
  });
  return {pairs, bad};
}

function fault(v) {
  if (v === null || typeof v !== 'object' || Array.isArray(v)) return 'is not an object';
  for (const name of ['chosen', 'rejected']) {
    if (v[name] === undefined) return `has no ${name}`;
    if (!isText(v[name]) && !isMessages(v[name])) return `has a ${name} that is neither text nor messages`;
  }
  if (isText(v.chosen) !== isText(v.rejected)) return 'has a text and messages: want two of one kind';
  if (v.prompt !== undefined && v.prompt !== null && !isText(v.prompt) && !isMessages(v.prompt)) return 'has a prompt that is neither text nor messages';
  return '';
}

function pair(v, line) {
  const has = v.prompt !== undefined && v.prompt !== null;
  const plain = isText(v.chosen) && !has; // texts that stand by themselves
  const answer = a => plain ? {text: a, add_special_tokens: true} : a;
  return {
    line, prompt: has ? says(v.prompt) : '', chosen: says(v.chosen), rejected: says(v.rejected),
    wire: {...(has ? {prompt: v.prompt} : {}), chosen: answer(v.chosen), rejected: answer(v.rejected)},
  };
}

/** A few pairs to try with, made for this page. */
export const sample = [
  ['Should school uniforms be required?', 'Uniforms take a daily worry away from families who cannot afford new clothes, and they make bullying about brands harder.', 'uniforms are ugly and nobody likes them lol'],
  ['Should school uniforms be required?', 'No. How young people dress is one of the few choices they have, and learning to make choices is part of growing up.', 'No.'],
  ['Is it right to ban plastic bottles?', 'A ban works because tap water is safe here, costs almost nothing, and leaves no waste in rivers.', 'Plastic is bad. Bad for everyone. Ban it.'],
  ['Is it right to ban plastic bottles?', 'Where pipes are old, bottles are the only clean water, so a ban would hurt the poorest first.', 'i like bottles because they are handy'],
  ['Should children have phones at school?', 'A phone lets a child reach home in an emergency, and lessons about using it well are better than a ban.', 'Phones are cool and everybody has one so why not'],
  ['Should children have phones at school?', 'Lessons with phones on the desk are lessons half heard: attention that is broken every minute does not come back by itself.', 'phones distract'],
  ['Is vegetarian food better?', 'Growing plants for people instead of for animals feeds more of us from the same land and water.', 'meat tastes good end of story'],
  ['Should homework be abolished?', 'Ten minutes of practice every evening does more for memory than an hour before the test, and homework is how it happens.', 'homework is a waste of time I hate it so much'],
  ['Should homework be abolished?', 'Homework measures the quiet room and the parents who can help more than it measures the child.', 'yes because then we have free time'],
  ['Are zoos a good thing?', 'Several species are alive today only because zoos bred them when nothing was left in the wild.', 'zoos are fun for the whole family and there are lions'],
].map(([prompt, chosen, rejected]) => JSON.stringify({prompt, chosen, rejected})).join('\n');
