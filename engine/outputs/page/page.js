// The page: what is looked for, in which order, and who shows it.

const COLUMNS = ["song", "artist", "album", "emotion", "sure", "timeline", "length"];
const MOST_PRINTED = 500; // songs: each has a canvas, and drawing takes longer for each more
const byId = (id) => document.getElementById(id);
const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

// Orders of songs: a rank each, small ranks first; what has none (null) stands last whichever way.
function ordersOf(catalogue) {
  const collator = new Intl.Collator(undefined, { numeric: true });
  const numbers = (value) => Float64Array.from({ length: catalogue.count }, (_, song) => value(song) ?? NaN);
  const texts = (value) => {
    const all = Array.from({ length: catalogue.count }, (_, song) => value(song));
    const ranks = new Map([...new Set(all)].filter(Boolean).sort(collator.compare).map((text, rank) => [text, rank]));
    return Float64Array.from(all, (text) => ranks.get(text) ?? NaN);
  };
  const sure = (song) => (catalogue.hasLabel(song) ? catalogue.sure(song) : null);
  return {
    sure: ["sure", () => numbers(sure), "least certain first", "most certain first"],
    song: ["song", () => texts((song) => catalogue.name(song)), "song, A to Z", "song, Z to A"],
    artist: ["artist", () => texts((song) => catalogue.text("artist", song)), "artist, A to Z", "artist, Z to A"],
    album: ["album", () => texts((song) => catalogue.text("album", song)), "album, A to Z", "album, Z to A"],
    emotion: ["emotion", () => numbers((song) => (catalogue.hasLabel(song) ? catalogue.emotion[song] - catalogue.sure(song) : null)),
      "emotion, the surest first", "emotion, backwards"],
    length: ["length", () => numbers((song) => catalogue.seconds(song) || null), "shortest first", "longest first"],
    ...(catalogue.novelty && { novelty: ["novelty", () => numbers((song) => catalogue.newness(song)), "most familiar first", "most novel first"] }),
    place: ["place", () => numbers((song) => song), "as labelled", "as labelled, backwards"],
  };
}

class Page {
  constructor(catalogue) {
    this.catalogue = catalogue;
    this.orders = ordersOf(catalogue);
    this.ranks = {};
    this.shown = new Uint32Array(0);
    this.clear();
    this.player = new Player(catalogue, () => this.onPlayer());
    this.songs = new List(byId("songs"), {
      rowHeight: () => 48,
      firstRow: 2, // the first is that of the headings
      make: () => this.makeRow(),
      fill: (row, index) => this.fillRow(row, this.shown[index]),
      choose: (index, event) => this.choose(this.shown[index], event),
    });
    this.groups = new List(byId("groups"), {
      rowHeight: () => 44,
      role: "option",
      make: () => this.makeGroup(),
      fill: (row, index) => this.fillGroup(row, this.groupsShown[index]),
      choose: (index) => this.chooseGroup(this.groupsShown[index].number),
    });
    if (catalogue.about.isPlane) {
      byId("plane-section").hidden = false;
      this.plane = new Plane(byId("plane"), catalogue, {
        choose: (song) => this.play(song),
        keep: (box) => { this.box = box; this.update(); },
      });
    }
    this.makeControls();
    this.update();
  }

  clear() {
    this.words = [];
    this.emotions = new Set();
    this.verdict = "";
    this.limit = 100;
    this.box = this.group = null;
    this.order ??= "sure";
    this.direction ??= 1;
  }

  // Controls

  makeControls() {
    const { catalogue } = this;
    let typing = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => {
        this.words = folded(byId("search").value).split(/\s+/).filter(Boolean);
        this.update();
      }, 120);
    });
    for (const [name, [, , rising, falling]] of Object.entries(this.orders))
      for (const [direction, text] of [[1, rising], [-1, falling]]) {
        const option = element("option", "", text);
        option.value = `${name} ${direction}`;
        byId("order").append(option);
      }
    byId("order").addEventListener("change", () => {
      const [name, direction] = byId("order").value.split(" ");
      this.sort(name, Number(direction));
    });
    this.makeHeads();
    byId("verdict-label").hidden = catalogue.about.verdicts.length < 2;
    for (const verdict of ["", ...catalogue.about.verdicts]) {
      const option = element("option", "", verdict ? verdict.replace("_", " ") : "any");
      option.value = verdict;
      byId("verdict").append(option);
    }
    byId("verdict").addEventListener("change", () => { this.verdict = byId("verdict").value; this.update(); });
    byId("limit").addEventListener("input", () => { this.limit = Number(byId("limit").value); this.update(); });
    this.chips = [...catalogue.labels, "no emotion"].map((name, number) => {
      const label = number < catalogue.labels.length ? number : catalogue.about.none;
      const chip = element("button", "chip");
      chip.type = "button";
      chip.append(element("i", label === number ? `dot e${number % 8}` : "dot"), element("span", "", name), element("b"));
      chip.addEventListener("click", () => {
        if (!this.emotions.delete(label)) this.emotions.add(label);
        this.update();
      });
      byId("emotions").append(chip);
      return { chip, label };
    });
    byId("kind").addEventListener("change", () => { this.group = null; this.update(); });
    byId("reset").addEventListener("click", () => {
      this.clear();
      byId("search").value = byId("verdict").value = "";
      byId("limit").value = 100;
      this.update();
    });
    byId("songs").addEventListener("keydown", (event) => {
      if (hasModifier(event) || (event.key !== "ArrowLeft" && event.key !== "ArrowRight")) return;
      event.preventDefault();
      if (this.songs.current >= 0) this.player.open(this.shown[this.songs.current]);
      this.player.step(event.key === "ArrowLeft" ? -1 : 1);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !hasModifier(event) && !event.target.closest("input[type=search], select")) {
        event.preventDefault();
        byId("search").focus();
      } else if (event.key === "Escape" && this.player.song !== null) this.player.stop();
    });
  }

  makeHeads() {
    this.heads = {};
    for (const name of COLUMNS) {
      const head = element("div", `cell c-${name}`);
      head.setAttribute("role", "columnheader");
      if (name in this.orders) {
        const button = element("button", "", name);
        button.type = "button";
        button.addEventListener("click", () => this.sort(name, this.order === name ? -this.direction : 1));
        head.append(button);
        this.heads[name] = head;
      } else head.textContent = name;
      byId("heads").append(head);
    }
  }

  sort(name, direction) {
    this.order = name;
    this.direction = direction;
    this.update();
  }

  // What is shown

  update() {
    const { catalogue } = this;
    const { none } = catalogue.about;
    const found = this.words.length ? catalogue.matches(this.words) : null;
    const kind = byId("kind").value;
    const counts = new Uint32Array(256);
    const verdict = this.verdict && catalogue.verdictNames.indexOf(this.verdict);
    const inGroups = [];
    let shown = [];
    for (let song = 0; song < catalogue.count; song++) {
      if (found && !found[song]) continue;
      if (verdict && catalogue.verdict[song] !== verdict) continue;
      // As the table shows it: what stands there as 60 % is at most 60 % sure.
      if (this.limit < 100 && !(catalogue.hasLabel(song) && wholePercent(catalogue.sure(song)) <= this.limit)) continue;
      if (this.box && !this.plane.isIn(song, this.box)) continue;
      const isInGroup = this.group === null || catalogue[kind][song] === this.group;
      if (isInGroup) counts[catalogue.emotion[song]]++;
      if (this.emotions.size && !this.emotions.has(catalogue.emotion[song])) continue;
      inGroups.push(song);
      if (isInGroup) shown.push(song);
    }
    const ranks = (this.ranks[this.order] ??= this.orders[this.order][1]());
    const { direction } = this;
    this.shown = Uint32Array.from(shown).sort((a, b) => {
      const [x, y] = [ranks[a], ranks[b]];
      if (x !== x || y !== y) return (x !== x) - (y !== y) || a - b;
      return direction * (x - y) || a - b;
    });
    for (const { chip, label } of this.chips) {
      chip.setAttribute("aria-pressed", this.emotions.has(label));
      chip.querySelector("b").textContent = counts[label].toLocaleString();
      chip.hidden = label === none && !catalogue.emotion.includes(none);
    }
    this.showState(kind);
    this.songs.show(this.shown.length, this.player.song === null ? -1 : this.shown.indexOf(this.player.song));
    this.showGroups(kind, inGroups);
    if (this.plane) {
      Object.assign(this.plane, { songs: this.shown, box: this.box });
      this.plane.draw();
      byId("plane").setAttribute("aria-label", `Valence and arousal of ${this.shown.length.toLocaleString()} songs: ` +
        this.chips.filter(({ chip }) => !chip.hidden).map(({ chip, label }) => `${chip.querySelector("span").textContent} ${counts[label]}`).join(", "));
    }
  }

  showState(kind) {
    const { catalogue } = this;
    const texts = [];
    if (this.group !== null) texts.push(`${kind} ${catalogue.groupName(kind, this.group)}`);
    if (this.box) texts.push("inside the box");
    byId("chosen").textContent = texts.join(", ");
    byId("result").textContent =
      `${this.shown.length.toLocaleString()} of ${catalogue.count.toLocaleString()} songs, ${this.orders[this.order][this.direction > 0 ? 2 : 3]}`;
    byId("printed").hidden = this.shown.length <= MOST_PRINTED;
    byId("printed").textContent = `Printed: the first ${MOST_PRINTED.toLocaleString()}`;
    byId("reset").hidden = this.shown.length === catalogue.count;
    byId("order").value = `${this.order} ${this.direction}`;
    byId("limit-text").textContent = `${this.limit} %`;
    byId("limit").setAttribute("aria-valuetext", `at most ${this.limit} % sure`);
    for (const [name, head] of Object.entries(this.heads))
      if (name === this.order) head.setAttribute("aria-sort", this.direction > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
  }

  // Rows

  makeRow() {
    const row = element("div", "row");
    const cells = {};
    for (const name of COLUMNS) {
      cells[name] = element("div", `cell c-${name}`);
      cells[name].setAttribute("role", "gridcell");
      row.append(cells[name]);
    }
    cells.title = element("strong");
    cells.more = element("small", "soft");
    cells.song.append(cells.title, cells.more);
    cells.dot = element("i", "dot");
    cells.name = element("span");
    cells.verdict = element("small", "badge");
    cells.emotion.append(cells.dot, cells.name, cells.verdict);
    cells.strip = element("canvas");
    cells.strip.setAttribute("role", "img");
    cells.timeline.append(cells.strip);
    row.parts = cells;
    return row;
  }

  fillRow(row, song) {
    const { catalogue } = this;
    const cells = row.parts;
    const error = catalogue.text("error", song);
    const emotion = catalogue.emotionOf(song);
    const artist = catalogue.text("artist", song);
    const verdict = catalogue.text("verdict", song);
    cells.title.textContent = catalogue.name(song);
    cells.song.title = catalogue.path(song);
    cells.more.textContent = error || artist || catalogue.text("folder", song);
    cells.more.classList.toggle("error", error !== "");
    cells.more.classList.toggle("narrow", error === "" && artist !== ""); // a wide page has a column for it
    cells.artist.textContent = artist;
    cells.album.textContent = catalogue.text("album", song);
    cells.dot.className = emotion ? `dot e${catalogue.emotion[song] % 8}` : "dot";
    cells.name.textContent = error ? "error" : emotion || "none";
    cells.verdict.textContent = verdict && verdict !== "sure" ? verdict.replace("_", " ") : "";
    cells.emotion.title = catalogue.sharesText(song);
    cells.sure.textContent = emotion ? percent(catalogue.sure(song)) : "";
    cells.length.textContent = catalogue.tenths[song] ? minutes(catalogue.seconds(song)) : "";
    cells.strip.setAttribute("aria-label", catalogue.timelineText(song) || "no timeline");
    drawStrip(cells.strip, catalogue, song);
  }

  choose(song, event) {
    const strip = event.target.closest?.(".row canvas");
    if (strip) this.player.play(song, cellFromPoint(strip, this.catalogue, song, event.clientX));
    else if (event.type === "keydown") this.player.play(song);
    else this.player.open(song);
  }

  play(song) {
    this.player.play(song);
    const index = this.shown.indexOf(song);
    if (index >= 0) this.songs.moveTo(index);
  }

  onPlayer() {
    if (!this.plane) return;
    this.plane.song = this.player.song;
    this.plane.draw();
  }

  // Groups

  showGroups(kind, songs) {
    const { catalogue } = this;
    const names = catalogue[`${kind}Names`];
    const numbers = catalogue[kind];
    const size = catalogue.labels.length;
    const counts = new Uint32Array(names.length);
    const emotions = new Uint32Array(names.length * size);
    for (const song of songs) {
      counts[numbers[song]]++;
      if (catalogue.hasLabel(song)) emotions[numbers[song] * size + catalogue.emotion[song]]++;
    }
    this.groupsShown = [];
    for (let number = 0; number < names.length; number++)
      if (counts[number])
        this.groupsShown.push({ number, name: catalogue.groupName(kind, number), count: counts[number],
          emotions: emotions.subarray(number * size, (number + 1) * size) });
    this.groupsShown.sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1));
    this.groups.show(this.groupsShown.length, this.group === null ? -1 : this.groupsShown.findIndex(({ number }) => number === this.group));
  }

  makeGroup() {
    const row = element("div", "row group");
    row.parts = { name: element("span"), count: element("b"), bar: element("canvas") };
    row.parts.bar.setAttribute("aria-hidden", "true");
    row.append(row.parts.name, row.parts.count, row.parts.bar);
    return row;
  }

  fillGroup(row, { name, count, emotions }) {
    row.parts.name.textContent = row.parts.name.title = name;
    row.parts.count.textContent = count.toLocaleString();
    row.setAttribute("aria-label", `${name}, ${count.toLocaleString()} ${count === 1 ? "song" : "songs"}: ` +
      this.catalogue.labels.map((label, number) => [emotions[number], label]).filter(([many]) => many)
        .map(([many, label]) => `${many} ${label}`).join(", "));
    const drawing = drawingOf(row.parts.bar);
    if (!drawing) return;
    let left = 0;
    emotions.forEach((many, label) => {
      const wide = (drawing.width * many) / count;
      drawing.context.fillStyle = colours.of[label];
      drawing.context.fillRect(left, 0, wide, drawing.height);
      left += wide;
    });
  }

  chooseGroup(number) {
    const { scroller, current } = this.groups;
    const top = scroller.scrollTop;
    this.group = this.group === number ? null : number;
    this.update();
    this.groups.moveTo(current, false);
    scroller.scrollTop = top; // the groups are the same
  }

  redraw() {
    this.songs.redraw();
    this.groups.redraw();
    this.player.draw();
    this.plane?.draw();
  }
}

function makeTheme(redraw) {
  const root = document.documentElement;
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use the ${isDark() ? "light" : "dark"} colours`);
    redraw();
  };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; show(); });
  system.addEventListener("change", show);
  let chosen; // paper is light
  addEventListener("beforeprint", () => { chosen ??= root.dataset.theme ?? ""; root.dataset.theme = "light"; show(); });
  addEventListener("afterprint", () => {
    chosen ? (root.dataset.theme = chosen) : delete root.dataset.theme;
    chosen = undefined;
    show();
  });
  show();
}

function aboutText({ about }) {
  const models = about.models.length ? `, labelled by ${about.models.join(", ")}` : "";
  return `${about.songs.toLocaleString()} ${about.songs === 1 ? "song" : "songs"}${models}`;
}

async function open() {
  const block = byId("data");
  const data = await unpacked(block.textContent);
  block.remove();
  const catalogue = new Catalogue(data);
  byId("about").textContent = aboutText(catalogue);
  byId("main").hidden = false;
  readColours(catalogue.labels.length);
  const page = new Page(catalogue);
  addEventListener("afterprint", () => page.songs.print(0));
  makeTheme(() => { readColours(catalogue.labels.length); page.redraw(); });
  addEventListener("beforeprint", () => page.songs.print(MOST_PRINTED)); // after the colours of paper
  document.documentElement.dataset.ready = Math.round(performance.now()); // ms after the page was asked for
}

open().catch((error) => {
  const failed = byId("failed");
  failed.hidden = false;
  failed.textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old for the page: it needs one of 2023 or later." : `The page cannot be shown: ${error.message}`;
  byId("about").textContent = "";
});
