import { hash } from "node:crypto";
import HashRing from "hashring";

/** What the ring is made of. Changing any of it moves every block, so it is part of every member list's hash. */
export const RING_PARAMETERS = { algorithm: "md5", vnodes: 160, pointsPerVnode: 4 } as const;

/** How many blocks a ring remembers the ranking of: two generations of half that many. */
const REMEMBERED_BLOCKS = 8192;

/** Points are sorted as `value * INDEX_LIMIT + index`: 32 + 21 bits, which a double holds exactly; room for 3,276 members. */
const INDEX_LIMIT = 2 ** 21;

/** Members that a ring can hold. */
export const MAX_RING_MEMBERS = Math.floor(INDEX_LIMIT / (RING_PARAMETERS.vnodes * RING_PARAMETERS.pointsPerVnode));

/** What is hashed to find a block's place on the ring. */
export function ownerKey(url: string, blockOffset: number): string {
  return `${url}:${blockOffset}`;
}

/**
 * Who owns which block: consistent hashing (ketama points) over the members' names, equal on every machine. A ring never
 * changes; another list of names makes another ring. It is built once from the whole list, because hashring's own `add`
 * and `remove` build everything again for each member. Building it stalls the event loop: 1 ms for 10 members, 13 ms for
 * 100, 65 ms for 300, 220 ms for 1,000 (hashring's own way: 5, 58, 220 and 1,000 ms). Finding an owner costs 3 to 5 us, a
 * remembered one 0.5 us.
 */
export class Ring {
  readonly #ring: KetamaRing;
  readonly #memberCount: number;
  #recent = new Map<string, string[]>();
  #older = new Map<string, string[]>();

  /** `names` are distinct and not empty; their order does not matter. At most MAX_RING_MEMBERS of them. */
  constructor(names: readonly string[]) {
    if (names.length > MAX_RING_MEMBERS) throw new RangeError(`a ring holds at most ${MAX_RING_MEMBERS} members`);
    const weights = names.toSorted().map((name) => [name, { vnodes: RING_PARAMETERS.vnodes }] as const);
    this.#ring = new KetamaRing(Object.fromEntries(weights), RING_PARAMETERS.algorithm);
    this.#memberCount = names.length;
  }

  /**
   * The name of the member at a rank for a block: 0 is its owner, 1 the next that takes over from it, and so on through
   * all members; undefined past the last. Low ranks cost least: the ring is walked only as far as was ever asked.
   */
  nameAt(url: string, blockOffset: number, rank: number): string | undefined {
    if (rank >= this.#memberCount) return undefined;
    const key = ownerKey(url, blockOffset);
    let ranked = this.#remembered(key);
    if (ranked === undefined || ranked.length <= rank) {
      // Doubling keeps a walk through all ranks at twice the cost of the longest one.
      const wanted = Math.max(rank + 1, Math.min(this.#memberCount, 2 * (ranked?.length ?? 0)));
      ranked = this.#ring.range(key, wanted);
      this.#recent.set(key, ranked);
    }
    return ranked[rank];
  }

  /** Each member's share of the ring, 0 to 1: of all blocks, how many it owns in the long run. */
  shares(): Map<string, number> {
    return this.#ring.shares();
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

interface Point {
  readonly value: number;
  readonly server: string;
}

/** What hashring keeps inside, beyond its published types. */
interface HashRingInside {
  readonly servers: readonly { readonly string: string }[];
  ring: Point[];
  size: number;
}

/**
 * hashring, with its points laid out by typed arrays: the same ring, point for point (a test compares them), in a third
 * of the time. Its own way sorts objects by a callback, which takes most of 200 ms at 300 members.
 */
class KetamaRing extends HashRing {
  override continuum(): this {
    const inside = this as unknown as HashRingInside;
    const names = inside.servers.map((server) => server.string);
    const values = pointValues(names);
    const order = new Float64Array(values.length);
    for (let index = 0; index < values.length; index++) order[index] = values[index]! * INDEX_LIMIT + index;
    order.sort();
    const pointsPerMember = RING_PARAMETERS.vnodes * RING_PARAMETERS.pointsPerVnode;
    const ring = new Array<Point>(order.length);
    for (let at = 0; at < order.length; at++) {
      const packed = order[at]!;
      const value = Math.floor(packed / INDEX_LIMIT);
      const index = packed - value * INDEX_LIMIT;
      ring[at] = { value, server: names[Math.floor(index / pointsPerMember)]! };
    }
    inside.ring = ring;
    inside.size = ring.length;
    return this;
  }

  /** A point owns what lies between the one before it and itself, the first one also what lies behind the last. */
  shares(): Map<string, number> {
    const { ring } = this as unknown as HashRingInside;
    const shares = new Map<string, number>();
    let before = (ring.at(-1)?.value ?? 0) - 2 ** 32;
    for (const { value, server } of ring) {
      shares.set(server, (shares.get(server) ?? 0) + (value - before) / 2 ** 32);
      before = value;
    }
    return shares;
  }
}

/** Ketama's points: each vnode's md5 of `<name>-<vnode>`, read as four little-endian 32 bit numbers. */
function pointValues(names: readonly string[]): Uint32Array {
  const { algorithm, vnodes, pointsPerVnode } = RING_PARAMETERS;
  const values = new Uint32Array(names.length * vnodes * pointsPerVnode);
  let at = 0;
  for (const name of names) {
    for (let vnode = 0; vnode < vnodes; vnode++) {
      // A string of bytes is made in a third of the time of a Buffer.
      const digest = hash(algorithm, `${name}-${vnode}`, "binary");
      for (let point = 0; point < pointsPerVnode; point++) values[at++] = littleEndian32(digest, point * 4);
    }
  }
  return values;
}

function littleEndian32(bytes: string, at: number): number {
  const high = (bytes.charCodeAt(at + 3) << 24) | (bytes.charCodeAt(at + 2) << 16);
  return (high | (bytes.charCodeAt(at + 1) << 8) | bytes.charCodeAt(at)) >>> 0;
}
