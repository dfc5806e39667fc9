// The drawing field.

import { curl, infer, milliseconds, statistics } from "/ui/api.js";

const SIZE = 28; // the network's picture
const BODY = 20; // the longer side of a digit in it
const MODEL = "digits";
const INPUT = "image";

// normalise turns ink (0..1, width x height) into the network's picture: the
// ink's box is scaled so that its longer side is BODY pixels, and its centre of
// mass goes to the middle. null if there is no ink.
export function normalise(ink, width, height) {
  let peak = 0;
  for (const v of ink) peak = Math.max(peak, v);
  if (peak === 0) return null;
  let left = width, right = -1, top = height, bottom = -1;
  let mass = 0, mx = 0, my = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const v = ink[y * width + x];
      if (v === 0) continue;
      mass += v;
      mx += v * (x + 0.5);
      my += v * (y + 0.5);
      if (v <= 0.2 * peak) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  const step = Math.max(right - left + 1, bottom - top + 1) / BODY; // field pixels per picture pixel
  const x0 = mx / mass - (SIZE / 2) * step;
  const y0 = my / mass - (SIZE / 2) * step;
  const n = Math.max(3, Math.ceil(step)); // samples per picture pixel and axis
  const out = new Float32Array(SIZE * SIZE);
  for (let i = 0; i < SIZE * n; i++) {
    const y = Math.floor(y0 + ((i + 0.5) / n) * step);
    if (y < 0 || y >= height) continue;
    for (let j = 0; j < SIZE * n; j++) {
      const x = Math.floor(x0 + ((j + 0.5) / n) * step);
      if (x < 0 || x >= width) continue;
      out[Math.floor(i / n) * SIZE + Math.floor(j / n)] += ink[y * width + x];
    }
  }
  return out.map((v) => v / (n * n * peak));
}

// SAMPLES are pen lines for "Draw one for me", in a field of 100 x 100.
const SAMPLES = [
  [[[62, 22], [46, 14], [32, 30], [28, 55], [36, 80], [52, 87], [66, 74], [71, 48], [66, 26], [54, 15]]],
  [[[38, 30], [53, 14], [52, 86]]],
  [[[29, 32], [38, 16], [58, 15], [66, 30], [58, 50], [32, 84], [72, 82]]],
  [[[32, 20], [52, 13], [66, 24], [60, 42], [46, 47], [64, 54], [70, 70], [56, 86], [30, 80]]],
  [[[58, 14], [28, 60], [74, 59]], [[60, 38], [58, 87]]],
  [[[68, 15], [38, 16], [34, 46], [54, 42], [69, 56], [66, 76], [48, 87], [29, 79]]],
  [[[62, 13], [40, 34], [30, 62], [40, 84], [60, 84], [68, 68], [56, 54], [34, 64]]],
  [[[28, 18], [71, 16], [54, 50], [44, 87]]],
  [[[66, 24], [50, 14], [36, 24], [42, 42], [62, 58], [66, 76], [50, 87], [34, 76], [40, 58], [62, 40], [66, 24]]],
  [[[68, 28], [52, 14], [34, 26], [36, 46], [54, 50], [68, 32], [66, 60], [56, 87]]],
];

export function start(showError) {
  const pad = document.getElementById("pad");
  const pen = document.getElementById("pen");
  const context = pad.getContext("2d", { willReadFrequently: true });
  const bars = makeBars();
  const strokes = []; // of points {x, y, w}
  let current = null;
  let asking = false, again = false, lastStats = null, statsAt = 0, shown = "";

  function paint() {
    context.clearRect(0, 0, pad.width, pad.height);
    context.strokeStyle = context.fillStyle = getComputedStyle(pad).color;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of strokes) {
      let from = stroke[0];
      context.beginPath();
      context.arc(from.x, from.y, from.w / 2, 0, 2 * Math.PI);
      context.fill();
      for (const to of stroke.slice(1)) {
        context.lineWidth = to.w;
        context.beginPath();
        context.moveTo(from.x, from.y);
        context.lineTo(to.x, to.y);
        context.stroke();
        from = to;
      }
    }
  }

  function picture() {
    const { data } = context.getImageData(0, 0, pad.width, pad.height);
    const ink = new Float32Array(pad.width * pad.height);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i + 3] / 255;
    return normalise(ink, pad.width, pad.height);
  }

  // ask sends the drawing. While an answer is under way, only the newest drawing waits.
  async function ask() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      do {
        again = false;
        const image = picture();
        if (!image) {
          clearAnswer();
          continue;
        }
        const data = Array.from(image, (v) => Math.round(v * 100) / 100);
        showSeen(image);
        document.getElementById("digit-curl").textContent =
          curl(MODEL, { inputs: [{ name: INPUT, shape: [1, 1, SIZE, SIZE], datatype: "FP32", data }] });
        const answer = await infer(MODEL, INPUT, [1, 1, SIZE, SIZE], data);
        if (strokes.length > 0) showAnswer(answer);
      } while (again);
      showError("");
    } catch (error) {
      showError(`The drawing could not be read: ${error.message}`);
    } finally {
      asking = false;
      pad.dispatchEvent(new CustomEvent("answered"));
    }
    serverTime();
  }

  // serverTime shows what the server's own counters say of the requests since the last look.
  async function serverTime() {
    if (performance.now() - statsAt < 300) return;
    statsAt = performance.now();
    try {
      const now = (await statistics(MODEL)).model_stats[0].inference_stats;
      if (lastStats) {
        const n = now.success.count - lastStats.success.count;
        const mean = (part) => (now[part].ns - lastStats[part].ns) / n / 1e6;
        if (n > 0) {
          document.getElementById("servertime").textContent = milliseconds(mean("success"));
          document.getElementById("computetime").textContent = milliseconds(mean("compute_infer"));
        }
      }
      lastStats = now;
    } catch {
      // The models' list says so if the server cannot be reached.
    }
  }

  function showAnswer({ data, ms }) {
    const top = data.indexOf(Math.max(...data));
    bars.forEach((bar, i) => {
      bar.item.className = i === top ? "top" : "";
      bar.meter.value = data[i];
      bar.text.textContent = `${(100 * data[i]).toFixed(1)} %`;
    });
    const best = document.getElementById("best");
    const certainty = `${Math.round(100 * data[top])} %`;
    if (shown !== `${top} ${certainty}`) { // unchanged text would be read out again
      const small = document.createElement("small");
      small.textContent = certainty;
      best.replaceChildren(String(top), small);
      shown = `${top} ${certainty}`;
    }
    document.getElementById("roundtrip").textContent = milliseconds(ms);
  }

  function clearAnswer() {
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = "?";
    shown = "";
    document.getElementById("best").replaceChildren(hint);
    for (const bar of bars) {
      bar.item.className = "";
      bar.meter.value = 0;
      bar.text.textContent = "";
    }
    document.getElementById("seen").getContext("2d").clearRect(0, 0, SIZE, SIZE);
    document.getElementById("digit-curl").textContent = "";
  }

  function clear() {
    strokes.length = 0;
    current = null;
    paint();
    clearAnswer();
  }

  function point(event) {
    const box = pad.getBoundingClientRect();
    const pressure = event.pointerType === "pen" && event.pressure > 0 ? 0.5 + event.pressure : 1;
    return {
      x: ((event.clientX - box.left) / box.width) * pad.width,
      y: ((event.clientY - box.top) / box.height) * pad.height,
      w: Number(pen.value) * pressure,
    };
  }

  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    pad.focus({ preventScroll: true });
    pad.setPointerCapture(event.pointerId);
    current = { id: event.pointerId, points: [point(event)] };
    strokes.push(current.points);
    paint();
    ask();
  });
  pad.addEventListener("pointermove", (event) => {
    if (current?.id !== event.pointerId) return;
    const all = event.getCoalescedEvents?.() ?? [];
    current.points.push(...(all.length > 0 ? all : [event]).map(point));
    paint();
    ask();
  });
  for (const type of ["pointerup", "pointercancel"]) {
    pad.addEventListener(type, (event) => {
      if (current?.id !== event.pointerId) return;
      current = null;
      ask();
    });
  }
  pad.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Backspace") clear();
  });
  document.getElementById("clear").addEventListener("click", clear);
  let next = Math.floor(Math.random() * 10);
  document.getElementById("sample").addEventListener("click", () => {
    clear();
    const w = Number(pen.value);
    for (const line of SAMPLES[next]) strokes.push(smooth(line).map(([x, y]) => ({ x: x * 2.8, y: y * 2.8, w })));
    next = (next + 3) % 10;
    paint();
    ask();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  serverTime();
}

// smooth rounds a line's corners (Chaikin, twice); its ends stay.
function smooth(line) {
  for (let pass = 0; pass < 2; pass++) {
    const out = [line[0]];
    for (let i = 0; i + 1 < line.length; i++) {
      const [ax, ay] = line[i], [bx, by] = line[i + 1];
      out.push([0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by], [0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by]);
    }
    out.push(line.at(-1));
    line = out;
  }
  return line;
}

function makeBars() {
  const list = document.getElementById("bars");
  return Array.from({ length: 10 }, (_, digit) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    const meter = document.createElement("meter");
    const text = document.createElement("span");
    name.textContent = digit;
    meter.setAttribute("aria-label", `Digit ${digit}`);
    item.append(name, meter, text);
    list.append(item);
    return { item, meter, text };
  });
}

// showSeen paints the network's picture as it is: white ink on black.
function showSeen(image) {
  const context = document.getElementById("seen").getContext("2d");
  const pixels = context.createImageData(SIZE, SIZE);
  image.forEach((v, i) => {
    pixels.data.fill(Math.round(255 * Math.min(v, 1)), 4 * i, 4 * i + 3);
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}
