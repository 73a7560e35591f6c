/** What a read that starts while the network is divided must not fall behind. */
export interface SideOfRead {
  readonly division: Division;
  readonly side: number;
  /** Number of the newest era that anyone had received on this side when the read started. */
  readonly floor: number;
}

/** A network that is divided in two: members of one side reach each other, and each side is consistent in itself. */
export class Division {
  readonly #sides: ReadonlyMap<string, number>;
  /** By URL: number of the newest era that anyone had received when the network was divided. */
  readonly #before: ReadonlyMap<string, number>;
  /** By side and URL: number of the newest era that anyone has received since then. */
  readonly #received = new Map<string, number>();
  isOver = false;

  /** `sides`: by the names of the members. */
  constructor(sides: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>) {
    this.#sides = sides;
    this.#before = before;
  }

  /** The side of a read through this member. Undefined: the member is on neither. */
  sideOf(member: string, url: string): SideOfRead | undefined {
    const side = this.#sides.get(member);
    return side === undefined ? undefined : { division: this, side, floor: this.#floor(side, url) };
  }

  /** Someone on a side received this era of an object. */
  received(side: number, url: string, era: number): void {
    if (era > this.#floor(side, url)) this.#received.set(`${side} ${url}`, era);
  }

  #floor(side: number, url: string): number {
    return this.#received.get(`${side} ${url}`) ?? this.#before.get(url) ?? 0;
  }
}
