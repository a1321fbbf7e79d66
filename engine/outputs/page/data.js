"use strict";
// The block of data that the page carries, as packed.py made it, and what it says of a song.

const KINDS = { u8: Uint8Array, u16: Uint16Array, u32: Uint32Array };

function bytesFromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

async function unpacked(text) {
  const stream = new Blob([bytesFromBase64(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const block = await new Response(stream).arrayBuffer();
  const decoder = new TextDecoder();
  const headBytes = new DataView(block).getUint32(0, true);
  const head = JSON.parse(decoder.decode(new Uint8Array(block, 4, headBytes)));
  const data = { about: head.about };
  let place = 4 + headBytes;
  for (const { name, kind, bytes } of head.columns) {
    data[name] = kind === "text"
      ? decoder.decode(new Uint8Array(block, place, bytes)).split("\n")
      : new KINDS[kind](block, place, bytes / KINDS[kind].BYTES_PER_ELEMENT);
    place += (bytes + 3) & ~3;
  }
  return data;
}

// What is the same for a search: marks of Latin letters, the dot of Devanagari's borrowed sounds and what does not
// show (joiners, soft hyphens) are often left out, and a chandrabindu is written as an anusvara; vowel signs are letters.
// Capitals of small letters: so both sigmas are one letter, "ß" is SS, and so is "ẞ", whose small letter is "ß".
const PLAIN = { Ð: "D", Đ: "D", Þ: "TH", Ł: "L", Ø: "O", Æ: "AE", Œ: "OE", Ħ: "H", Ŧ: "T" }; // whose marks do not come off
const folded = (text) =>
  text.normalize("NFKD").replace(/[\u0300-\u036f\u093c]|\p{Default_Ignorable_Code_Point}/gu, "")
    .replace(/\u0901/g, "\u0902").toLowerCase().toUpperCase().replace(/[ÐĐÞŁØÆŒĦŦ]/g, (letter) => PLAIN[letter]);

const minutes = (seconds) => {
  const whole = Math.floor(seconds);
  const tail = `${String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${tail}` : tail;
};

const wholePercent = (share) => Math.round(100 * share);
const percent = (share) => `${wholePercent(share)}\u00a0%`;

class Catalogue {
  constructor(data) {
    Object.assign(this, data);
    const { about, cells, starts } = data;
    this.count = about.songs;
    this.labels = about.labels;
    this.shares = this.labels.map((_, label) => data[`p${label}`]);
    this.levels = this.labels.map((_, label) => data[`levels${label}`]);
    this.first = new Uint32Array(this.count + 1); // of a song's cells
    for (let song = 0; song < this.count; song++) {
      this.first[song + 1] = this.first[song] + cells[song];
      for (let cell = this.first[song] + 1; cell < this.first[song + 1]; cell++) starts[cell] += starts[cell - 1];
    }
    if (this.novelty?.every((value) => value === about.none)) this.novelty = null;
    this.haystacks = null;
  }

  name(song) { return this.title[song] || this.file[song]; }
  groupName(kind, number) { return this[`${kind}Names`][number] || (kind === "folder" ? "." : "unknown"); }
  text(kind, song) { return this[`${kind}Names`][this[kind][song]]; }
  path(song) {
    const folder = this.text("folder", song);
    return folder ? `${folder}/${this.file[song]}` : this.file[song];
  }
  href(song) {
    return this.link[song] ? this.path(song).split("/").map(encodeURIComponent).join("/") : null;
  }
  emotionOf(song) { return this.emotion[song] === this.about.none ? "" : this.labels[this.emotion[song]]; }
  sure(song) { return this.confidence[song] / this.about.confidence; }
  share(label, song) { // that of its own emotion is the confidence, which is stored with more digits
    return label === this.emotion[song] ? this.sure(song) : this.shares[label][song] / this.about.shares;
  }
  hasLabel(song) { return this.emotion[song] !== this.about.none; }
  newness(song) {
    return this.novelty && this.novelty[song] !== this.about.none ? this.novelty[song] / this.about.shares : null;
  }
  seconds(song) { return this.tenths[song] / 10; }
  start(cell) { return this.starts[cell] / 10; }
  end(song, cell) {
    const next = cell + 1 < this.first[song + 1] ? this.start(cell + 1) : this.seconds(song);
    return Math.min(next, this.start(cell) + (this.lengths[song] / 10 || Infinity));
  }
  isSilent(cell) { return this.levels[0][cell] === this.about.silent; }
  best(cell) {
    if (this.isSilent(cell)) return -1;
    let best = 0;
    for (let label = 1; label < this.labels.length; label++)
      if (this.levels[label][cell] > this.levels[best][cell]) best = label;
    return best;
  }
  // The last cell that has begun by then, the one before the first where none has, and whether it lasts.
  cellAt(song, seconds) {
    const slack = 0.05; // starts and ends are whole tenths
    let cell = this.first[song] - 1;
    while (cell + 1 < this.first[song + 1] && this.start(cell + 1) <= seconds + slack) cell++;
    return { cell, isIn: cell >= this.first[song] && seconds <= this.end(song, cell) + slack };
  }
  sharesText(song) {
    if (!this.hasLabel(song)) return "";
    return this.labels
      .map((label, number) => [this.share(number, song), label])
      .sort(([a], [b]) => b - a)
      .map(([share, label]) => `${label} ${percent(share)}`)
      .join(", ");
  }
  timelineText(song, most = 8) {
    const parts = [];
    let before = null;
    for (let cell = this.first[song]; cell < this.first[song + 1]; cell++) {
      const best = this.best(cell);
      if (best === before) continue;
      before = best;
      if (parts.length === most) return `${parts.join(", ")} ...`;
      parts.push(`${minutes(this.start(cell))} ${best < 0 ? "silent" : this.labels[best]}`);
    }
    return parts.join(", ");
  }

  // Songs whose texts hold every word.
  matches(words) {
    if (!this.haystacks) {
      const folds = {}; // what repeats is folded once
      for (const kind of ["artist", "album", "folder"]) folds[kind] = this[`${kind}Names`].map(folded);
      this.haystacks = Array.from({ length: this.count }, (_, song) =>
        [folded(this.title[song]), ...["artist", "album", "folder"].map((kind) => folds[kind][this[kind][song]]),
          folded(this.file[song])].join("\n"));
    }
    const found = new Uint8Array(this.count);
    for (let song = 0; song < this.count; song++)
      found[song] = words.every((word) => this.haystacks[song].includes(word));
    return found;
  }

  // Where quadrants lie: happy up and right, tense up and left, sad down and left, calm down and right.
  positions() {
    const [happy, tense, sad, calm] = ["happy", "tense", "sad", "calm"].map((name) => this.shares[this.labels.indexOf(name)]);
    const valence = new Float32Array(this.count);
    const arousal = new Float32Array(this.count);
    for (let song = 0; song < this.count; song++) {
      valence[song] = (happy[song] + calm[song] - tense[song] - sad[song]) / this.about.shares;
      arousal[song] = (happy[song] + tense[song] - sad[song] - calm[song]) / this.about.shares;
    }
    return { valence, arousal };
  }
}
