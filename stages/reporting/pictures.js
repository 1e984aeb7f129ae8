// Pictures of images and of pairs, cut from the one picture that holds all of them.

const CRISP = 48; // pixels; up to this an image is shown with its pixels as squares

class Pictures {
  constructor(data, sprite) {
    this.shown = data.shown;
    this.tiles = data.tiles;
    this.sprite = data.sprite;
    this.image = sprite;
    this.ready = sprite ? sprite.decode() : Promise.resolve();
  }

  /** Put the picture of an image into a canvas; `name` is read to those who do not see it. */
  draw(canvas, tile, name) {
    const { cell, columns, widths, heights } = this.sprite;
    const [width, height] = [widths[tile], heights[tile]];
    const [x, y] = [(tile % columns) * cell, Math.floor(tile / columns) * cell];
    Object.assign(canvas, { width, height });
    canvas.classList.toggle("crisp", Math.max(width, height) <= CRISP);
    canvas.setAttribute("aria-label", name);
    this.ready.then(() =>
      canvas.getContext("2d").drawImage(this.image, x, y, width, height, 0, 0, width, height),
    );
  }

  label(tile) {
    const label = this.tiles.label[tile];
    return label < 0 ? null : this.tiles.names[label];
  }

  /** same | different | unknown: whether the labels of a pair agree. */
  kind(pair) {
    const [a, b] = this.ends(pair).map((tile) => this.tiles.label[tile]);
    return a < 0 || b < 0 ? "unknown" : a === b ? "same" : "different";
  }

  ends(pair) {
    return [this.shown.first[pair], this.shown.second[pair]];
  }

  /** A list item that shows a pair, its labels and its similarity. */
  card(pair) {
    const kind = this.kind(pair);
    const card = element("li", { className: kind });
    card.dataset.similarity = this.shown.similarity[pair];
    const two = element("div", { className: "two" });
    for (const tile of this.ends(pair)) {
      const canvas = element("canvas");
      canvas.setAttribute("role", "img");
      this.draw(canvas, tile, `Image ${this.tiles.id[tile]}, ${this.label(tile) ?? "no label"}`);
      two.append(canvas);
    }
    const text = element("p");
    const told = { same: "same label", different: "different labels" }[kind];
    if (told) text.append(element("strong", { textContent: told }));
    text.append(`similarity ${this.shown.similarity[pair].toFixed(4)}`);
    card.append(two, this.names(pair, kind), text);
    return card;
  }

  /** The labels that there are, one where both are the same, and the images' numbers. */
  names(pair, kind) {
    const names = element("p", { className: "names" });
    const [a, b] = this.ends(pair);
    const number = (tile) => `#${this.tiles.id[tile]}`;
    const small = (text) => element("small", { textContent: text });
    if (kind === "different") {
      for (const tile of [a, b]) {
        const name = element("span");
        name.append(...breakable(this.label(tile)), " ", small(number(tile)));
        names.append(name);
      }
    } else {
      if (kind === "same") names.append(...breakable(this.label(a)), " ");
      names.append(small(`${number(a)} and ${number(b)}`));
    }
    return names;
  }
}

/** A class's name, which may be broken between its words and nowhere else. */
function breakable(name) {
  const words = name.split(/(?<=[_/])(?=\p{L}|\()|(?<=[a-z])(?=[A-Z])/u);
  return words.flatMap((word, i) => (i ? [element("wbr"), word] : [word]));
}

function element(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

function byId(id) {
  return document.getElementById(id);
}
