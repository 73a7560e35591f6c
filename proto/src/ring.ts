import { hash } from "node:crypto";

/** Parameters of the ring. A change moves every block, so they are part of every member list's hash. */
export const RING_PARAMETERS = { algorithm: "md5", vnodes: 160, pointsPerVnode: 4 } as const;

/** Maximum blocks whose ranking a ring remembers, in two generations of half this size. */
const REMEMBERED_BLOCKS = 8192;

/**
 * Points are sorted as `value * INDEX_LIMIT + index`: 32 + 21 bits, which a double represents exactly. Room for 3,276 members.
 */
const INDEX_LIMIT = 2 ** 21;

const POINTS_PER_MEMBER = RING_PARAMETERS.vnodes * RING_PARAMETERS.pointsPerVnode;

/** Maximum members of a ring. */
export const MAX_RING_MEMBERS = Math.floor(INDEX_LIMIT / POINTS_PER_MEMBER);

/** Returns the text whose hash is a block's place on the ring. */
export function ownerKey(url: string, blockOffset: number): string {
  return `${url}:${blockOffset}`;
}

/**
 * Maps blocks to members by consistent hashing (ketama) over the members' names. The result is the same on every machine. All
 * points equal those of the package hashring with 160 virtual nodes per member; a test compares them. That package is not used,
 * because it takes several times as long and breaks in ES module bundles (CONTRIBUTING.md, "Bundles").
 *
 * A ring is immutable. Building one blocks the event loop for 1 ms with 10 members, for 220 ms with 1,000. Finding an owner costs
 * 3 to 5 us, or 0.5 us if it is remembered.
 */
export class Ring {
  readonly #names: readonly string[];
  /** The points' places on the circle of 2^32, ascending. */
  readonly #values: Uint32Array;
  /** The member of each point, as an index into `#names`. */
  readonly #owners: Uint16Array;
  /** The block that was looked up last: a read asks for its ranks one after the other. */
  #last: { readonly url: string; readonly blockOffset: number; readonly ranked: readonly string[] } | undefined;
  #recent = new Map<string, string[]>();
  #older = new Map<string, string[]>();

  /** `names` are distinct and not empty; their order does not matter. At most MAX_RING_MEMBERS of them. */
  constructor(names: readonly string[]) {
    if (names.length > MAX_RING_MEMBERS) throw new RangeError(`a ring has at most ${MAX_RING_MEMBERS} members`);
    this.#names = names.toSorted();
    const order = sortedPoints(this.#names);
    this.#values = new Uint32Array(order.length);
    this.#owners = new Uint16Array(order.length);
    for (let at = 0; at < order.length; at++) {
      const value = Math.floor(order[at]! / INDEX_LIMIT);
      this.#values[at] = value;
      this.#owners[at] = Math.floor((order[at]! - value * INDEX_LIMIT) / POINTS_PER_MEMBER);
    }
  }

  /**
   * Returns the name of the member at a rank for a block; undefined past the last. Rank 0 is the block's owner, rank 1 the member
   * that takes over if the owner is unreachable, and so on through all members. Low ranks are cheapest: the ring is walked only
   * that far.
   */
  nameAt(url: string, blockOffset: number, rank: number): string | undefined {
    if (rank >= this.#names.length) return undefined;
    if (this.#names.length === 1) return this.#names[0];
    const last = this.#last;
    if (last !== undefined && rank < last.ranked.length && last.blockOffset === blockOffset && last.url === url) {
      return last.ranked[rank];
    }
    const key = ownerKey(url, blockOffset);
    let ranked = this.#remembered(key);
    if (ranked === undefined || ranked.length <= rank) {
      // Who asks for the owner asks for the next member soon. Doubling limits the cost of iterating over all ranks to twice that of the
      // last walk.
      const count = Math.max(rank + 1, Math.min(this.#names.length, 2 * (ranked?.length ?? 1)));
      ranked = this.#ranking(key, count);
      this.#recent.set(key, ranked);
    }
    this.#last = { url, blockOffset, ranked };
    return ranked[rank];
  }

  /** Returns each member's share of the ring, 0 to 1: the expected share of all blocks that it owns. */
  shares(): Map<string, number> {
    const shares = new Map<string, number>();
    // A point owns the places between the previous point and itself. The first point also owns the places after the last one.
    let before = (this.#values.at(-1) ?? 0) - 2 ** 32;
    this.#values.forEach((value, at) => {
      const name = this.#names[this.#owners[at]!]!;
      shares.set(name, (shares.get(name) ?? 0) + (value - before) / 2 ** 32);
      before = value;
    });
    return shares;
  }

  /** Returns the first `count` members on the circle, starting at the key's place. */
  #ranking(key: string, count: number): string[] {
    const found = new Set<number>();
    const points = this.#owners.length;
    for (let at = this.#firstPoint(littleEndian32(digestOf(key), 0)); found.size < count; at++) {
      found.add(this.#owners[at % points]!);
    }
    return Array.from(found, (owner) => this.#names[owner]!);
  }

  /** Returns the index of the first point at or after a place on the circle; the number of points if there is no such point. */
  #firstPoint(value: number): number {
    let low = 0;
    let high = this.#values.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#values[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remembered(key: string): string[] | undefined {
    const ranked = this.#recent.get(key);
    if (ranked !== undefined) return ranked;
    if (this.#recent.size >= REMEMBERED_BLOCKS / 2) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    const older = this.#older.get(key);
    if (older !== undefined) this.#recent.set(key, older);
    return older;
  }
}

/**
 * Returns ketama's points, sorted, each as `value * INDEX_LIMIT + index`. The md5 of `<name>-<vnode>` gives four points per
 * vnode.
 */
function sortedPoints(names: readonly string[]): Float64Array {
  const { vnodes, pointsPerVnode } = RING_PARAMETERS;
  const order = new Float64Array(names.length * POINTS_PER_MEMBER);
  let index = 0;
  for (const name of names) {
    for (let vnode = 0; vnode < vnodes; vnode++) {
      const digest = digestOf(`${name}-${vnode}`);
      for (let point = 0; point < pointsPerVnode; point++, index++) {
        order[index] = littleEndian32(digest, point * 4) * INDEX_LIMIT + index;
      }
    }
  }
  return order.sort();
}

/** Returns a digest as a string of bytes, which costs a third of a Buffer. */
function digestOf(text: string): string {
  return hash(RING_PARAMETERS.algorithm, text, "binary");
}

function littleEndian32(bytes: string, at: number): number {
  const high = (bytes.charCodeAt(at + 3) << 24) | (bytes.charCodeAt(at + 2) << 16);
  return (high | (bytes.charCodeAt(at + 1) << 8) | bytes.charCodeAt(at)) >>> 0;
}
