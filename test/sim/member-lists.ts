import { Membership } from "@frontcache/proto";
import type { ManualClock } from "@frontcache/server/testing";
import type { Chance } from "../seeded-random.js";
import type { Place } from "./place.js";
import { geometry } from "./simulated-parts.js";

/** How long others take to see a member come or go, at most. */
export const HEARD_WITHIN_MS = 600;

export interface MemberListsOptions {
  readonly places: readonly Place[];
  readonly time: ManualClock;
  readonly chance: Chance;
  /** Does something after a while, or as soon as all trouble is taken away. */
  later(ms: number, tell: () => void): void;
}

/** Who is a member, and what the members hear of it. */
export class MemberLists {
  readonly #options: MemberListsOptions;

  constructor(options: MemberListsOptions) {
    this.#options = options;
  }

  /** The members as they are, and the one that reads the list among them. */
  of(reader: Place): ReturnType<Membership["toMessage"]> {
    return this.#list(
      this.#options.places.filter((place) => (place.serves && !place.isUnlisted) || place === reader),
      reader,
    );
  }

  /** The list that a member starts with. If its pod is not ready yet, as after most starts, the member is not in it. */
  firstOf(reader: Place): ReturnType<Membership["toMessage"]> {
    const { places, chance } = this.#options;
    const isReady = chance.below(2) === 0 || !places.some(({ serves }) => serves);
    return this.#list(
      places.filter((place) => (place.serves && !place.isUnlisted) || (isReady && place === reader)),
      reader,
    );
  }

  /** Everybody hears of the members as they are, each in its time. */
  tellAll(): void {
    const { places, time, chance, later } = this.#options;
    for (const place of places) {
      const lateMs = Math.max(0, place.deafUntilMs - time.monotonicMs());
      later(lateMs + chance.below(HEARD_WITHIN_MS), () => place.process?.hear(this.of(place)));
    }
  }

  #list(members: readonly Place[], reader: Place): ReturnType<Membership["toMessage"]> {
    const listed = members.map(({ self }) => self);
    return Membership.of(listed, geometry.blockBytes).toMessage(reader.name);
  }

  /** Members with equal lists must rank equally, and at rest all lists are equal. */
  faults(): string[] {
    const [first, ...others] = this.#options.places.flatMap(({ process }) => process?.view.current ?? []);
    const rank = (membership: Membership): string =>
      [0, 1, 2, 3, 4].map((block) => [...membership.owners("s3://bucket/a", block * 4096)].map(({ name }) => name)).join();
    const differ = others.some((other) => other.hash !== first!.hash || rank(other) !== rank(first!));
    return differ ? ["at rest the members' lists or rankings differ"] : [];
  }
}
