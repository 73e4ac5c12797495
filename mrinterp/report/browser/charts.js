// Small figures of a card, drawn at the width that there is; their numbers stand in a table below each.
function chart(width, height, label) {
  return el("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, class: "drawn" });
}

function spanOf(values, extra = []) {
  const known = [...values.flat(), ...extra].filter(Number.isFinite);
  const low = Math.min(0, ...known), high = Math.max(0, ...known), room = (high - low || 1) * 0.05;
  return [low - room, high + room];
}

function clipped(words, width) {
  const most = Math.max(4, Math.floor(width / 6.4));
  return words.length > most ? `${words.slice(0, most - 1)}…` : words;
}

// One line a row: a mark with its interval. rows: {label, value, low, high, hollow, note}.
function intervalChart(rows, { label, width, rope, unit, decimals, height = 22 }) {
  const side = Math.min(220, Math.max(84, Math.max(...rows.map((r) => r.label.length)) * 6.6 + 14), width * 0.4), tall = rows.length * height + 44;
  const svg = chart(width, tall, label), [low, high] = spanOf(rows.map((r) => [r.value, r.low, r.high]), rope ? [-rope, rope] : []);
  const px = (v) => side + ((v - low) / (high - low)) * (width - side - 12), ground = tall - 38;
  if (rope) svg.append(el("svg:rect", { class: "rope", x: px(-rope), y: 2, width: Math.max(1, px(rope) - px(-rope)), height: ground - 2 }));
  svg.append(el("svg:line", { class: "zero", x1: px(0), x2: px(0), y1: 2, y2: ground }));
  rows.forEach((r, k) => {
    const y = (k + 0.5) * height + 2, kind = r.kind || "";
    svg.append(el("svg:text", { class: "axis", x: side - 8, y, "text-anchor": "end", "dominant-baseline": "middle" }, clipped(r.label, side - 8)));
    if (!Number.isFinite(r.value)) { svg.append(el("svg:text", { class: "axis", x: px(0) + 6, y, "dominant-baseline": "middle" }, "no estimate")); return; }
    const words = `${r.label}: ${signed(r.value, decimals)} ${interval(r.low, r.high, decimals)}`;
    if (Number.isFinite(r.low) && Number.isFinite(r.high)) svg.append(el("svg:line", { class: `bar ${kind}`, x1: px(r.low), x2: px(r.high), y1: y, y2: y }));
    svg.append(el("svg:circle", { class: `${r.hollow ? "mark hollow" : "mark"} ${kind}`, cx: px(r.value), cy: y, r: 4 }, el("svg:title", {}, words)));
  });
  axisAcross(svg, low, high, px, ground, width, unit);
  return svg;
}

function axisAcross(svg, low, high, px, ground, width, unit) {
  const t = ticks(low, high, Math.max(3, Math.floor(width / 130)));
  t.found.forEach((v) => svg.append(el("svg:line", { class: "tick", x1: px(v), x2: px(v), y1: ground, y2: ground + 4 }),
    el("svg:text", { class: "axis", x: px(v), y: ground + 16, "text-anchor": "middle" }, v.toFixed(t.decimals).replace("-", MINUS))));
  if (unit) svg.append(el("svg:text", { class: "axis", x: (px(low) + px(high)) / 2, y: ground + 32, "text-anchor": "middle" }, clipped(unit, px(high) - px(low))));
}

// Values of a feature from its quantiles: the height of every bar is its share over its width.
function distributionChart(quantiles, { label, width, unit }) {
  const tall = 150, ground = tall - 38, svg = chart(width, tall, label), q = quantiles.value, p = quantiles.share;
  const span = q[q.length - 1] - q[0] || 1, low = q[0] - span * 0.04, high = q[q.length - 1] + span * 0.04;
  const px = (v) => 12 + ((v - low) / (high - low)) * (width - 24);
  const bars = q.slice(1).map((end, k) => ({ from: q[k], to: end, share: p[k + 1] - p[k] }));
  const thin = span / 60, most = Math.max(...bars.map((b) => b.share / Math.max(b.to - b.from, thin)));
  for (const b of bars) {
    const h = ((b.share / Math.max(b.to - b.from, thin)) / most) * (ground - 8);
    svg.append(el("svg:rect", { class: "density", x: px(b.from), y: ground - h, width: Math.max(1.5, px(b.to) - px(b.from)), height: h },
      el("svg:title", {}, `${(b.share * 100).toFixed(0)}% of values between ${b.from.toPrecision(3)} and ${b.to.toPrecision(3)}`)));
  }
  svg.append(el("svg:line", { class: "zero", x1: px(low), x2: px(high), y1: ground, y2: ground }));
  axisAcross(svg, low, high, px, ground, width, unit);
  return svg;
}

function doseChart(dose, { label, width, rope, unit, across }) {
  const tall = 230, left = 54, ground = tall - 40, svg = chart(width, tall, label);
  const [low, high] = spanOf([dose.effect, dose.low, dose.high]), [d0, d1] = [Math.min(...dose.dose), Math.max(...dose.dose)];
  const px = (v) => left + 8 + ((v - d0) / (d1 - d0 || 1)) * (width - left - 24), py = (v) => ground - ((v - low) / (high - low)) * (ground - 8);
  if (rope) svg.append(el("svg:rect", { class: "rope", x: left, y: py(rope), width: width - left - 8, height: py(-rope) - py(rope) }));
  const band = [...dose.dose.map((d, k) => `${px(d)},${py(dose.high[k])}`), ...dose.dose.map((d, k) => `${px(d)},${py(dose.low[k])}`).reverse()];
  svg.append(el("svg:polygon", { class: "band", points: band.join(" ") }), el("svg:polyline", { class: "line", points: dose.dose.map((d, k) => `${px(d)},${py(dose.effect[k])}`).join(" ") }));
  dose.dose.forEach((d, k) => svg.append(el("svg:circle", { class: dose.outside[k] > 0.5 ? "mark hollow" : "mark", cx: px(d), cy: py(dose.effect[k]), r: 3.5 })));
  const t = ticks(low, high, 4);
  t.found.forEach((v) => svg.append(el("svg:text", { class: "axis", x: left - 4, y: py(v), "text-anchor": "end", "dominant-baseline": "middle" }, v.toFixed(t.decimals).replace("-", MINUS))));
  svg.append(el("svg:text", { class: "axis", x: left, y: 10 }, unit || ""));
  axisAcross(svg, d0, d1, px, ground, width, across);
  return svg;
}

const LINES = ["causal", "bad", "indeterminate", "negligible"];

// Points with their errors, and methods as lines (slope, up) or uprights (at). rows: {name, x, y, dx, dy}.
function pointChart(rows, { label, width, lines = [], uprights = [], across, up }) {
  const tall = Math.min(300, Math.max(220, width * 0.6)) + 18 * Math.max(lines.length, uprights.length), left = 58, key = 18 * Math.max(lines.length, uprights.length);
  const ground = tall - 40 - key, svg = chart(width, tall, label);
  const x = trimmed(rows.map((r) => r.x), uprights.map((u) => u.at)), y = trimmed(rows.map((r) => r.y), []);
  const px = (v) => left + 8 + ((v - x[0]) / (x[1] - x[0])) * (width - left - 20), py = (v) => ground - ((v - y[0]) / (y[1] - y[0])) * (ground - 10);
  const clip = (v, [low, high]) => Math.max(low, Math.min(high, v)), here = (r) => r.x >= x[0] && r.x <= x[1] && r.y >= y[0] && r.y <= y[1];
  svg.append(el("svg:line", { class: "zero", x1: px(x[0]), x2: px(x[1]), y1: py(clip(0, y)), y2: py(clip(0, y)) }), el("svg:line", { class: "zero", x1: px(clip(0, x)), x2: px(clip(0, x)), y1: 10, y2: ground }));
  const bars = rows.length <= 60;
  for (const r of rows.filter(here)) {
    if (bars && r.dx) svg.append(el("svg:line", { class: "whisker", x1: px(clip(r.x - r.dx, x)), x2: px(clip(r.x + r.dx, x)), y1: py(r.y), y2: py(r.y) }));
    if (bars && r.dy) svg.append(el("svg:line", { class: "whisker", x1: px(r.x), x2: px(r.x), y1: py(clip(r.y - r.dy, y)), y2: py(clip(r.y + r.dy, y)) }));
    svg.append(el("svg:circle", { class: "dot", cx: px(r.x), cy: py(r.y), r: rows.length > 60 ? 2.2 : 3.2 }, el("svg:title", {}, `${r.name}: ${signed(r.x, null)}, ${signed(r.y, null)}`)));
  }
  lines.forEach((l, k) => {
    const ends = cut(l, x, y);
    if (ends) svg.append(el("svg:line", { class: `method ${LINES[k % LINES.length]}`, x1: px(ends[0]), x2: px(ends[1]), y1: py(l.up + l.slope * ends[0]), y2: py(l.up + l.slope * ends[1]) }));
  });
  uprights.forEach((u, k) => svg.append(el("svg:line", { class: `method ${LINES[k % LINES.length]}`, x1: px(u.at), x2: px(u.at), y1: 10, y2: ground })));
  [...lines, ...uprights].forEach((l, k) => svg.append(el("svg:line", { class: `method ${LINES[k % LINES.length]}`, x1: left + 8, x2: left + 30, y1: tall - key + 18 * k + 4, y2: tall - key + 18 * k + 4 }),
    el("svg:text", { class: "axis", x: left + 36, y: tall - key + 18 * k + 4, "dominant-baseline": "middle" }, clipped(l.label, width - left - 40))));
  const t = ticks(y[0], y[1], 4);
  t.found.forEach((v) => svg.append(el("svg:text", { class: "axis", x: left - 2, y: py(v), "text-anchor": "end", "dominant-baseline": "middle" }, v.toFixed(t.decimals).replace("-", MINUS))));
  svg.append(el("svg:text", { class: "axis", transform: `translate(12 ${ground / 2}) rotate(-90)`, "text-anchor": "middle" }, clipped(up, ground)));
  axisAcross(svg, x[0], x[1], px, ground, width, across);
  const off = rows.length - rows.filter(here).length;
  if (off) svg.append(el("svg:text", { class: "axis", x: width - 8, y: 12, "text-anchor": "end" }, `${off} beyond the frame`));
  return svg;
}

// A frame that holds 0 and nearly all points: a few that lie many times as far as the middle half may be beyond it.
function trimmed(values, extra) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b), n = sorted.length;
  const at = (share) => sorted[Math.round(share * (n - 1))] ?? 0, wide = 5 * (at(0.75) - at(0.25));
  const low = Math.min(0, Math.max(at(0), at(0.25) - wide), ...extra), high = Math.max(0, Math.min(at(1), at(0.75) + wide), ...extra);
  const room = (high - low || 1) * 0.1;
  return [low < 0 ? low - room : low, high > 0 ? high + room : high];
}

// Where a line crosses the frame, as two places across; null where it does not.
function cut({ slope, up }, [x0, x1], [y0, y1]) {
  if (!Number.isFinite(slope)) return null;
  let [a, b] = [x0, x1];
  if (slope) {
    const [p, q] = [(y0 - up) / slope, (y1 - up) / slope].sort((u, v) => u - v);
    [a, b] = [Math.max(a, p), Math.min(b, q)];
  }
  return b > a ? [a, b] : null;
}
