import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "../runtime/clock.js";
import { apiChunks, KubeApiError } from "./api-request.js";
import { type Pod, readPod } from "./pod.js";

/** All pods at one moment of the API's history. */
export interface PodList {
  readonly pods: readonly Pod[];
  readonly resourceVersion: string;
}

/** One word of a watch, with the moment that the next watch can go on from. */
export interface PodEvent {
  readonly type: "set" | "removed" | "bookmark";
  /** Absent in a bookmark. */
  readonly pod?: Pod;
  readonly resourceVersion: string;
}

export interface PodApiOptions {
  /** Called at the start, and again when the API no longer takes the credentials. */
  readonly loadConfig: () => Promise<KubeConfig>;
  readonly namespace: (config: KubeConfig) => string;
  readonly labelSelector: string;
  readonly idleMs: number;
  readonly clock: Clock;
}

/** A page of a list: 100 pods are about 1 MB of JSON, which parses in 10 ms. */
const PAGE_PODS = 100;
/** More than a ring holds; a selector that matches so many is a mistake. */
const MAX_PODS = 5000;
const MAX_PAGE_BYTES = 64 << 20;
/** etcd holds no object beyond 1.5 MiB; JSON may be larger than that. */
const MAX_EVENT_BYTES = 8 << 20;

const NEWLINE = 10;

/**
 * Lists and watches the pods of one namespace that match one selector. It runs on the configuration and credentials of
 * @kubernetes/client-node but not on its watch, which in 1.4 waits for ever on a connection that went silent.
 */
export class PodApi {
  readonly #options: PodApiOptions;
  #config: KubeConfig | undefined;

  constructor(options: PodApiOptions) {
    this.#options = options;
  }

  /** All pods now: a consistent read, not one of a cache that may be behind. */
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

  /** What happens after `resourceVersion`. The API ends it after `limitMs`, rounded up to seconds; then it just ends. */
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
    const { loadConfig, namespace, labelSelector, idleMs, clock } = this.#options;
    this.#config ??= await loadConfig();
    const config = this.#config;
    const search = new URLSearchParams({ labelSelector, ...query });
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace(config))}/pods?${search}`;
    try {
      yield* apiChunks({ config, path, clock, idleMs, body, signal });
    } catch (error) {
      // The credentials may have been replaced; a configuration keeps what it read for a minute.
      if (error instanceof KubeApiError && error.status === 401) this.#config = undefined;
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

/** Throws for ERROR, by which a watch that has begun says 410 and the like; undefined for what is not known. */
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

/** The lines of a body that have an end; what is cut off at its end is none. */
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
