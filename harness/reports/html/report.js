"use strict";
// The grid of lengths and runtimes, the filter, and one cell. Names from files are text, never HTML.

const {cells, texts} = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = 96; // of a grid; more lengths than that stand together
const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
const [grid, detail] = ["grid", "detail"].map((id) => document.getElementById(id));
const filter = Object.fromEntries(
  ["find", "model", "runtime", "status"].map((id) => [id, document.getElementById(id)]));
const groups = new Map();
let open = null; // {cell, number of its case, name of its output, square}

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

/** Returns how bad a case is: those that crashed last, then that failed, then by their ratio. */
function badness(cell, number) {
  const status = statusOf(cell, number);
  return (status === "error" ? 1e80 : status === "pass" ? 0 : 1e40) + (ratioOf(cell, number) ?? 0);
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
      if (!column) byLengths.set(key, column = {lengths, first: key, last: key, cases: new Map()});
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
    column.label = (column.first === column.last ? column.first : `${column.first} to ${column.last}`) || "one step";
    joined.push(column);
  }
  return joined;
}

/** Returns the square of a cell and its cases at a column, the worst first. */
function squareOf(cell, column) {
  const numbers = column.cases.get(cell);
  if (!numbers) return make("td");
  numbers.sort((a, b) => badness(cell, b) - badness(cell, a));
  const kind = level(cell, numbers[0]);
  const sign = kind === "lost" ? "?" : kind === "crash" ? "!" : kind.startsWith("f") ? "×" : "";
  const ratio = ratioOf(cell, numbers[0]);
  const size = ratio === null ? statusOf(cell, numbers[0]) : `${figure(ratio)} × tolerance`;
  const label = `${cell.runtime}, ${cell.axes.join(" × ")} ${column.label}: ${size}, ${numbers.length} case${numbers.length === 1 ? "" : "s"}`;
  const square = make("td", {class: `square ${kind}`, tabindex: -1, title: label, "aria-label": label}, sign);
  square.opens = () => show(cell, numbers[0], null, square);
  square.numbers = numbers;
  square.cell = cell;
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
    return make("tr", {}, make("th", {scope: "row"}, name), make("td", {class: `state ${cell.status}`}, cell.status),
      ...(cell.batch.length ? squares : [make("td", {colspan: columns.length + 1, class: "why", title: why}, why)]));
  });
  const table = make("table", {class: "squares", role: "grid", "aria-label": group.cells[0].id.slice(0, 4).join("/")},
    make("thead", {}, make("tr", {}, make("th", {scope: "col"}, "runtime"), make("th", {scope: "col"}, "status"), ...heads, make("td", {class: "rest"}))),
    make("tbody", {}, ...group.rows));
  table.querySelector(".square")?.setAttribute("tabindex", 0);
  group.section.style.minHeight = "";
  group.section.append(make("div", {class: "scroll"}, table));
  group.rows.forEach((row, place) => { row.hidden = !matches(group.cells[place]); });
}

/** Returns the place of a cell's worst case; undefined where it has none. */
function worst(cell) {
  let found;
  for (let number = 0; number < cell.batch.length; number += 1) {
    if (found === undefined || badness(cell, number) > badness(cell, found)) found = number;
  }
  return found;
}

function matches(cell) {
  const {find, model, runtime, status} = filter;
  return (!model.value || cell.id[0] === model.value) && (!runtime.value || cell.runtime === runtime.value)
    && (!status.value || cell.status === status.value)
    && cell.name.toLowerCase().includes(find.value.trim().toLowerCase());
}

/** Shows what the filter leaves. */
function sift() {
  let count = 0;
  for (const group of groups.values()) {
    const left = group.cells.map(matches);
    count += left.filter(Boolean).length;
    group.section.hidden = !left.includes(true);
    group.rows?.forEach((row, place) => { row.hidden = !left[place]; });
  }
  document.getElementById("found").textContent = `${count.toLocaleString("en")} of ${cells.length.toLocaleString("en")} cells`;
}

const seen = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) draw(target.group);
}, {rootMargin: "600px"});
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
for (const [place, of] of [["model", (cell) => cell.id[0]], ["runtime", (cell) => cell.runtime]]) {
  for (const name of new Set(cells.map(of))) filter[place].append(make("option", {value: name}, name));
}
document.getElementById("filter").addEventListener("input", sift);
document.getElementById("filter").addEventListener("submit", (event) => event.preventDefault());
sift();

/** Returns text in which addresses are links. */
function linked(text) {
  return text.split(/(https:\/\/[^\s\]\)"'<>]+)/).map((part, place) =>
    (place % 2 ? make("a", {href: part, rel: "noreferrer noopener"}, part) : part));
}

/** Returns JSON for reading. */
function tree(value) {
  if (value === null || typeof value !== "object") return make("span", {}, ...linked(String(value ?? "none")));
  if (Array.isArray(value)) {
    return value.length ? make("ul", {}, ...value.map((each) => make("li", {}, tree(each)))) : make("span", {}, "none");
  }
  const rows = Object.entries(value).flatMap(([name, each]) => [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, tree(each))]);
  return rows.length ? make("dl", {}, ...rows) : make("span", {}, "none");
}

/** Returns where each operator ran, as a table. */
function placement(byProvider) {
  const providers = Object.keys(byProvider);
  const operators = [...new Set(providers.flatMap((name) => Object.keys(byProvider[name])))].sort();
  return make("table", {class: "figures"},
    make("tr", {}, make("th", {scope: "col"}, "nodes"), ...providers.map((name) => make("th", {scope: "col"}, name))),
    ...operators.map((operator) => make("tr", {}, make("th", {scope: "row"}, operator),
      ...providers.map((name) => make("td", {}, String(byProvider[name][operator] ?? ""))))));
}

const caseText = (cell, number) => [
  cell.axes.map((axis, place) => `${axis} ${cell.lengths[place][number]}`).join(", ") || "one step",
  `batch ${cell.batch[number]}`, texts[cell.kind[number]]].filter(Boolean).join(", ");

/** Shows a cell, at one of its cases and outputs. */
function show(cell, number, output, square) {
  const before = open;
  square ??= before && before.cell === cell ? before.square : null;
  if (square && !square.numbers.includes(number)) square = null;
  before?.square?.removeAttribute("aria-selected");
  square?.setAttribute("aria-selected", "true");
  output ??= cell.outputs.reduce((a, b) => ((b.ratio[number] ?? -1) > (a?.ratio[number] ?? -1) ? b : a), null);
  open = {cell, number, output, square, from: before?.from ?? document.activeElement};
  history.replaceState(null, "", `#${encodeURI(cell.name)}${number === undefined ? "" : `:${number}`}`);
  detail.hidden = false;
  const heading = make("h2", {tabindex: -1}, cell.name);
  detail.replaceChildren(
    make("button", {class: "close", type: "button", onclick: close}, "close"), heading,
    make("p", {}, make("b", {class: cell.status}, cell.status), ` at stage ${cell.stage}, ${figure(cell.seconds)} s`),
    ...reasons(cell), ...(number === undefined ? [] : aCase(cell, number, square)), ...evidence(cell));
  if (output) curves(cell, number, output);
  if (!before) heading.focus({preventScroll: true});
}

function reasons(cell) {
  const text = texts[cell.reason];
  const title = {xfail: "Expected failure", xpass: "Unexpected pass"}[cell.status];
  return [...(title ? [make("h3", {}, title)] : []), ...(text ? [make("p", {}, ...linked(text))] : [])];
}

/** Returns the figures of a case, with places for its curves. */
function aCase(cell, number, square) {
  const numbers = [...(square ? square.numbers : cell.batch.keys())].slice(0, 500);
  if (!numbers.includes(number)) numbers.unshift(number);
  const choice = make("select", {"aria-label": "case", onchange: () => show(cell, +choice.value, null, square)},
    ...numbers.map((each) => make("option", {value: each},
      `${caseText(cell, each)}: ${statusOf(cell, each)} ${figure(ratioOf(cell, each))}`)));
  choice.value = number;
  const left = cell.of > cell.batch.length ? [make("p", {}, `The worst ${cell.batch.length} of ${cell.of} cases are here.`)] : [];
  const why = texts[cell.why[number]];
  const outputs = cell.outputs.filter((each) => each.ratio[number] !== null);
  const rows = [
    ["error ÷ tolerance", (each) => figure(each.ratio[number])], ["error", (each) => figure(each.max_abs[number])],
    ["tolerance", (each) => figure(each.tolerance[number])], ["noise floor", (each) => figure(each.noise_floor[number])],
    ["relative error", (each) => figure(each.max_rel[number])], ["ulp", (each) => figure(each.max_ulp[number])],
    ["worst index", (each) => `[${each.worst_index[number].join(", ")}]`], ["worst step", (each) => figure(each.worst_step[number])],
    ["steps compared", (each) => `${figure(each.steps_compared[number])} of ${figure(each.steps[number])}`],
  ].map(([name, of]) => make("tr", {}, make("th", {scope: "row"}, name), ...outputs.map((each) => make("td", {}, of(each)))));
  const heads = outputs.map((each) => make("th", {scope: "col"}, make("button", {type: "button",
    "aria-pressed": each === open.output, onclick: () => show(cell, number, each, square)}, each.name)));
  return [
    make("h3", {}, "Case"), make("p", {}, choice), ...left, ...(why ? [make("p", {class: "fail"}, why)] : []),
    ...(outputs.length ? [make("div", {class: "scroll"}, make("table", {class: "figures"},
      make("tr", {}, make("th", {scope: "col"}, "output"), ...heads), ...rows)), make("div", {id: "curves"})] : []),
  ];
}

const keyOf = (name, colour) => {
  const line = make("i");
  line.style.color = `var(${colour})`;
  return make("span", {class: "key"}, line, name);
};

/** Draws an output's error against the step and against the length. */
function curves(cell, number, output) {
  const place = document.getElementById("curves");
  const [along, lengths] = [make("div", {class: "curve"}), make("div", {class: "curve"})];
  const slider = make("input", {type: "range", min: 0, value: 0, "aria-label": "time"});
  const said = make("output");
  const by = ratios(output.by_step[number]);
  const [steps, tolerance, floor] = ["steps", "tolerance", "noise_floor"].map((name) => output[name][number]);
  const starts = by.map((_, place) => Math.floor((place * steps) / by.length));
  const keys = [keyOf("error", "--error"), keyOf("tolerance", "--tolerance"), keyOf("noise floor", "--floor")];
  place.append(
    ...(by.length ? [make("h3", {}, `${output.name}: error ÷ tolerance against the step`), ...keys,
      along, make("div", {class: "time"}, slider, said)] : []),
    make("h3", {}, `${output.name}: error against the length`), ...keys.map((key) => key.cloneNode(true)), lengths);
  if (by.length) {
    const plot = chart(along, {
      x: starts, picked: (index) => { slider.value = index; move(); },
      curves: [{values: by, colour: "--error", points: by.includes(null)},
        {values: by.map(() => 1), colour: "--tolerance", dash: [6, 4]},
        ...(tolerance ? [{values: by.map(() => floor / tolerance), colour: "--floor", dash: [2, 3]}] : [])],
    });
    const move = () => {
      const index = +slider.value;
      const end = (starts[index + 1] ?? steps) - 1;
      const where = end > starts[index] ? `steps ${starts[index]} to ${end}` : `step ${starts[index]}`;
      said.textContent = `${where} of ${steps}: ${by[index] === null ? "not compared" : `${figure(+by[index].toPrecision(2))} × tolerance`}`;
      point(plot, index);
    };
    slider.max = by.length - 1;
    const step = output.worst_step[number];
    slider.value = step === null ? 0 : starts.filter((start) => start <= step).length - 1;
    slider.addEventListener("input", move);
    queueMicrotask(move); // once the chart is drawn
  }
  const worsts = byLength(cell, output);
  chart(lengths, {
    x: worsts.map(({length}) => length), logarithmic: true,
    picked: (index) => show(cell, worsts[index].number, output),
    curves: [{values: worsts.map((each) => output.max_abs[each.number]), colour: "--error", points: true},
      {values: worsts.map((each) => output.tolerance[each.number]), colour: "--tolerance", dash: [6, 4]},
      {values: worsts.map((each) => output.noise_floor[each.number]), colour: "--floor", dash: [2, 3]}],
  });
}

/** Returns the ratios along time from their digits. */
function ratios(code) {
  const values = [];
  for (let place = 0; place < code.length; place += 2) {
    const level = 64 * DIGITS.indexOf(code[place]) + DIGITS.indexOf(code[place + 1]);
    values.push(level === 4095 ? null : level === 0 ? 0 : 10 ** ((level - 2048) / 300));
  }
  return values;
}

/** Returns the worst case of an output at each of the longest lengths, in their order. */
function byLength(cell, output) {
  const found = new Map();
  output.ratio.forEach((ratio, number) => {
    const length = Math.max(1, ...lengthsOf(cell, number));
    const other = found.get(length);
    if (ratio !== null && (!other || ratio > other.ratio)) found.set(length, {length, number, ratio});
  });
  return [...found.values()].sort((a, b) => a.length - b.length);
}

function evidence(cell) {
  const all = Object.fromEntries(Object.entries(cell.evidence).map(([name, place]) => [name, texts[place]]));
  const {nodes_by_provider: nodes, account, lint, ...rest} = all;
  const copy = make("button", {type: "button", onclick: () => navigator.clipboard?.writeText(cell.replay)}, "copy");
  const tables = nodes && typeof nodes === "object" ? [make("h3", {}, "Placement"), placement(nodes)] : [];
  const weights = account ? [make("h3", {}, "Weights"), make("p", {}, texts[cell.weights]),
    make("details", {}, make("summary", {}, "where each lies"), tree(account))] : [];
  const found = texts[cell.diagnosis];
  const odd = /--(relation|expectations|load-outputs)/.test(cell.replay); // diagnose knows none of these
  const asks = BAD.has(cell.status) && !odd
    ? [make("pre", {}, cell.replay.replace("harness.validate", "harness.diagnose"))] : [];
  const diagnosis = found.length ? [make("pre", {class: "lines"}, found.join("\n").trim())] : asks;
  return [
    make("h3", {}, "Replay"), make("pre", {}, cell.replay), copy,
    ...(diagnosis.length ? [make("h3", {}, found.length ? "Diagnosis" : "To diagnose it"), ...diagnosis] : []),
    ...tables, ...weights,
    ...(lint?.length ? [make("h3", {}, "Lint"), tree(lint)] : []),
    make("h3", {}, "Evidence"), tree(rest)];
}

function close() {
  const {square, from} = open;
  square?.removeAttribute("aria-selected");
  open = null;
  detail.hidden = true;
  (square ?? from)?.focus?.();
  history.replaceState(null, "", location.pathname + location.search);
}

/** Shows the cell, and its case, that the address names. */
function follow() {
  let name = location.hash.slice(1);
  try { name = decodeURI(name); } catch { return; }
  const cell = cells.find((each) => each.name === name) ?? cells.find((each) => each.name === name.replace(/:\d+$/, ""));
  if (!cell) return;
  const number = +(name.match(/:(\d+)$/)?.[1] ?? worst(cell));
  reveal(cell, number < cell.batch.length ? number : worst(cell));
}

/** Shows a cell, and its row in the grid. */
function reveal(cell, number) {
  const group = groups.get(JSON.stringify(cell.id.slice(0, 4)));
  draw(group);
  const row = group.rows[group.cells.indexOf(cell)];
  show(cell, number, null, [...row.querySelectorAll(".square")].find((each) => each.numbers.includes(number)));
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
  const rows = [...row.parentElement.children].filter((each) => !each.hidden && each.querySelector(".square"));
  const along = {ArrowLeft: -1, ArrowRight: 1}[key];
  const squares = [...row.querySelectorAll(".square")];
  const target = key === "Home" ? squares[0] : key === "End" ? squares.at(-1)
    : along ? squares[squares.indexOf(square) + along]
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
