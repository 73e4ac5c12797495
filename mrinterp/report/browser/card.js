// The card of one feature, opened in place: everything that the run holds of it, and what it does not.
class Cards {
  constructor(store, act) {
    this.store = store;
    this.act = act;
    this.box = document.getElementById("card");
    this.row = -1;
    this.interval = store.head.interval || "95% interval";
  }

  // Cards are unpacked when the first one is opened.
  async open(i, from) {
    this.row = i;
    this.held ||= await unpackedJson("cards");
    if (this.row !== i) return;
    this.from = from;
    const { store } = this, name = store.text("short", i), label = store.text("label", i);
    const title = el("h3", { tabindex: -1, id: "card-title" }, el("bdi", {}, name), label ? [" ", el("span", { class: "soft" }, "responds to ", el("bdi", {}, label))] : "");
    const go = (words, by) => el("button", { type: "button", onclick: () => this.step(by) }, words);
    const close = el("button", { type: "button", id: "close-card", onclick: () => this.close() }, "Close");
    this.inside = el("div", { class: "card-body" });
    this.box.replaceChildren(el("div", { class: "card-head" }, title, el("div", { class: "card-buttons" }, go("Previous", -1), go("Next", 1), this.link(i), close)), this.inside);
    this.box.hidden = false;
    this.fill(i);
    offerDownloads(this.box);
    title.focus({ preventScroll: true });
    this.box.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  link(i) { return el("a", { class: "here", href: `#${this.store.head.slugs[i] || `row-${i}`}` }, "Link to this card"); }

  close() {
    this.box.hidden = true;
    const row = this.act.closed(this.row), from = this.from;
    this.row = -1;
    (from && from.isConnected ? from : row).focus(); // rows are drawn anew: the button that opened it may be gone
  }

  step(by) {
    const view = this.act.view(), next = view[view.indexOf(this.row) + by];
    if (next !== undefined) this.act.open(next, this.from);
  }

  fill(i) {
    const { store, held } = this, shared = held.features[store.get("feature", i)], own = held.rows[i];
    const width = Math.max(260, Math.min(620, this.inside.clientWidth || 600));
    const about = { width, decimals: store.head.decimals[store.outcome(i)], outcome: store.head.outcomes[store.outcome(i)] };
    this.part("", this.summary(i, about));
    if (!own && !shared) {
      const files = held.elsewhere, number = files && String(Math.floor(i / files.each)).padStart(4, "0");
      const where = files && `${files.folder}/${number}.html#row-${i % files.each}`;
      this.part("Its evidence", where ? el("p", {}, "Its card lies in a file beside this page: ", el("a", { href: where }, where), ".") : el("p", {}, "This page holds no more of this feature; the run folder does."));
      return;
    }
    if (shared) this.about(shared);
    if (own) this.evidence(own, about);
    if (shared) this.around(shared, about);
    if (held.missing.length) this.part(store.head.looks ? "Not in these data" : "Not in this run", el("ul", { class: "small" }, held.missing.map((m) => el("li", {}, m))));
  }

  part(title, ...content) {
    this.inside.append(el("section", { class: "card-part" }, title ? el("h4", {}, title) : "", ...content));
  }

  figure(svg, words, head, rows) {
    return el("figure", {}, svg, el("figcaption", {}, words), el("details", {}, el("summary", {}, "The numbers"), numbers(svg.getAttribute("aria-label"), head, rows)));
  }

  summary(i, { decimals, outcome }) {
    const { store } = this, cell = (k, l, u) => `${signed(store.number(k, i), decimals)}${interval(store.number(l, i), store.number(u, i), decimals) && ` (${interval(store.number(l, i), store.number(u, i), decimals)})`}`;
    const facts = [["Full name", store.text("name", i)], ["Outcome", outcome.name], [store.head.looks ? "Interval" : "Verdict", store.text("verdict", i)], ["Grade", store.text("grade", i)], ["Effect", `${cell("effect", "lower", "upper")} ${outcome.unit}`],
      ["Other families", store.has("knockout") ? `${cell("knockout", "knockout_lower", "knockout_upper")} ${store.text("against", i)}` : ""],
      ["Replication", store.has("replication") ? cell("replication", "replication_lower", "replication_upper") : ""],
      ["Gradient, extrapolated", store.has("gradient") ? cell("gradient", "gradient_lower", "gradient_upper") : ""],
      ["Best grade it can reach", store.text("ceiling", i)], ["Imported label", store.text("imported", i)], ["Status", store.text("status", i)]];
    return el("dl", { class: "facts" }, facts.filter(([, v]) => v).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, el("bdi", {}, v))]));
  }

  about(shared) {
    const marked = [...(shared.high || []), ...(shared.low || [])].some((r) => r.token); // images and rows of a table have no tokens
    if (shared.high || shared.low) {
      const list = (rows, words) => (rows && rows.length ? el("div", {}, el("h5", {}, words), el("ol", { class: "inputs" }, rows.map((r) => el("li", {}, el("span", { class: "value" }, signed(r.value, 2)), " ",
        r.image ? el("img", { src: r.image, alt: `Input ${r.input}`, width: 64, height: 64 }) : "", el("bdi", {}, r.before, r.token ? el("mark", {}, r.token) : "", r.after)))))
        : "");
      this.part("Inputs that move it most", el("p", { class: "small" }, `On discovery ${marked ? "prompts, one a family, with the token of the value marked" : "inputs, one a family"}. A description, not a finding.`),
        el("div", { class: "two" }, list(shared.high, "Highest"), list(shared.low, "Lowest")));
    }
    if (shared.tokens && shared.tokens.length) {
      this.part("What it responds to", numbers("What it responds to", [marked ? "Token" : "Place", "Mean there less its mean, in its sd", "Times", "Families", "z"], shared.tokens.map(([t, d, c, f, z]) => [t, signed(d, 2), String(c), String(f), signed(z, 1)])),
        shared.classes && shared.classes.length > 1 ? numbers("Its values by token class", [marked ? "Token class" : "Class of places", "Mean", "sd", "Not zero at"], shared.classes.map(([c, m, s, a]) => [c, signed(m, 2), unsigned(s, 2), `${(a * 100).toFixed(0)}%`])) : "");
    }
    if (shared.quantiles) {
      const svg = distributionChart(shared.quantiles, { label: "Distribution of its values", width: Math.min(620, this.inside.clientWidth || 600), unit: "value where it is read" });
      this.part("Its distribution", this.figure(svg, `Mean ${shared.mean.toPrecision(3)}, sd ${shared.sd.toPrecision(3)}, not zero at ${(shared.active * 100).toFixed(0)}% of ${marked ? "tokens" : "places"}.`, ["Share of values below", "Value"], shared.quantiles.value.map((v, k) => [`${(shared.quantiles.share[k] * 100).toFixed(0)}%`, v.toPrecision(4).replace("-", MINUS)])));
    }
  }

  evidence(own, { width, decimals, outcome }) {
    const wide = { width, decimals, rope: outcome.rope, unit: outcome.unit };
    const perUnit = "outcome per unit of the feature";
    const intervals = (rows, title, words, more = [], unit = outcome.unit) => {
      if (!rows || !rows.length) return;
      const made = rows.map(([label, value, low, high, kind, note]) => ({ label, value: value ?? NaN, low: low ?? NaN, high: high ?? NaN, hollow: kind === "slope" || kind === "flagged", kind: kind || "", note: note || "" }));
      const told = made.map((r) => [r.label, signed(r.value, decimals), interval(r.low, r.high, decimals), ...(more.length ? [r.note] : [])]);
      this.part(title, this.figure(intervalChart(made, { ...wide, label: title, unit }), words, ["", "Effect", this.interval, ...more], told));
    };
    intervals(own.ladder, own.ladder_title || "Effect ladder", own.ladder_words || "Every rung on one scale. Hollow: local slopes, extrapolated to the size of the contrast. Gray band: region of practical equivalence.");
    if (own.scattered) this.scattered(own.scattered, width);
    intervals(own.families, own.families_title || "Effect by family", own.families_words || "", [own.families_note || "Prompts"], own.families_per_unit ? perUnit : outcome.unit);
    intervals(own.without_each, "Leave-one-out", own.without_each_words || "");
    if (own.dose) this.part("Dose-response", this.figure(doseChart(own.dose, { width, rope: outcome.rope, label: "Dose-response", unit: outcome.outcome_unit, across: "value written" }), own.dose.words,
      ["Dose", "Effect", this.interval], own.dose.dose.map((d, k) => [d.toPrecision(3), signed(own.dose.effect[k], decimals), interval(own.dose.low[k], own.dose.high[k], decimals)])));
    intervals(own.kinds, "Kinds of knockout side by side", "Outcome per unit of the feature, never pooled. Hollow: flagged.", ["Verdict and flags"], perUnit);
    intervals(own.borrowed, "Whose effect it shows", own.borrowed_words || "", ["Correlation"], perUnit);
    if (own.grade) this.grade(own.grade);
    if (own.checks && own.checks.length) {
      this.part("All checks", el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "All checks" }, el("table", {}, el("thead", {}, el("tr", {}, ["Assumption", "Found", "Check", "Why"].map((h) => el("th", { scope: "col" }, h)))),
        el("tbody", {}, own.checks.map(([assumption, colour, words, check, why]) => el("tr", {}, el("th", { scope: "row" }, assumption), el("td", {}, el("span", { class: `light ${colour}` }, words)), el("td", {}, check), el("td", { class: "note" }, el("bdi", {}, why))))))));
    }
  }

  // An instrument a point: its effects on both traits, its ratio against precision, and the radial form of the same.
  scattered({ names, b, s, g, t, lines, z, x, y, more }, width) {
    const finite = (k) => [b, s, g, t].every((v) => Number.isFinite(v[k])) && t[k] > 0 && b[k] > 0, at = names.map((_, k) => k).filter(finite);
    const points = (of) => at.map((k) => ({ name: names[k], ...of(k) })), sloped = lines.map(([label, slope, up]) => ({ label, slope, up }));
    const told = at.map((k) => [names[k], signed(b[k], null), signed(s[k], null), signed(g[k], null), signed(t[k], null)]);
    const head = ["Instrument", `Effect on ${x}`, "Error", `Effect on ${y}`, "Error"];
    const draw = (title, rows, given, words) => this.part(title, this.figure(pointChart(rows, { width, label: title, ...given }), words + more, head, told));
    draw("Scatter", points((k) => ({ x: b[k], y: g[k], dx: z * s[k], dy: z * t[k] })), { lines: sloped, across: `effect on ${x}`, up: `effect on ${y}` }, "An instrument a point with its intervals; a method a line.");
    draw("Funnel", points((k) => ({ x: g[k] / b[k], y: b[k] / t[k] })), { uprights: sloped.map((l) => ({ label: l.label, at: l.slope })), across: "ratio of one instrument", up: "1 / error" }, "Precise instruments on top. Lopsided: effects around the exposure do not average to zero.");
    draw("Radial", points((k) => ({ x: b[k] / t[k], y: g[k] / t[k] })), { lines: sloped.map((l) => ({ label: l.label, slope: l.slope, up: 0 })), across: "square root of the weight", up: "ratio times it" }, "Far from a line: instruments that disagree.");
  }

  grade({ words, domains, card }) {
    const rows = domains.map(([name, points, why]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, points), el("td", { class: "note" }, el("bdi", {}, why))));
    this.part("Grade", words.map((w) => el("p", { class: "small" }, el("bdi", {}, w))), !rows.length ? "" : el("details", {}, el("summary", {}, "Points and reasons"), el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Points and reasons" },
      el("table", {}, el("thead", {}, el("tr", {}, ["Domain", "Points", "Reason"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, rows)))));
    if (card.length) this.part("Identification card", el("dl", { class: "asked" }, card.flatMap(([question, answer]) => [el("dt", {}, question), el("dd", {}, el("bdi", {}, answer))])));
  }

  around(shared, { decimals }) {
    if (shared.nearest && shared.nearest.length) {
      const link = (row, name) => (row >= 0 ? el("button", { type: "button", class: "open-card", onclick: () => this.act.open(row, this.from) }, el("bdi", {}, name)) : el("bdi", {}, name));
      this.part(shared.nearest_title || "Nearest features", el("p", { class: "small" }, shared.nearest_words || "Cosine of the directions along which they are written."), el("ul", { class: "near" }, shared.nearest.map(([name, cosine, row]) => el("li", {}, link(row, name), ` ${signed(cosine, 2)}`))));
    }
    if (shared.instruments && shared.instruments.length) {
      const kinds = shared.instruments.some(([kind]) => kind);
      this.part("Instruments that move it most", numbers("Instruments that move it most", ["Instrument", ...(kinds ? ["Kind"] : []), "Change of it", this.interval, "z"],
        shared.instruments.map(([kind, name, beta, low, high, z]) => [name, ...(kinds ? [kind] : []), signed(beta, decimals), interval(low, high, decimals), signed(z, 1)])));
    }
  }
}

function numbers(label, head, rows) {
  return el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": label }, el("table", {}, el("thead", {}, el("tr", {}, head.map((h, k) => el("th", { scope: "col", class: k ? "n" : undefined }, h || "What")))),
    el("tbody", {}, rows.map((r) => el("tr", {}, r.map((v, k) => (k ? el("td", { class: "n" }, el("bdi", {}, v)) : el("th", { scope: "row" }, el("bdi", {}, v)))))))));
}
