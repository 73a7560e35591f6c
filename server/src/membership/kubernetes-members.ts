import { Membership } from "@frontcache/proto";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock, Random } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { namespaceOf } from "./kube-config.js";
import { ListAndWatch, type ListAndWatchTimes } from "./list-and-watch.js";
import type { MemberSource } from "./member-source.js";
import { PodApi } from "./pod-api.js";
import { PodMembers } from "./pod-members.js";
import { Published } from "./published.js";

/** Every time that this source goes by, apart from the grace, which is a setting. */
export interface KubernetesTimes extends ListAndWatchTimes {
  /** The longest that an answer may make one wait for its next piece. */
  readonly idleMs: number;
  /** Changes that follow within this time become one list. */
  readonly gatherMs: number;
}

/**
 * Chosen so that the list is right within 10 s of the API's return: a back-off of at most 4 s and an attempt of at most 5 s
 * that began just before; after a silent watch, one of at most 6 s and its slack. 300 members ask 10 times a second.
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
  readonly loadConfig: () => Promise<KubeConfig>;
  /** Absent: that of the configuration, which in a pod is the pod's own. */
  readonly namespace: string | undefined;
  readonly labelSelector: string;
  readonly identity: "pod" | "node";
  readonly grpcPort: number;
  /** Undefined: members have no gateway. */
  readonly httpPort: number | undefined;
  readonly unreadyGraceMs: number;
  readonly blockBytes: number;
  readonly times: KubernetesTimes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Members are the ready pods of a label. Needs `get`, `list` and `watch` on pods of the namespace and nothing else. */
export function kubernetesMembers(options: KubernetesMembersOptions): MemberSource {
  const { loadConfig, labelSelector, blockBytes, times, clock, random, log } = options;
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
  const namespace = (config: KubeConfig): string => options.namespace ?? namespaceOf(config);
  const heard = new ListAndWatch({
    api: new PodApi({ loadConfig, namespace, labelSelector, idleMs: times.idleMs, clock }),
    listener: pods,
    times,
    clock,
    random,
    onFailure(error, inARow) {
      failures++;
      // The first one says what is wrong; in a long outage one in 16 (about a minute) says that it still is.
      if (inARow % 16 === 1) log.warn({ event: "membership-stale", failures: inARow, reason: error.message }, ADVICE);
    },
    onRecovery: () => log.info({ event: "membership-fresh" }, "the Kubernetes API answers again"),
  });
  return {
    current: () => published.current,
    subscribe: (listener) => published.subscribe(listener),
    report: () => ({
      members: published.current?.members.length ?? 0,
      changes: published.changes,
      silentSeconds: heard.silentMs / 1000,
      failures,
    }),
    async close() {
      published.close();
      await heard.close();
      pods.close();
    },
  };
}

const ADVICE =
  "the Kubernetes API tells nothing of members, so the last list stays; for 401 and 403 check the service account and its Role";
