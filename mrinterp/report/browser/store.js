// What the page holds: columns of numbers and words, packed by mrinterp/report/packed.py.
const MINUS = "\u2212", DASH = "\u2014";

async function inflated(id) {
  const text = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

async function unpackedJson(id) {
  return JSON.parse(new TextDecoder().decode(await inflated(id)));
}

function everyHalf() {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const sign = h >> 15 ? -1 : 1, e = (h >> 10) & 31, m = h & 1023;
    table[h] = sign * (e === 0 ? m * 2 ** -24 : e === 31 ? (m ? NaN : Infinity) : (1 + m / 1024) * 2 ** (e - 15));
  }
  return table;
}

class Store {
  constructor(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    this.head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
    this.buffer = buffer;
    this.base = 8 + Math.ceil(length / 8) * 8;
    this.n = this.head.rows;
    this.columns = new Map(this.head.columns.map((c) => [c.key, this.opened(c)]));
  }

  part(c, Kind, count) { return new Kind(this.buffer, this.base + c.at, count); }

  opened(c) {
    const n = this.n;
    if (c.type === "f64" || c.type === "f32") {
      const values = this.part(c, c.type === "f64" ? Float64Array : Float32Array, n);
      return { c, values, at: (i) => values[i] };
    }
    if (c.type === "f16") {
      const planes = this.part(c, Uint8Array, 2 * n), half = (this.half ||= everyHalf()), values = new Float32Array(n);
      for (let i = 0; i < n; i++) values[i] = half[(planes[i] << 8) | planes[n + i]] * c.scale;
      return { c, values, at: (i) => values[i] };
    }
    if (c.type === "end") return { c, at: (i) => this.number(c.of, i) + c.by * this.number(c.error, i) };
    if (c.type === "code") {
      const codes = this.part(c, { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[c.bytes], n);
      return { c, codes, at: (i) => c.levels[codes[i]] };
    }
    if (c.type === "runs") return { c, at: (i) => nameInRuns(c.runs, i) };
    const text = new TextDecoder().decode(this.part(c, Uint8Array, c.length));
    const words = n ? text.split("\n") : [];
    return { c, words, at: (i) => words[i] };
  }

  // How a verdict looks: causal, indeterminate or negligible, whatever words it has.
  look(word) { return (this.head.looks && this.head.looks[word]) || word; }
  has(key) { return this.columns.has(key); }
  get(key, i) { return this.columns.get(key).at(i); }
  number(key, i) { return this.has(key) ? this.get(key, i) : NaN; }
  text(key, i) { return this.has(key) ? this.get(key, i) : ""; }
  outcome(i) { return this.has("outcome") ? this.columns.get("outcome").codes[i] : 0; }

  // -log10 p of a row: stored, or from the normal distribution where only effect and error travel.
  evidence(i) {
    if (this.has("evidence")) return this.get("evidence", i);
    const half = (this.number("upper", i) - this.number("lower", i)) / 2;
    return normalEvidence(Math.abs(this.number("effect", i)) / (half / 1.959964));
  }

  // All rows in an order; rows without a number or a word come last.
  ordered(key, way) {
    const n = this.n, column = this.columns.get(key), rows = Uint32Array.from({ length: n }, (_, i) => i);
    if (!column || column.c.type === "runs" || (column.words && n > 20000)) return way === "descending" ? rows.reverse() : rows;
    if (column.words) {
      const { compare } = new Intl.Collator("en", { numeric: true });
      const sign = way === "descending" ? -1 : 1;
      return rows.sort((a, b) => sign * compare(column.words[a], column.words[b]) || a - b);
    }
    const keys = n > 5000 ? new Float32Array(n) : new Float64Array(n), rank = column.codes && this.ranked(column.c.levels);
    for (let i = 0; i < n; i++) {
      const v = rank ? rank[column.codes[i]] : column.at(i);
      keys[i] = Number.isNaN(v) ? Infinity : way === "ascending" ? v : way === "size" ? -Math.abs(v) : -v;
    }
    return n > 5000 ? byRadix(keys) : rows.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b));
  }

  ranked(levels) {
    const rank = new Float32Array(levels.length);
    levels.map((w, k) => k).sort((a, b) => (levels[a] < levels[b] ? -1 : 1)).forEach((level, k) => { rank[level] = levels[level] === "" ? NaN : k; });
    return rank;
  }
}

// Places of 32-bit numbers in ascending order, in two passes over 16 bits each: a million take a blink.
function byRadix(keys) {
  const n = keys.length, bits = new Uint32Array(keys.buffer);
  for (let i = 0; i < n; i++) bits[i] ^= bits[i] >> 31 ? 0xffffffff : 0x80000000;
  let from = Uint32Array.from({ length: n }, (_, i) => i), to = new Uint32Array(n);
  for (const shift of [0, 16]) {
    const starts = new Uint32Array(65537);
    for (let i = 0; i < n; i++) starts[((bits[i] >>> shift) & 0xffff) + 1]++;
    for (let k = 1; k < 65537; k++) starts[k] += starts[k - 1];
    for (let i = 0; i < n; i++) to[starts[(bits[from[i]] >>> shift) & 0xffff]++] = from[i];
    [from, to] = [to, from];
  }
  return from;
}

function nameInRuns(runs, i) {
  for (const [prefix, first, width, count] of runs) {
    if (i < count) return prefix + String(first + i).padStart(width, "0");
    i -= count;
  }
  return "";
}

function normalEvidence(z) {
  if (!(z >= 0)) return NaN;
  const t = 1 / (1 + 0.5 * (z / Math.SQRT2));
  // Numerical Recipes' erfc: 1.2e-7 relative, at any z, since the exponent is kept apart.
  const s = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return -(Math.log(t) - (z * z) / 2 + s) / Math.LN10;
}

// Numbers as mrinterp/report/numbers.py prints them; without decimals three significant digits.
function signed(value, decimals) {
  if (!Number.isFinite(value)) return DASH;
  if (decimals === null) {
    const size = Number(Math.abs(value).toExponential(2)), wide = size && (size < 1e-5 || size >= 1e7);
    return (value < 0 && size ? MINUS : "+") + (wide ? size.toExponential(2).replace("-", MINUS) : String(size));
  }
  let text = Math.abs(value).toFixed(decimals);
  if (text.length > 13) text = Number(Math.abs(value).toPrecision(3)).toString();
  return (value < 0 && Number(text) !== 0 ? MINUS : "+") + text;
}

function unsigned(value, decimals) { return signed(value, decimals).replace("+", ""); }

function interval(low, high, decimals) {
  return Number.isFinite(low) && Number.isFinite(high) ? `${unsigned(low, decimals)} to ${unsigned(high, decimals)}` : "";
}

// An element with attributes and children; text is only ever text.
function el(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== ""));
  return made;
}
