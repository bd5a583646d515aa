// The page: two forms, a stream and its list.

import { problem, follow } from "./stream.js";
import { List } from "./view.js";

const EVENTS = "/api/v1/events";

/** What a gap's reason means to whoever reads it. */
const REASONS = new Map([
  ["expired", "Events were removed to make room before they were read here."],
  ["unknown", "The hub does not know the id that was asked for."],
  ["limit", "Not all of the last events that were asked for were looked for."],
  ["epoch", "The id belongs to another history than the hub's."],
]);

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

const watchForm = byId("watch", HTMLFormElement);
const publishForm = byId("publish", HTMLFormElement);
const token = byId("token", HTMLInputElement);
const stop = byId("stop", HTMLButtonElement);
const state = byId("state", HTMLElement);
const published = byId("published", HTMLElement);
const list = new List(byId("rows", HTMLElement), byId("empty", HTMLElement), byId("kept", HTMLElement));

/** What the current watch has seen; `Clear` and a new watch begin it anew. */
const figures = { events: 0, reconnects: 0, gaps: 0, "last-id": "" };
let figuresAreDrawn = true;

/** @type {AbortController | undefined} */
let watching;

/**
 * @param {FormData} form
 * @param {string} name
 */
function text(form, name) {
  const value = form.get(name);
  return typeof value === "string" ? value : "";
}

function watchUrl() {
  const form = new FormData(watchForm);
  const parameters = new URLSearchParams({ topic: text(form, "topic") });
  const from = { last: `-${text(form, "count")}`, id: text(form, "id") }[text(form, "from")] ?? text(form, "from");
  parameters.set("from", from);
  return `${EVENTS}?${parameters}`;
}

async function watch() {
  watching?.abort();
  const controller = new AbortController();
  watching = controller;
  forget();
  stop.disabled = false;
  const options = { signal: controller.signal, token: token.value };
  for await (const update of follow(watchUrl(), options)) {
    if (watching !== controller) return;
    show(update);
  }
  if (watching === controller) endWatch();
}

/** @param {import("./stream.js").Update} update */
function show(update) {
  const time = new Date();
  switch (update.kind) {
    case "connecting":
      if (state.dataset.state !== "lost") say("connecting", "Connecting …");
      break;
    case "open":
      if (state.dataset.state === "lost") {
        count({ reconnects: figures.reconnects + 1 });
        list.add({ kind: "note", time, title: "Connected again", text: `going on after ${figures["last-id"] || "the start"}` });
      }
      say("live", "Live");
      break;
    case "event":
      count({ events: figures.events + 1, "last-id": update.id });
      list.add({ time, ...update });
      break;
    case "checkpoint":
      count({ "last-id": update.id });
      break;
    case "gap": {
      count({ gaps: figures.gaps + 1, "last-id": update.id });
      const words = REASONS.get(update.reason) ?? `Reason: ${update.reason}.`;
      const title = `Gap after ${update.requested || "the start"}`;
      list.add({ kind: "gap", time, title, text: `${words} Reading goes on from ${update.resumedFrom}.` });
      break;
    }
    case "lost":
      // A hub that is away for long is one row, not one for each try.
      if (state.dataset.state !== "lost") list.add({ kind: "note", time, title: "Disconnected", text: update.why });
      say("lost", `Next try in ${(update.retryMs / 1000).toFixed(1)} s`);
      break;
    case "ended":
      list.add({ kind: "note", time, title: "Ended", text: update.why });
      endWatch(`Ended: ${update.why}`);
      break;
  }
}

/** @param {string} [why] */
function endWatch(why = "Not watching") {
  watching?.abort();
  watching = undefined;
  stop.disabled = true;
  say("idle", why);
}

/**
 * @param {"idle" | "connecting" | "live" | "lost"} name
 * @param {string} words
 */
function say(name, words) {
  state.dataset.state = name;
  state.textContent = words;
}

function forget() {
  list.clear();
  count({ events: 0, reconnects: 0, gaps: 0, "last-id": "" });
}

/** @param {Partial<typeof figures>} changes */
function count(changes) {
  Object.assign(figures, changes);
  if (!figuresAreDrawn) return;
  figuresAreDrawn = false;
  requestAnimationFrame(() => {
    figuresAreDrawn = true;
    for (const [id, value] of Object.entries(figures)) {
      byId(id, HTMLElement).textContent = value === "" ? "none" : value.toLocaleString();
    }
  });
}

/** The event in the form, or the reason why it is none. */
function event() {
  const form = new FormData(publishForm);
  const type = text(form, "type");
  const data = text(form, "data").replaceAll("\r\n", "\n");
  return {
    topic: text(form, "topic"),
    ...(type && { type }),
    data: text(form, "format") === "json" ? JSON.parse(data) : data,
    ...(form.has("private") && { private: true }),
  };
}

async function publish() {
  const headers = new Headers({ "content-type": "application/json" });
  if (token.value) headers.set("authorization", `Bearer ${token.value}`);
  try {
    const body = event();
    const response = await fetch(EVENTS, { method: "POST", headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(await problem(response));
    const { id } = await response.json();
    tell("done", `Published as ${id}${body.private && !token.value ? ". To watch it takes a token that grants its topic" : ""}`);
  } catch (error) {
    const words = error instanceof SyntaxError ? "the data is not JSON" : error instanceof TypeError ? "the hub is not there" : error;
    tell("failed", `Not published: ${words instanceof Error ? words.message : words}`);
  }
}

/**
 * @param {"done" | "failed"} outcome
 * @param {string} words
 */
function tell(outcome, words) {
  published.dataset.outcome = outcome;
  published.textContent = words;
}

/**
 * One word of a shell.
 * @param {string} word
 */
function quoted(word) {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function showCurl() {
  byId("watch-curl", HTMLElement).textContent = `curl -N ${quoted(location.origin + watchUrl())}`;
  let body;
  try {
    body = JSON.stringify(event());
  } catch {
    body = "…";
  }
  const url = quoted(location.origin + EVENTS);
  byId("publish-curl", HTMLElement).textContent = `curl --json ${quoted(body)} ${url}`;
}

/** Only the field that goes with the chosen start is shown and checked. */
function showStart() {
  const from = text(new FormData(watchForm), "from");
  for (const [name, id] of [["last", "watch-count"], ["id", "watch-id"]]) {
    byId(`${id}-field`, HTMLElement).hidden = from !== name;
    byId(id, HTMLInputElement).disabled = from !== name;
  }
}

watchForm.addEventListener("submit", (submit) => {
  submit.preventDefault();
  void watch();
});
publishForm.addEventListener("submit", (submit) => {
  submit.preventDefault();
  void publish();
});
byId("publish-data", HTMLTextAreaElement).addEventListener("keydown", (key) => {
  if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) publishForm.requestSubmit();
});
for (const form of [watchForm, publishForm]) {
  form.addEventListener("input", () => {
    showStart();
    showCurl();
  });
}
stop.addEventListener("click", () => endWatch());
byId("clear", HTMLButtonElement).addEventListener("click", forget);
showStart();
showCurl();
