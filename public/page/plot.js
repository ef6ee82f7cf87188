// The plot of the demo: an SVG of bars or points with two axes, and the same as a picture.

/** @typedef {Record<string, any>} Row A value for each column. */
/** @typedef {{ type: string, x: string, y: string, title: string }} Plot */
/** @typedef {{ number: number, x: any, y: number }} Point A row, by its number from 1, and where it is on the axes. */

/** The rows that have numbers where the plot needs them. @param {Row[]} rows @param {Plot} plot @returns {Point[]} */
export function pointsOf(rows, { type, x, y }) {
  const points = rows.map((row, index) => ({ number: index + 1, x: row[x], y: row[y] }));
  return points.filter((point) => Number.isFinite(point.y) && (type === "bar" || Number.isFinite(point.x)));
}

/** @param {Plot} plot @param {Point[]} points At least one. @param {number[]} selected The numbers of rows. */
export function drawPlot(plot, points, selected) {
  const isBar = plot.type === "bar";
  const label = { role: "img", "aria-label": `${plot.title}, a plot of ${points.length} values` };
  const picture = svg("svg", { viewBox: "0 0 480 320", ...label });
  const write = (/** @type {number} */ x, /** @type {number} */ y, /** @type {string} */ text, anchor = "middle") =>
    picture.append(svg("text", { x, y, "text-anchor": anchor }, text));
  const y = axis(points.map((point) => point.y), 260, 30, isBar);
  const x = axis(points.map((point) => (isBar ? 0 : point.x)), 60, 440, false);
  write(255, 16, plot.title);
  write(255, 310, plot.x);
  picture.append(svg("text", { x: -145, y: 12, "text-anchor": "middle", transform: "rotate(-90)" }, plot.y));
  for (const tick of y.ticks) {
    picture.append(svg("line", { x1: 60, x2: 450, y1: y.place(tick), y2: y.place(tick) }));
    write(54, y.place(tick) + 4, toText(tick), "end");
  }
  if (!isBar) x.ticks.forEach((tick) => write(x.place(tick), 282, toText(tick)));
  points.forEach((point, index) => {
    const mark = { class: selected.includes(point.number) ? "mark selected" : "mark" };
    const tip = svg("title", {}, `${toText(point.x)}: ${toText(point.y)}`);
    if (isBar) {
      const center = 60 + ((index + 0.5) * 390) / points.length;
      const [top, bottom] = [y.place(point.y), y.place(0)].sort((a, b) => a - b);
      const width = 280 / points.length;
      picture.append(svg("rect", { ...mark, x: center - width / 2, y: top, width, height: bottom - top }, tip));
      if (points.length <= 12) write(center, 282, toText(point.x).slice(0, 4 + 60 / points.length));
    } else {
      picture.append(svg("circle", { ...mark, cx: x.place(point.x), cy: y.place(point.y), r: 5 }, tip));
    }
  });
  return picture;
}

/** Paint a plot on a canvas: a browser makes no PNG of an SVG. @param {SVGSVGElement} picture */
export function paint(picture) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 960, height: 640 });
  const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  brush.scale(2, 2);
  brush.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
  brush.fillRect(0, 0, 480, 320);
  for (const shape of /** @type {NodeListOf<SVGElement>} */ (picture.querySelectorAll(":scope > *"))) {
    const style = getComputedStyle(shape);
    const value = (/** @type {string} */ name) => Number(shape.getAttribute(name));
    brush.fillStyle = style.fill;
    brush.strokeStyle = style.stroke;
    if (shape.localName === "rect") brush.fillRect(value("x"), value("y"), value("width"), value("height"));
    if (shape.localName === "circle") {
      brush.beginPath();
      brush.arc(value("cx"), value("cy"), value("r"), 0, 2 * Math.PI);
      brush.fill();
    }
    if (shape.localName === "line") {
      brush.beginPath();
      brush.moveTo(value("x1"), value("y1"));
      brush.lineTo(value("x2"), value("y2"));
      brush.stroke();
    }
    if (shape.localName === "text") {
      brush.save();
      if (shape.hasAttribute("transform")) brush.rotate(-Math.PI / 2);
      brush.font = `${style.fontSize} ${style.fontFamily}`;
      brush.textAlign = style.textAnchor === "middle" ? "center" : style.textAnchor === "end" ? "right" : "left";
      brush.fillText(shape.textContent, value("x"), value("y"));
      brush.restore();
    }
  }
  return canvas;
}

/** A value as a cell or a label shows it. @param {unknown} value */
export function toText(value) {
  if (typeof value === "number") return Number(value.toPrecision(12)).toLocaleString("en");
  return value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

/**
 * Where values are on an axis between two ends, and the round values beside it.
 * @param {number[]} values @param {number} start @param {number} end @param {boolean} hasZero
 */
function axis(values, start, end, hasZero) {
  const low = Math.min(...values, ...(hasZero ? [0] : []));
  const high = Math.max(...values, ...(hasZero ? [0] : []));
  const roughStep = (high - low) / 5 || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(roughStep));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= roughStep) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step), first + 1);
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step),
    place: (/** @type {number} */ value) => start + ((value / step - first) / (last - first)) * (end - start),
  };
}

/** @param {string} name @param {Record<string, string | number>} attributes @param {(Node | string)[]} content */
function svg(name, attributes, ...content) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, `${value}`);
  made.append(...content);
  return made;
}
