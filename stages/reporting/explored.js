// What every interval of similarity holds: Explored of stages/common/explored.py.

class Explored {
  constructor(data) {
    Object.assign(this, data); // edges (B + 1,), counts (B,), images, train, chance, exact, …
    this.bins = data.pairs.length;
    this.covered = decoded(data.covered, Uint32Array);
    this.squares = data.squares === null ? null : decoded(data.squares, Float32Array);
    const width = data.edges[1] - data.edges[0];
    this.digits = Math.max(2, Math.ceil(-Math.log10(width) - 1e-6));
  }

  /** What bins `first` to `last`, both included, hold. */
  interval(first, last) {
    const place = first * this.bins - (first * (first - 1)) / 2 + last - first;
    return {
      pairs: sum(this.pairs, first, last + 1),
      covered: this.covered[place],
      accuracy: this.accuracy(first, last, place),
    };
  }

  /** By labels; null where none is known. */
  accuracy(first, last, place) {
    const known = sum(this.known, first, last + 1);
    if (!known) return null;
    const share = sum(this.right, first, last + 1) / known;
    const trials = trialsOf(known, this.squares[place]);
    return { share, ...wilson(share * trials, trials) };
  }

  /** The edge that is nearest to a similarity. */
  nearest(value) {
    const gaps = this.edges.map((edge) => Math.abs(edge - value));
    return gaps.indexOf(Math.min(...gaps));
  }

  similarity(edge) {
    return this.edges[edge].toFixed(this.digits);
  }

  /** Groups of bins for a chart, about thirty at most. */
  groups() {
    const size = [1, 2, 5, 10, 20].find((n) => this.bins / n <= 30);
    const starts = Array.from({ length: Math.ceil(this.bins / size) }, (_, i) => i * size);
    return starts.map((first) => [first, Math.min(first + size, this.bins) - 1]);
  }

  /** A number that a count gives; an estimate is called one. */
  about(text) {
    return this.exact ? text : `about ${text}`;
  }
}

/** Little-endian numbers in base64. */
function decoded(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** "1 answer", "2 answers". */
function several(count, one, more = `${one}s`) {
  return `${whole(count)} ${Math.round(count) === 1 ? one : more}`;
}

function percent(share, digits = 1) {
  return `${(100 * share).toFixed(digits)}\u00a0%`; // the sign stays with its number
}

/** "80.1 % to 83.4 %" of an accuracy. */
function bounds(accuracy) {
  return `${percent(accuracy.low)} to ${percent(accuracy.high)}`;
}
