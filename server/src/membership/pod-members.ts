import type { MemberInfo } from "@frontcache/proto";
import type { Clock } from "../runtime/clock.js";
import type { Pod } from "./pod.js";

/** Rules for turning pods into members. */
export interface PodMembersOptions {
  /** Whether a member is named after its pod or its node. */
  readonly identity: "pod" | "node";
  /** The port of this member's listener; all pods use the same. */
  readonly grpcPort: number;
  /** Undefined: members have no HTTP listener. */
  readonly httpPort: number | undefined;
  /** Time that a member stays on the list after its pod became not ready without being deleted. */
  readonly unreadyGraceMs: number;
  /** Changes within this time are combined into one list. */
  readonly gatherMs: number;
  readonly clock: Clock;
  /**
   * Called immediately with the first list, even if it is empty; then after each combined change, even if the list is unchanged.
   */
  readonly onMembers: (members: readonly MemberInfo[]) => void;
}

interface Tracked {
  readonly pod: Pod;
  /** The pod of this name that this one replaced. */
  readonly formerUid: string | undefined;
  /** `grace`: a member that is not ready and is removed at `graceEndsMs` (monotonic). */
  readonly standing: "member" | "grace" | "none";
  readonly graceEndsMs: number;
}

/**
 * Turns pods into member lists. A pod is a member if it is Ready, has an address and is not terminating. A pod that terminates or
 * loses its address is removed at once. A pod that only becomes not ready is removed after a grace period: readiness flaps must
 * not move the blocks of a loaded cluster.
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

  /** Applies a whole list. Pods that are not on it are removed. */
  replace(pods: readonly Pod[]): void {
    const names = new Set(pods.map((pod) => pod.name));
    for (const name of this.#pods.keys()) if (!names.has(name)) this.#pods.delete(name);
    for (const pod of pods) this.#track(pod);
    this.#changed();
  }

  /** Applies a new or changed pod. Ignores a pod that is older than the known pod of its name. */
  set(pod: Pod): void {
    const known = this.#pods.get(pod.name);
    if (known !== undefined && isOlder(pod, known)) return;
    this.#track(pod);
    this.#changed();
  }

  /** Removes a pod, unless another pod has its name by now. */
  remove(pod: Pod): void {
    if (this.#pods.get(pod.name)?.pod.uid !== pod.uid) return;
    this.#pods.delete(pod.name);
    this.#changed();
  }

  /** Cancels its timers. No further list is produced. */
  close(): void {
    this.#cancelGather?.();
    this.#cancelGrace?.();
    this.#cancelGather = this.#cancelGrace = undefined;
  }

  #track(pod: Pod): void {
    const known = this.#pods.get(pod.name);
    const same = known?.pod.uid === pod.uid;
    const formerUid = same ? known?.formerUid : known?.pod.uid;
    this.#pods.set(pod.name, { pod, formerUid, ...this.#standingOf(pod, same ? known : undefined) });
  }

  #standingOf(pod: Pod, before: Tracked | undefined): Pick<Tracked, "standing" | "graceEndsMs"> {
    const none = { standing: "none", graceEndsMs: 0 } as const;
    if (pod.terminating || pod.address === undefined || this.#memberName(pod) === undefined) return none;
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

  /** One timer, for the grace that ends first. */
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
 * Returns the time since a pod became not ready, by the cluster's clock, because lists and watches may report the change late. If
 * our clock is behind, the result is 0, so the grace period is never extended.
 */
function unreadyForMs(pod: Pod, nowMs: number): number {
  return pod.readyTurnedMs === undefined ? 0 : Math.max(0, nowMs - pod.readyTurnedMs);
}

/** Returns whether a pod is older than the known pod of its name. Creation times are whole seconds, so history decides a tie. */
function isOlder(pod: Pod, { pod: known, formerUid }: Tracked): boolean {
  if (pod.uid === known.uid) return false;
  if (pod.createdMs !== known.createdMs) return pod.createdMs < known.createdMs;
  return pod.uid === formerUid || (pod.terminating && !known.terminating);
}

/** During a rollout a node may have two pods for a moment. The ready one is preferred, then the newer one. */
function isBetter(one: Tracked, other: Tracked): boolean {
  if (one.standing !== other.standing) return one.standing === "member";
  if (one.pod.createdMs !== other.pod.createdMs) return one.pod.createdMs > other.pod.createdMs;
  return one.pod.uid > other.pod.uid;
}
