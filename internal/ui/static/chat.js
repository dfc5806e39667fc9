// The chat: a conversation with a language model, in pieces as they are made.

import { call, request, stream } from "/ui/api.js";
import "/ui/copy.js";
import { Message } from "/ui/message.js";

const $ = (id) => document.getElementById(id);
const NUMBERS = ["temperature", "max_tokens", "top_p", "top_k", "min_p", "repetition_penalty", "seed"];
const EXAMPLE = [{
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a place now",
    parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
  },
}];

const TEXT_TOKENS = 256; // of a text that is continued, if nothing is said; it may have no end

const shown = []; // the Messages of the conversation
let running = null; // of the answer that is being made

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function setState(text, kind) {
  $("state").textContent = text;
  $("state").className = `badge ${kind}`;
}

// listModels fills the choice with those that generate text.
async function listModels() {
  const models = (await call("/v1/models")).data.filter((m) => m.max_model_len > 0);
  const before = $("model").value;
  $("model").replaceChildren(...models.map((m) => {
    const option = new Option(m.id, m.id);
    option.dataset.about = `${m.max_model_len.toLocaleString("en")} tokens of context${m.chats ? "" : ", no chat template: it goes on with texts"}`;
    option.dataset.chats = m.chats;
    return option;
  }));
  const wanted = before || new URLSearchParams(location.search).get("model") || models.find((m) => m.chats)?.id;
  if (models.some((m) => m.id === wanted)) $("model").value = wanted;
  describe();
  setState(models.length ? "ready" : "no language model", models.length ? "good" : "bad");
  $("send").disabled = models.length === 0;
}

// describe shows what the chosen model is and can.
function describe() {
  const chosen = $("model").selectedOptions[0];
  const chats = chosen?.dataset.chats === "true";
  $("about").textContent = chosen?.dataset.about ?? "";
  $("form-of").options[0].disabled = !chats;
  $("form-of").value = chats ? "chat" : "text";
  form();
}

const isText = () => $("form-of").value === "text";

function form() {
  for (const e of document.querySelectorAll(".chat-only")) e.hidden = isText();
  $("max_tokens").placeholder = isText() ? TEXT_TOKENS : "context";
}

// body is the request for an answer to what was said.
function body() {
  const said = shown.filter((m) => !m.failed);
  const b = { model: $("model").value };
  if (isText()) {
    b.prompt = said.map((m) => m.text).join("");
    b.max_tokens = TEXT_TOKENS;
  } else {
    b.messages = said.map((m) => m.json());
    if ($("system").value.trim()) b.messages.unshift({ role: "system", content: $("system").value });
  }
  b.stream = true;
  b.stream_options = { include_usage: true };
  for (const id of NUMBERS) {
    if ($(id).value !== "") b[id] = Number($(id).value);
  }
  if (isText()) return b;
  if ($("thinking").value) b.chat_template_kwargs = { enable_thinking: $("thinking").value === "true" };
  if ($("tools").value.trim()) b.tools = JSON.parse($("tools").value);
  return b;
}

function add(message) {
  $("hint").hidden = true;
  shown.push(message);
  $("log").append(message.element);
  $("log").scrollTop = $("log").scrollHeight;
}

// follow makes a change and keeps the end in view, if it is.
function follow(change) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// answer asks for the next message.
async function answer() {
  tell("");
  let b;
  try {
    b = body();
  } catch (error) {
    tell(`The tools are no JSON: ${error.message}`);
    return;
  }
  const path = isText() ? "/v1/completions" : "/v1/chat/completions";
  $("curl").textContent = request(path, b);
  const message = new Message("assistant", b.model);
  message.onResult = answerCalls;
  add(message);
  running = new AbortController();
  busy(true);
  message.begin();
  try {
    await stream(path, b, running.signal, (event) => follow(() => message.take(event)));
    follow(() => message.end());
  } catch (error) {
    const stopped = running.signal.aborted;
    follow(() => message.end(stopped ? "stopped" : `failed: ${error.message}`));
    message.failed = !stopped;
    if (!stopped) tell(`No answer: ${error.message}`);
  } finally {
    running = null;
    busy(false);
  }
}

function busy(yes) {
  $("send").hidden = yes;
  $("stop").hidden = !yes;
  $("again").disabled = yes || shown.length === 0;
  $("clear").disabled = yes || shown.length === 0;
}

// answerCalls goes on when all calls of the last answer have their results.
function answerCalls(message) {
  if (running || message.calls.some((c) => c.result === undefined)) return;
  for (const c of message.calls) {
    const result = new Message("tool", c.name);
    result.callID = c.id;
    result.setText(c.result);
    add(result);
  }
  answer();
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("prompt").value;
  if (running || !text.trim() || !$("model").value) return;
  $("prompt").value = "";
  const message = new Message("user");
  message.setText(text);
  add(message);
  answer();
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
});
$("stop").addEventListener("click", () => running?.abort());
$("clear").addEventListener("click", () => {
  for (const m of shown.splice(0)) m.element.remove();
  $("hint").hidden = false;
  tell("");
  busy(false);
});
$("again").addEventListener("click", () => {
  while (shown.length && shown.at(-1).role === "assistant") shown.pop().element.remove();
  if (shown.length) answer();
});
$("model").addEventListener("change", describe);
$("form-of").addEventListener("change", form);
$("example").addEventListener("click", () => { $("tools").value = JSON.stringify(EXAMPLE, null, 2); });

listModels().catch((error) => {
  setState("unreachable", "bad");
  tell(error.status === 404 ? "This server has no API for language models." : error.message);
});
