// How a model turns a text into a reward, in words.

const pooling = {
  hf: 'the last that is not padding', last: 'the last, padding or not', hf_legacy: 'the one before the first padding', first_pad_after_prompt: 'the one before the padding behind the prompt',
  first: 'the first', mean: 'the mean of all', token: 'the last of one id', append: 'one put behind the text', before: 'the one before the first of one id', at: 'counted from the end',
  every: 'the mark behind each step', lines: 'a mark behind each line', pattern: 'the last place of several ids',
};
const endings = {eos: 'with the end token', openrlhf: 'with the end token behind a space, as OpenRLHF has it'};

const inWords = rule => {
  const words = pooling[rule.split(':')[0]];
  return !words ? rule : rule.includes(':') ? `${words} (${rule})` : words;
};

/** [name, value] of each: the head, the token that it reads, how texts end. */
export const reading = m => [
  ['Head', m.head],
  ['Outputs', m.attributes?.join(', ')],
  ['Scored token', m.pooling.split('+').map(inWords).join(', and ')],
  ['Texts end', m.ending ? endings[m.ending] ?? m.ending : 'as the template and the tokenizer have it'],
].filter(([, value]) => value);
