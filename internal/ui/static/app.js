// The page: what the server is, its models, and the fields to try them.

import { call } from "/ui/api.js";
import "/ui/copy.js";
import * as digit from "/ui/digit.js";
import * as models from "/ui/models.js";
import * as spirals from "/ui/spirals.js";

const TRY = { digits: { section: "digit", start: digit.start }, spirals: { section: "spirals", start: spirals.start } };
const started = new Set();
const state = document.getElementById("state");

// The notice shows the newest message of each source.
const messages = new Map();
function notice(source) {
  return (text) => {
    if (text) messages.set(source, text);
    else messages.delete(source);
    const line = document.getElementById("notice");
    line.textContent = [...messages.values()].join(" ");
    line.hidden = messages.size === 0;
  };
}

function setState(text, kind) {
  if (state.textContent === text) return; // a status is read out when it changes
  state.textContent = text;
  state.className = `badge ${kind}`;
}

async function server() {
  const { name, version } = await call("/v2");
  document.getElementById("version").textContent = version;
  document.title = `${name} at ${location.host}`;
}

async function tick() {
  const tell = notice("server");
  try {
    if (!document.getElementById("version").textContent) await server();
    const ready = await fetch("/v2/health/ready", { credentials: "omit", cache: "no-store" });
    const list = await models.refresh();
    setState(ready.ok ? "ready" : "not ready", ready.ok ? "good" : "bad");
    document.getElementById("chat-link").hidden = models.talkers.size === 0; // the way to the chat
    for (const entry of list) {
      const it = TRY[entry.name];
      if (!it || entry.state !== "READY" || started.has(entry.name)) continue;
      started.add(entry.name);
      document.getElementById(it.section).hidden = false;
      it.start(notice(entry.name));
    }
    tell("");
  } catch (error) {
    setState("unreachable", "bad");
    tell(error.status ? error.message : `The server cannot be reached (${error.message}).`);
    if (error.status === 401) return; // asked, and no key was given
  }
  setTimeout(tick, document.hidden ? 5000 : 1000);
}

tick();
