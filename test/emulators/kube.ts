import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { sleep } from "@frontcache/proto/runtime";
import { type Clock, systemClock } from "@frontcache/server/testing";
import { KubePods, type PodObject } from "./kube-pods.js";
import { type KubeCounts, KubeWatch } from "./kube-watch.js";
import { matches } from "./label-selector.js";

export type { PodObject, PodWish } from "./kube-pods.js";

/** The current behaviour of the API. */
interface Behaviour {
  /** Delay before each response, milliseconds. */
  latencyMs: number;
  /** Delay in the middle of each list, milliseconds. */
  listPauseMs: number;
  /** Answers all requests with this status. */
  refuse: number | undefined;
  /** Accepts connections and never answers. */
  hang: boolean;
  /** How a watch from an expired resource version is rejected. */
  goneAs: "status" | "event";
  /** The only accepted bearer token; undefined: any token, or none. */
  token: string | undefined;
}

/**
 * The part of the Kubernetes API that members use, on a free local port: list and watch of the pods of one namespace, with
 * label selectors, resource versions, pages, bookmarks and 410. Tests configure its faults; none is random.
 */
export class KubeEmulator {
  readonly pods: KubePods;
  readonly counts: KubeCounts = { lists: 0, watches: 0 };
  readonly behaviour: Behaviour = {
    latencyMs: 0,
    listPauseMs: 0,
    refuse: undefined,
    hang: false,
    goneAs: "status",
    token: undefined,
  };
  readonly #watches = new Set<KubeWatch>();
  readonly #sockets = new Set<Socket>();
  readonly #clock: Clock;
  #server: Server | undefined;
  #port = 0;
  #silent = false;

  private constructor(namespace: string, clock: Clock) {
    this.pods = new KubePods(namespace, clock);
    this.#clock = clock;
  }

  /** The clock of watch timeouts and of timestamps in pods. */
  static async start(namespace = "default", clock: Clock = systemClock): Promise<KubeEmulator> {
    const emulator = new KubeEmulator(namespace, clock);
    await emulator.up();
    return emulator;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Open connections. */
  get openSockets(): number {
    return this.#sockets.size;
  }

  /** Open watches. */
  get openWatches(): number {
    return this.#watches.size;
  }

  /** Returns a kubeconfig (JSON is YAML). `user` is the user's entry; default: no credentials. */
  kubeconfig(user: Record<string, unknown> = {}): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "emulator", cluster: { server: this.url, "insecure-skip-tls-verify": true } }],
      users: [{ name: "user", user }],
      contexts: [{ name: "it", context: { cluster: "emulator", user: "user", namespace: this.pods.namespace } }],
      "current-context": "it",
    });
  }

  /** Listens, on the previous port if there is one. */
  async up(): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {}); // clients may disconnect at any time
    });
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Stops the API: connections are reset and new ones refused. */
  async down(): Promise<void> {
    const closed = once(this.#server!, "close");
    this.#server!.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  close(): Promise<void> {
    return this.down();
  }

  /** Resets the connections of all watches. */
  dropWatches(): void {
    for (const watch of [...this.#watches]) watch.drop();
  }

  /** Ends all watches normally, as at their time limit. */
  endWatches(): void {
    for (const watch of [...this.#watches]) watch.end();
  }

  /** Silences all current and future watches: they send nothing and never end. Lists still work. */
  silenceWatches(): void {
    this.#silent = true;
    for (const watch of this.#watches) watch.silence();
  }

  /** Lets new watches work again. Silent watches stay silent. */
  unsilenceWatches(): void {
    this.#silent = false;
  }

  /** Sends a bookmark to watches that requested bookmarks. */
  bookmark(): void {
    for (const watch of this.#watches) watch.bookmark(this.pods.resourceVersion);
  }

  /** Sends a late event to open watches: an earlier state of a pod. */
  tellAgain(type: "ADDED" | "MODIFIED" | "DELETED", pod: PodObject): void {
    for (const watch of this.#watches) watch.say(type, pod);
  }

  /** Ends all watches with an ERROR event. */
  failWatches(code: number, message: string): void {
    for (const watch of [...this.#watches]) watch.error(code, message);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { behaviour } = this;
    if (behaviour.hang) return;
    if (behaviour.latencyMs > 0) await sleep(this.#clock, behaviour.latencyMs);
    if (response.destroyed) return;
    const url = new URL(request.url!, this.url);
    const refusal = this.#refusal(request, url.pathname);
    if (refusal !== undefined) refuse(response, ...refusal);
    else if (url.searchParams.get("watch") === "true") this.#watch(url.searchParams, response);
    else await this.#list(url.searchParams, response);
  }

  #refusal(request: IncomingMessage, path: string): [code: number, message: string] | undefined {
    const { refuse: code, token } = this.behaviour;
    if (code !== undefined) return [code, "the test refuses everything"];
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) return [401, "Unauthorized"];
    const isPods = path === `/api/v1/namespaces/${this.pods.namespace}/pods` && request.method === "GET";
    return isPods ? undefined : [403, `${request.method} ${path} is not what a member does`];
  }

  /** A continue token is `<resource version>:<pods sent>`. Pages contain the current pods, unless that history has expired. */
  async #list(query: URLSearchParams, response: ServerResponse): Promise<void> {
    this.counts.lists++;
    const token = query.get("continue") ?? `${this.pods.resourceVersion}:0`;
    const [version, sent] = token.split(":").map(Number) as [number, number];
    if (this.pods.since(version) === undefined) {
      refuse(response, 410, "The provided continue parameter is too old");
      return;
    }
    const all = this.pods.all().filter((pod) => matches(query.get("labelSelector") ?? "", pod.metadata.labels));
    const limit = Number(query.get("limit") ?? 0) || all.length;
    const items = all.slice(sent, sent + limit);
    const rest = sent + limit < all.length ? { continue: `${version}:${sent + limit}` } : {};
    const list = { kind: "PodList", apiVersion: "v1", metadata: { resourceVersion: String(version), ...rest }, items };
    if (this.behaviour.listPauseMs > 0) {
      response.write(" ");
      await sleep(this.#clock, this.behaviour.listPauseMs);
    }
    if (!response.destroyed) response.end(JSON.stringify(list));
  }

  #watch(query: URLSearchParams, response: ServerResponse): void {
    this.counts.watches++;
    const selector = query.get("labelSelector") ?? "";
    const missed = this.pods.since(Number(query.get("resourceVersion")));
    if (missed === undefined && this.behaviour.goneAs === "status") {
      refuse(response, 410, "too old resource version");
      return;
    }
    const watch = new KubeWatch(response, {
      selects: (pod: PodObject) => matches(selector, pod.metadata.labels),
      bookmarks: query.get("allowWatchBookmarks") === "true",
      timeoutSeconds: Number(query.get("timeoutSeconds")),
      clock: this.#clock,
    });
    if (missed === undefined) {
      watch.error(410, "too old resource version");
      return;
    }
    if (this.#silent) watch.silence();
    this.#watches.add(watch);
    for (const change of missed) watch.send(change);
    const unsubscribe = this.pods.subscribe((change) => watch.send(change));
    response.on("close", () => {
      unsubscribe();
      this.#watches.delete(watch);
    });
  }
}

function refuse(response: ServerResponse, code: number, message: string): void {
  send(response, code, { kind: "Status", apiVersion: "v1", status: "Failure", message, code });
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
