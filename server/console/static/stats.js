// Intervals, as the server's own: Wilson's for a share, Agresti and Min's for
// the difference of two shares of the same pairs; 95 %.

const z = 1.959964;

export function wilson(wins, n) {
  if (!n) return {value: NaN, low: NaN, high: NaN};
  const p = wins / n, d = 1 + z * z / n, mid = p + z * z / (2 * n), half = z * Math.sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {value: p, low: Math.max(0, (mid - half) / d), high: Math.min(1, (mid + half) / d)};
}

/** How much more often the first is right, where only it was (b) and only the other was (c), of n pairs. */
export function difference(b, c, n) {
  const m = n + 2, b1 = b + .5, c1 = c + .5, d = (b1 - c1) / m;
  const half = z * Math.sqrt(Math.max(0, (b1 + c1) - (b1 - c1) ** 2 / m)) / m;
  return {value: (b - c) / n, low: Math.max(-1, d - half), high: Math.min(1, d + half)};
}
