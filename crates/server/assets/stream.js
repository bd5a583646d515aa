// Follows a stream of events over any number of connections: reconnects, resumes after the last id, and never gives up
// on what may pass. It reads by fetch, since a native EventSource shows only the types that one has named before, takes
// no token, and gives up for ever on most statuses.

import { Decoder } from "./sse.js";

/** Until the hub says otherwise by `retry:`. */
const RETRY_MS_DEFAULT = 1000;
/** Even full jitter leaves this much, so that nobody retries in a loop. */
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 30_000;
/** Until the hub says otherwise by `Tidewire-Heartbeat`: it is never silent for longer. */
const HEARTBEAT_MS_DEFAULT = 20_000;
/** Characters of an error's body that are looked at. */
const PROBLEM_CHARS_MAX = 4096;

/**
 * What happens on a stream.
 * @typedef {{kind: "connecting"}
 *   | {kind: "open"}
 *   | {kind: "event", id: string, type: string, data: string}
 *   | {kind: "gap", id: string, requested: string, resumedFrom: string, reason: string}
 *   | {kind: "checkpoint", id: string}
 *   | {kind: "lost", why: string, retryMs: number}
 *   | {kind: "ended", why: string}} Update
 */

/**
 * @typedef {object} Options
 * @property {AbortSignal} signal ends the stream
 * @property {string} [token] sent as a bearer token
 * @property {string} [lastEventId] the place to go on from
 * @property {typeof globalThis.fetch} [fetch]
 * @property {() => number} [random] for the jitter, in [0, 1)
 * @property {(ms: number, signal: AbortSignal) => Promise<void>} [wait] returns after a time, or when the signal ends it
 */

/**
 * Yields what happens until the signal ends it or the hub does; the last update then is `ended`.
 * @param {string} url
 * @param {Options} options
 * @returns {AsyncGenerator<Update, void, void>}
 */
export async function* follow(url, options) {
  const { signal, token, fetch = globalThis.fetch, random = Math.random, wait = waitOrOnline } = options;
  let lastEventId = options.lastEventId ?? "";
  let retryMs = RETRY_MS_DEFAULT;
  let failures = 0;
  while (!signal.aborted) {
    yield { kind: "connecting" };
    const watchdog = new Watchdog(signal);
    let why = "the hub ended the stream";
    let notBeforeMs = 0;
    try {
      const response = await fetch(url, { headers: headers(lastEventId, token), cache: "no-store", signal: watchdog.signal });
      if (response.status !== 200) {
        why = await problem(response);
        notBeforeMs = 1000 * Number(response.headers.get("retry-after") ?? 0) || 0;
        if (isFinal(response.status)) {
          yield { kind: "ended", why };
          return;
        }
      } else if (!response.body || !response.headers.get("content-type")?.startsWith("text/event-stream")) {
        yield { kind: "ended", why: "the answer is not an event stream" };
        return;
      } else {
        watchdog.heartbeatMs = inMs(response.headers.get("tidewire-heartbeat")) ?? HEARTBEAT_MS_DEFAULT;
        yield { kind: "open" };
        for await (const item of items(response.body, new Decoder(lastEventId), watchdog)) {
          failures = 0;
          if (item.kind === "retry") {
            retryMs = Math.min(item.ms, RETRY_MS_MAX);
          } else if (item.kind !== "comment") {
            lastEventId = item.id;
            yield item.kind === "event" ? update(item) : item;
          }
        }
      }
    } catch (error) {
      if (error instanceof RangeError) {
        // The same bytes would come again.
        yield { kind: "ended", why: error.message };
        return;
      }
      why = watchdog.barked ? "the hub was silent for too long" : "the connection was lost";
    } finally {
      watchdog.stop();
    }
    if (signal.aborted) return;
    const ceiling = Math.min(RETRY_MS_MAX, retryMs * 2 ** failures);
    const delay = Math.round(Math.max(RETRY_MS_MIN, random() * ceiling, Math.min(notBeforeMs, RETRY_MS_MAX)));
    failures = Math.min(failures + 1, 16);
    yield { kind: "lost", why, retryMs: delay };
    await wait(delay, signal);
  }
}

/**
 * The items of one connection, to its end.
 * @param {ReadableStream<Uint8Array>} body
 * @param {Decoder} decoder
 * @param {Watchdog} watchdog
 */
async function* items(body, decoder, watchdog) {
  const reader = body.getReader();
  try {
    for (;;) {
      watchdog.pat();
      const { done, value } = await reader.read();
      if (done) return;
      yield* decoder.feed(value);
    }
  } finally {
    // Also when whoever listens stops in the middle: the connection must not live on.
    await reader.cancel().catch(() => {});
  }
}

/** Ends a connection that is silent for twice the hub's heartbeat, or that the caller ends. */
class Watchdog {
  #controller = new AbortController();
  #outer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  barked = false;
  heartbeatMs = HEARTBEAT_MS_DEFAULT;

  /** @param {AbortSignal} outer */
  constructor(outer) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#end);
    this.pat();
  }

  get signal() {
    return this.#controller.signal;
  }

  pat() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.barked = true;
      this.#end();
    }, 2 * this.heartbeatMs);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#end);
  }

  #end = () => this.#controller.abort();
}

/**
 * @param {string} lastEventId
 * @param {string | undefined} token
 */
function headers(lastEventId, token) {
  /** @type {Record<string, string>} */
  const headers = { accept: "text/event-stream" };
  // The id goes as the bytes of its UTF-8, which fetch takes only one character a byte.
  const bytes = new TextEncoder().encode(lastEventId);
  if (lastEventId) headers["last-event-id"] = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  if (token) headers.authorization = `Bearer ${token}`;
  return headers;
}

/**
 * The hub's own events by their meaning.
 * @param {{id: string, type: string, data: string}} event
 * @returns {Update}
 */
function update({ id, type, data }) {
  if (type === "tidewire.checkpoint") return { kind: "checkpoint", id };
  if (type === "tidewire.gap") {
    const gap = parsed(data);
    const word = (/** @type {unknown} */ value) => (typeof value === "string" ? value : "");
    return {
      kind: "gap",
      id,
      requested: word(gap.requested),
      resumedFrom: word(gap.resumed_from),
      reason: word(gap.reason),
    };
  }
  return { kind: "event", id, type, data };
}

/**
 * What an error's body says, in one line. Hubs answer with problem documents; what stands between may not.
 * @param {Response} response
 */
export async function problem(response) {
  const body = parsed((await response.text().catch(() => "")).slice(0, PROBLEM_CHARS_MAX));
  const words = [body.title, body.detail].filter((word) => typeof word === "string" && word !== "");
  return [`${response.status}`, ...words].join(": ");
}

/**
 * @param {string} text
 * @returns {Record<string, unknown>}
 */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/**
 * 204 ends a stream by the standard. Of the others, those end it that the same request would meet again.
 * @param {number} status
 */
function isFinal(status) {
  return status < 400 || (status < 500 && status !== 408 && status !== 425 && status !== 429);
}

/**
 * `20`, `20s` or `500ms` in milliseconds.
 * @param {string | null} text
 */
function inMs(text) {
  const [, number, unit] = /^(\d{1,6})(ms|s)?$/.exec(text ?? "") ?? [];
  if (number === undefined) return undefined;
  return Number(number) * (unit === "ms" ? 1 : 1000);
}

/**
 * @param {number} ms
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function waitOrOnline(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      globalThis.removeEventListener?.("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    // The network is back: there is nothing to wait for.
    globalThis.addEventListener?.("online", done);
  });
}
