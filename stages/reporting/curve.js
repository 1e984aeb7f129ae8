// The charts: accuracy by similarity, and beneath it how many pairs there are. Drawn in pixels of
// the page, so that text has its size on a phone, too.

const LEFT = 46;
const RIGHT = 10;
const TITLE = 30; // above a panel
const TICKS = 24; // beneath the last
const FONT = 13;

class Curve {
  /** `panels`: heights in pixels by name, accuracy | pairs. */
  constructor(svg, explored, panels) {
    Object.assign(this, { svg, explored, panels });
    this.edges = explored.edges;
    new ResizeObserver(() => this.draw()).observe(svg.parentElement);
  }

  /** Show [first, last] as chosen, and what answers tell: strata with their accuracy. */
  show(chosen, strata) {
    Object.assign(this, { chosen, strata });
    this.draw();
  }

  draw() {
    const width = Math.floor(this.svg.parentElement.clientWidth);
    if (!this.chosen || width < LEFT + RIGHT + 40) return;
    const names = Object.keys(this.panels);
    const height = names.reduce((all, name) => all + TITLE + this.panels[name] + 6, TICKS);
    this.width = width;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    let top = 0;
    for (const name of names) {
      top += TITLE;
      this[name](top, this.panels[name]);
      top += this.panels[name] + 6;
    }
    this.similarities(top);
  }

  x(similarity) {
    const [low, high] = [this.edges[0], this.edges.at(-1)];
    return LEFT + ((similarity - low) / (high - low)) * (this.width - LEFT - RIGHT);
  }

  add(name, attributes, text) {
    const node = document.createElementNS(this.svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) {
      node.setAttribute(key, typeof value === "number" ? Math.round(100 * value) / 100 : value);
    }
    if (text !== undefined) node.textContent = text;
    this.svg.append(node);
  }

  panel(top, height, title, ticks) {
    const [first, last] = this.chosen;
    const [left, right] = [this.x(this.edges[first]), this.x(this.edges[last + 1])];
    const shade = { x: left, y: top, width: right - left, height, class: "chosen" };
    this.add("rect", shade);
    this.add("text", { x: 0, y: top - 13, class: "title", "font-size": FONT }, title);
    for (const [y, text] of ticks) {
      this.add("path", { d: `M${LEFT} ${y}H${this.width - RIGHT}`, class: "grid" });
      const place = { x: LEFT - 6, y: y + 4, "text-anchor": "end", "font-size": FONT };
      this.add("text", place, text);
    }
  }

  accuracy(top, height) {
    const y = (share) => top + (1 - share) * height;
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => [y(share), String(100 * share)]);
    this.panel(top, height, "Accuracy, % (pale: 95 % interval)", ticks);
    if (this.explored.labelled && "pairs" in this.panels) this.labels(y);
    for (const stratum of this.strata) {
      const [x, end] = [stratum.first, stratum.stop].map((edge) => this.x(this.edges[edge]));
      const box = {
        x,
        width: end - x,
        y: y(stratum.high),
        height: y(stratum.low) - y(stratum.high),
      };
      this.add("rect", { ...box, class: "answers band" });
      this.add("path", { d: `M${x} ${y(stratum.share)}H${end}`, class: "answers line" });
    }
  }

  /** Accuracy by labels: a point for each group of bins, with its interval. */
  labels(y) {
    let line = "";
    for (const [first, last] of this.explored.groups()) {
      const { accuracy } = this.explored.interval(first, last);
      const x = this.x((this.edges[first] + this.edges[last + 1]) / 2);
      if (accuracy) {
        this.add("path", { d: `M${x} ${y(accuracy.low)}V${y(accuracy.high)}`, class: "interval" });
        this.add("circle", { cx: x, cy: y(accuracy.share), r: 2.5, class: "point" });
        line += `${line ? "L" : "M"}${x.toFixed(1)} ${y(accuracy.share).toFixed(1)}`;
      }
    }
    this.add("path", { d: line, class: "line" });
    const { chance } = this.explored;
    if (chance === null) return;
    this.add("path", { d: `M${LEFT} ${y(chance)}H${this.width - RIGHT}`, class: "chance" });
    const place = { x: this.width - RIGHT, y: y(chance) - 4, "text-anchor": "end" };
    this.add("text", { ...place, "font-size": FONT }, "chance");
  }

  pairs(top, height) {
    const groups = this.explored.groups();
    const counts = groups.map(([first, last]) => sum(this.explored.pairs, first, last + 1));
    const most = Math.max(1, Math.ceil(Math.log10(Math.max(1, ...counts))));
    const y = (count) => top + height * (1 - Math.log10(Math.max(1, count)) / most);
    const step = Math.ceil(most / 3);
    const ticks = [];
    for (let power = 0; power <= most; power += step) ticks.push([y(10 ** power), short(power)]);
    const [first, last] = groups[0];
    const width = this.edges[last + 1] - this.edges[first];
    this.panel(top, height, `Pairs per ${Number(width.toFixed(6))} (logarithmic)`, ticks);
    groups.forEach(([first, last], i) => {
      const [x, end] = [this.x(this.edges[first]), this.x(this.edges[last + 1])];
      const bar = { x: x + 0.5, width: end - x - 1, y: y(counts[i]) };
      if (counts[i]) this.add("rect", { ...bar, height: top + height - bar.y, class: "bar" });
    });
  }

  similarities(top) {
    const [low, high] = [this.edges[0], this.edges.at(-1)];
    const room = Math.floor((this.width - LEFT - RIGHT) / 56);
    const steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
    const step = steps.find((one) => (high - low) / one <= room) ?? 1;
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9; n++) {
      const end = n * step > high - 1e-9;
      const place = { x: this.x(n * step) + (end ? RIGHT : 0), y: top + 12 };
      const anchor = end ? "end" : "middle";
      this.add(
        "text",
        { ...place, "text-anchor": anchor, "font-size": FONT },
        (n * step).toFixed(step < 0.01 ? 3 : 2),
      );
    }
  }
}

/** 10 to a power, in few letters. */
function short(power) {
  const letters = ["", " k", " M", " G", " T"];
  return 10 ** (power % 3) + letters[Math.floor(power / 3)];
}
