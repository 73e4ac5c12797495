// All features as points: effect or place across, evidence up. Of many, a layer of density stands for what is not claimed.
const DENSE = 20000, NEAR = 14;
const MARGIN = { left: 58, right: 14, top: 12, bottom: 40 };

function ticks(low, high, most) {
  const span = high - low || 1, raw = span / most, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((s) => s >= raw), found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return { step, found, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

class Scatter {
  constructor(store, act) {
    this.store = store;
    this.act = act;
    this.box = document.getElementById("volcano");
    this.canvas = el("canvas", { tabindex: 0, role: "img", "aria-describedby": "volcano-help" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.live = el("p", { class: "unseen", "aria-live": "polite" });
    this.kind = "volcano";
    this.outcome = 0;
    this.hover = -1;
    this.kept = null;
    const radio = (value, words) => el("label", {}, el("input", { type: "radio", name: "across", value, checked: value === this.kind, onchange: () => { this.kind = value; this.place(); } }), words);
    const select = store.head.outcomes.length > 1 ? el("label", {}, "Outcome ", el("select", { id: "drawn-outcome", onchange: (e) => { this.outcome = Number(e.target.value); this.act.clearBox(); this.place(); } },
      store.head.outcomes.map((o, k) => el("option", { value: k }, o.name)))) : "";
    this.box.append(el("fieldset", { class: "controls" }, el("legend", { class: "unseen" }, "What is across"), radio("volcano", " Effect across (volcano)"), radio("manhattan", " In their order (Manhattan)"), select,
      el("button", { type: "button", onclick: () => this.download() }, "SVG of this figure")), el("div", { class: "drawing" }, this.canvas, this.tip), this.live);
    this.listen();
    new ResizeObserver(() => this.place()).observe(this.canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  // Colors have changed: the layer of points is drawn anew as well.
  redraw() { this.layer = null; this.draw(); }

  color(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

  // Where every point lies, once for a size and a kind.
  place() {
    const { store } = this, n = store.n, width = this.canvas.parentElement.clientWidth, height = Math.max(260, Math.min(420, width * 0.6));
    if (!width || (this.xs && width === this.width && this.values.kind === this.kind && this.values.outcome === this.outcome)) return;
    if (!this.values || this.values.kind !== this.kind || this.values.outcome !== this.outcome) this.values = this.measured(n);
    const { x, y } = this.values, ratio = devicePixelRatio || 1;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    const { left, right, top, bottom } = MARGIN, [x0, x1, y1] = this.values.range;
    this.px = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
    this.py = (v) => height - bottom - (v / y1) * (height - top - bottom);
    this.xs = new Float32Array(n);
    this.ys = new Float32Array(n);
    for (let i = 0; i < n; i++) { this.xs[i] = this.px(x[i]); this.ys[i] = this.py(Math.min(y[i], y1)); }
    this.layer = null;
    this.canvas.setAttribute("aria-label", this.described());
    this.draw();
  }

  measured(n) {
    const { store, outcome } = this, x = new Float32Array(n), y = new Float32Array(n);
    let low = 0, high = 0, most = 1.5, drawn = 0, first = -1;
    for (let i = 0; i < n; i++) {
      const here = store.outcome(i) === outcome;
      if (here && first < 0) first = i;
      x[i] = here ? (this.kind === "volcano" ? store.number("effect", i) : i) : NaN;
      const e = here ? store.evidence(i) : NaN;
      y[i] = e;
      if (x[i] !== x[i] || e !== e) { y[i] = NaN; continue; }
      drawn++;
      if (x[i] < low || drawn === 1) low = x[i];
      if (x[i] > high || drawn === 1) high = x[i];
      if (e > most && e < 1e4) most = e;
    }
    const rope = store.head.outcomes[outcome].rope;
    if (this.kind === "volcano") {
      const wide = Math.max(Math.abs(low), Math.abs(high), 2 * rope || 0) * 1.06 || 1;
      [low, high] = [-wide, wide];
    } else { const room = Math.max(0.5, (high - low) * 0.01); [low, high] = [low - room, high + room]; }
    return { kind: this.kind, outcome, x, y, drawn, range: [low, high, most * 1.06] };
  }

  described() {
    const words = this.kind === "volcano" ? "Effect across" : "Features in their order across";
    return `${words}, evidence (minus log ten of p) up: ${this.values.drawn.toLocaleString("en")} points. The table below has the same numbers. Arrow keys go from point to point, Enter opens the card.`;
  }

  claimed(i) { return this.store.look(this.store.text("verdict", i)) === "causal"; }

  draw() {
    if (!this.xs) return;
    const g = this.canvas.getContext("2d"), { ratio } = this;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    this.axes(g);
    if (!this.layer) this.layer = this.points();
    g.drawImage(this.layer, 0, 0, this.width, this.height);
    if (this.rect) {
      g.strokeStyle = this.color("accent");
      g.setLineDash([4, 3]);
      g.strokeRect(...this.rect);
      g.setLineDash([]);
    }
    if (this.hover >= 0) {
      g.strokeStyle = this.color("ink");
      g.lineWidth = 2;
      g.beginPath();
      g.arc(this.xs[this.hover], this.ys[this.hover], 7, 0, 7);
      g.stroke();
    }
  }

  axes(g) {
    const { left, right, top, bottom } = MARGIN, [x0, x1, y1] = this.values.range, rope = this.store.head.outcomes[this.outcome].rope;
    const ground = this.height - bottom, end = this.width - right;
    g.font = "12px system-ui, sans-serif";
    if (this.kind === "volcano" && rope) {
      g.fillStyle = this.color("band");
      g.fillRect(this.px(-rope), top, Math.max(1, this.px(rope) - this.px(-rope)), ground - top);
    }
    g.strokeStyle = this.color("rule");
    g.fillStyle = this.color("soft");
    g.lineWidth = 1;
    g.beginPath();
    g.moveTo(left, top); g.lineTo(left, ground); g.lineTo(end, ground);
    g.stroke();
    g.textAlign = "right";
    g.textBaseline = "middle";
    const up = ticks(0, y1, 5);
    up.found.forEach((v) => g.fillText(v.toFixed(up.decimals), left - 6, this.py(v)));
    g.textAlign = "center";
    g.textBaseline = "top";
    const across = ticks(x0, x1, this.width < 480 ? 4 : 8);
    if (this.kind === "volcano") across.found.forEach((v) => g.fillText(v.toFixed(across.decimals).replace("-", MINUS), this.px(v), ground + 5));
    const unit = this.store.head.outcomes[this.outcome].unit;
    const words = this.kind === "volcano" ? `effect${unit && this.width > 480 ? `, ${unit}` : ""}${rope ? " (band: region of practical equivalence)" : ""}` : this.store.head.across || "features, in the order of the dictionary";
    g.fillText(this.width > 480 ? words : words.split(" (")[0], (left + end) / 2, ground + 22);
    g.save();
    g.translate(14, (top + ground) / 2);
    g.rotate(-Math.PI / 2);
    g.fillText("evidence, \u2212log\u2081\u2080 p", 0, -6);
    g.restore();
  }

  // Shape and color both tell verdicts: filled circles, half ones, hollow ones.
  points() {
    const layer = el("canvas"), { ratio, store } = this, n = store.n;
    layer.width = this.canvas.width;
    layer.height = this.canvas.height;
    const g = layer.getContext("2d");
    if (n > DENSE) this.density(g, layer);
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const codes = store.has("verdict") ? store.columns.get("verdict") : null, size = n > 5000 ? 2 : 3.2;
    const looks = codes ? codes.c.levels.map((w) => store.look(w)) : [], kept = this.keptSet();
    for (const word of ["negligible", "indeterminate", "causal"]) {
      const color = this.color(word);
      g.strokeStyle = g.fillStyle = color;
      let drawn = 0;
      for (let i = 0; i < n; i++) {
        const its = codes ? looks[codes.codes[i]] : "";
        if (word === "indeterminate" ? its === "causal" || its === "negligible" : its !== word) continue;
        if (this.ys[i] !== this.ys[i] || (n > DENSE && (word !== "causal" || ++drawn > 20000))) continue;
        g.globalAlpha = kept && !kept[i] ? 0.12 : 0.85;
        g.beginPath();
        g.arc(this.xs[i], this.ys[i], word === "causal" ? size + 0.6 : size, 0, 7);
        if (word === "causal") g.fill();
        else if (word === "negligible") g.stroke();
        else { g.stroke(); g.beginPath(); g.arc(this.xs[i], this.ys[i], size, Math.PI / 2, 1.5 * Math.PI); g.fill(); }
      }
    }
    return layer;
  }

  density(g, layer) {
    const w = layer.width, h = layer.height, counts = new Uint32Array(w * h), cell = Math.max(2, Math.round(2 * this.ratio));
    const kept = this.keptSet();
    let most = 1;
    for (let i = 0; i < this.store.n; i++) {
      if (this.ys[i] !== this.ys[i] || (kept && !kept[i])) continue;
      const x = Math.floor((this.xs[i] * this.ratio) / cell) * cell, y = Math.floor((this.ys[i] * this.ratio) / cell) * cell;
      const place = y * w + x;
      if (++counts[place] > most) most = counts[place];
    }
    g.fillStyle = this.color("ink");
    for (let y = 0; y < h; y += cell) for (let x = 0; x < w; x += cell) {
      const c = counts[y * w + x];
      if (!c) continue;
      g.globalAlpha = 0.15 + 0.75 * (Math.log1p(c) / Math.log1p(most));
      g.fillRect(x, y, cell, cell);
    }
    g.globalAlpha = 1;
  }

  keptSet() {
    if (!this.kept) return null;
    if (this.kept.rows !== this.keptRows) {
      this.keptRows = this.kept.rows;
      this.flags = new Uint8Array(this.store.n);
      for (const i of this.kept.rows) this.flags[i] = 1;
    }
    return this.flags;
  }

  filtered(view) {
    this.kept = view ? { rows: view } : null;
    this.redraw();
  }

  nearest(px, py) {
    let best = -1, least = NEAR * NEAR;
    for (let i = 0; i < this.xs.length; i++) {
      const dx = this.xs[i] - px, dy = this.ys[i] - py, d = dx * dx + dy * dy;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  listen() {
    const { canvas } = this;
    let from = null;
    const at = (e) => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    canvas.addEventListener("pointermove", (e) => {
      const [x, y] = at(e);
      if (from) {
        this.rect = [Math.min(x, from[0]), Math.min(y, from[1]), Math.abs(x - from[0]), Math.abs(y - from[1])];
        this.draw();
        return;
      }
      this.mark(this.nearest(x, y));
    });
    canvas.addEventListener("pointerleave", () => { if (!from) this.mark(-1); });
    canvas.addEventListener("pointerdown", (e) => { if (e.button === 0 && e.pointerType !== "touch") { from = at(e); canvas.setPointerCapture(e.pointerId); } });
    canvas.addEventListener("pointerup", (e) => {
      const [x, y] = at(e), began = from;
      from = null;
      if (began && Math.hypot(x - began[0], y - began[1]) > 6) { this.act.boxed(this.boxOf(this.rect)); return; }
      this.rect = this.boxes ? this.rect : null;
      const i = this.nearest(x, y);
      if (i >= 0) this.act.open(i, canvas);
      this.draw();
    });
    canvas.addEventListener("keydown", (e) => this.key(e));
    canvas.addEventListener("blur", () => this.mark(-1));
  }

  boxOf([x, y, w, h]) {
    this.boxes = true;
    const { xs, ys } = this, a = xs.slice(), b = ys.slice();
    return (i) => a[i] >= x && a[i] <= x + w && b[i] >= y && b[i] <= y + h;
  }

  unbox() { this.rect = null; this.boxes = false; this.draw(); }

  key(e) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[e.key];
    if (e.key === "Escape") { this.act.clearBox(); return; }
    if (e.key === "Enter" && this.hover >= 0) { this.act.open(this.hover, this.canvas); return; }
    if (!step) return;
    e.preventDefault();
    const view = this.act.view(), now = view.indexOf(this.hover), next = view[Math.max(0, Math.min(view.length - 1, now + step))];
    if (next === undefined) return;
    this.mark(next);
    this.live.textContent = this.words(next);
  }

  words(i) {
    const { store } = this, decimals = store.head.decimals[store.outcome(i)], label = store.text("label", i);
    const ends = interval(store.number("lower", i), store.number("upper", i), decimals);
    return `${store.text("short", i)}${label ? ` (${label})` : ""}: ${signed(store.number("effect", i), decimals)}${ends ? ` (${ends})` : ""}, ${store.text("verdict", i)}`;
  }

  mark(i) {
    if (i === this.hover) return;
    this.hover = i;
    this.canvas.style.cursor = i >= 0 ? "pointer" : "crosshair";
    this.tip.hidden = i < 0 || this.ys[i] !== this.ys[i];
    if (!this.tip.hidden) {
      this.tip.textContent = this.words(i);
      const left = Math.min(this.xs[i] + 12, Math.max(0, this.width - this.tip.offsetWidth - 4));
      this.tip.style.left = `${left}px`;
      this.tip.style.top = `${Math.max(0, this.ys[i] - this.tip.offsetHeight - 10)}px`;
    }
    this.draw();
  }

  // Points as vectors up to 20,000; beyond, what the canvas shows, in a frame of vectors.
  download() {
    const { width, height, store } = this, svg = el("svg:svg", { viewBox: `0 0 ${width} ${height}`, "font-family": "sans-serif", "font-size": 12 });
    svg.append(el("svg:rect", { width, height, fill: this.color("paper") }));
    if (store.n > 20000) {
      svg.append(el("svg:image", { width, height, href: this.canvas.toDataURL("image/png") }));
    } else {
      const pen = new SvgPen(svg);
      this.axes(pen);
      for (let i = 0; i < store.n; i++) {
        if (this.ys[i] !== this.ys[i]) continue;
        const word = store.look(store.text("verdict", i)), color = this.color(["causal", "negligible"].includes(word) ? word : "indeterminate");
        svg.append(el("svg:circle", { cx: this.xs[i].toFixed(1), cy: this.ys[i].toFixed(1), r: 3, stroke: color, fill: word === "negligible" ? "none" : color, "fill-opacity": word === "causal" ? 1 : 0.4 }, el("svg:title", {}, this.words(i))));
      }
    }
    saveFigure(svg, this.kind);
  }
}

// The few calls of a canvas that the axes use, as SVG.
class SvgPen {
  constructor(svg) { this.svg = svg; this.turn = ""; }
  fillRect(x, y, width, height) { this.svg.append(el("svg:rect", { x, y, width, height, fill: this.fillStyle })); }
  beginPath() { this.path = ""; }
  moveTo(x, y) { this.path += `M${x} ${y}`; }
  lineTo(x, y) { this.path += `L${x} ${y}`; }
  stroke() { this.svg.append(el("svg:path", { d: this.path, fill: "none", stroke: this.strokeStyle })); }
  save() { this.turn = ""; }
  restore() { this.turn = ""; }
  translate(x, y) { this.turn += `translate(${x} ${y})`; }
  rotate(angle) { this.turn += `rotate(${(angle * 180) / Math.PI})`; }
  fillText(words, x, y) {
    const anchor = { right: "end", center: "middle" }[this.textAlign] || "start";
    this.svg.append(el("svg:text", { x, y, fill: this.fillStyle, "text-anchor": anchor, "dominant-baseline": this.textBaseline === "top" ? "hanging" : "middle", transform: this.turn || undefined }, words));
  }
}
