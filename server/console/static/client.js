// The wire. The key lives in this tab's sessionStorage and nowhere else; prompts
// and answers live in the page's memory alone.

const slot = 'warmserve.key';

export const key = {
  get: () => sessionStorage.getItem(slot) ?? '',
  set: k => { k ? sessionStorage.setItem(slot, k) : sessionStorage.removeItem(slot); dispatchEvent(new Event('keychange')); },
};

/** What the server refused, in its words; status 0 where it was not reached. */
export class Refused extends Error {
  constructor(status, fields) {
    super(fields.message);
    Object.assign(this, {status, code: fields.code, param: fields.param, retryAfter: fields.retryAfter});
    this.title = {0: 'The server cannot be reached', 401: 'A key is needed', 403: 'Not with this key', 404: 'Not at this address', 429: 'Too much at once', 503: 'The server is busy'}[status];
  }
}

async function send(method, path, {body, signal, headers} = {}) {
  const h = {...headers};
  if (key.get()) h.Authorization = 'Bearer ' + key.get();
  if (body !== undefined) h['Content-Type'] = 'application/json';
  let reply;
  try {
    reply = await fetch(path, {method, headers: h, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: 'no-store', credentials: 'omit'});
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Refused(0, {message: 'Either it has stopped, or the network between has.'});
  }
  if (reply.ok) return reply;
  let fields = {message: `The server answered ${reply.status}.`};
  try { fields = (await reply.json()).error ?? fields; } catch { /* a proxy's own page: the status says enough */ }
  // The console asks for no path that a server does not have at one of its ports.
  if (fields.code === 'unknown_route') fields = {...fields, message: `The server answers ${path} at its other port: that of its operators (--ops-addr) has the metrics and changes, the first one the rest.`};
  if (reply.status === 401) dispatchEvent(new CustomEvent('keyneeded', {detail: fields.message}));
  throw new Refused(reply.status, {...fields, retryAfter: Number(reply.headers.get('Retry-After')) || undefined});
}

/** Calls a route that answers JSON. */
export const call = async (method, path, options) => (await send(method, path, options)).json();

/** Reads a route that answers text. */
export const text = async (path, options) => (await send('GET', path, options)).text();

export const models = async options => (await call('GET', '/v1/models', options)).data;

export const modelPath = name => '/v1/models/' + encodeURIComponent(name);

export const detail = (name, options) => call('GET', modelPath(name), options);

/** The best that a model offers: average and members, else what it has. */
export const fullest = model => ['both', 'ens'].find(m => model.modes.includes(m)) ?? model.mode;

/** Whether an error is only that the page has moved on. */
export const aborted = e => e?.name === 'AbortError';
