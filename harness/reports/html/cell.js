"use strict";
// One cell: its figures, curves and evidence, at one of its cases and outputs.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
let open = null; // {cell, number of its case, output, square, where the focus was}

/** Returns text in which addresses are links. */
function linked(text) {
  return text
    .split(/(https:\/\/[^\s\]\)"'<>]+)/)
    .map((part, place) => (place % 2 ? make("a", {href: part, rel: "noreferrer noopener"}, part) : part));
}

/** Returns JSON for reading. */
function tree(value) {
  if (value === null || typeof value !== "object")
    return make("span", {}, ...linked(String(value ?? "none")));
  if (Array.isArray(value)) {
    return value.length
      ? make("ul", {}, ...value.map((each) => make("li", {}, tree(each))))
      : make("span", {}, "none");
  }
  const rows = Object.entries(value).flatMap(([name, each]) => [
    make("dt", {}, name.replaceAll("_", " ")),
    make("dd", {}, tree(each)),
  ]);
  return rows.length ? make("dl", {}, ...rows) : make("span", {}, "none");
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/** Returns where each operator ran, as a table; what is no such record as it is. */
function placement(byProvider) {
  const counts = (value) => isObject(value) && Object.values(value).every((each) => typeof each === "number");
  if (!isObject(byProvider) || !Object.values(byProvider).every(counts)) return tree(byProvider);
  const providers = Object.keys(byProvider);
  const operators = [...new Set(providers.flatMap((name) => Object.keys(byProvider[name])))].sort();
  const ran = (nodes, operator) => (Object.hasOwn(nodes, operator) ? [String(nodes[operator])] : []);
  return make(
    "table",
    {class: "figures"},
    make(
      "tr",
      {},
      make("th", {scope: "col"}, "nodes"),
      ...providers.map((name) => make("th", {scope: "col"}, name)),
    ),
    ...operators.map((operator) =>
      make(
        "tr",
        {},
        make("th", {scope: "row"}, operator),
        ...providers.map((name) => make("td", {}, ...ran(byProvider[name], operator))),
      ),
    ),
  );
}

const caseText = (cell, number) =>
  [
    cell.axes.map((axis, place) => `${axis} ${cell.lengths[place][number] ?? "none"}`).join(", ") ||
      "one step",
    `batch ${cell.batch[number]}`,
    texts[cell.kind[number]],
  ]
    .filter(Boolean)
    .join(", ");

/** Shows a cell, at one of its cases and outputs. */
function show(cell, number, output, square) {
  const before = open;
  square ??= before && before.cell === cell ? before.square : null;
  if (square && !square.numbers.includes(number)) square = null;
  before?.square?.removeAttribute("aria-selected");
  square?.setAttribute("aria-selected", "true");
  output ??= cell.outputs.reduce(
    (a, b) => ((b.ratio[number] ?? -1) > (a?.ratio[number] ?? -1) ? b : a),
    null,
  );
  open = {cell, number, output, square, from: before?.from ?? document.activeElement};
  history.replaceState(null, "", `#${encodeURI(cell.name)}${number === undefined ? "" : `:${number}`}`);
  detail.hidden = false;
  const heading = make("h2", {tabindex: -1}, cell.name);
  detail.replaceChildren(
    make("button", {class: "close", type: "button", onclick: close}, "close"),
    heading,
    make(
      "p",
      {},
      make("b", {class: cell.status}, cell.status),
      ` at stage ${cell.stage}, ${figure(cell.seconds)} s`,
    ),
    ...reasons(cell),
    ...(number === undefined ? [] : aCase(cell, number, square)),
    ...evidence(cell),
  );
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
  const choice = make(
    "select",
    {"aria-label": "case", onchange: () => show(cell, +choice.value, null, square)},
    ...numbers.map((each) =>
      make(
        "option",
        {value: each},
        `${caseText(cell, each)}: ${statusOf(cell, each)} ${figure(ratioOf(cell, each))}`,
      ),
    ),
  );
  choice.value = number;
  const left =
    cell.of > cell.batch.length
      ? [make("p", {}, `The worst ${cell.batch.length} of ${cell.of} cases are here.`)]
      : [];
  const why = texts[cell.why[number]];
  const outputs = cell.outputs.filter((each) => each.ratio[number] !== null);
  const rows = [
    ["error ÷ tolerance", (each) => figure(each.ratio[number])],
    ["error", (each) => figure(each.max_abs[number])],
    ["tolerance", (each) => figure(each.tolerance[number])],
    ["noise floor", (each) => figure(each.noise_floor[number])],
    ["relative error", (each) => figure(each.max_rel[number])],
    ["ulp", (each) => figure(each.max_ulp[number])],
    ["worst index", (each) => `[${each.worst_index[number].join(", ")}]`],
    ["worst step", (each) => figure(each.worst_step[number])],
    ["steps compared", (each) => `${figure(each.steps_compared[number])} of ${figure(each.steps[number])}`],
  ].map(([name, of]) =>
    make("tr", {}, make("th", {scope: "row"}, name), ...outputs.map((each) => make("td", {}, of(each)))),
  );
  const heads = outputs.map((each) =>
    make(
      "th",
      {scope: "col"},
      make(
        "button",
        {
          type: "button",
          "aria-pressed": each === open.output,
          onclick: () => show(cell, number, each, square),
        },
        each.name,
      ),
    ),
  );
  return [
    make("h3", {}, "Case"),
    make("p", {}, choice),
    ...left,
    ...(why ? [make("p", {class: "fail"}, why)] : []),
    ...(outputs.length
      ? [
          make(
            "div",
            {class: "scroll"},
            make(
              "table",
              {class: "figures"},
              make("tr", {}, make("th", {scope: "col"}, "output"), ...heads),
              ...rows,
            ),
          ),
          make("div", {id: "curves"}),
        ]
      : []),
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
  const keys = [
    keyOf("error", "--error"),
    keyOf("tolerance", "--tolerance"),
    keyOf("noise floor", "--floor"),
  ];
  place.append(
    ...(by.length
      ? [
          make("h3", {}, `${output.name}: error ÷ tolerance against the step`),
          ...keys,
          along,
          make("div", {class: "time"}, slider, said),
        ]
      : []),
    make("h3", {}, `${output.name}: error against the length`),
    ...keys.map((key) => key.cloneNode(true)),
    lengths,
  );
  if (by.length) {
    const plot = chart(along, {
      x: starts,
      picked: (index) => {
        slider.value = index;
        move();
      },
      curves: [
        {values: by, colour: "--error", points: by.includes(null)},
        {values: by.map(() => 1), colour: "--tolerance", dash: [6, 4]},
        ...(tolerance ? [{values: by.map(() => floor / tolerance), colour: "--floor", dash: [2, 3]}] : []),
      ],
    });
    const move = () => {
      const index = +slider.value;
      const end = (starts[index + 1] ?? steps) - 1;
      const where = end > starts[index] ? `steps ${starts[index]} to ${end}` : `step ${starts[index]}`;
      const ratio = by[index] === null ? "not compared" : `${figure(+by[index].toPrecision(2))} × tolerance`;
      said.textContent = `${where} of ${steps}: ${ratio}`;
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
    x: worsts.map(({length}) => length),
    logarithmic: true,
    picked: (index) => show(cell, worsts[index].number, output),
    curves: [
      {values: worsts.map((each) => output.max_abs[each.number]), colour: "--error", points: true},
      {values: worsts.map((each) => output.tolerance[each.number]), colour: "--tolerance", dash: [6, 4]},
      {values: worsts.map((each) => output.noise_floor[each.number]), colour: "--floor", dash: [2, 3]},
    ],
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
  const copy = make(
    "button",
    {type: "button", onclick: () => navigator.clipboard?.writeText(cell.replay)},
    "copy",
  );
  const tables = nodes ? [make("h3", {}, "Placement"), placement(nodes)] : [];
  const weights = account
    ? [
        make("h3", {}, "Weights"),
        make("p", {}, texts[cell.weights]),
        make("details", {}, make("summary", {}, "where each lies"), tree(account)),
      ]
    : [];
  const found = texts[cell.diagnosis];
  const odd = /--(relation|expectations|load-outputs)/.test(cell.replay); // diagnose knows none of these
  const asks =
    BAD.has(cell.status) && !odd
      ? [make("pre", {}, cell.replay.replace("harness.validate", "harness.diagnose"))]
      : [];
  const diagnosis = found.length ? [make("pre", {class: "lines"}, found.join("\n").trim())] : asks;
  return [
    make("h3", {}, "Replay"),
    make("pre", {}, cell.replay),
    copy,
    ...(diagnosis.length
      ? [make("h3", {}, found.length ? "Diagnosis" : "To diagnose it"), ...diagnosis]
      : []),
    ...tables,
    ...weights,
    ...(Array.isArray(lint) && lint.length ? [make("h3", {}, "Lint"), tree(lint)] : []),
    make("h3", {}, "Evidence"),
    tree(rest),
  ];
}

function close() {
  const {square, from} = open;
  square?.removeAttribute("aria-selected");
  open = null;
  detail.hidden = true;
  (square ?? from)?.focus?.();
  history.replaceState(null, "", location.pathname + location.search);
}
