
"use strict";
// The page says everything without this script; it adds sorting, the filter, and opens what is folded when asked for.
const dash = new Set(["", "–", "-", "—"]);
const collator = new Intl.Collator("en", {numeric: true, sensitivity: "base"});

/** A cell's place in a sort: [0, number], [1, text] or [2] for a dash, which stays last either way. */
function key(cell) {
  const chip = cell.querySelector(".chip");
  if (chip) return [0, Number(chip.dataset.order), cell.textContent.trim()];
  const text = cell.textContent.trim();
  if (dash.has(text)) return [2, 0, ""];
  const found = /^(?:[^\d\s=]{1,3} ?= ?|[<>≤≥≈~] ?)?([−+-]?)(\d[\d,]*(?:\.\d+)?(?:e[−+-]?\d+)?)(?![\w])/i.exec(text);
  if (!found) return [1, 0, text];
  const size = Number(found[2].replaceAll(",", "").replace("−", "-"));
  return [0, /[−-]/.test(found[1]) ? -size : size, text];
}

function sort(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({row, key: key(row.cells[column]), was: Number(row.dataset.was)}));
  rows.sort((a, b) => {
    if (!direction) return a.was - b.was;
    if (a.key[0] === 2 || b.key[0] === 2) return a.key[0] - b.key[0] || a.was - b.was;
    const by = a.key[0] - b.key[0] || a.key[1] - b.key[1] || collator.compare(a.key[2], b.key[2]);
    return direction * by || a.was - b.was;
  });
  body.append(...rows.map((entry) => entry.row));
}

for (const table of document.querySelectorAll("main table")) {
  const rows = table.tBodies[0] ? [...table.tBodies[0].rows] : [];
  rows.forEach((row, number) => { row.dataset.was = number; });
  if (rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = {ascending: "descending", descending: ""}[head.getAttribute("aria-sort") ?? ""] ?? "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (next) head.setAttribute("aria-sort", next);
      sort(table, column, {ascending: 1, descending: -1}[next] ?? 0);
    });
  });
}

/** Open every fold around an element. */
function reveal(element) {
  for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
}

function toTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const row = target.closest("tr");
  if (row && row.hidden) { words.value = ""; verdict.value = ""; filter(); }
  reveal(target);
  target.scrollIntoView();
}

const form = document.getElementById("filter");
const words = document.getElementById("words");
const verdict = document.getElementById("verdict");
const claims = [...document.querySelectorAll("table.claims")].map((table) => ({
  table, box: table.parentElement, fold: table.closest("details"),
  rows: [...table.tBodies[0].rows].map((row) => ({
    row, text: row.textContent.toLowerCase(), word: row.querySelector(".chip")?.textContent ?? "",
    name: row.querySelector("td code")?.closest("a")?.href ?? row.cells[0].textContent,
  })),
}));
const opened = new Set();

/** Show the claims that have every word and the verdict; folds with such claims open, and close again afterwards. */
function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const active = wanted.length > 0 || verdict.value !== "";
  const all = new Set(), shown = new Set();
  for (const {box, fold, rows} of claims) {
    let any = false;
    for (const {row, text, word, name} of rows) {
      const fits = wanted.every((w) => text.includes(w)) && (!verdict.value || word === verdict.value);
      row.hidden = !fits;
      any ||= fits;
      all.add(name);
      if (fits) shown.add(name);
    }
    box.hidden = !any;
    if (fold) {
      fold.classList.toggle("none", !any);
      if (active && any && !fold.open) { fold.open = true; opened.add(fold); }
      if ((!active || !any) && opened.delete(fold)) fold.open = false;
    }
  }
  document.getElementById("count").textContent = active ? `${shown.size} of ${all.size} claims` : `${all.size} claims`;
}

if (form) {
  const counts = new Map();
  for (const {rows} of claims) {
    for (const {word, name} of rows) if (word) counts.set(word, (counts.get(word) ?? new Set()).add(name));
  }
  const ranked = [...document.querySelectorAll("table.claims .chip")];
  const order = new Map(ranked.map((chip) => [chip.textContent, Number(chip.dataset.order)]));
  for (const word of [...counts.keys()].sort((a, b) => order.get(a) - order.get(b))) {
    verdict.append(new Option(`${word} (${counts.get(word).size})`, word));
  }
  verdict.hidden = counts.size < 2;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  words.addEventListener("input", filter);
  verdict.addEventListener("change", filter);
  filter();
}

const wide = matchMedia("(min-width: 70rem)");
const contents = document.getElementById("toc");
contents.open = wide.matches;
wide.addEventListener("change", () => { contents.open = wide.matches; });

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("main details:not([open])")];
  for (const fold of folded) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });
addEventListener("hashchange", toTarget);
if (location.hash) toTarget();
