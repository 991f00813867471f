"use strict";
// Curves with logarithmic scales, in the colours of the page.

/** Returns a number in a few digits. */
function figure(x) {
  if (x === null || x === undefined) return "none";
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e15) return x.toLocaleString("en");
  return size === 0 || (size >= 1e-3 && size < 1e5) ? String(+x.toPrecision(3)) : x.toExponential(2);
}

/** Returns what a CSS variable stands for in the theme that is shown. */
function colour(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/**
 * Draws curves over the same x in a place, which it empties, and returns the chart.
 *
 * A curve is {values, colour, dash, points}; 0 is drawn at the bottom, null not at all. `picked` is
 * called with the place of the x that is clicked.
 */
function chart(place, {x, curves, logarithmic, picked}) {
  place.replaceChildren();
  const positive = curves.flatMap(({values}) => values.filter((y) => y > 0));
  const low = positive.reduce((a, b) => Math.min(a, b), Infinity);
  const high = positive.reduce((a, b) => Math.max(a, b), 0);
  const bottom = high ? low / 2 : 1e-9;
  const ink = {stroke: colour("--faint"), grid: {stroke: colour("--line"), width: 1}, ticks: {show: false}};
  const powers = (plot, axis, least, most) => {
    const [first, last] = [Math.ceil(Math.log10(least) - 1e-9), Math.floor(Math.log10(most) + 1e-9)];
    const every = Math.ceil((last - first + 1) / 6) || 1;
    return Array.from({length: Math.max(last - first + 1, 0)}, (_, n) => 10 ** (first + n)).filter(
      (_, n) => n % every === 0,
    );
  };
  const labels = (plot, splits) => splits.map((split) => (split === null ? "" : figure(split)));
  const plot = new uPlot(
    {
      width: Math.max(place.clientWidth, 200),
      height: 180,
      legend: {show: false},
      cursor: {y: false, drag: {x: false, y: false}, points: {show: false}},
      scales: {
        x: {time: false, distr: logarithmic ? 3 : 1},
        y: {distr: 3, range: [bottom / 1.2, Math.min(Math.max(high, bottom), 1e300) * 2]},
      },
      axes: [
        {...ink, values: labels, size: 28, ...(logarithmic ? {splits: powers} : {})},
        {...ink, values: labels, size: 66, splits: powers},
      ],
      series: [
        {},
        ...curves.map((curve) => ({
          stroke: colour(curve.colour),
          width: 1.5,
          dash: curve.dash,
          spanGaps: true,
          points: {show: Boolean(curve.points), size: 5},
        })),
      ],
    },
    [x, ...curves.map(({values}) => values.map((y) => (y === 0 ? bottom : y)))],
    place,
  );
  plot.over.addEventListener("click", () => {
    if (plot.cursor.idx !== null && plot.cursor.idx !== undefined) picked(plot.cursor.idx);
  });
  new ResizeObserver(() => plot.setSize({width: Math.max(place.clientWidth, 200), height: 180})).observe(
    place,
  );
  return plot;
}

/** Moves the line through a chart to one of its x. */
function point(plot, index) {
  plot.setCursor({left: plot.valToPos(plot.data[0][index], "x"), top: 0});
}
