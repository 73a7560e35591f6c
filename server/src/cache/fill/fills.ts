import type { ObjectInfo, ObjectRef } from "@frontcache/proto";
import { blockKey } from "../../storage/block.js";
import type { EvictSelector } from "../../storage/block-store.js";
import { Fill } from "./fill.js";
import type { FillContext } from "./fill-context.js";

const nothing = (): void => {};

/** All running fills of a member: one a block and version, and one discovery an object. */
export class Fills {
  readonly #byBlock = new Map<string, Fill>();
  /** Fills that ask for whatever version is current, until their first answer, by object. */
  readonly #discoveries = new Map<string, Fill>();
  readonly #settled = new Set<() => void>();

  constructor(
    private readonly context: FillContext,
    /** Hears of every answer by which the origin says what is current. */
    private readonly onSeen: (url: string, info: ObjectInfo, askedAtMs: number) => void,
  ) {}

  get running(): number {
    return this.#byBlock.size + this.#discoveries.size;
  }

  /** The running fill of a block of one version. */
  find(url: string, version: string, blockOffset: number): Fill | undefined {
    return this.#byBlock.get(blockKey({ url, version, offset: blockOffset }));
  }

  /** Whether any version of the block is being filled. */
  fillsAnyVersion(url: string, blockOffset: number): boolean {
    return [...this.#byBlock.values()].some(({ target }) => target.ref.url === url && target.blockOffset === blockOffset);
  }

  /** The running fill of a block of one version, or a new one that has nothing to do yet. */
  open(ref: ObjectRef, version: string, blockOffset: number): Fill {
    const key = blockKey({ url: ref.url, version, offset: blockOffset });
    const running = this.#byBlock.get(key);
    if (running !== undefined) return running;
    const fill: Fill = new Fill(
      this.context,
      { ref, blockOffset, version },
      {
        described: () => {},
        seen: (info, askedAtMs) => this.onSeen(ref.url, info, askedAtMs),
        idle: () => {
          this.#byBlock.delete(key);
          this.#settle();
        },
      },
    );
    this.#byBlock.set(key, fill);
    return fill;
  }

  /** The running discovery of an object's current version. */
  discovery(url: string): Fill | undefined {
    return this.#discoveries.get(url);
  }

  /**
   * While a discovery runs for a block, a fill of it for the version that will turn out to be current would fetch twice. Resolves
   * when its version is known, or won't be; undefined where no discovery runs for that block.
   */
  discovering(url: string, blockOffset: number): Promise<void> | undefined {
    const discovery = this.#discoveries.get(url);
    if (discovery?.target.blockOffset !== blockOffset || discovery.isDescribed) return undefined;
    return discovery.description.then(nothing, nothing);
  }

  /** A new fill without a version; from its first answer on it is the fill of that version's block. */
  discover(ref: ObjectRef, blockOffset: number): Fill {
    let key: string | undefined;
    const fill: Fill = new Fill(
      this.context,
      { ref, blockOffset, version: undefined },
      {
        described: (info) => {
          key = blockKey({ url: ref.url, version: info.version, offset: blockOffset });
          this.#discoveries.delete(ref.url);
          this.#byBlock.set(key, fill);
        },
        seen: (info, askedAtMs) => this.onSeen(ref.url, info, askedAtMs),
        idle: () => {
          if (key === undefined) this.#discoveries.delete(ref.url);
          else if (this.#byBlock.get(key) === fill) this.#byBlock.delete(key);
          this.#settle();
        },
      },
    );
    this.#discoveries.set(ref.url, fill);
    return fill;
  }

  /** Running fills that the selector fits serve their readers on, and keep nothing. */
  discard({ url, prefix, version }: EvictSelector): void {
    for (const fill of [...this.#byBlock.values(), ...this.#discoveries.values()]) {
      const name = fill.target.ref.url;
      const fits = url !== undefined ? name === url : prefix !== undefined && name.startsWith(prefix);
      if (fits && (version === undefined || fill.info === undefined || fill.info.version === version)) fill.discard();
    }
  }

  /** Resolves when no fill runs. */
  settled(): Promise<void> {
    if (this.running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#settled.add(resolve));
  }

  #settle(): void {
    if (this.running > 0) return;
    for (const resolve of this.#settled) resolve();
    this.#settled.clear();
  }
}
