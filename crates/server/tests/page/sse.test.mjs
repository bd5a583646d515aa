// The page's decoder against the wire vectors that every decoder of ours must pass.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { DATA_CHARS_MAX, Decoder, LINE_CHARS_MAX } from "../../assets/sse.js";

const folder = new URL("../../../../conformance/sse/", import.meta.url);
const SEED = Number(process.env.SEED ?? 20260);
const RANDOM_CUTS = 20;

/** A small generator with a seed (mulberry32), so that a failure can be repeated. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The vectors' form of an item. */
function plain(item) {
  switch (item.kind) {
    case "event": return { event: { id: item.id, type: item.type, data: item.data } };
    case "checkpoint": return { checkpoint: item.id };
    case "comment": return { comment: item.text };
    case "retry": return { retry: item.ms };
  }
}

function decode(vector, pieces) {
  const decoder = new Decoder(vector.last_event_id_before ?? "");
  const items = pieces.flatMap((piece) => decoder.feed(piece)).map(plain);
  return { items, lastEventId: decoder.lastEventId };
}

function cutAtRandom(bytes, next) {
  const pieces = [];
  for (let at = 0; at < bytes.length;) {
    const end = at + Math.floor(next() * 6);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces;
}

const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
test("there are vectors", () => assert.ok(files.length > 0));

for (const file of files) {
  for (const vector of JSON.parse(readFileSync(new URL(file, folder), "utf8"))) {
    test(`${file}: ${vector.name}`, () => {
      const bytes = Uint8Array.from(vector.bytes, (c) => c.charCodeAt(0));
      const expected = { items: vector.items, lastEventId: vector.last_event_id };
      assert.deepEqual(decode(vector, [bytes]), expected, "whole");
      assert.deepEqual(decode(vector, Array.from(bytes, (byte) => Uint8Array.of(byte))), expected, "byte by byte");
      const next = random(SEED);
      for (let cut = 0; cut < RANDOM_CUTS; cut += 1) {
        assert.deepEqual(decode(vector, cutAtRandom(bytes, next)), expected, `in random pieces, seed ${SEED}`);
      }
    });
  }
}

const ascii = (text) => new TextEncoder().encode(text);

test("a line may have its limit and no more", () => {
  const decoder = new Decoder();
  decoder.feed(ascii(":".padEnd(LINE_CHARS_MAX, "x")));
  assert.throws(() => decoder.feed(ascii("x")), RangeError);
});

test("the data of an event may have its limit and no more", () => {
  const half = ascii(`data:${"x".repeat(DATA_CHARS_MAX / 2 - 1)}\n`);
  const decoder = new Decoder();
  decoder.feed(half);
  decoder.feed(half);
  assert.throws(() => decoder.feed(ascii("data\n")), RangeError);
});
