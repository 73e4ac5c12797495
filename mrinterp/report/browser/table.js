// The table of all tested features: sorted, filtered, searched, a page at a time.
class FeatureTable {
  constructor(store, act) {
    this.store = store;
    this.act = act;
    this.region = document.getElementById("all-features");
    this.table = this.region.querySelector("table");
    this.body = this.table.tBodies[0];
    this.shown = store.head.display;
    this.size = 50;
    this.page = 0;
    this.sort = { key: "effect", way: "size" };
    this.wanted = { text: "", box: null, codes: {} };
    this.makeHead();
    this.makeControls();
    this.resort();
  }

  makeHead() {
    const cells = [...this.table.tHead.rows[0].cells];
    this.shown.forEach((d, k) => {
      const button = el("button", { type: "button", class: "sort", onclick: () => this.sortBy(d) }, cells[k].textContent.trim());
      cells[k].replaceChildren(button);
    });
    this.cells = cells;
  }

  sortBy(d) {
    const ways = { effect: ["size", "descending", "ascending"], plain: ["descending", "ascending"] }[d.kind] || ["ascending", "descending"];
    const now = this.sort.key === d.key ? ways.indexOf(this.sort.way) : -1;
    this.sort = { key: d.key, way: ways[(now + 1) % ways.length] };
    this.resort();
    this.update();
  }

  resort() {
    this.order = this.store.ordered(this.sort.key, this.sort.way);
    const said = { size: "other", ascending: "ascending", descending: "descending" };
    this.shown.forEach((d, k) => {
      const here = d.key === this.sort.key;
      if (here) this.cells[k].setAttribute("aria-sort", said[this.sort.way]);
      else this.cells[k].removeAttribute("aria-sort");
      this.cells[k].dataset.way = here ? this.sort.way : "";
    });
  }

  makeControls() {
    const { store } = this;
    this.search = el("input", { type: "search", id: "search", placeholder: "name, word or note", autocomplete: "off", oninput: () => this.soon() });
    const choices = [];
    const filters = store.head.filters || [["outcome", "Outcome"], ["verdict", "Verdict"], ["grade", "Grade"], ["against", "Other families say"]];
    for (const [key, label] of filters) {
      const levels = (store.has(key) && store.columns.get(key).c.levels) || [];
      if (levels.filter((w) => w).length < 2 && key !== "grade") continue;
      if (!levels.length) continue;
      const options = levels.map((w, k) => el("option", { value: k }, w || "nothing"));
      const select = el("select", { id: `only-${key}`, onchange: () => { this.wanted.codes[key] = select.value; this.update(0); } },
        el("option", { value: "" }, "all"), options);
      choices.push(el("label", {}, label, select));
    }
    const many = el("select", { id: "rows-a-page", onchange: () => { this.size = Number(many.value); this.update(0); } },
      [25, 50, 100, 250].map((k) => el("option", { value: k, selected: k === 50 }, String(k))));
    const bar = el("div", { class: "controls", role: "search", "aria-label": `Find ${store.head.noun || "features"}` },
      el("label", {}, "Search", this.search), choices, el("label", {}, "Rows", many),
      el("button", { type: "button", id: "clear", onclick: () => this.clear() }, "Show all"),
      el("button", { type: "button", id: "csv-features", onclick: () => this.download() }, "CSV of these rows"));
    this.said = el("p", { class: "small", role: "status", id: "rows-shown" });
    this.pager = el("div", { class: "pager" });
    this.region.before(bar, this.said);
    this.region.after(this.pager);
  }

  soon() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => { this.wanted.text = this.search.value.trim().toLowerCase(); this.update(0); }, this.store.n > 50000 ? 250 : 80);
  }

  clear() {
    this.wanted = { text: "", box: null, codes: {} };
    this.search.value = "";
    document.querySelectorAll(".controls select[id^=only]").forEach((s) => { s.value = ""; });
    this.act.boxed(null);
    this.update(0);
  }

  kept() {
    const { store, wanted } = this;
    const asked = Object.entries(wanted.codes).filter(([, v]) => v !== "").map(([k, v]) => [store.columns.get(k).codes, Number(v)]);
    const { text, box } = wanted;
    if (!asked.length && !text && !box) return this.order;
    // What stands in words of few kinds is searched once a kind, not once a row.
    const searched = [...store.columns.values()].filter((c) => ["text", "runs", "code"].includes(c.c.type) && c.c.key !== "name")
      .map((c) => (c.c.type === "code" ? { codes: c.codes, hit: c.c.levels.map((w) => w.toLowerCase().includes(text)) } : { at: c.at }));
    const hit = (i) => searched.some((c) => (c.codes ? c.hit[c.codes[i]] : c.at(i).toLowerCase().includes(text)));
    return this.order.filter((i) => asked.every(([codes, v]) => codes[i] === v) && (!box || box(i)) && (!text || hit(i)));
  }

  update(page = this.page) {
    this.view = this.kept();
    this.page = Math.max(0, Math.min(page, Math.ceil(this.view.length / this.size) - 1));
    this.draw();
    this.act.filtered(this.view.length === this.store.n ? null : this.view);
  }

  draw() {
    const from = this.page * this.size, rows = [...this.view.slice(from, from + this.size)];
    this.body.replaceChildren(...rows.map((i) => this.row(i)));
    if (!rows.length) this.body.append(el("tr", {}, el("td", { colspan: this.shown.length }, "Nothing fits. “Show all” takes every filter away.")));
    const count = (n) => n.toLocaleString("en");
    const of = this.view.length === this.store.n ? "" : ` of ${count(this.store.n)} tested`;
    const noun = this.store.head.noun || (this.store.head.several ? "effects" : "features");
    this.said.textContent = `${rows.length ? `${count(from + 1)} to ${count(from + rows.length)} of ` : ""}${count(this.view.length)} ${noun}${of}.`;
    const last = Math.ceil(this.view.length / this.size) - 1;
    const go = (words, to, off) => el("button", { type: "button", disabled: off, onclick: () => { this.page = to; this.draw(); this.region.scrollTop = 0; } }, words);
    this.pager.replaceChildren(...(last > 0 ? [go("First", 0, this.page === 0), go("Previous", this.page - 1, this.page === 0),
      el("span", {}, `Page ${count(this.page + 1)} of ${count(last + 1)}`),
      go("Next", this.page + 1, this.page === last), go("Last", last, this.page === last)] : []));
  }

  row(i) {
    const slug = this.store.head.slugs[i];
    return el("tr", { id: slug || `row-${i}`, "data-row": i, class: i === this.open ? "open" : undefined, onmouseenter: () => this.act.point(i), onmouseleave: () => this.act.point(-1) },
      this.shown.map((d) => this.cell(d, i)));
  }

  cell(d, i) {
    const { store } = this, note = d.below ? store.text(d.below, i) : "";
    if (d.kind === "name") {
      const button = el("button", { type: "button", class: "open-card", title: store.text("name", i) || undefined, onclick: () => this.act.open(i, button) }, el("bdi", {}, store.text(d.key, i)));
      return el("th", { scope: "row", class: "name" }, button);
    }
    if (d.kind === "effect" || d.kind === "plain") {
      const decimals = d.digits ?? store.head.decimals[store.outcome(i)], v = store.number(d.key, i) * (d.percent ? 100 : 1);
      const words = d.kind === "plain" ? unsigned(v, decimals) + (d.percent && Number.isFinite(v) ? "%" : "") : signed(v, decimals);
      const ends = d.lower ? interval(store.number(d.lower, i), store.number(d.upper, i), decimals) : "";
      return el("td", { class: "n" }, d.absent && words === DASH ? d.absent : words, ends ? el("span", { class: "ci" }, ends) : "");
    }
    const word = store.text(d.key, i);
    if (d.kind === "verdict") {
      return el("td", {}, el("span", { class: `verdict ${store.look(word)}` }, word), note ? el("span", { class: `ci ${note.replaceAll(" ", "-")}` }, note) : "");
    }
    return el("td", { class: d.key === "status" ? (word === "ok" ? undefined : "note") : d.class }, el("bdi", {}, word));
  }

  // The page that holds a row, and the row.
  reach(i) {
    let place = this.view.indexOf(i);
    if (place < 0) { this.clear(); place = this.view.indexOf(i); }
    this.page = Math.floor(place / this.size);
    this.draw();
    return this.body.querySelector(`tr[data-row="${i}"]`);
  }

  download() {
    const { store } = this, keys = store.head.csv.filter((k) => store.has(k));
    const lines = [keys.map(csvCell).join(",")];
    for (const i of this.view) lines.push(keys.map((k) => csvCell(store.get(k, i))).join(","));
    save("features.csv", lines.join("\r\n") + "\r\n", "text/csv");
  }
}
