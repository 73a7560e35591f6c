/** A pod, as far as membership needs it. */
export interface Pod {
  readonly name: string;
  /** A different UID is a different pod, even with the same name. */
  readonly uid: string;
  /** Time of its creation, milliseconds since 1970, in whole seconds; 0 if unknown. */
  readonly createdMs: number;
  /** The node that it runs on; absent until it is scheduled. */
  readonly nodeName?: string;
  /** Its IP, IPv6 without brackets; absent until it has one. */
  readonly address?: string;
  readonly ready: boolean;
  /** Time of the last change of `ready`, by the cluster's clock; absent: unknown. */
  readonly readyTurnedMs?: number;
  /** Being deleted, or ended (phase Succeeded or Failed). It does not come back under this UID. */
  readonly terminating: boolean;
}

/** The fields of the API's pod object that are read. Any of them may be missing. */
interface PodObject {
  readonly metadata?: { name?: string; uid?: string; creationTimestamp?: string; deletionTimestamp?: string };
  readonly spec?: { nodeName?: string };
  readonly status?: { phase?: string; podIP?: string; conditions?: PodCondition[] };
}

interface PodCondition {
  readonly type?: string;
  readonly status?: string;
  readonly lastTransitionTime?: string;
}

/** Reads a pod object of the API (`v1`, kind Pod). Undefined if it has no name or no UID. */
export function readPod(object: unknown): Pod | undefined {
  const { metadata, spec, status } = (object ?? {}) as PodObject;
  if (!metadata?.name || !metadata.uid) return undefined;
  const ready = status?.conditions?.find((condition) => condition.type === "Ready");
  const turnedMs = Date.parse(ready?.lastTransitionTime ?? "");
  return {
    name: metadata.name,
    uid: metadata.uid,
    createdMs: Date.parse(metadata.creationTimestamp ?? "") || 0,
    ready: ready?.status === "True",
    terminating: metadata.deletionTimestamp !== undefined || status?.phase === "Succeeded" || status?.phase === "Failed",
    ...(spec?.nodeName ? { nodeName: spec.nodeName } : {}),
    ...(status?.podIP ? { address: status.podIP } : {}),
    ...(Number.isNaN(turnedMs) ? {} : { readyTurnedMs: turnedMs }),
  };
}
