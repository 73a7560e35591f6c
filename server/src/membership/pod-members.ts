import type { MemberInfo } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Pod } from "./pod.js";

/** How pods become members. */
export interface PodMembersOptions {
  /** What a member is named by. */
  readonly identity: "pod" | "node";
  /** The same on every pod: that of this member's own listener. */
  readonly grpcPort: number;
  /** Undefined: members have no gateway. */
  readonly httpPort: number | undefined;
  /** How long a member whose pod turned not ready, without leaving, stays a member. */
  readonly unreadyGraceMs: number;
  /** Changes that follow within this time become one list. */
  readonly gatherMs: number;
  readonly clock: Clock;
  /** The first list, at once and even when empty; then one after each gathered change, equal to the last or not. */
  readonly onMembers: (members: readonly MemberInfo[]) => void;
}

interface Tracked {
  readonly pod: Pod;
  /** A pod of this name that this one took the place of. */
  readonly formerUid: string | undefined;
  /** A member; a member that turned not ready and leaves at `graceEndsMs` (monotonic); or none. */
  readonly standing: "member" | "grace" | "none";
  readonly graceEndsMs: number;
}

/**
 * Pods in, member lists out: the rules of who is a member, and nothing of how pods are heard of. A pod is one when it is
 * Ready, has an address and is not leaving. It stops being one at once when it leaves or loses its address, but only
 * after a grace when it merely turns not ready: readiness flaps must not reshuffle a loaded cluster.
 */
export class PodMembers {
  readonly #options: PodMembersOptions;
  readonly #pods = new Map<string, Tracked>();
  #begun = false;
  #cancelGather: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;

  constructor(options: PodMembersOptions) {
    this.#options = options;
  }

  /** Takes a whole list: pods that are not on it are gone. */
  replace(pods: readonly Pod[]): void {
    const names = new Set(pods.map((pod) => pod.name));
    for (const name of this.#pods.keys()) if (!names.has(name)) this.#pods.delete(name);
    for (const pod of pods) this.#track(pod);
    this.#changed();
  }

  /** Takes a pod that is new or changed. One that is older than the known pod of its name is ignored. */
  set(pod: Pod): void {
    const known = this.#pods.get(pod.name);
    if (known !== undefined && isOlder(pod, known)) return;
    this.#track(pod);
    this.#changed();
  }

  /** Takes a pod's end, unless another one has its name by now. */
  remove(pod: Pod): void {
    if (this.#pods.get(pod.name)?.pod.uid !== pod.uid) return;
    this.#pods.delete(pod.name);
    this.#changed();
  }

  /** Ends its waits; no list follows. */
  close(): void {
    this.#cancelGather?.();
    this.#cancelGrace?.();
    this.#cancelGather = this.#cancelGrace = undefined;
  }

  #track(pod: Pod): void {
    const known = this.#pods.get(pod.name);
    const same = known?.pod.uid === pod.uid;
    const formerUid = same ? known?.formerUid : known?.pod.uid;
    this.#pods.set(pod.name, { pod, formerUid, ...this.#stand(pod, same ? known : undefined) });
  }

  #stand(pod: Pod, before: Tracked | undefined): Pick<Tracked, "standing" | "graceEndsMs"> {
    const none = { standing: "none", graceEndsMs: 0 } as const;
    if (pod.leaving || pod.address === undefined || this.#memberName(pod) === undefined) return none;
    if (pod.ready) return { standing: "member", graceEndsMs: 0 };
    if (before === undefined || before.standing === "none") return none;
    if (before.standing === "grace") return { standing: "grace", graceEndsMs: before.graceEndsMs };
    const { clock, unreadyGraceMs } = this.#options;
    const leftMs = unreadyGraceMs - unreadyForMs(pod, clock.nowMs());
    return leftMs <= 0 ? none : { standing: "grace", graceEndsMs: clock.monotonicMs() + leftMs };
  }

  #changed(): void {
    this.#awaitGrace();
    if (!this.#begun) {
      this.#begun = true;
      this.#emit();
      return;
    }
    this.#cancelGather ??= this.#options.clock.after(this.#options.gatherMs, () => {
      this.#cancelGather = undefined;
      this.#emit();
    });
  }

  /** One wait for the grace that ends first. */
  #awaitGrace(): void {
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    const ends = [...this.#pods.values()].filter((tracked) => tracked.standing === "grace").map((each) => each.graceEndsMs);
    if (ends.length === 0) return;
    const { clock } = this.#options;
    this.#cancelGrace = clock.after(Math.max(0, Math.min(...ends) - clock.monotonicMs()), () => this.#endGraces());
  }

  #endGraces(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [name, tracked] of this.#pods) {
      if (tracked.standing === "grace" && tracked.graceEndsMs <= nowMs) this.#pods.set(name, { ...tracked, standing: "none" });
    }
    this.#changed();
  }

  #emit(): void {
    const chosen = new Map<string, Tracked>();
    for (const tracked of this.#pods.values()) {
      if (tracked.standing === "none") continue;
      const name = this.#memberName(tracked.pod)!;
      const other = chosen.get(name);
      if (other === undefined || isBetter(tracked, other)) chosen.set(name, tracked);
    }
    this.#options.onMembers([...chosen].map(([name, { pod }]) => this.#member(name, pod)));
  }

  #memberName(pod: Pod): string | undefined {
    return this.#options.identity === "pod" ? pod.name : pod.nodeName;
  }

  #member(name: string, { address }: Pod): MemberInfo {
    const host = address!.includes(":") ? `[${address}]` : address;
    const { grpcPort, httpPort } = this.#options;
    const grpcAddress = `${host}:${grpcPort}`;
    return httpPort === undefined ? { name, grpcAddress } : { name, grpcAddress, httpAddress: `${host}:${httpPort}` };
  }
}

/**
 * How long ago a pod that is not ready turned so, in its own words: it may be told of late, by a list or by a watch that
 * catches up. Clocks differ by little, and one that is ahead makes no grace longer than the whole one.
 */
function unreadyForMs(pod: Pod, nowMs: number): number {
  return pod.readyTurnedMs === undefined ? 0 : Math.max(0, nowMs - pod.readyTurnedMs);
}

/** Whether a pod came before the known one of its name. Creation is told in whole seconds, so a tie is decided by history. */
function isOlder(pod: Pod, { pod: known, formerUid }: Tracked): boolean {
  if (pod.uid === known.uid) return false;
  if (pod.createdMs !== known.createdMs) return pod.createdMs < known.createdMs;
  return pod.uid === formerUid || (pod.leaving && !known.leaving);
}

/** Of two pods on one node, as a rollout may have for a moment: the ready one, then the newer one. */
function isBetter(one: Tracked, other: Tracked): boolean {
  if (one.standing !== other.standing) return one.standing === "member";
  if (one.pod.createdMs !== other.pod.createdMs) return one.pod.createdMs > other.pod.createdMs;
  return one.pod.uid > other.pod.uid;
}
