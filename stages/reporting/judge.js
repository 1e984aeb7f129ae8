// Pairs are put to a person one by one, without similarity and label; the estimates follow.

const KEYS = { y: "yes", n: "no", s: "unsure" };
const WORDS = { yes: "yes", no: "no", unsure: "can’t say" };
const USEFUL = 40; // answers

class Judge {
  /** `changed` is called when the answers are others. */
  constructor(explored, pictures, answers, changed) {
    Object.assign(this, { explored, pictures, answers, changed });
    this.curve = new Curve(byId("judged-curve"), explored, { accuracy: 110 });
    const { turn } = explored.shown;
    const asked = turn.flatMap((place, pair) => (place < 0 ? [] : [pair]));
    this.queue = asked.sort((a, b) => turn[a] - turn[b]);
    this.name = byId("judge-name");
    this.name.value = remembered();
    this.name.addEventListener("change", () => this.signed());
    this.name.addEventListener("keydown", (event) => event.key === "Enter" && this.name.blur());
    for (const button of document.querySelectorAll("button[data-answer]")) {
      button.addEventListener("click", () => this.answer(button.dataset.answer));
    }
    byId("undo").addEventListener("click", () => this.undo());
    byId("save").addEventListener("click", () => this.save());
    byId("load").addEventListener("change", () => this.load(byId("load")));
    document.addEventListener("keydown", (event) => this.key(event));
  }

  get judge() {
    return this.name.value.trim();
  }

  /** Keys are answers while the pair is in view; else the first one brings it there. */
  key(event) {
    const answer = KEYS[event.key?.toLowerCase()];
    const typing = event.target.closest?.("input:not([type=range]), textarea, select");
    if (!answer || typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const { top, bottom } = byId("question").getBoundingClientRect();
    if (bottom > 0 && top < innerHeight) this.answer(answer);
    else byId("question").scrollIntoView({ block: "center" });
  }

  answer(answer) {
    if (this.pair === undefined) return;
    this.answers.give(this.pair, answer, this.judge);
    this.changed();
    this.say(`Your answer: ${WORDS[answer]}.`);
  }

  undo() {
    const pair = this.answers.undo(this.judge);
    this.changed();
    this.say(
      pair === undefined ? "There is no answer to take back." : "Your last answer is taken back.",
    );
  }

  signed() {
    remember(this.judge);
    this.answers.sign(this.judge);
    this.changed();
  }

  /** All that depends on the answers, and on the chosen interval [first, last]. */
  show(first, last) {
    const rows = this.answers.all();
    const own = rows.filter((row) => row[2] === this.judge);
    const [done, judged] = [own, rows].map((some) => new Set(some.map(([pair]) => pair)));
    // Pairs that nobody has judged tell most; a second opinion comes after all of them.
    const left = (of) => this.queue.find((pair) => !of.has(pair));
    this.pair = left(judged) ?? left(done);
    this.put();
    byId("progress").value = judged.size;
    byId("undo").disabled = !own.length;
    const far = judged.size < USEFUL ? `; ${USEFUL} give a usable curve` : "";
    byId("answered").textContent = `${judged.size} of ${this.queue.length} pairs answered${far}.`;
    byId("not-kept").hidden = this.answers.kept;
    this.estimates(first, last);
    this.agreement();
  }

  put() {
    const over = this.pair === undefined;
    byId("question").hidden = over;
    byId("all-judged").hidden = !over;
    if (over) return;
    this.pictures.ends(this.pair).forEach((tile, place) => {
      this.pictures.draw(byId(`asked-${place}`), tile, `Image ${"AB"[place]} of the pair`);
    });
  }

  estimates(first, last) {
    const { explored } = this;
    const told = (text, from, to) => {
      const { accuracy, answers } = this.estimate(from, to);
      const of = `${text} (${explored.similarity(from)} to ${explored.similarity(to + 1)})`;
      if (!accuracy) return `${of}: not known yet.`;
      const sure = `95\u00a0% interval ${bounds(accuracy)}, by ${several(answers, "answer")}`;
      return `${of}: ${percent(accuracy.share)} right, ${sure}.`;
    };
    byId("judged-all").textContent = told("All pairs", 0, explored.bins - 1);
    byId("judged-interval").textContent = told("The interval chosen above", first, last);
    const strata = this.strata();
    byId("judged-figure").hidden = !strata.length;
    this.curve.show([first, last], strata);
  }

  /** Pairs judged with yes or no, and how right they are, by bins [first, last]. */
  counts(first, last) {
    const [yes, asked] = [0, 0].map(() => new Float64Array(last - first + 1));
    for (const [pair, share] of this.answers.shares()) {
      const place = this.explored.shown.bin[pair] - first;
      if (place < 0 || place > last - first) continue;
      yes[place] += share;
      asked[place] += 1;
    }
    return { yes, asked };
  }

  /** Accuracy of the pairs in bins [first, last], by the answers on some of them. */
  estimate(first, last) {
    const { yes, asked } = this.counts(first, last);
    const pairs = this.explored.pairs.slice(first, last + 1);
    return { accuracy: estimate(pairs, yes, asked), answers: sum(asked) };
  }

  /** What the answers of each stratum tell, for a chart. */
  strata() {
    const { yes, asked } = this.counts(0, this.explored.bins - 1);
    return merge(asked).map(([first, stop]) => {
      const [right, n] = [sum(yes, first, stop), sum(asked, first, stop)];
      return { first, stop, share: right / n, ...wilson(right, n) };
    });
  }

  /** Where labels and answers differ: labels, too, can be wrong. */
  agreement() {
    const judged = [...this.answers.shares()].filter(
      ([pair]) => this.pictures.kind(pair) !== "unknown",
    );
    const differ = judged.filter(
      ([pair, share]) => share !== 0.5 && share > 0.5 !== (this.pictures.kind(pair) === "same"),
    );
    byId("agreement").hidden = !judged.length;
    byId("differing").textContent =
      `Labels say otherwise on ${differ.length} of ${judged.length} pairs`;
    byId("differing-pairs").replaceChildren(...differ.map(([pair]) => this.pictures.card(pair)));
  }

  save() {
    const file = new Blob([this.answers.csv()], { type: "text/csv" });
    const link = element("a", { href: URL.createObjectURL(file), download: "pair_labels.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    this.say("Saved: put the file in the place of data/pair_labels.csv.");
  }

  async load(input) {
    const [file] = input.files;
    if (!file) return;
    try {
      const { own, others } = this.answers.read(await file.text());
      this.changed();
      const taken = several(own, "answer");
      this.say(`${file.name}: ${taken} on these pairs, ${others} on others, which are kept.`);
    } catch (error) {
      this.say(`${file.name}: ${error.message}; nothing was taken from it.`);
    }
    input.value = "";
  }

  say(text) {
    byId("judge-said").textContent = text;
  }
}

function remembered() {
  try {
    return localStorage.getItem("sepp judge") ?? "";
  } catch {
    return "";
  }
}

function remember(judge) {
  try {
    localStorage.setItem("sepp judge", judge);
  } catch {
    // it is asked for again
  }
}
