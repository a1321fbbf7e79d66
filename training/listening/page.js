"use strict";
const GUARD_MS = 300; // a second press that slips out must not label a song that nobody heard
const $ = (id) => document.getElementById(id);
let state = null;
let shown = null; // the number of the song whose sound is loaded
let again = null; // the number of the song that was loaded again, though its sound was there
let shownAt = 0;
let busy = false;
let wantsSound = false; // the listener has pressed something: the browser lets sound begin by itself

function button(label, index) {
  const element = document.createElement("button");
  element.type = "button";
  const key = document.createElement("kbd");
  key.textContent = state.keys[index];
  const name = document.createElement("span");
  name.dir = "auto";
  name.textContent = label;
  const number = document.createElement("span");
  number.className = "number";
  element.append(key, name, number);
  element.addEventListener("click", () => give(index));
  return element;
}

function show(next) {
  state = next;
  const labels = $("labels");
  if (labels.childElementCount !== state.labels.length) labels.replaceChildren(...state.labels.map(button));
  [...labels.children].forEach((element, i) => {
    element.lastChild.textContent = state.counts[i] || "";
    element.disabled = !state.song;
  });
  $("progress").max = state.total;
  $("progress").value = state.done;
  $("count").textContent = `${state.done} of ${state.total}`;
  document.title = `${state.done} of ${state.total} labelled`;
  $("skip").disabled = !state.song;
  $("undo").disabled = !state.last;
  $("finish").hidden = Boolean(state.song);
  $("last").textContent = state.last ? `${state.last.name}: ${state.last.label ?? "skipped"}` : "";
  $("name").textContent = state.song ? state.song.name : "All songs have a label.";
  $("artist").textContent = state.song ? state.song.artist : "";
  if (!state.song) {
    shown = null;
    $("audio").pause();
    $("audio").removeAttribute("src");
    $("audio").load(); // without it the song that is over would play on
    $("sound").textContent = "";
  } else if (state.song.number !== shown) load(state.song.number, false);
}

function load(number, decoded) {
  const audio = $("audio");
  shown = number;
  shownAt = performance.now();
  $("sound").textContent = decoded ? "the sound is being decoded" : "loading";
  audio.src = `audio/${number}${decoded ? "?decoded" : ""}`;
  audio.load();
  if (wantsSound) audio.play().catch(() => {});
}

$("audio").addEventListener("loadedmetadata", () => {
  const audio = $("audio");
  $("sound").textContent = wantsSound ? "" : "press space to play";
  // An introduction says little of a song.
  if (Number.isFinite(audio.duration) && audio.duration > 45) audio.currentTime = audio.duration / 3;
});
$("audio").addEventListener("play", () => { wantsSound = true; });
$("audio").addEventListener("playing", () => { $("sound").textContent = ""; });
$("audio").addEventListener("error", async () => {
  const source = $("audio").getAttribute("src");
  if (!source) return;
  if (!source.endsWith("?decoded")) return load(shown, true);
  let reason = "this browser cannot play even the decoded sound: connect a device for sound, then reload the page";
  let isThere = false;
  try {
    const answer = await fetch(source);
    isThere = answer.ok;
    if (answer.status === 404) throw new Error(ENDED);
    if (!answer.ok) reason = (await answer.json()).error + (answer.status === 409 ? "" : ": skip it");
  } catch (error) {
    $("sound").textContent = "";
    return fail(error);
  }
  if ($("audio").getAttribute("src") !== source) return; // it was skipped
  if (isThere && again !== shown) { // another tab may have been before it
    again = shown;
    load(shown, true);
  } else $("sound").textContent = reason;
});

const ENDED = "mer-train listen has ended: start it again, and open the address that it prints";
function fail(error) {
  $("error").textContent = error instanceof TypeError ? ENDED : error.message;
  $("error").hidden = false;
}

async function ask(place, body) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch(place, body && {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const value = answer.headers.get("Content-Type") === "application/json" ? await answer.json() : {};
    if (answer.status === 409) { busy = false; return await ask("state"); } // another tab was faster
    if (answer.status === 404) throw new Error(ENDED); // it was started anew with the same port
    if (!answer.ok) throw new Error(value.error ?? `refused (${answer.status})`);
    $("error").hidden = true;
    if (value.finished) { $("name").textContent = "Finished. This page can be closed."; $("actions").hidden = true; }
    else show(value);
  } catch (error) { fail(error); } finally { busy = false; }
}

function give(index) {
  if (!state?.song || index < 0 || index >= state.labels.length || performance.now() - shownAt < GUARD_MS) return;
  wantsSound = true;
  ask("label", { song: state.song.number, label: state.labels[index] });
}
function skip() {
  if (!state?.song || performance.now() - shownAt < GUARD_MS) return;
  wantsSound = true;
  ask("skip", { song: state.song.number });
}
const undo = () => { if (state?.last) ask("undo", {}); };
const finish = () => { if (state && !state.song) ask("finish", {}); };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  const audio = $("audio");
  const isArrow = event.key.length > 1 && event.code.startsWith("Numpad"); // or Home and the like: NumLock is off
  const digit = isArrow ? null : /^(?:Digit|Numpad)(\d)$/.exec(event.code); // by place: scripts have other digits
  const letter = /^Key([A-Z])$/.exec(event.code);
  const isLatin = event.key.length > 1 || event.key < "\x7f"; // else letters by their place too
  const key = digit ? digit[1] : (letter && !isLatin ? letter[1] : event.key).toLowerCase();
  if (key === " " && state?.song) { if (audio.paused) { wantsSound = true; audio.play().catch(() => {}); } else audio.pause(); }
  else if (key === "arrowleft") audio.currentTime = Math.max(0, audio.currentTime - 10);
  else if (key === "arrowright") audio.currentTime += 10;
  else if (key === "s") skip();
  else if (key === "u" || key === "backspace") undo();
  else if (key === "enter" && !$("finish").hidden && !event.target.closest("button")) finish();
  else if (key.length === 1 && state?.keys.includes(key)) give(state.keys.indexOf(key));
  else return; // Tab, Enter on a button and the rest are the browser's
  event.preventDefault();
}, true);
$("skip").addEventListener("click", skip);
$("undo").addEventListener("click", undo);
$("finish").addEventListener("click", finish);
ask("state");
