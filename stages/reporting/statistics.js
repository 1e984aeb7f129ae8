// How sure an accuracy is: the formulas of stages/common/intervals.py and judged.py, which a test
// holds against these.

const Z = 1.959964; // two-sided 95 %
const LEAST = 5; // answers of a stratum

/** Wilson's 95 % interval of a share `right` / `trials`, trials > 0. */
function wilson(right, trials) {
  const share = right / trials;
  const z2 = (Z * Z) / trials;
  const middle = (share + z2 / 2) / (1 + z2);
  const half = (Z * Math.sqrt((share * (1 - share)) / trials + z2 / trials / 4)) / (1 + z2);
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** How many independent pairs so many count as; `squares`: the sum over images of the squared
 * number of pairs that each is in. */
function trialsOf(pairs, squares) {
  return squares ? Math.min(pairs, (2 * pairs ** 2) / squares) : pairs;
}

/** Accuracy of all pairs and its interval, from those judged, or null; all are counts by bins. */
function estimate(pairs, yes, asked) {
  const strata = merge(asked);
  const total = sum(pairs);
  if (!strata.length || !total) return null;
  let [share, middle, variance] = [0, 0, 0];
  for (const [first, stop] of strata) {
    const weight = sum(pairs, first, stop) / total;
    const n = sum(asked, first, stop);
    const right = sum(yes, first, stop);
    const smooth = (right + 1) / (n + 2);
    share += (weight * right) / n;
    middle += weight * smooth;
    variance += (weight ** 2 * smooth * (1 - smooth)) / Math.max(1, n - 1);
  }
  const trials = (middle * (1 - middle)) / variance;
  return { share, ...wilson(share * trials, trials) };
}

/** Bins [first, stop) of each stratum, from the top, with at least 5 answers each, or all. */
function merge(asked) {
  const strata = [];
  let [stop, held] = [asked.length, 0];
  for (let bin = asked.length - 1; bin >= 0; bin--) {
    held += asked[bin];
    if (held < LEAST) continue;
    strata.push([bin, stop]);
    [stop, held] = [bin, 0];
  }
  if (strata.length)
    strata.at(-1)[0] = 0; // what is left over
  else if (held) strata.push([0, asked.length]);
  return strata;
}

function sum(values, first = 0, stop = values.length) {
  let total = 0;
  for (let i = first; i < stop; i++) total += values[i];
  return total;
}
