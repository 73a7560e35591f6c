import type { Membership } from "@frontcache/proto";
import type { MemberSource } from "@frontcache/server/testing";
import { expect } from "vitest";
import { EmulatedKubernetes } from "./emulated-kubernetes.js";

type MemberOptions = Parameters<EmulatedKubernetes["members"]>[0];

/** Members from an emulated Kubernetes with three pods, `frontcache-0` to `frontcache-2`. */
export class WatchedMembers {
  /** All published lists. */
  readonly lists: Membership[] = [];
  #source: MemberSource | undefined;

  private constructor(readonly kubernetes: EmulatedKubernetes) {}

  static async open(): Promise<WatchedMembers> {
    const kubernetes = await EmulatedKubernetes.open();
    for (const ordinal of [0, 1, 2]) kubernetes.api.pods.set(`frontcache-${ordinal}`, { ip: `10.0.0.${ordinal}` });
    return new WatchedMembers(kubernetes);
  }

  get source(): MemberSource {
    return this.#source!;
  }

  get names(): string[] {
    return (this.source.current()?.members ?? []).map((member) => member.name);
  }

  async begin(options: MemberOptions = {}): Promise<void> {
    this.#source = await this.kubernetes.members(options);
    this.#source.subscribe((membership) => this.lists.push(membership));
  }

  /** Starts the source, and waits for the first list and the first watch. */
  async beginWatching(options: MemberOptions = {}): Promise<void> {
    await this.begin(options);
    const { api, time } = this.kubernetes;
    await time.until("a watch is open", () => api.openWatches === 1);
    expect(this.names).toEqual(["frontcache-0", "frontcache-1", "frontcache-2"]);
  }

  /** Waits until the members have these ordinals, and returns the elapsed time. */
  until(...ordinals: number[]): Promise<number> {
    const expected = ordinals.map((ordinal) => `frontcache-${ordinal}`).join();
    return this.kubernetes.time.until(`the members are ${expected}`, () => this.names.join() === expected);
  }

  async close(): Promise<void> {
    await this.kubernetes.closeSource(this.source);
    await this.kubernetes.close();
  }
}
