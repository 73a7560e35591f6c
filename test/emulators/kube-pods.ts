import type { Clock } from "@frontcache/server/testing";

/** The fields of a pod's JSON that the tests use. */
export interface PodObject {
  readonly apiVersion: "v1";
  readonly kind: "Pod";
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly creationTimestamp: string;
    readonly deletionTimestamp?: string;
    readonly resourceVersion: string;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly lastTransitionTime: string }[];
  };
}

/** A change of a pod. Absent fields stay unchanged; of a new pod the defaults are: ready, label `app=frontcache`, no node. */
export interface PodWish {
  readonly ready?: boolean;
  /** Its address; null removes it. */
  readonly ip?: string | null;
  readonly nodeName?: string;
  readonly phase?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface PodChange {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: PodObject;
  /** The pod before the change; absent for a new pod. */
  readonly before?: PodObject;
  readonly resourceVersion: number;
}

/** The pods of one namespace with their history, as etcd keeps them. */
export class KubePods {
  readonly namespace: string;
  readonly #clock: Clock;

  readonly #pods = new Map<string, PodObject>();
  readonly #listeners = new Set<(change: PodChange) => void>();
  #history: PodChange[] = [];
  #resourceVersion = 1000;
  #forgottenUpTo = 1000;
  #uids = 0;

  constructor(namespace: string, clock: Clock) {
    this.namespace = namespace;
    this.#clock = clock;
  }

  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  all(): PodObject[] {
    return [...this.#pods.values()];
  }

  /** Creates or changes a pod. A removed pod is recreated with a new UID. */
  set(name: string, wish: PodWish = {}): PodObject {
    const known = this.#pods.get(name);
    const identity = known?.metadata ?? {
      name,
      namespace: this.namespace,
      uid: `uid-${++this.#uids}`,
      creationTimestamp: this.#timestamp(),
      labels: { app: "frontcache" },
    };
    const nodeName = wish.nodeName ?? known?.spec.nodeName;
    return this.#commit(known === undefined ? "ADDED" : "MODIFIED", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...identity, labels: wish.labels ?? identity.labels, resourceVersion: "" },
      spec: nodeName === undefined ? {} : { nodeName },
      status: this.#status(known?.status, wish),
    });
  }

  /** Marks a pod as terminating, as `kubectl delete` does. It exists until `remove`. */
  startDeleting(name: string): PodObject {
    const known = this.#pods.get(name)!;
    return this.#commit("MODIFIED", { ...known, metadata: { ...known.metadata, deletionTimestamp: this.#timestamp() } });
  }

  remove(name: string): PodObject {
    return this.#commit("DELETED", this.#pods.get(name)!);
  }

  /** Expires the history up to now: a watch from an older resource version gets 410. */
  compact(): void {
    this.#history = [];
    this.#resourceVersion++;
    this.#forgottenUpTo = this.#resourceVersion;
  }

  /** Returns the events after a resource version; undefined if that history has expired. */
  since(resourceVersion: number): readonly PodChange[] | undefined {
    if (resourceVersion < this.#forgottenUpTo) return undefined;
    return this.#history.filter((change) => change.resourceVersion > resourceVersion);
  }

  subscribe(listener: (change: PodChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #commit(type: PodChange["type"], pod: PodObject): PodObject {
    const resourceVersion = ++this.#resourceVersion;
    const object = { ...pod, metadata: { ...pod.metadata, resourceVersion: String(resourceVersion) } };
    const { name } = object.metadata;
    const before = this.#pods.get(name);
    if (type === "DELETED") this.#pods.delete(name);
    else this.#pods.set(name, object);
    const change = { type, object, resourceVersion, ...(before === undefined ? {} : { before }) };
    this.#history.push(change);
    for (const listener of [...this.#listeners]) listener(change);
    return object;
  }

  #status(known: PodObject["status"] | undefined, wish: PodWish): PodObject["status"] {
    const before = known?.conditions.find((condition) => condition.type === "Ready");
    const ready = wish.ready === undefined ? (before?.status ?? "True") : wish.ready ? "True" : "False";
    const lastTransitionTime = before?.status === ready ? before.lastTransitionTime : this.#timestamp();
    const podIP = wish.ip === undefined ? known?.podIP : (wish.ip ?? undefined);
    return {
      phase: wish.phase ?? known?.phase ?? "Running",
      ...(podIP === undefined ? {} : { podIP }),
      conditions: [{ type: "Ready", status: ready, lastTransitionTime }],
    };
  }

  /** Whole seconds, as the API writes time. */
  #timestamp(): string {
    return `${new Date(this.#clock.nowMs()).toISOString().slice(0, 19)}Z`;
  }
}
