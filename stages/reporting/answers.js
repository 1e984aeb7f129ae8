// What people answer: kept in this browser under the fingerprint of the page's pairs, saved to a
// file and read from one, in the columns of Answer of stages/common/judged.py.

const COLUMNS = [
  ...["anchor_id", "positive_id", "anchor", "positive"],
  ...["similarity", "answer", "judge", "explored"],
];
const SAME = { yes: 1, no: 0, unsure: null }; // what an answer says

class Answers {
  constructor(data) {
    Object.assign(this, { shown: data.shown, tiles: data.tiles, fingerprint: data.fingerprint });
    this.file = new Map(); // in the repository's file: rows by pair and judge
    for (const row of data.answers.own) this.file.set(nameOf(row), row);
    this.others = data.answers.others; // rows on other pairs, which are saved again
    this.own = new Map(); // given here; "" was taken back
    this.pairs = new Map(
      data.shown.turn.map((_, pair) => [this.row([pair]).slice(0, 4).join(), pair]),
    );
    this.key = `sepp answers ${data.fingerprint}`;
    this.restore();
  }

  /** [pair, answer, judge] of all that hold, the last one given last. */
  all() {
    const rows = new Map(this.file);
    for (const [name, row] of this.own) {
      rows.delete(name);
      if (row[1]) rows.set(name, row);
    }
    return [...rows.values()];
  }

  give(pair, answer, judge) {
    this.set([pair, answer, judge]);
    this.keep();
  }

  set(row) {
    this.own.delete(nameOf(row));
    this.own.set(nameOf(row), row);
  }

  /** Take back the judge's last answer; the pair that it was on, or undefined. */
  undo(judge) {
    const last = this.all().findLast((row) => row[2] === judge);
    if (last) this.give(last[0], "", judge);
    return last?.[0];
  }

  /** Answers that were given here without a name are then this judge's. */
  sign(judge) {
    for (const [pair, answer, name] of [...this.own.values()]) {
      if (name || !answer) continue;
      this.set([pair, "", name]);
      this.set([pair, answer, judge]);
    }
    this.keep();
  }

  /** Share of yes by pair, of those who said yes or no. */
  shares() {
    const votes = new Map();
    for (const [pair, answer] of this.all()) {
      if (SAME[answer] !== null) votes.set(pair, [...(votes.get(pair) ?? []), SAME[answer]]);
    }
    return new Map([...votes].map(([pair, said]) => [pair, sum(said) / said.length]));
  }

  /** A browser may keep nothing for pages opened from disk: then `kept` is false. */
  keep() {
    try {
      const others = this.stored().filter((row) => !this.own.has(nameOf(row))); // of another tab
      this.own = new Map([...others.map((row) => [nameOf(row), row]), ...this.own]);
      localStorage.setItem(this.key, JSON.stringify([...this.own.values()]));
    } catch {
      this.kept = false;
    }
  }

  restore() {
    try {
      for (const row of this.stored()) this.set(row);
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  /** What was kept, but for what the repository's file says, too, by now. */
  stored() {
    const rows = JSON.parse(localStorage.getItem(this.key) ?? "[]");
    return rows.filter(
      (row) => row[0] in this.shown.turn && this.file.get(nameOf(row))?.[1] !== row[1],
    );
  }

  /** As the file has it. */
  row([pair, answer, judge]) {
    const ends = [this.shown.first[pair], this.shown.second[pair]];
    const [ids, keys] = [this.tiles.id, this.tiles.key].map((of) => ends.map((tile) => of[tile]));
    return [...ids, ...keys, this.shown.similarity[pair], answer, judge, this.fingerprint];
  }

  csv() {
    const rows = [COLUMNS, ...this.others, ...this.all().map((row) => this.row(row))];
    return rows.map((row) => `${row.map(cell).join(",")}\n`).join("");
  }

  /** Take the rows of a file in; returns how many are on these pairs, and how many are not.
   * Throws an Error that names the line that is wrong. */
  read(text) {
    const [header, ...lines] = parse(text.replace(/^\ufeff/, ""));
    const missing = COLUMNS.filter((name) => !header?.includes(name));
    if (missing.length) throw new Error(`it has no column ${missing.join(", ")}`);
    const rows = lines.map((line) => COLUMNS.map((name) => line[header.indexOf(name)]));
    rows.forEach((row, i) => {
      if (row.includes(undefined)) throw new Error(`line ${i + 2} is too short`);
      if (Object.hasOwn(SAME, row[5])) return;
      throw new Error(
        `line ${i + 2}: answer "${row[5]}" is none of ${Object.keys(SAME).join(", ")}`,
      );
    });
    const there = new Set(this.others.map(written));
    let others = 0;
    for (const row of rows) {
      const pair = row[7] === this.fingerprint ? this.pairs.get(row.slice(0, 4).join()) : undefined;
      if (pair !== undefined) this.set([pair, row[5], row[6]]);
      else others += 1;
      if (pair === undefined && !there.has(written(row))) this.others.push(row);
    }
    this.keep();
    return { own: rows.length - others, others };
  }
}

function nameOf([pair, , judge]) {
  return `${pair} ${judge}`;
}

/** What tells one row of a file from another: its similarity may be written in several ways. */
function written(row) {
  return row.toSpliced(4, 1).join();
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of CSV, quoted cells included; empty lines are none. */
function parse(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(
    /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g,
  )) {
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ",") rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || row[0]);
}
