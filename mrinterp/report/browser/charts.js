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
