// The list of what came, newest first. All that comes from the hub is put in as text, never as markup.

/** Rows that the page keeps; older ones go. */
export const ROWS_MAX = 500;
/** Characters of one event's data that a row shows. */
export const DATA_CHARS_SHOWN_MAX = 4000;
/** Colours that types are told apart by; the style sheet has a class for each. */
const TINTS = 6;

/**
 * A row of the list: an event, or something that happened to the stream.
 * @typedef {{kind: "event", time: Date, id: string, type: string, data: string}
 *   | {kind: "gap" | "note", time: Date, title: string, text: string}} Row
 */

/** The list; it draws at most once a frame, whatever the rate of events. */
export class List {
  #rows;
  #empty;
  #kept;
  /** @type {Row[]} */
  #waiting = [];
  #drawn = false;

  /**
   * @param {HTMLElement} rows takes the rows
   * @param {HTMLElement} empty shown while there are none
   * @param {HTMLElement} kept says when older ones have gone
   */
  constructor(rows, empty, kept) {
    this.#rows = rows;
    this.#empty = empty;
    this.#kept = kept;
    kept.textContent = `The newest ${ROWS_MAX} are shown.`;
  }

  /** @param {Row} row */
  add(row) {
    this.#waiting.push(row);
    // A page in the background draws no frames: what would leave the list at once need not wait either.
    if (this.#waiting.length > 2 * ROWS_MAX) {
      this.#waiting = this.#waiting.slice(-ROWS_MAX);
      this.#kept.hidden = false;
    }
    if (this.#drawn) return;
    this.#drawn = true;
    requestAnimationFrame(() => this.#draw());
  }

  clear() {
    this.#waiting = [];
    this.#rows.replaceChildren();
    this.#empty.hidden = false;
    this.#kept.hidden = true;
  }

  #draw() {
    this.#drawn = false;
    if (this.#waiting.length === 0) return;
    const newest = this.#waiting.slice(-ROWS_MAX).reverse();
    this.#waiting = [];
    this.#rows.prepend(...newest.map(element));
    while (this.#rows.children.length > ROWS_MAX) {
      this.#rows.lastElementChild?.remove();
      this.#kept.hidden = false;
    }
    this.#empty.hidden = true;
  }
}

/** @param {Row} row */
function element(row) {
  const item = document.createElement("li");
  item.className = `row ${row.kind}`;
  const time = piece("time", "time", clock(row.time));
  time.setAttribute("datetime", row.time.toISOString());
  if (row.kind === "event") {
    item.append(time, piece("span", `type ${tint(row.type)}`, row.type), piece("span", "id", row.id), piece("pre", "data", shortened(row.data)));
  } else {
    item.append(time, piece("strong", "title", row.title), piece("span", "text", row.text));
  }
  return item;
}

/**
 * @param {string} tag
 * @param {string} name
 * @param {string} text
 */
function piece(tag, name, text) {
  const piece = document.createElement(tag);
  piece.className = name;
  piece.textContent = text;
  return piece;
}

/**
 * The same type has the same colour, always; ordinary messages have none.
 * @param {string} type
 */
function tint(type) {
  if (type === "message") return "";
  let sum = 0;
  for (const unit of type) sum = (31 * sum + (unit.codePointAt(0) ?? 0)) % 65_521;
  return `tint-${sum % TINTS}`;
}

/** @param {string} data */
function shortened(data) {
  if (data.length <= DATA_CHARS_SHOWN_MAX) return data;
  return `${data.slice(0, DATA_CHARS_SHOWN_MAX)}… (${data.length.toLocaleString()} characters)`;
}

/**
 * `14:03:07.412` of the reader's day.
 * @param {Date} time
 */
function clock(time) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const ms = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${ms}`;
}
