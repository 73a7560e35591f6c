// Rates between reports, and the chart of the last minutes.

/** Five minutes with a report every two seconds. */
const KEPT = 150;

/** The reports of all members that answered. */
export function answered(report) {
  return report.members.flatMap((member) => (member.report === undefined ? [] : [member.report]));
}

/** Sums one figure over all members that answered. */
export function sum(report, of) {
  return answered(report).reduce((total, member) => total + of(member), 0);
}

/** Bytes per second of one member between two of its reports; 0 if it was restarted or is new. */
function ratesOf(now, before) {
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
  if (seconds <= 0 || now.startedAtMs !== before.startedAtMs) return { served: 0, origin: 0, reads: 0 };
  const reads = (member) => Object.values(member.reads).reduce((total, { count }) => total + count, 0);
  return {
    served: (now.servedBytes - before.servedBytes) / seconds,
    origin: (now.origin.bytes - before.origin.bytes) / seconds,
    reads: (reads(now) - reads(before)) / seconds,
  };
}

/** The rates of each member, and the history of their total. */
export class History {
  points = [];
  rates = new Map();
  #last = new Map();

  /** Adds a report. */
  add(report) {
    const total = { served: 0, origin: 0, reads: 0 };
    const rates = new Map();
    for (const member of answered(report)) {
      const one = ratesOf(member, this.#last.get(member.name));
      rates.set(member.name, one);
      for (const key of Object.keys(total)) total[key] += one[key];
      this.#last.set(member.name, member);
    }
    this.rates = rates;
    this.points = [...this.points, total].slice(-KEPT);
  }

  get total() {
    return this.points.at(-1) ?? { served: 0, origin: 0, reads: 0 };
  }
}

/** The SVG path through some values in a box of 300 by 100 units, the newest at the right. */
export function line(values, most) {
  const step = 300 / (KEPT - 1);
  const first = 300 - (values.length - 1) * step;
  const y = (value) => 98 - (most === 0 ? 0 : (value / most) * 94);
  return values.map((value, at) => `${at === 0 ? "M" : "L"}${(first + at * step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}
