// Every table as CSV and every figure as SVG, made here: nothing is fetched.
function csvCell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  // What begins like a formula is kept from being one in a spreadsheet.
  const text = /^[\s]*[=+\-@\t\r]/.test(value) && !/^[+-]?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function saveTable(table, name) {
  const words = (c) => [...c.childNodes].map((n) => n.textContent.trim().replace(/\s+/g, " ")).filter((t) => t).join("; ").replaceAll(MINUS, "-");
  const lines = [...table.rows].map((r) => [...r.cells].map((c) => csvCell(words(c))).join(","));
  save(`${name}.csv`, lines.join("\r\n") + "\r\n", "text/csv");
}

const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "text-anchor", "dominant-baseline"];

function saveFigure(svg, name) {
  const copy = svg.cloneNode(true), box = svg.viewBox.baseVal;
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("xmlns:xlink", "http://www.w3.org/1999/xlink");
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  if (svg.classList.contains("drawn")) { // its looks come from the page's style
    const from = [...svg.querySelectorAll("*")], to = [...copy.querySelectorAll("*")];
    from.forEach((node, k) => {
      const style = getComputedStyle(node);
      DRAWN.forEach((p) => to[k].setAttribute(p, style.getPropertyValue(p)));
    });
  }
  save(`${name}.svg`, new XMLSerializer().serializeToString(copy), "image/svg+xml");
}

function named(words) { return (words || "table").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "table"; }

function offerDownloads(root) {
  root.querySelectorAll(".scroll > table").forEach((table) => {
    const box = table.parentElement, label = box.getAttribute("aria-label") || "table";
    if (box.id === "all-features" || box.dataset.offered) return;
    box.dataset.offered = "yes";
    box.after(el("p", { class: "downloads" }, el("button", { type: "button", "aria-label": `CSV of ${label}`, onclick: () => saveTable(table, named(label)) }, "CSV")));
  });
  root.querySelectorAll("figure svg").forEach((svg) => {
    if (svg.dataset.offered) return;
    svg.dataset.offered = "yes";
    const label = svg.getAttribute("aria-label") || "figure", frame = svg.closest(".figure-scroll") || svg;
    frame.after(el("p", { class: "downloads" }, el("button", { type: "button", "aria-label": `SVG of ${label}`, onclick: () => saveFigure(svg, named(label)) }, "SVG")));
  });
}
