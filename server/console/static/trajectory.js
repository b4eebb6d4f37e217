// The reward along an answer: what the text would be worth if it ended after each of
// its words, by the API's trajectory, which is of tokens.

import {call} from './client.js';

// Tokens before the one whose text is asked for: alone it may be a part of a character,
// and some tokenizers leave out the space of the first.
const context = 8;

/** The texts of the tokens of each [ids, from], from the from-th on. */
async function texts(model, of, signal) {
  const places = of.flatMap(([ids, from]) => ids.slice(from).map((_, i) => [ids, from + i]));
  if (!places.length) return of.map(() => []);
  const ids = places.flatMap(([ids, i]) => [ids.slice(Math.max(0, i - context), i), ids.slice(Math.max(0, i - context), i + 1)]);
  const decoded = await call('POST', `/decode?model=${encodeURIComponent(model)}`, {signal, body: {ids, skip_special_tokens: false}});
  const whole = decoded.map(t => t.replace(/\uFFFD+$/, '')); // a character comes with its last token
  let next = 0;
  return of.map(([ids, from]) => ids.slice(from).map(() => { next += 2; return whole[next - 1].slice(whole[next - 2].length); }));
}

/** The words of one answer, [{text, reward, end}], and what is put behind it as one more. */
function words(d, pieces) {
  const [from, to] = d.answer_tokens;
  const out = [];
  const add = (text, reward, end) => {
    const last = out.at(-1);
    // A word goes on until a space, and until it has a reward: what a gate has not read yet has none.
    if (last && !end && (last.reward === null || !/^\s/.test(text))) Object.assign(last, {text: last.text + text, reward});
    else out.push({text, reward, end});
  };
  pieces.slice(0, to - from).forEach((text, i) => add(text, d.trajectory[from + i]));
  if (pieces.length > to - from) add(pieces.slice(to - from).join('').trim(), d.trajectory.at(-1), true);
  if (out.length) out[0].text = out[0].text.trimStart();
  return {before: d.trajectory[from - 1] ?? null, steps: out.filter(w => w.reward !== null)};
}

/** The reward along each entry of a reply with tokens and trajectories: {before, steps}. */
export async function trajectories(model, data, signal) {
  const pieces = await texts(model, data.map(d => [d.token_ids, d.answer_tokens[0]]), signal);
  return data.map((d, i) => words(d, pieces[i]));
}
