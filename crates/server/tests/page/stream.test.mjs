// The page's reader against a scripted hub: each test gives the answers to its requests, one after the other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow } from "../../assets/stream.js";

const STREAM = { "content-type": "text/event-stream; charset=utf-8" };

/** A hub that gives these answers, then closes every connection, and the requests that it saw. */
function hub(...answers) {
  const requests = [];
  const fetch = async (url, { headers, signal }) => {
    requests.push({ url, headers });
    const answer = answers.shift();
    if (answer === undefined) throw new TypeError("connection refused");
    return answer(signal);
  };
  return { fetch, requests };
}

const stream = (text, headers = {}) => () => new Response(text, { headers: { ...STREAM, ...headers } });
const status = (code, body = null, headers = {}) => () => new Response(body, { status: code, headers });

/** Follows until that many updates came, or to the end. */
async function updates(hub, count, options = {}) {
  const controller = new AbortController();
  const waits = [];
  const wait = async (ms) => void waits.push(ms);
  const seen = [];
  const all = follow("/events", { signal: controller.signal, random: () => 0.5, wait, ...hub, ...options });
  for await (const update of all) {
    seen.push(update);
    if (seen.length === count) break;
  }
  return { seen, waits };
}

const kinds = ({ seen }) => seen.map((update) => update.kind);

test("events come with id, type and data, and the next connection goes on after the last", async () => {
  const scripted = hub(stream("id: #1-1\nevent: note\ndata: a\n\nid: #1-2\ndata: b\n\nid: #1-3\ndata: cut"), stream("data: c\n\n"));
  const result = await updates(scripted, 7);
  assert.deepEqual(kinds(result), ["connecting", "open", "event", "event", "lost", "connecting", "open"]);
  assert.deepEqual(result.seen[2], { kind: "event", id: "#1-1", type: "note", data: "a" });
  assert.equal(scripted.requests[0].headers["last-event-id"], undefined);
  assert.equal(scripted.requests[1].headers["last-event-id"], "#1-2");
});

test("an event without an id keeps the id of the connection before", async () => {
  const { seen } = await updates(hub(stream("data: a\n\n")), 3, { lastEventId: "#1-7" });
  assert.equal(seen[2].id, "#1-7");
});

test("an id goes back as the bytes of its UTF-8", async () => {
  const scripted = hub(stream(""));
  await updates(scripted, 2, { lastEventId: "é" });
  assert.equal(scripted.requests[0].headers["last-event-id"], "\u00c3\u00a9");
});

test("a token goes along", async () => {
  const scripted = hub(stream(""));
  await updates(scripted, 2, { token: "abc" });
  assert.equal(scripted.requests[0].headers.authorization, "Bearer abc");
});

test("the hub's own events are told by their meaning", async () => {
  const gap = { requested: "#1-1", resumed_from: "#5-9", reason: "expired" };
  const text = `event: tidewire.gap\nid: #5-9\ndata: ${JSON.stringify(gap)}\n\nevent: tidewire.checkpoint\nid: #6-1\ndata: \n\n`;
  const { seen } = await updates(hub(stream(text)), 4);
  assert.deepEqual(seen[2], { kind: "gap", id: "#5-9", requested: "#1-1", resumedFrom: "#5-9", reason: "expired" });
  assert.deepEqual(seen[3], { kind: "checkpoint", id: "#6-1" });
});

test("a checkpoint is a place to go on from", async () => {
  const scripted = hub(stream("event: tidewire.checkpoint\nid: #6-1\ndata:\n\n"), stream(""));
  await updates(scripted, 6);
  assert.equal(scripted.requests[1].headers["last-event-id"], "#6-1");
});

test("waits grow by half of the doubled time with this jitter, to a limit, and `retry:` is their start", async () => {
  const { waits } = await updates(hub(stream("retry: 400\n\n")), 3 + 2 * 9);
  assert.deepEqual(waits.slice(0, 4), [200, 400, 800, 1600]);
  assert.equal(waits.at(-1), 15_000);
});

test("full jitter still leaves a wait", async () => {
  const { waits } = await updates(hub(), 5, { random: () => 0 });
  assert.deepEqual(waits, [100, 100]);
});

test("something that came starts the waits anew", async () => {
  const { waits } = await updates(hub(undefined, undefined, stream("retry: 1000\n\n")), 8);
  assert.deepEqual(waits.slice(0, 3), [500, 1000, 500]);
});

test("204 ends the stream", async () => {
  assert.deepEqual(kinds(await updates(hub(status(204)), 9)), ["connecting", "ended"]);
});

test("a refusal ends the stream and says why", async () => {
  const body = JSON.stringify({ title: "topic missing", detail: "say topic=* for all" });
  const { seen } = await updates(hub(status(400, body)), 9);
  assert.deepEqual(seen[1], { kind: "ended", why: "400: topic missing: say topic=* for all" });
});

test("an overloaded hub is asked again, not before it says", async () => {
  const { waits, seen } = await updates(hub(status(503, null, { "retry-after": "7" }), stream("")), 4);
  assert.deepEqual(waits, [7000]);
  assert.deepEqual(seen[1], { kind: "lost", why: "503", retryMs: 7000 });
});

test("what is not a stream ends it", async () => {
  assert.deepEqual(kinds(await updates(hub(() => new Response("<p>")), 9)), ["connecting", "ended"]);
});

test("a silent connection is left after twice its heartbeat", async () => {
  const silent = (signal) => {
    const start = (controller) => signal.addEventListener("abort", () => controller.error(signal.reason));
    return new Response(new ReadableStream({ start }), { headers: { ...STREAM, "tidewire-heartbeat": "5ms" } });
  };
  const { seen } = await updates(hub(silent), 3);
  assert.equal(seen[2].why, "the hub was silent for too long");
});

test("the caller's signal ends it, also while it waits", async () => {
  const controller = new AbortController();
  const wait = async () => controller.abort();
  const result = await updates(hub(), 9, { signal: controller.signal, wait });
  assert.deepEqual(kinds(result), ["connecting", "lost"]);
});

test("a listener that stops closes the connection", async () => {
  let closed = false;
  const start = (controller) => controller.enqueue(new TextEncoder().encode("data: a\n\n"));
  const open = () => new Response(new ReadableStream({ start, cancel: () => void (closed = true) }), { headers: STREAM });
  await updates(hub(open), 3);
  assert.ok(closed);
});
