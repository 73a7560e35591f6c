import { apiChunks, KubeApiError } from "../kubernetes/api-request.js";
import type { KubeAccess } from "../kubernetes/kube-access.js";
import type { Clock } from "../runtime/clock.js";
import { type Pod, readPod } from "./pod.js";

/** All pods at one moment of the API's history. */
export interface PodList {
  readonly pods: readonly Pod[];
  readonly resourceVersion: string;
}

/** One event of a watch, with the resource version from which the next watch can resume. */
export interface PodEvent {
  readonly type: "set" | "removed" | "bookmark";
  /** Absent in a bookmark. */
  readonly pod?: Pod;
  readonly resourceVersion: string;
}

export interface PodApiOptions {
  /** Called at the start, and again when the API rejects the credentials. */
  readonly openAccess: () => Promise<KubeAccess>;
  /** Absent: the namespace of the access; in a pod, the pod's own. */
  readonly namespace: string | undefined;
  readonly labelSelector: string;
  readonly idleMs: number;
  readonly clock: Clock;
}

/** A page of a list: 100 pods are about 1 MB of JSON, which parses in 10 ms. */
const PAGE_PODS = 100;
/** More than a ring can have. A selector that matches more pods is a mistake. */
const MAX_PODS = 5000;
const MAX_PAGE_BYTES = 64 << 20;
/** etcd stores objects up to 1.5 MiB; their JSON may be larger. */
const MAX_EVENT_BYTES = 8 << 20;

const NEWLINE = 10;

/**
 * Lists and watches the pods of one namespace that match one selector. It does not use the watch of @kubernetes/client-node,
 * because version 1.4 never notices a dead connection.
 */
export class PodApi {
  readonly #options: PodApiOptions;
  #access: KubeAccess | undefined;

  constructor(options: PodApiOptions) {
    this.#options = options;
  }

  /** Lists all pods with a consistent read, because the API server's cache may lag. */
  async list(signal: AbortSignal): Promise<PodList> {
    const pods: Pod[] = [];
    let next = "";
    for (;;) {
      const page = await this.#page(next, signal);
      pods.push(...(page.items ?? []).map(readPod).filter((pod) => pod !== undefined));
      if (pods.length > MAX_PODS) throw new Error(`${this.#options.labelSelector} matches more than ${MAX_PODS} pods`);
      next = page.metadata?.continue ?? "";
      if (next === "") return { pods, resourceVersion: page.metadata?.resourceVersion ?? "" };
    }
  }

  /** Yields the events after `resourceVersion`. The API ends the watch after `limitMs`, rounded up to seconds. */
  async *watch(resourceVersion: string, limitMs: number, signal: AbortSignal): AsyncGenerator<PodEvent> {
    const timeoutSeconds = String(Math.ceil(limitMs / 1000));
    const query = { watch: "true", allowWatchBookmarks: "true", resourceVersion, timeoutSeconds };
    for await (const line of lines(this.#get(query, "quiet", signal))) {
      const event = readEvent(JSON.parse(line) as EventObject);
      if (event !== undefined) yield event;
    }
  }

  async #page(next: string, signal: AbortSignal): Promise<ListObject> {
    const query = { limit: String(PAGE_PODS), ...(next === "" ? {} : { continue: next }) };
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of this.#get(query, "steady", signal)) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_PAGE_BYTES) throw new Error(`a list of ${PAGE_PODS} pods is larger than ${MAX_PAGE_BYTES} bytes`);
    }
    return JSON.parse(Buffer.concat(chunks).toString()) as ListObject;
  }

  async *#get(query: Record<string, string>, body: "steady" | "quiet", signal: AbortSignal): AsyncGenerator<Buffer> {
    const { openAccess, labelSelector, idleMs, clock } = this.#options;
    this.#access ??= await openAccess();
    const access = this.#access;
    const { namespace = access.namespace } = this.#options;
    const search = new URLSearchParams({ labelSelector, ...query });
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods?${search}`;
    try {
      yield* apiChunks({ access, path, clock, idleMs, body, signal });
    } catch (error) {
      // The credentials may have been replaced; a kubeconfig keeps what it read for a minute.
      if (error instanceof KubeApiError && error.status === 401) this.#access = undefined;
      throw error;
    }
  }
}

interface ListObject {
  readonly metadata?: { resourceVersion?: string; continue?: string };
  readonly items?: readonly unknown[];
}

interface EventObject {
  readonly type?: string;
  readonly object?: { code?: number; message?: string; metadata?: { resourceVersion?: string } };
}

/**
 * Parses an event. Throws for ERROR, which reports 410 and other failures of a running watch. Returns undefined for unknown
 * events.
 */
function readEvent({ type, object }: EventObject): PodEvent | undefined {
  const resourceVersion = object?.metadata?.resourceVersion ?? "";
  if (type === "ERROR") {
    throw new KubeApiError(object?.code ?? 0, `the Kubernetes API ended the watch: ${object?.message ?? "no reason given"}`);
  }
  if (type === "BOOKMARK") return { type: "bookmark", resourceVersion };
  const pod = readPod(object);
  if (pod === undefined) return undefined;
  if (type === "ADDED" || type === "MODIFIED") return { type: "set", pod, resourceVersion };
  return type === "DELETED" ? { type: "removed", pod, resourceVersion } : undefined;
}

/** Yields the complete lines of a body. A last line without a newline is dropped. */
async function* lines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...rest, chunk.subarray(from, end)]).toString();
      rest = [];
      restBytes = 0;
      from = end + 1;
    }
    rest.push(chunk.subarray(from));
    restBytes += chunk.length - from;
    if (restBytes > MAX_EVENT_BYTES) throw new Error(`an event of the watch is larger than ${MAX_EVENT_BYTES} bytes`);
  }
}
