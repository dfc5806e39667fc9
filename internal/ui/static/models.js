// The list of models with their live figures.

import { call, curl, metadata, milliseconds, statistics } from "/ui/api.js";

const KEPT = 120; // samples of a sparkline, one a second
const cards = new Map();

// refresh reads the list and the counters, and brings the cards up to date. It gives the models.
export async function refresh() {
  const index = await call("/v2/repository/index", {});
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
    cards.get(id).update(entry, counters.get(id));
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

  update(entry, counters) {
    const ready = entry.state === "READY";
    this.badge.textContent = ready ? "ready" : (entry.state ?? "unknown").toLowerCase();
    this.badge.className = `badge ${ready ? "good" : "bad"}`;
    this.badge.title = entry.reason ?? "";
    if (ready && !this.described) {
      this.described = true;
      this.describe(entry.name).catch(() => { this.described = false; });
    }
    if (counters) this.count(counters, performance.now());
  }

  async describe(name) {
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
