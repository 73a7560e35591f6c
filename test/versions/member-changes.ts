import { hostOf } from "../e2e/addresses.js";
import type { Cluster } from "../e2e/cluster.js";
import type { Chance } from "../seeded-random.js";

/** As few and as many members as there may be. */
const [FEWEST, MOST] = [3, 5];
/** Loopback addresses are used again after this many members. */
const HOSTS = 200;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What may happen to a member. */
export type MemberChange = "freezes" | "is killed" | "restarts" | "joins" | "shuts down for good" | "is lost for good";

/** Random changes of a cluster whose members follow its pods. */
export class MemberChanges {
  readonly #cluster: Cluster;
  readonly #chance: Chance;
  /** Names are never used again for another member. */
  #joined: number;
  /** How often each change has happened. */
  readonly counts: Partial<Record<MemberChange, number>> = {};

  constructor(cluster: Cluster, chance: Chance) {
    this.#cluster = cluster;
    this.#chance = chance;
    this.#joined = cluster.names.length;
  }

  /** Does one change. Resolves when the member serves again, or is gone. */
  async next(): Promise<void> {
    const members = this.#cluster.names.length;
    const always: MemberChange[] = ["freezes", "is killed", "restarts"];
    const grows: MemberChange[] = members < MOST ? ["joins"] : [];
    const shrinks: MemberChange[] = members > FEWEST ? ["shuts down for good", "is lost for good"] : [];
    const change = this.#chance.pick([...always, ...grows, ...shrinks]);
    this.counts[change] = (this.counts[change] ?? 0) + 1;
    await this.#apply(change, this.#chance.pick(this.#cluster.names));
  }

  async #apply(change: MemberChange, name: string): Promise<void> {
    const cluster = this.#cluster;
    if (change === "freezes") {
      const member = cluster.process(name);
      member.freeze();
      await pause(500 + this.#chance.below(2_500));
      member.thaw();
    } else if (change === "is killed") {
      await cluster.kill(name);
      await cluster.startAgain(name);
    } else if (change === "restarts") {
      const host = cluster.hostOf(name);
      await cluster.shutDown(name);
      await cluster.join({ name, host });
    } else if (change === "joins") {
      const index = this.#joined++;
      await cluster.join({ name: `cache-${index}`, host: hostOf(index % HOSTS) });
    } else if (change === "shuts down for good") {
      await cluster.shutDown(name);
    } else await cluster.lose(name);
  }
}
