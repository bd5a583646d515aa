// Decodes text/event-stream by the rules of the HTML standard, "server-sent events". Knows nothing of connections.

/** Characters that one line may have. A hub's events are far smaller; a stream that is none may have no end of line. */
export const LINE_CHARS_MAX = 16 * 1024 * 1024;
/** Characters that the data of one event may have. */
export const DATA_CHARS_MAX = 16 * 1024 * 1024;

/**
 * What comes out of a stream. A checkpoint is a block that sets the last event id and has no data.
 * @typedef {{kind: "event", id: string, type: string, data: string}
 *   | {kind: "checkpoint", id: string}
 *   | {kind: "comment", text: string}
 *   | {kind: "retry", ms: number}} Item
 */

/** Bytes in, items out, however the bytes are cut. One for each connection. */
export class Decoder {
  /** Bad bytes become U+FFFD, one byte order mark at the start is dropped, a cut character waits for its rest. */
  #utf8 = new TextDecoder("utf-8");
  #line = "";
  /** A CR ended the last line at once; the LF of its CRLF may follow in the next piece. */
  #afterCr = false;
  /** @type {string[]} */
  #data = [];
  #dataChars = 0;
  #type = "";
  /** What the blocks so far committed. */
  #lastEventId;
  /** What this block will commit. */
  #id;
  #idWasSet = false;

  /**
   * @param {string} [lastEventId] what an earlier connection left: an event without an id of its own has this one
   */
  constructor(lastEventId = "") {
    this.#lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  /** The id to go on from after this connection. */
  get lastEventId() {
    return this.#lastEventId;
  }

  /**
   * Takes the next piece of the stream and gives the items that it completes.
   * @param {Uint8Array} bytes
   * @returns {Item[]}
   * @throws {RangeError} when a line or the data of an event is longer than its limit
   */
  feed(bytes) {
    const text = this.#utf8.decode(bytes, { stream: true });
    /** @type {Item[]} */
    const items = [];
    let start = 0;
    if (this.#afterCr && text !== "") {
      this.#afterCr = false;
      if (text[0] === "\n") start = 1;
    }
    const ends = /\r\n|\r|\n/g;
    ends.lastIndex = start;
    for (let end = ends.exec(text); end !== null; end = ends.exec(text)) {
      const line = this.#extend(text.slice(start, end.index));
      this.#line = "";
      this.#readLine(line, items);
      start = ends.lastIndex;
      this.#afterCr = end[0] === "\r" && start === text.length;
    }
    this.#line = this.#extend(text.slice(start));
    return items;
  }

  /** @param {string} more */
  #extend(more) {
    if (this.#line.length + more.length > LINE_CHARS_MAX) {
      throw new RangeError(`a line is longer than ${LINE_CHARS_MAX} characters`);
    }
    return this.#line + more;
  }

  /**
   * @param {string} line
   * @param {Item[]} items
   */
  #readLine(line, items) {
    if (line === "") {
      this.#endBlock(items);
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    switch (name) {
      case "":
        items.push({ kind: "comment", text: value });
        break;
      case "data":
        this.#dataChars += value.length + 1;
        if (this.#dataChars > DATA_CHARS_MAX) {
          throw new RangeError(`the data of an event is longer than ${DATA_CHARS_MAX} characters`);
        }
        this.#data.push(value);
        break;
      case "event":
        this.#type = value;
        break;
      case "id":
        if (!value.includes("\0")) {
          this.#id = value;
          this.#idWasSet = true;
        }
        break;
      case "retry":
        if (/^[0-9]+$/.test(value)) items.push({ kind: "retry", ms: Number(value) });
        break;
    }
  }

  /** @param {Item[]} items */
  #endBlock(items) {
    this.#lastEventId = this.#id;
    if (this.#data.length > 0) {
      items.push({ kind: "event", id: this.#id, type: this.#type || "message", data: this.#data.join("\n") });
    } else if (this.#idWasSet) {
      items.push({ kind: "checkpoint", id: this.#id });
    }
    this.#data = [];
    this.#dataChars = 0;
    this.#type = "";
    this.#idWasSet = false;
  }
}
