// Joins table, figure and cards; a fragment of the address opens a claim's card.
async function begin() {
  const store = new Store(await inflated("data"));
  const act = {
    view: () => table.view,
    point: (i) => scatter.mark(i),
    filtered: (view) => scatter.filtered(view),
    boxed: (box) => { if (!box) scatter.unbox(); else { table.wanted.box = box; table.update(0); } },
    clearBox: () => { table.wanted.box = null; scatter.unbox(); table.update(0); },
    closed: (i) => {
      table.open = -1;
      table.draw();
      history.replaceState(null, "", location.href.split("#")[0]);
      return table.body.querySelector(`tr[data-row="${i}"] .open-card`) || table.region;
    },
    open: (i, from) => {
      table.open = i;
      table.reach(i);
      cards.open(i, from);
      const place = `#${store.head.slugs[i] || `row-${i}`}`;
      if (location.hash !== place) history.replaceState(null, "", place);
    },
  };
  const scatter = new Scatter(store, act), table = new FeatureTable(store, act), cards = new Cards(store, act);
  const rows = new Map(Object.entries(store.head.slugs).map(([i, slug]) => [slug, Number(i)]));
  const follow = () => {
    const at = decodeURIComponent(location.hash.slice(1)), plain = /^row-(\d+)$/.exec(at);
    const i = rows.has(at) ? rows.get(at) : plain && Number(plain[1]) < store.n ? Number(plain[1]) : -1;
    if (i >= 0 && i !== cards.row) act.open(i, null);
  };
  table.update(0);
  offerDownloads(document);
  addEventListener("hashchange", follow);
  document.addEventListener("click", (e) => {
    const link = e.target.closest && e.target.closest('a[href^="#claim-"]');
    if (link && !e.ctrlKey && !e.metaKey) {
      const i = rows.get(decodeURIComponent(link.getAttribute("href").slice(1)));
      if (i !== undefined) { e.preventDefault(); act.open(i, link); }
    }
  });
  document.addEventListener("keydown", (e) => { if (e.key === "Escape" && cards.row >= 0 && cards.box.contains(document.activeElement)) cards.close(); });
  forPaper(table, scatter);
  follow();
  scatter.place();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
}

// On paper: up to 500 rows, everything that is folded, and the figure in the colors of paper.
function forPaper(table, scatter) {
  const root = document.documentElement;
  let size = 0, page = 0, folded = [];
  addEventListener("beforeprint", () => {
    [size, page] = [table.size, table.page];
    [table.size, table.page] = [500, 0];
    table.draw();
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((d) => { d.open = true; });
    root.classList.add("printing");
    scatter.redraw();
  });
  addEventListener("afterprint", () => {
    [table.size, table.page] = [size, page];
    table.draw();
    folded.forEach((d) => { d.open = false; });
    root.classList.remove("printing");
    scatter.redraw();
  });
}

document.documentElement.classList.add("live");
begin().catch((e) => {
  document.documentElement.classList.remove("live");
  console.error(e);
});
