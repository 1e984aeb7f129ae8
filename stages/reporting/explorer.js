// The two sliders, and what the interval between them would give.

const PAGE = 24; // pairs that are shown at first, and with each "more"

class Explorer {
  /** `changed` is called when the interval is another. */
  constructor(explored, pictures, changed) {
    Object.assign(this, { explored, pictures, changed });
    this.curve = new Curve(byId("curve"), explored, { accuracy: 150, pairs: 90 });
    [this.low, this.high] = [byId("low"), byId("high")];
    this.low.addEventListener("input", () => this.moved(this.low));
    this.high.addEventListener("input", () => this.moved(this.high));
    byId("reset").addEventListener("click", () => this.set(...explored.chosen));
    byId("more").addEventListener("click", () => this.more());
    for (const button of document.querySelectorAll("button[data-copy]")) {
      button.addEventListener("click", () => copy(byId(button.dataset.copy), button));
    }
    this.interval = explored.chosen; // bins, both included
  }

  /** The slider that was moved has its way: the other one makes room. */
  moved(slider) {
    const { bins } = this.explored;
    let [low, high] = [this.low, this.high].map((one) => this.explored.nearest(Number(one.value)));
    if (slider === this.low) [low, high] = [Math.min(low, bins - 1), Math.max(high, low + 1)];
    else [low, high] = [Math.min(low, high - 1), Math.max(high, 1)];
    this.set(Math.max(0, low), Math.min(high, bins) - 1);
  }

  set(first, last) {
    this.interval = [first, last];
    this.changed();
  }

  /** `accuracy`, of the interval, is by labels, or where there are none by so many `answers`. */
  show(accuracy, answers, strata) {
    const { explored } = this;
    const [first, last] = this.interval;
    const [low, high] = [explored.similarity(first), explored.similarity(last + 1)];
    const found = explored.interval(first, last);
    [this.low.value, this.high.value] = [explored.edges[first], explored.edges[last + 1]];
    [byId("low-value").textContent, byId("high-value").textContent] = [low, high];
    this.numbers(found, low, high, accuracy, answers);
    this.commands(found, first, last);
    this.curve.show(this.interval, strata);
    const labels = explored.labelled ? "Points: by labels. " : "";
    byId("curve-of").textContent = labels + (strata.length ? "Steps: by people’s answers." : "");
    this.showPairs(first, last);
  }

  showPairs(first, last) {
    if (this.listed === `${first} ${last}`) return; // only answers are others
    this.listed = `${first} ${last}`;
    const { bin } = this.pictures.shown;
    this.list = bin.flatMap((one, pair) => (one >= first && one <= last ? [pair] : []));
    byId("interval-pairs").replaceChildren();
    this.more();
  }

  numbers({ pairs, covered }, low, high, accuracy, answers) {
    const { explored } = this;
    const [perImage, extra] = [pairs / explored.images, pairs / explored.train];
    const say = (name, text, value, of) => put(name, explored.about(text), value, of);
    say("pairs", whole(pairs), pairs, `from ${low} to ${high}`);
    say("per-image", perImage.toFixed(2), perImage, `of ${whole(explored.images)} embedded images`);
    const share = percent(covered / explored.images);
    say("covered", whole(covered), covered, `${share} of them are in a pair`);
    const rows = `of vanilla’s ${whole(explored.train)} rows`;
    say("extra", percent(extra, extra < 0.1 ? 1 : 0), extra, rows);
    const sure = this.sure(accuracy, pairs, answers);
    put("accuracy", accuracy ? percent(accuracy.share) : "unknown", accuracy?.share, sure);
    const found = explored.about(several(pairs, "pair has", "pairs have"));
    const right = accuracy
      ? `${percent(accuracy.share)} of them are right`
      : "How many are right is not known";
    byId("told").textContent =
      `${capital(found)} a similarity from ${low} to ${high}: ${perImage.toFixed(2)} per image. ` +
      `They cover ${explored.about(whole(covered))} of ${whole(explored.images)} images, and add ` +
      `${percent(extra, 0)} to vanilla’s training rows. ${right} (${sure}).`;
  }

  /** How sure an accuracy is, or why there is none. */
  sure(accuracy, pairs, answers) {
    const { chance, labelled } = this.explored;
    if (!pairs) return "there is no pair";
    if (!accuracy) return labelled ? "no labels" : "judge some pairs below";
    const by = labelled ? "" : `, by ${several(answers, "answer")}`;
    const random = chance === null ? "" : `; ${percent(chance)} by chance`;
    return `95\u00a0% interval ${bounds(accuracy)}${by}${random}`;
  }

  commands({ pairs }, first, last) {
    const { explored } = this;
    const [low, high] = [first, last + 1].map((edge) => decimal(explored.edges[edge]));
    const free = explored.perImage === null ? [] : ["-S sepp.pairs_per_image=null"];
    command("command", `-S sepp.min=${low}`, `-S sepp.max=${high}`, ...free);
    const perImage = Math.max(pairs, 1) / explored.images;
    command("command-count", `-S sepp.pairs_per_image=${decimal(perImage)}`, `-S sepp.max=${high}`);
  }

  more() {
    const list = byId("interval-pairs");
    const from = list.children.length;
    const upTo = Math.min(from + PAGE, this.list.length);
    list.append(...this.list.slice(from, upTo).map((pair) => this.pictures.card(pair)));
    byId("more").hidden = upTo === this.list.length;
    byId("shown").textContent = this.list.length
      ? `${whole(upTo)} shown, of ${whole(this.list.length)} that the page has of this interval, ` +
        "nearest its lower bound first."
      : "The page has no pair of this interval.";
  }
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

/** A number as people read it, as programs do, and what it is of. */
function put(name, text, value, of) {
  const place = byId(`explored-${name}`);
  [place.textContent, place.value] = [text, value ?? ""];
  byId(`explored-${name}-of`).textContent = of;
}

/** A line is broken between settings, and not within one. */
function command(id, ...settings) {
  const parts = ["dvc exp run", ...settings].map((text) => element("span", { textContent: text }));
  byId(id).replaceChildren(...parts.flatMap((part, i) => (i ? [" ", part] : [part])));
}

/** A number as params.yaml has it: 1 is 1.0. */
function decimal(value) {
  const text = String(Number(value.toFixed(6)));
  return text.includes(".") ? text : `${text}.0`;
}

/** The clipboard is not everywhere to be had on a page opened from disk; a selection is. */
async function copy(node, button) {
  try {
    await navigator.clipboard.writeText(node.textContent);
  } catch {
    getSelection().selectAllChildren(node);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
