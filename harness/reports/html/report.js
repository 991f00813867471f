"use strict";
// The data, the grid of lengths and runtimes, the filter and the keys.
// What comes from files becomes text of an element, never HTML.

const {cells, texts} = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = 96; // of a grid; more lengths than that stand together
const [grid, detail] = ["grid", "detail"].map((id) => document.getElementById(id));
const filter = Object.fromEntries(
  ["find", "model", "runtime", "status"].map((id) => [id, document.getElementById(id)]),
);
const groups = new Map();

/** Returns a new element; children are elements or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const lengthsOf = (cell, number) => cell.lengths.map((column) => column[number]);
const statusOf = (cell, number) => texts[cell.status_of[number]];

const BAD = new Set(["fail", "xfail", "error"]);

/** Returns the largest error over tolerance of a case; null where nothing was compared. */
function ratioOf(cell, number) {
  let worst = null;
  for (const {ratio} of cell.outputs) {
    if (ratio[number] !== null && (worst === null || ratio[number] > worst)) worst = ratio[number];
  }
  return worst;
}

/** Returns the order of two cases: those that crashed first, then that failed, then by their ratio. */
function byBadness(cell, one, other) {
  const [a, b] = [one, other].map((number) => ["pass", "fail", "error"].indexOf(statusOf(cell, number)));
  return b - a || (ratioOf(cell, other) ?? 0) - (ratioOf(cell, one) ?? 0);
}

/** Returns the class of a square's colour. */
function level(cell, number) {
  const [status, ratio] = [statusOf(cell, number), ratioOf(cell, number)];
  if (status === "error") return "crash";
  if (ratio === null) return "lost";
  if (status === "pass") return ratio <= 0.01 ? "p0" : ratio <= 0.1 ? "p1" : ratio <= 0.3 ? "p2" : "p3";
  return ratio <= 1 ? "f2" : ratio <= 3 ? "f0" : ratio <= 30 ? "f1" : "f2";
}

for (const cell of cells) {
  cell.name = cell.id.join("/");
  cell.runtime = cell.id[4];
  const key = JSON.stringify(cell.id.slice(0, 4));
  if (!groups.has(key)) groups.set(key, {id: cell.id, cells: []});
  groups.get(key).cells.push(cell);
}

/** Returns the columns of a model's grid: runs of lengths, in order, each with its cases by cell. */
function columnsOf(group) {
  const byLengths = new Map();
  for (const cell of group.cells) {
    for (let number = 0; number < cell.batch.length; number += 1) {
      const lengths = lengthsOf(cell, number);
      const key = lengths.join(" × ");
      let column = byLengths.get(key);
      if (!column) byLengths.set(key, (column = {lengths, first: key, last: key, cases: new Map()}));
      if (!column.cases.has(cell)) column.cases.set(cell, []);
      column.cases.get(cell).push(number);
    }
  }
  const order = (a, b) => a.lengths.reduce((sign, length, axis) => sign || length - b.lengths[axis], 0);
  const sorted = [...byLengths.values()].sort(order);
  const together = Math.ceil(sorted.length / COLUMNS);
  const joined = [];
  for (let start = 0; start < sorted.length; start += together) {
    const column = sorted[start];
    for (const more of sorted.slice(start + 1, start + together)) {
      column.last = more.last;
      for (const [cell, numbers] of more.cases) {
        column.cases.set(cell, [...(column.cases.get(cell) ?? []), ...numbers]);
      }
    }
    column.label =
      (column.first === column.last ? column.first : `${column.first} to ${column.last}`) || "one step";
    joined.push(column);
  }
  return joined;
}

/** Returns the square of a cell and its cases at a column, the worst first. */
function squareOf(cell, column) {
  const numbers = column.cases.get(cell);
  if (!numbers) return make("td");
  numbers.sort((a, b) => byBadness(cell, a, b));
  const kind = level(cell, numbers[0]);
  const sign = kind === "lost" ? "?" : kind === "crash" ? "!" : kind.startsWith("f") ? "×" : "";
  const ratio = ratioOf(cell, numbers[0]);
  const size = ratio === null ? statusOf(cell, numbers[0]) : `${figure(ratio)} × tolerance`;
  const count = `${numbers.length} case${numbers.length === 1 ? "" : "s"}`;
  const label = `${cell.runtime}, ${cell.axes.join(" × ")} ${column.label}: ${size}, ${count}`;
  const square = make("td", {class: `square ${kind}`, tabindex: -1, title: label, "aria-label": label}, sign);
  square.opens = () => show(cell, numbers[0], null, square);
  square.numbers = numbers;
  return square;
}

/** Fills the section of a model with its table. */
function draw(group) {
  if (group.rows) return;
  const columns = columnsOf(group);
  const heads = columns.map((column) => make("th", {scope: "col", class: "length"}, column.label));
  group.rows = group.cells.map((cell) => {
    const name = make("button", {type: "button", onclick: () => show(cell, worst(cell))}, cell.runtime);
    const squares = columns.map((column) => squareOf(cell, column));
    const why = `${cell.stage}: ${texts[cell.reason]}`;
    return make(
      "tr",
      {},
      make("th", {scope: "row"}, name),
      make("td", {class: `state ${cell.status}`}, cell.status),
      ...(cell.batch.length
        ? squares
        : [make("td", {colspan: columns.length + 1, class: "why", title: why}, why)]),
    );
  });
  const table = make(
    "table",
    {class: "squares", role: "grid", "aria-label": group.cells[0].id.slice(0, 4).join("/")},
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", {scope: "col"}, "runtime"),
        make("th", {scope: "col"}, "status"),
        ...heads,
        make("td", {class: "rest"}),
      ),
    ),
    make("tbody", {}, ...group.rows),
  );
  table.querySelector(".square")?.setAttribute("tabindex", 0);
  group.section.style.minHeight = "";
  group.section.append(make("div", {class: "scroll"}, table));
  group.rows.forEach((row, place) => {
    row.hidden = !matches(group.cells[place]);
  });
}

/** Returns the place of a cell's worst case; undefined where it has none. */
function worst(cell) {
  let found;
  for (let number = 0; number < cell.batch.length; number += 1) {
    if (found === undefined || byBadness(cell, number, found) < 0) found = number;
  }
  return found;
}

function matches(cell) {
  const {find, model, runtime, status} = filter;
  return (
    (!model.value || cell.id[0] === model.value) &&
    (!runtime.value || cell.runtime === runtime.value) &&
    (!status.value || cell.status === status.value) &&
    cell.name.toLowerCase().includes(find.value.trim().toLowerCase())
  );
}

/** Shows what the filter leaves. */
function sift() {
  let count = 0;
  for (const group of groups.values()) {
    const left = group.cells.map(matches);
    count += left.filter(Boolean).length;
    group.section.hidden = !left.includes(true);
    group.rows?.forEach((row, place) => {
      row.hidden = !left[place];
    });
  }
  document.getElementById("found").textContent =
    `${count.toLocaleString("en")} of ${cells.length.toLocaleString("en")} cells`;
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const {isIntersecting, target} of entries) if (isIntersecting) draw(target.group);
  },
  {rootMargin: "600px"},
);
for (const group of groups.values()) {
  const [model, ...rest] = group.id;
  const axes = group.cells.find((cell) => cell.axes.length)?.axes.join(" × ");
  const about = `${rest.slice(0, 3).join(" / ")}${axes ? `, by ${axes}` : ""}`;
  group.section = make("section", {class: "model"}, make("h2", {}, model, " ", make("small", {}, about)));
  group.section.group = group;
  group.section.style.minHeight = `${5 + 1.5 * group.cells.length}rem`; // until it is drawn
  grid.append(group.section);
  seen.observe(group.section);
}
for (const [place, of] of [
  ["model", (cell) => cell.id[0]],
  ["runtime", (cell) => cell.runtime],
]) {
  for (const name of new Set(cells.map(of))) filter[place].append(make("option", {value: name}, name));
}
document.getElementById("filter").addEventListener("input", sift);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
sift();

/** Shows the cell, and its case, that the address names. */
function follow() {
  let name = location.hash.slice(1);
  try {
    name = decodeURI(name);
  } catch {
    return;
  }
  const cell =
    cells.find((each) => each.name === name) ?? cells.find((each) => each.name === name.replace(/:\d+$/, ""));
  if (!cell) return;
  const number = +(name.match(/:(\d+)$/)?.[1] ?? worst(cell));
  reveal(cell, number < cell.batch.length ? number : worst(cell));
}

/** Shows a cell, and its row in the grid. */
function reveal(cell, number) {
  const group = groups.get(JSON.stringify(cell.id.slice(0, 4)));
  draw(group);
  const row = group.rows[group.cells.indexOf(cell)];
  show(
    cell,
    number,
    null,
    [...row.querySelectorAll(".square")].find((each) => each.numbers.includes(number)),
  );
  row.scrollIntoView({block: "center"});
}

/** Goes to the next cell that does not pass, among those that are shown. */
function next(by) {
  const bad = cells.filter((cell) => matches(cell) && !["pass", "unavailable"].includes(cell.status));
  if (!bad.length) return;
  const at = open ? bad.indexOf(open.cell) : by > 0 ? -1 : 0;
  const cell = bad[(at + by + bad.length) % bad.length];
  reveal(cell, worst(cell));
}

/** Moves the focus from a square to another. */
function step(square, key) {
  const row = square.parentElement;
  const rows = [...row.parentElement.children].filter(
    (each) => !each.hidden && each.querySelector(".square"),
  );
  const along = {ArrowLeft: -1, ArrowRight: 1}[key];
  const squares = [...row.querySelectorAll(".square")];
  const target =
    key === "Home"
      ? squares[0]
      : key === "End"
        ? squares.at(-1)
        : along
          ? squares[squares.indexOf(square) + along]
          : rows[rows.indexOf(row) + (key === "ArrowUp" ? -1 : 1)]?.children[square.cellIndex];
  if (!target?.classList.contains("square")) return;
  square.setAttribute("tabindex", -1);
  target.setAttribute("tabindex", 0);
  target.focus();
}

grid.addEventListener("click", ({target}) => target.closest(".square")?.opens());
document.addEventListener("keydown", (event) => {
  const {key, target} = event;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (key === "Escape" && open) close();
  else if (target.matches("input, select")) return;
  else if (key === "/") filter.find.focus();
  else if (key === "n" || key === "p") next(key === "n" ? 1 : -1);
  else if (target.matches(".square") && (key === "Enter" || key === " ")) target.opens();
  else if (target.matches(".square") && /^(Arrow|Home$|End$)/.test(key)) step(target, key);
  else return;
  event.preventDefault();
});
const redraw = () => open && show(open.cell, open.number, open.output, open.square);
document.getElementById("theme").addEventListener("click", () => {
  const schemes = ["light dark", "dark", "light"];
  const style = document.documentElement.style;
  style.colorScheme = schemes[(schemes.indexOf(style.colorScheme || schemes[0]) + 1) % 3];
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("hashchange", follow);
follow();
