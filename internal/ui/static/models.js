// The list of models with their live figures.

import { call, curl, metadata, milliseconds, request, statistics, text } from "/ui/api.js";

const KEPT = 120; // samples of a sparkline, one a second
const cards = new Map();

// talkers are the models that generate text, by name, as /v1/models has them.
export const talkers = new Map();
let known = "";

async function findTalkers(index) {
  const ready = index.filter((e) => e.state === "READY").map((e) => e.name).join(" ");
  if (ready === known) return;
  const { data } = await call("/v1/models");
  talkers.clear();
  for (const m of data) if (m.max_model_len > 0) talkers.set(m.id, m);
  known = ready;
}

// SERIES are the figures of generation on /metrics, by the names that cards have for them.
const SERIES = {
  salver_llm_generated_tokens_total: "tokens",
  salver_llm_first_token_seconds_sum: "firstSum",
  salver_llm_first_token_seconds_count: "firstCount",
};

// generation reads the figures of generation, by model and version.
async function generation() {
  const figures = new Map();
  if (talkers.size === 0) return figures;
  let lines = "";
  try {
    lines = await text("/metrics");
  } catch (error) {
    if (error.status !== 404) throw error; // a server without metrics still has models
  }
  for (const line of lines.split("\n")) {
    const found = /^(\w+){model="([^"]*)",version="([^"]*)"} (\S+)$/.exec(line);
    const name = found && SERIES[found[1]];
    if (!name) continue;
    const id = `${found[2]} ${found[3]}`;
    if (!figures.has(id)) figures.set(id, {});
    figures.get(id)[name] = Number(found[4]);
  }
  return figures;
}

// refresh reads the list and the counters, and brings the cards up to date. It gives the models.
export async function refresh() {
  const index = await call("/v2/repository/index", {});
  await findTalkers(index);
  const generated = await generation();
  const counters = new Map();
  try {
    for (const s of (await statistics()).model_stats) counters.set(`${s.name} ${s.version}`, s);
  } catch (error) {
    if (error.status !== 404) throw error; // a server without statistics still has models
  }
  const seen = new Set();
  for (const entry of index) {
    const id = `${entry.name} ${entry.version ?? ""}`;
    seen.add(id);
    if (!cards.has(id)) cards.set(id, new Card(entry));
    cards.get(id).update(entry, counters.get(id), generated.get(id));
  }
  for (const [id, card] of cards) {
    if (seen.has(id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  document.getElementById("empty").hidden = index.length > 0;
  return index;
}

class Card {
  constructor(entry) {
    const copy = document.getElementById("model").content.cloneNode(true);
    this.element = copy.querySelector("article");
    this.badge = copy.querySelector(".badge");
    this.code = copy.querySelector("code");
    this.rates = [];
    this.latencies = [];
    const title = copy.querySelector("h3");
    title.textContent = entry.name;
    if (entry.version) {
      const version = document.createElement("small");
      version.textContent = ` version ${entry.version}`;
      title.append(version);
    }
    this.code.id = `curl-${cards.size}-${Date.now()}`;
    copy.querySelector(".copy").dataset.copy = this.code.id;
    document.getElementById("list").append(copy);
  }

  update(entry, counters, generated) {
    const ready = entry.state === "READY";
    this.badge.textContent = ready ? "ready" : (entry.state ?? "unknown").toLowerCase();
    this.badge.className = `badge ${ready ? "good" : "bad"}`;
    this.badge.title = entry.reason ?? "";
    if (ready && !this.described) {
      this.described = true;
      this.describe(entry.name).catch(() => { this.described = false; });
    }
    if (generated) this.generate(generated, performance.now());
    if (counters) this.count(counters, performance.now());
  }

  // generate shows the figures of a model that generates text.
  generate(now, at) {
    now.at = at;
    const before = this.generated;
    this.generated = now;
    if (!before || now.tokens < before.tokens) return;
    const rate = (1000 * (now.tokens - before.tokens)) / (at - before.at);
    this.show("tokens", rate < 100 ? rate.toFixed(rate > 0 ? 1 : 0) : Math.round(rate).toLocaleString("en"));
    const answers = now.firstCount - before.firstCount;
    if (answers > 0) this.show("first", milliseconds((1000 * (now.firstSum - before.firstSum)) / answers));
  }

  // talk describes a model that generates text, rather than its tensors.
  talk(model) {
    const path = model.chats ? "/v1/chat/completions" : "/v1/completions";
    const ask = model.chats ? { messages: [{ role: "user", content: "Hello" }] } : { prompt: "Once upon a time", max_tokens: 40 };
    this.element.querySelector(".tensors").textContent = `generates text: ${model.chats ? "a chat" : "no chat template"}, ${model.max_model_len.toLocaleString("en")} tokens of context`;
    this.code.textContent = request(path, { model: model.id, ...ask });
    this.element.querySelector(".talk").hidden = false;
    this.element.querySelector(".talk a").href = `/chat?model=${encodeURIComponent(model.id)}`;
    for (const e of this.element.querySelectorAll("[data-for]")) e.hidden = e.dataset.for !== "text";
  }

  async describe(name) {
    if (talkers.has(name)) {
      this.talk(talkers.get(name));
      return;
    }
    const m = await metadata(name);
    const line = (t) => `${t.name} ${t.datatype} [${t.shape.map((d) => (d < 0 ? "?" : d)).join(", ")}]`;
    this.element.querySelector(".tensors").textContent =
      [...m.inputs.map((t) => `in: ${line(t)}`), ...m.outputs.map((t) => `out: ${line(t)}`)].join("\n");
    this.code.textContent = example(m) ?? `curl -s ${location.origin}/v2/models/${encodeURIComponent(name)}`;
  }

  count(counters, at) {
    const s = counters.inference_stats;
    const now = {
      at, count: s.success.count, ns: s.success.ns, failed: s.fail.count,
      rows: counters.inference_count, executions: counters.execution_count,
    };
    const before = this.last;
    this.last = now;
    this.show("count", now.count.toLocaleString("en"));
    this.show("failed", now.failed.toLocaleString("en"));
    if (!before || now.count < before.count) return;
    const n = now.count - before.count;
    const rate = (1000 * n) / (at - before.at);
    const latency = n > 0 ? (now.ns - before.ns) / n / 1e6 : null;
    push(this.rates, rate);
    push(this.latencies, latency ?? 0);
    this.show("rate", rate < 100 ? rate.toFixed(rate > 0 && rate < 10 ? 1 : 0) : Math.round(rate).toLocaleString("en"));
    if (latency !== null) this.show("latency", milliseconds(latency));
    const executions = now.executions - before.executions;
    if (executions > 0) this.show("batch", ((now.rows - before.rows) / executions).toFixed(1));
    this.draw("polyline.rate", this.rates);
    this.draw("polyline.latency", this.latencies);
  }

  show(name, text) {
    this.element.querySelector(`[data-is=${name}]`).textContent = text;
  }

  draw(selector, values) {
    const top = Math.max(...values, 1e-9);
    const points = values.map((v, i) => `${((i + KEPT - values.length) * 240) / (KEPT - 1)},${(46 - (44 * v) / top).toFixed(1)}`);
    this.element.querySelector(selector).setAttribute("points", points.join(" "));
  }
}

function push(list, value) {
  list.push(value);
  if (list.length > KEPT) list.shift();
}

// EXAMPLES are inputs that mean something to the models of the demo.
const EXAMPLES = { measurements: [5.1, 3.5, 1.4, 0.2], points: [0.5, 0.2] };

// example writes a request of zeros, or null if it would be too long to paste.
function example(m) {
  const inputs = [];
  let size = 0;
  for (const { name, datatype, shape } of m.inputs) {
    const dims = shape.map((d) => (d < 0 ? 1 : d));
    const n = dims.reduce((a, b) => a * b, 1);
    size += n;
    if (size > 64) return null;
    const zero = { BYTES: "", BOOL: false }[datatype] ?? 0;
    inputs.push({ name, shape: dims, datatype, data: EXAMPLES[name] ?? Array(n).fill(zero) });
  }
  return curl(m.name, { inputs });
}
