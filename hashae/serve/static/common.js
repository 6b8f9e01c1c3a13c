// What all pages share: requests, names that are safe to show, small elements.
"use strict";

const session = document.querySelector('meta[name="hashae-session"]').content;
// What stands before all paths of this collection, if the server has several.
const base = document.querySelector('meta[name="hashae-base"]').content;

// Sends a request and returns its JSON; what the server refuses becomes an error with its sentence.
async function call(path, options = {}) {
  const settings = { ...options, headers: { "X-Hashae-Session": session, ...(options.headers || {}) } };
  let answer;
  try {
    answer = await fetch(base + path, settings);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is hashae serve still running?");
  }
  const text = await answer.text();
  let value = null;
  try { value = JSON.parse(text); } catch { /* an empty or foreign answer: told below */ }
  if (!answer.ok) {
    const first = value && value.errors && value.errors[0];
    throw new Error(first ? `${value.detail}: ${first.message}` : (value && value.detail) || `The server says ${answer.status}.`);
  }
  return value;
}

function post(path, body) {
  return call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
}

// Waits until a job has ended; tell() is given its progress.
async function waitFor(name, tell) {
  for (let pause = 60; ; pause = Math.min(pause * 1.4, 700)) {
    const job = await call(`/api/v1/jobs/${name}`);
    if (job.state === "failed") throw new Error(job.error);
    if (job.state === "done") return job.result;
    if (job.state === "idle") throw new Error("The server was started anew meanwhile. Try again.");
    if (tell) tell(job);
    await new Promise((go) => setTimeout(go, pause));
  }
}

// Makes an element; texts are never read as HTML.
function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Spells signs that turn a name round, or are none, as the server does.
function shown(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (sign) =>
    sign === "\u200d" ? sign : `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function baseName(path) { return shown(path.split(/[/\\]/).pop()); }
function folderOf(path) { return shown(path.replace(/[/\\][^/\\]*$/, "")); }

function bytes(size) {
  if (size < 1000) return `${size} bytes`;
  for (const unit of ["kB", "MB", "GB"]) {
    size /= 1000;
    if (size < 999.95) return `${size.toFixed(1)} ${unit}`;
  }
  return `${(size / 1000).toFixed(1)} TB`;
}

function many(count, one, more) { return `${count.toLocaleString("en")} ${count === 1 ? one : more || `${one}s`}`; }

function thumb(image, side) {
  return `${base}/api/v1/images/${image.id}/thumbnail?side=${side}&v=${(image.content || "").slice(0, 12)}`;
}

let toastTimer = 0;
function toast(text, bad = false) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.className = bad ? "on bad" : "on";
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.className = ""; }, bad ? 9000 : 4000);
}

const STAGES = {
  scan: "Looking for pictures", index: "Indexing", bands: "Sorting codes", crowding: "Looking for neighbours",
  compare: "Comparing codes", group: "Forming groups", pixels: "Comparing pixels", calibrate: "Editing copies",
  acting: "Moving files", undoing: "Bringing files back",
};

function progressText(job) {
  const stage = STAGES[job.stage] || "Working";
  return job.total ? `${stage}: ${job.done.toLocaleString("en")} of ${job.total.toLocaleString("en")}` : `${stage} …`;
}
