// The plane of the spirals network: one large batch, and single points.

import { infer, milliseconds } from "/ui/api.js";

const MODEL = "spirals";
const INPUT = "points";
const SIDE = 64;
const ARMS = [[29, 107, 114], [196, 98, 32], [106, 76, 147]];

export function start(showError) {
  const plane = document.getElementById("plane");
  const text = document.getElementById("plane-text");
  let busy = false;

  async function askAll() {
    const points = [];
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) points.push(coordinate(x), -coordinate(y));
    }
    try {
      const { data, ms } = await infer(MODEL, INPUT, [SIDE * SIDE, 2], points);
      paint(plane, data);
      text.textContent = `${SIDE * SIDE} points in ${milliseconds(ms)}. Point at a place to ask about it alone.`;
    } catch (error) {
      showError(`The spirals did not answer: ${error.message}`);
    }
  }

  plane.addEventListener("pointermove", async (event) => {
    if (busy) return;
    busy = true;
    const box = plane.getBoundingClientRect();
    const x = (2 * (event.clientX - box.left)) / box.width - 1;
    const y = 1 - (2 * (event.clientY - box.top)) / box.height;
    try {
      const { data, ms } = await infer(MODEL, INPUT, [1, 2], [x, y]);
      const arm = data.indexOf(Math.max(...data));
      text.textContent = `(${x.toFixed(2)}, ${y.toFixed(2)}): ${["first", "second", "third"][arm]} arm, ` +
        `${(100 * data[arm]).toFixed(1)} %, in ${milliseconds(ms)}.`;
    } catch (error) {
      showError(`The spirals did not answer: ${error.message}`);
    } finally {
      busy = false;
    }
  });
  document.getElementById("plane-again").addEventListener("click", askAll);
  askAll();
}

const coordinate = (i) => Math.round((((i + 0.5) / SIDE) * 2 - 1) * 1e4) / 1e4;

// paint mixes the arms' colours by their probabilities.
function paint(plane, data) {
  const context = plane.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = ARMS.reduce((sum, arm, k) => sum + arm[c] * data[3 * i + k], 0);
    }
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}
