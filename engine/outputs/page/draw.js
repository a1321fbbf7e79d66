// Canvases: a song's timeline as a strip, and the plane of valence and arousal.

let colours = {};

function readColours(count) {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  colours = { panel: value("--panel"), ink: value("--ink"), soft: value("--soft"), line: value("--line"), faint: value("--faint") };
  colours.of = Array.from({ length: count }, (_, label) => value(`--e${label % 8}`));
}

// A canvas of as many pixels as the screen has there; null where it has no size.
function drawingOf(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !height) return null;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { context, width, height };
}

function drawStrip(canvas, catalogue, song, current = -1) {
  const drawing = drawingOf(canvas);
  if (!drawing) return;
  const { context, width, height } = drawing;
  const first = catalogue.first[song];
  const count = catalogue.first[song + 1] - first;
  const gap = width / count > 6 ? 1 : 0;
  for (let number = 0; number < count; number++) {
    const cell = first + number;
    const left = (number * width) / count;
    const wide = Math.max(1, width / count - gap);
    if (catalogue.isSilent(cell)) {
      context.fillStyle = colours.line;
      context.fillRect(left, height / 2, wide, 1);
    } else {
      let top = height;
      for (let label = 0; label < catalogue.labels.length; label++) {
        const part = (height * catalogue.levels[label][cell]) / catalogue.about.levels;
        context.fillStyle = colours.of[label];
        context.fillRect(left, top - part, wide, part);
        top -= part;
      }
    }
    if (cell === current) {
      context.strokeStyle = colours.ink;
      context.lineWidth = 3;
      context.strokeRect(left + 1.5, 1.5, Math.max(1, wide - 3), height - 3);
    }
  }
}

function cellFromPoint(canvas, catalogue, song, clientX) {
  const { left, width } = canvas.getBoundingClientRect();
  const first = catalogue.first[song];
  const count = catalogue.first[song + 1] - first;
  if (!count) return null;
  return first + Math.max(0, Math.min(count - 1, Math.floor((count * (clientX - left)) / width)));
}

class Plane {
  // choose(song) when one is pointed at; keep(box) when a box is drawn: [left, bottom, right, top], or null.
  constructor(canvas, catalogue, { choose, keep }) {
    Object.assign(this, { canvas, catalogue, choose, keep, ...catalogue.positions() });
    this.songs = [];
    this.box = this.song = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.from = [event.clientX, event.clientY];
      if (event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId); // a finger scrolls the page
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.from || event.pointerType === "touch") return;
      this.draft = this.boxTo(event);
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => this.end(event));
    canvas.addEventListener("pointercancel", () => { this.from = this.draft = null; });
  }

  end(event) {
    if (!this.from) return;
    const moved = Math.hypot(event.clientX - this.from[0], event.clientY - this.from[1]);
    const box = this.boxTo(event);
    this.from = this.draft = null;
    if (moved > 6 && event.pointerType !== "touch") this.keep(box);
    else this.pick(event);
  }

  boxTo(event) {
    const [x0, y0] = this.toPlane(...this.from);
    const [x1, y1] = this.toPlane(event.clientX, event.clientY);
    return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
  }

  toPlane(clientX, clientY) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [(2 * (clientX - left)) / width - 1, 1 - (2 * (clientY - top)) / height];
  }

  pick(event) {
    const [x, y] = this.toPlane(event.clientX, event.clientY);
    let best = null;
    let nearest = 0.01; // square of a tenth of the plane
    for (const song of this.songs) {
      const distance = (this.valence[song] - x) ** 2 + (this.arousal[song] - y) ** 2;
      if (distance < nearest && this.catalogue.hasLabel(song)) [best, nearest] = [song, distance];
    }
    if (best !== null) this.choose(best);
  }

  isIn(song, [left, bottom, right, top]) {
    const [x, y] = [this.valence[song], this.arousal[song]];
    return this.catalogue.hasLabel(song) && x >= left && x <= right && y >= bottom && y <= top;
  }

  draw() {
    const drawing = drawingOf(this.canvas);
    if (!drawing) return;
    const { context, width, height } = drawing;
    const at = (x, y) => [((x + 1) / 2) * width, ((1 - y) / 2) * height];
    context.fillStyle = colours.faint;
    context.fillRect(0, 0, width, height);
    context.strokeStyle = colours.line;
    context.strokeRect(width / 2, 0, 0, height);
    context.strokeRect(0, height / 2, width, 0);
    const size = this.songs.length > 20000 ? 1.5 : this.songs.length > 2000 ? 2.5 : 5;
    context.globalAlpha = this.songs.length > 20000 ? 0.35 : this.songs.length > 2000 ? 0.6 : 0.85;
    const emotion = this.catalogue.emotion;
    for (let label = 0; label < this.catalogue.labels.length; label++) {
      context.fillStyle = colours.of[label];
      for (const song of this.songs)
        if (emotion[song] === label) {
          const [x, y] = at(this.valence[song], this.arousal[song]);
          context.fillRect(x - size / 2, y - size / 2, size, size);
        }
    }
    context.globalAlpha = 1;
    context.font = `600 13px ${getComputedStyle(document.body).fontFamily}`;
    const corners = { happy: [1, 1], tense: [-1, 1], sad: [-1, -1], calm: [1, -1] };
    for (const [name, [x, y]] of Object.entries(corners)) {
      context.textAlign = x < 0 ? "left" : "right";
      context.lineWidth = 4;
      context.strokeStyle = colours.panel;
      context.fillStyle = colours.ink;
      const [left, top] = [x < 0 ? 8 : width - 8, y < 0 ? height - 10 : 18];
      context.strokeText(name, left, top);
      context.fillText(name, left, top);
    }
    context.fillStyle = colours.soft;
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.textAlign = "right";
    context.fillText("valence →", width - 8, height / 2 - 6);
    context.textAlign = "left";
    context.fillText("↑ arousal", width / 2 + 6, 18);
    const box = this.draft || this.box;
    if (box) {
      const [left, top] = at(box[0], box[3]);
      const [right, bottom] = at(box[2], box[1]);
      context.lineWidth = 2;
      context.strokeStyle = colours.ink;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    if (this.song !== null && this.catalogue.hasLabel(this.song)) {
      const [x, y] = at(this.valence[this.song], this.arousal[this.song]);
      context.lineWidth = 2.5;
      context.strokeStyle = colours.ink;
      context.beginPath();
      context.arc(x, y, 8, 0, 7);
      context.stroke();
    }
  }
}
