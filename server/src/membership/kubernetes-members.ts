import { Membership } from "@frontcache/proto";
import type { KubeAccess } from "../kubernetes/kube-access.js";
import type { Clock, Random } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { ListAndWatch, type ListAndWatchTimes } from "./list-and-watch.js";
import type { MemberSource } from "./member-source.js";
import { PodApi } from "./pod-api.js";
import { PodMembers } from "./pod-members.js";
import { Published } from "./published.js";

/** All times of this source except the grace period, which is a setting. */
export interface KubernetesTimes extends ListAndWatchTimes {
  /** Maximum time between two chunks of a response. */
  readonly idleMs: number;
  /** Changes within this time are combined into one list. */
  readonly gatherMs: number;
}

/**
 * With these times the list is current within 10 s of the API's return: a back-off of at most 4 s, and an attempt of at most 5 s
 * that began just before; after a silent watch, a watch of at most 6 s and its slack. 300 members send 10 requests per second.
 */
export const kubernetesTimes: KubernetesTimes = {
  gatherMs: 100,
  idleMs: 5_000,
  listMs: 30_000,
  watchMs: 30_000,
  suspectWatchMs: 5_000,
  watchSlackMs: 2_000,
  relistMs: 300_000,
  backOffMs: 200,
  maxBackOffMs: 4_000,
};

export interface KubernetesMembersOptions {
  /** Called at the start, and again when the API no longer accepts the credentials. */
  readonly openAccess: () => Promise<KubeAccess>;
  /** Absent: the namespace of the access; in a pod, the pod's own. */
  readonly namespace: string | undefined;
  readonly labelSelector: string;
  readonly identity: "pod" | "node";
  readonly grpcPort: number;
  /** Undefined: members have no HTTP listener. */
  readonly httpPort: number | undefined;
  readonly unreadyGraceMs: number;
  readonly blockBytes: number;
  readonly times: KubernetesTimes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Creates the member list from the ready pods with a label. Needs only `get`, `list` and `watch` on pods of the namespace. */
export function kubernetesMembers(options: KubernetesMembersOptions): MemberSource {
  const { openAccess, namespace, labelSelector, blockBytes, times, clock, random, log } = options;
  const published = new Published();
  let failures = 0;
  const pods = new PodMembers({
    identity: options.identity,
    grpcPort: options.grpcPort,
    httpPort: options.httpPort,
    unreadyGraceMs: options.unreadyGraceMs,
    gatherMs: times.gatherMs,
    clock,
    onMembers(members) {
      try {
        published.publish(Membership.of(members, blockBytes, published.current));
      } catch (error) {
        log.error({ event: "members-refused", err: error }, "the pods are not a valid member list; keeping the last one");
      }
    },
  });
  const listAndWatch = new ListAndWatch({
    api: new PodApi({ openAccess, namespace, labelSelector, idleMs: times.idleMs, clock }),
    listener: pods,
    times,
    clock,
    random,
    onFailure(error, inARow) {
      failures++;
      // The first failure is logged. In a long outage every 16th follows, about one a minute.
      if (inARow % 16 === 1) log.warn({ event: "membership-stale", failures: inARow, reason: error.message }, ADVICE);
    },
    onRecovery: () => log.info({ event: "membership-fresh" }, "the Kubernetes API answers again"),
  });
  return {
    current: () => published.current,
    subscribe: (listener) => published.subscribe(listener),
    report: () => ({ ageMs: listAndWatch.silentMs, failures }),
    async close() {
      published.close();
      await listAndWatch.close();
      pods.close();
    },
  };
}

const ADVICE =
  "cannot list or watch pods, so the last member list stays in use; for 401 and 403 check the service account and its Role";
