// The player: one song, its timeline, and a slider whose steps are its windows.

class Player {
  constructor(catalogue, onChange) {
    // cell is the last one that has begun; where the sound is behind its end isIn is false.
    Object.assign(this, { catalogue, onChange, song: null, wanted: null, cell: -1, isIn: false });
    this.parts = Object.fromEntries(
      ["player", "audio", "close", "now-title", "now-more", "now-strip", "now-window", "now-text"].map(
        (id) => [id, document.getElementById(id)]));
    const { audio, close } = this.parts;
    const strip = this.parts["now-strip"];
    const slider = this.parts["now-window"];
    strip.addEventListener("click", (event) => this.play(this.song, cellFromPoint(strip, catalogue, this.song, event.clientX)));
    slider.addEventListener("input", () => this.play(this.song, catalogue.first[this.song] + Number(slider.value)));
    close.addEventListener("click", () => this.stop());
    audio.addEventListener("loadedmetadata", () => this.seek());
    audio.addEventListener("timeupdate", () => this.wanted === null && this.follow());
    audio.addEventListener("error", () => {
      if (this.song === null || !audio.getAttribute("src")) return;
      const { code, message } = audio.error ?? { code: MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED };
      this.say(this.text, code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED
        ? `This browser cannot play ${catalogue.path(this.song)}: it is not there, or of a format that the browser does not know. `
        : `This browser cannot go on with ${catalogue.path(this.song)}: the file is damaged or was cut off, or there is no device for sound (${message}). `);
    });
    new ResizeObserver(() => this.draw()).observe(strip);
  }

  open(song) {
    if (song === this.song) return;
    const { catalogue, parts } = this;
    this.song = song;
    this.wanted = null;
    Object.assign(this, catalogue.cellAt(song, 0));
    parts.player.hidden = false;
    document.body.classList.add("playing");
    parts["now-title"].textContent = catalogue.name(song);
    parts["now-more"].textContent = [catalogue.text("artist", song), catalogue.text("album", song), catalogue.path(song)]
      .filter(Boolean).join(" · ");
    const cells = catalogue.first[song + 1] - catalogue.first[song];
    parts["now-window"].hidden = parts["now-strip"].hidden = !cells;
    parts["now-window"].max = Math.max(0, cells - 1);
    const href = catalogue.href(song);
    parts.audio.hidden = href === null;
    if (href === null) this.silence();
    else parts.audio.setAttribute("src", href);
    this.show();
    this.onChange();
  }

  summary() {
    const { catalogue, song } = this;
    const newness = catalogue.newness(song);
    const verdict = catalogue.text("verdict", song);
    return [catalogue.sharesText(song), verdict, newness === null ? "" : `newer than ${percent(newness)} of the training clips`]
      .filter(Boolean).join("; ");
  }

  play(song, cell = null) {
    if (song === null) return;
    this.open(song);
    const { audio } = this.parts;
    if (cell !== null) {
      Object.assign(this, { cell, isIn: true });
      this.show();
    }
    if (!audio.getAttribute("src")) return;
    this.wanted = cell === null ? 0 : this.catalogue.start(cell);
    if (audio.error) { // else it would not try again, nor say anything
      this.say(this.text);
      audio.load();
    }
    if (audio.readyState >= 1) this.seek();
    else audio.play().catch(() => {}); // which loads it; then it is sought
  }

  seek() {
    const { audio } = this.parts;
    if (this.wanted === null) return;
    audio.currentTime = this.wanted;
    this.wanted = null;
    audio.play().catch(() => {}); // what cannot be played has its own event; a browser may want a click first
  }

  step(direction) {
    if (this.song === null) return;
    const { first } = this.catalogue;
    if (first[this.song] === first[this.song + 1]) return;
    const cell = this.isIn || direction > 0 ? this.cell + direction : this.cell; // from between two: the one before
    this.play(this.song, Math.max(first[this.song], Math.min(first[this.song + 1] - 1, cell)));
  }

  follow() {
    if (this.song === null) return; // it was stopped just now
    const { cell, isIn } = this.catalogue.cellAt(this.song, this.parts.audio.currentTime);
    if (cell === this.cell && isIn === this.isIn) return;
    Object.assign(this, { cell, isIn });
    this.show("off");
  }

  show(live) {
    const { catalogue, song, cell, parts } = this;
    this.draw();
    const hasCells = catalogue.first[song] < catalogue.first[song + 1];
    const text = this.isIn ? this.cellText() : "Outside the windows that were heard";
    parts["now-window"].value = Math.max(0, cell - catalogue.first[song]);
    parts["now-window"].setAttribute("aria-valuetext", text);
    const [summary, error] = [this.summary(), catalogue.text("error", song)];
    this.say([
      hasCells && `${text}.`,
      summary && `${hasCells ? "The song: " : ""}${summary}.`,
      error && `No label: ${error}.`,
      catalogue.href(song) === null && "It cannot be played from this page.",
    ].filter(Boolean).join(" "), "", live);
  }

  cellText() {
    const { catalogue, song, cell } = this;
    const shares = catalogue.labels
      .map((label, number) => [catalogue.levels[number][cell] / catalogue.about.levels, label])
      .sort(([a], [b]) => b - a);
    const says = catalogue.isSilent(cell) ? "silent" : shares.map(([share, label]) => `${label} ${percent(share)}`).join(", ");
    return `${minutes(catalogue.start(cell))} to ${minutes(catalogue.end(song, cell))}: ${says}`;
  }

  say(text, trouble = "", live = "polite") { // "off": each window would be spoken over the music
    this.text = text;
    this.parts["now-text"].setAttribute("aria-live", live);
    this.parts["now-text"].textContent = trouble + text;
  }

  draw() {
    if (this.song !== null) drawStrip(this.parts["now-strip"], this.catalogue, this.song, this.isIn ? this.cell : -1);
  }

  silence() { // without its "src" alone an element goes on playing
    const { audio } = this.parts;
    audio.pause();
    audio.removeAttribute("src");
    audio.load();
  }

  stop() {
    const { player } = this.parts;
    this.silence();
    player.hidden = true;
    document.body.classList.remove("playing");
    this.song = this.wanted = null;
    this.onChange();
  }
}
