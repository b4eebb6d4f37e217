// The reward along an answer: what it would be worth if it ended after each word.
// Every model can say that, those whose tokens see what follows among them, and it is
// read where training read it. The API's own trajectory is of other things: one value
// for each token, the template's and the prompt's too, without their texts, and of
// models whose tokens see only those before them. A prompt is computed once for all
// words; an answer's words each cost what is before them.

import {call} from './client.js';

// A long answer is cut less finely, so that following it stays one small request.
const mostSteps = 160;

/** The answer's words with the reward behind each: [{text, reward, before}]. */
export async function trajectory({model, prompt, text, mode}, signal) {
  const words = text.match(/\s*\S+\s*$|\s*\S+/g) ?? [];
  const per = Math.ceil(words.length / mostSteps);
  const pieces = [];
  for (let i = 0; i < words.length; i += per) pieces.push(words.slice(i, i + per).join(''));
  let prefix = '';
  const prefixes = ['', ...pieces.map(p => prefix += p)];
  const reply = await call('POST', '/v1/reward', {signal, body: {model, mode, on_error: 'item', inputs: [{prompt, responses: prefixes}]}});
  const rewards = reply.data.map(d => d.error ? NaN : d.reward);
  const before = Number.isFinite(rewards[0]) ? rewards[0] : rewards[1];
  return pieces.map((p, i) => ({text: p, reward: rewards[i + 1], before})).filter(p => Number.isFinite(p.reward));
}
