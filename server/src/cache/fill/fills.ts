import type { ObjectRef } from "@frontcache/proto";
import { LinkedList, TransientMap } from "@frontcache/proto/runtime";
import { blockKey } from "../../storage/block.js";
import type { EvictSelector } from "../../storage/block-store.js";
import { Fill } from "./fill.js";
import type { FillContext } from "./fill-description.js";

const nothing = (): void => {};

/** All running fills of a member: at most one per block and version, and one discovery per object. */
export class Fills {
  readonly #context: FillContext;
  /** All fills that run, and those with a version by their blocks. */
  readonly #all = new LinkedList<Fill>();
  readonly #byBlock = new TransientMap<Fill>();
  /** Fills that request whatever version is current, until their first answer, by object. */
  readonly #discoveries = new TransientMap<Fill>();
  /** Fills with a version, by object. */
  readonly #described = new TransientMap<number>();
  readonly #settled = new Set<() => void>();

  constructor(context: FillContext) {
    this.#context = context;
  }

  get running(): number {
    return this.#all.size;
  }

  /** The running fill of a block of one version. */
  find(url: string, version: string, blockOffset: number): Fill | undefined {
    return this.#byBlock.get(blockKey({ url, version, offset: blockOffset }));
  }

  /** Whether any version of the block is being filled. */
  fillsAnyVersion(url: string, blockOffset: number): boolean {
    return this.#findDescribed(url, blockOffset, () => true) !== undefined;
  }

  /** The running fill of a block of one version, or a new one without any request. */
  open(ref: ObjectRef, version: string, blockOffset: number): Fill {
    const key = blockKey({ url: ref.url, version, offset: blockOffset });
    const running = this.#byBlock.get(key);
    if (running !== undefined) return running;
    const idle = (): void => {
      this.#byBlock.delete(key);
      this.#countDescribed(ref.url, -1);
      this.#all.delete(fill);
      this.#checkSettled();
    };
    const fill: Fill = new Fill(this.#context, { ref, blockOffset, version }, { described: nothing, idle });
    this.#byBlock.set(key, fill);
    this.#countDescribed(ref.url, 1);
    this.#all.add(fill);
    return fill;
  }

  /** The running discovery of an object's current version. */
  discovery(url: string): Fill | undefined {
    return this.#discoveries.get(url);
  }

  /**
   * Resolves when a discovery of this block has more answers, which may be of this version. Undefined: none can be any more. A fill of
   * the version that is opened before would fetch the segments of such an answer a second time.
   */
  discovering(url: string, blockOffset: number, version: string): Promise<void> | undefined {
    const discovery = this.#discoveries.get(url);
    const isUndescribed = discovery?.target.blockOffset === blockOffset && !discovery.description.isSettled;
    if (isUndescribed) return discovery.description.promise.then(nothing, nothing);
    // The first answer had another version. The discovery's other requests had been sent by then, and the object may have changed between.
    const isOpen = (fill: Fill): boolean => fill.description.version !== version && fill.description.answers !== undefined;
    return this.#findDescribed(url, blockOffset, isOpen)?.description.answers;
  }

  /** A new fill without a version. From its first answer on it is the fill of that version's block. */
  discover(ref: ObjectRef, blockOffset: number): Fill {
    let key: string | undefined;
    const fill: Fill = new Fill(
      this.#context,
      { ref, blockOffset, version: undefined },
      {
        described: (info) => {
          key = blockKey({ url: ref.url, version: info.version, offset: blockOffset });
          this.#discoveries.delete(ref.url);
          this.#byBlock.set(key, fill);
          this.#countDescribed(ref.url, 1);
        },
        idle: () => {
          if (key === undefined) this.#discoveries.delete(ref.url);
          else this.#countDescribed(ref.url, -1);
          if (key !== undefined && this.#byBlock.get(key) === fill) this.#byBlock.delete(key);
          this.#all.delete(fill);
          this.#checkSettled();
        },
      },
    );
    this.#discoveries.set(ref.url, fill);
    this.#all.add(fill);
    return fill;
  }

  /** Running fills that match the selector still serve their readers, but write nothing. */
  discard({ url, prefix, version }: EvictSelector): void {
    for (let fill = this.#all.first; fill !== undefined; fill = fill.next) {
      const name = fill.target.ref.url;
      const matches = url !== undefined ? name === url : prefix !== undefined && name.startsWith(prefix);
      const { info } = fill.description;
      if (matches && (version === undefined || info === undefined || info.version === version)) fill.discard();
    }
  }

  /** Resolves when no fill runs. */
  settled(): Promise<void> {
    if (this.running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#settled.add(resolve));
  }

  /** A fill of any version of the block that meets a condition. */
  #findDescribed(url: string, blockOffset: number, isMet: (fill: Fill) => boolean): Fill | undefined {
    if (!this.#described.has(url)) return undefined;
    for (let fill = this.#all.first; fill !== undefined; fill = fill.next) {
      const { target, description } = fill;
      const isOfBlock = target.blockOffset === blockOffset && target.ref.url === url;
      if (isOfBlock && description.version !== undefined && isMet(fill)) return fill;
    }
    return undefined;
  }

  #countDescribed(url: string, change: number): void {
    const count = (this.#described.get(url) ?? 0) + change;
    if (count === 0) this.#described.delete(url);
    else this.#described.set(url, count);
  }

  #checkSettled(): void {
    if (this.running > 0) return;
    for (const resolve of this.#settled) resolve();
    this.#settled.clear();
  }
}
