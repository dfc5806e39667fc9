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

// send asks for an answer. An object as body is sent with POST. Without a valid
// key it asks for one and tries again.
async function send(path, body, signal) {
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
    if (answer.status !== 401) return answer;
    if (sessionStorage.getItem(KEY) === key) sessionStorage.removeItem(KEY);
    await askForKey(key ? "The key was not accepted. Try another." : "It is kept in this tab until you close it.");
    if (!hasKey()) throw new HTTPError(401, "an API key is needed; reload the page to give one");
  }
}

// read gives an answer's JSON, or throws its error.
async function read(answer) {
  const text = await answer.text();
  let value = null;
  try {
    value = text === "" ? {} : JSON.parse(text);
  } catch {
    value = { error: text.slice(0, 200) };
  }
  if (!answer.ok) throw new HTTPError(answer.status, value.error?.message ?? value.error ?? `HTTP status ${answer.status}`);
  return value;
}

// call fetches JSON.
export async function call(path, body, signal) {
  return read(await send(path, body, signal));
}

// text fetches what is no JSON.
export async function text(path) {
  const answer = await send(path);
  if (!answer.ok) await read(answer);
  return answer.text();
}

// stream hands the values of server-sent events to take, as they come.
export async function stream(path, body, signal, take) {
  const answer = await send(path, body, signal);
  if (!answer.ok) await read(answer);
  const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { done, value } = await pieces.read();
    if (done) throw new Error("the answer broke off");
    const events = (left + value).split("\n\n");
    left = events.pop();
    for (const event of events) {
      const data = event.split("\n").find((line) => line.startsWith("data: "))?.slice(6);
      if (data === undefined) continue; // a comment that the answer still is to come
      if (data === "[DONE]") return;
      const v = JSON.parse(data);
      if (v.error) throw new Error(v.error.message);
      take(v);
    }
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

// request writes a request as a command line.
export function request(path, body) {
  const key = hasKey() ? " \\\n  -H \"Authorization: Bearer $SALVER_KEY\"" : "";
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl -s ${location.origin}${path}${key} \\\n  -d '${json}'`;
}

export const curl = (model, body) => request(`${url(model)}/infer`, body);

// milliseconds writes a duration with three digits.
export function milliseconds(ms) {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 1) return `${(ms * 1000).toPrecision(3).replace(/\.$/, "")} µs`;
  return `${ms < 100 ? ms.toPrecision(3) : Math.round(ms)} ms`;
}
