// A message of the chat: its text, what the model thought, its calls of tools,
// and how fast they came.

import { milliseconds } from "/ui/api.js";

const NAMES = { user: "You", assistant: "Assistant", tool: "Result of" };

function isJSON(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export class Message {
  constructor(role, name) {
    this.role = role;
    this.text = "";
    this.thought = "";
    this.calls = []; // {id, name, arguments, result}
    const copy = document.getElementById("message").content.cloneNode(true);
    this.element = copy.querySelector("article");
    this.element.classList.add(role);
    this.element.querySelector("h3").textContent = [NAMES[role], name].filter(Boolean).join(" ");
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  setText(text) {
    this.text = text;
    this.part(".text").textContent = text;
  }

  // begin starts the clock.
  begin() {
    this.start = performance.now();
    this.element.classList.add("busy");
  }

  // take brings in an event of the stream.
  take(event) {
    if (event.usage) this.usage = event.usage;
    const choice = event.choices[0];
    const delta = choice?.delta ?? (choice && { content: choice.text }); // of a chat, or of a text
    if (choice?.finish_reason) this.finish = choice.finish_reason;
    if (!delta) return;
    if (delta.content || delta.reasoning_content || delta.tool_calls) {
      this.last = performance.now();
      this.first ??= this.last;
    }
    if (delta.reasoning_content) this.think(delta.reasoning_content);
    if (delta.content) this.say(delta.content);
    for (const c of delta.tool_calls ?? []) this.call(c);
  }

  think(text) {
    const box = this.part(".thought");
    if (!this.thought) {
      box.hidden = false;
      box.open = true;
    }
    this.thought += text;
    box.querySelector("p").append(text);
  }

  say(text) {
    if (!this.text) this.part(".thought").open = false;
    this.text += text;
    this.part(".text").append(text);
  }

  call(delta) {
    const c = (this.calls[delta.index] ??= this.newCall());
    if (delta.id) c.id = delta.id;
    if (delta.function?.name) c.name += delta.function.name;
    if (delta.function?.arguments) c.arguments += delta.function.arguments;
    c.form.querySelector("h4").textContent = `Calls ${c.name}`;
    c.form.querySelector("pre").textContent = c.arguments;
  }

  newCall() {
    this.part(".thought").open = false;
    const form = document.getElementById("call").content.cloneNode(true).querySelector("form");
    const c = { id: "", name: "", arguments: "", form };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      c.result = form.querySelector("textarea").value;
      for (const e of form.elements) e.disabled = true;
      this.onResult?.(this);
    });
    this.part(".calls").append(form);
    return c;
  }

  // end shows the figures, and why the answer ended early if it did.
  end(why) {
    this.element.classList.remove("busy");
    this.element.classList.toggle("failed", Boolean(why?.startsWith("failed")));
    const figures = [];
    if (this.first) figures.push(`first token after ${milliseconds(this.first - this.start)}`);
    const n = this.usage?.completion_tokens;
    if (n) figures.push(`${n} tokens`);
    const rate = (1000 * (n - 1)) / (this.last - this.first);
    if (n > 1 && this.last > this.first) figures.push(`${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`);
    if (this.usage) {
      const cached = this.usage.prompt_tokens_details?.cached_tokens;
      figures.push(`prompt ${this.usage.prompt_tokens} tokens${cached ? `, ${cached} of them cached` : ""}`);
    }
    if (this.finish === "length") figures.push("cut at its longest");
    if (why) figures.push(why);
    this.part(".figures").textContent = figures.join(" · ");
  }

  // json is the message in OpenAI's form.
  json() {
    const m = { role: this.role, content: this.text };
    if (this.role === "tool") m.tool_call_id = this.callID;
    if (this.thought) m.reasoning_content = this.thought;
    const whole = this.calls.filter((c) => isJSON(c.arguments || "{}")); // all but one that was stopped
    if (whole.length) {
      m.tool_calls = whole.map((c) => ({ id: c.id, type: "function", function: { name: c.name, arguments: c.arguments || "{}" } }));
    }
    return m;
  }
}
