// Calls to the server that the page came from.

const KEY = "salver-key";
const dialog = document.getElementById("login");
let asking = null;

// askForKey shows the dialog once, however many calls wait for it.
function askForKey(text) {
  asking ??= new Promise((done) => {
    document.getElementById("login-text").textContent = text;
    dialog.showModal();
    dialog.addEventListener("close", () => {
      const field = document.getElementById("key");
      if (field.value) sessionStorage.setItem(KEY, field.value);
      field.value = "";
      asking = null;
      done();
    }, { once: true });
  });
  return asking;
}

export class HTTPError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

// call fetches JSON. An object as body is sent with POST. Without a valid key
// it asks for one and tries again.
export async function call(path, body, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const options = { signal, headers: {}, credentials: "omit", cache: "no-store" };
    if (key) options.headers.Authorization = `Bearer ${key}`;
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    const answer = await fetch(path, options);
    if (answer.status === 401) {
      if (sessionStorage.getItem(KEY) === key) sessionStorage.removeItem(KEY);
      await askForKey(key ? "The key was not accepted. Try another." : "It is kept in this tab until you close it.");
      if (!hasKey()) throw new HTTPError(401, "an API key is needed; reload the page to give one");
      continue;
    }
    const text = await answer.text();
    let value = null;
    try {
      value = text === "" ? {} : JSON.parse(text);
    } catch {
      value = { error: text.slice(0, 200) };
    }
    if (!answer.ok) throw new HTTPError(answer.status, value.error ?? `HTTP status ${answer.status}`);
    return value;
  }
}

const url = (model) => `/v2/models/${encodeURIComponent(model)}`;

// infer sends one FP32 tensor and gives the first output's data, with the round trip in ms.
export async function infer(model, name, shape, data, signal) {
  const start = performance.now();
  const answer = await call(`${url(model)}/infer`, { inputs: [{ name, shape, datatype: "FP32", data }] }, signal);
  return { data: answer.outputs[0].data, ms: performance.now() - start };
}

export const metadata = (model) => call(url(model));
export const statistics = (model) => call(model ? `${url(model)}/stats` : "/v2/models/stats");

// curl writes a request as a command line.
export function curl(model, body) {
  const key = hasKey() ? " \\\n  -H \"Authorization: Bearer $SALVER_KEY\"" : "";
  return `curl -s ${location.origin}${url(model)}/infer${key} \\\n  -d '${JSON.stringify(body)}'`;
}

// milliseconds writes a duration with three digits.
export function milliseconds(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 1) return `${(ms * 1000).toPrecision(3).replace(/\.$/, "")} µs`;
  return `${ms < 100 ? ms.toPrecision(3) : Math.round(ms)} ms`;
}
