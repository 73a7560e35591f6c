import type { ServerResponse } from "node:http";
import type { Clock } from "@frontcache/server/testing";
import type { PodChange, PodObject } from "./kube-pods.js";

/** Requests since the start. */
export interface KubeCounts {
  lists: number;
  watches: number;
}

export interface KubeWatchOptions {
  readonly selects: (pod: PodObject) => boolean;
  readonly bookmarks: boolean;
  /** Ends the watch after this time; 0: never. */
  readonly timeoutSeconds: number;
  readonly clock: Clock;
}

/** One open watch of the Kubernetes emulator: a body of JSON lines. */
export class KubeWatch {
  readonly #response: ServerResponse;
  readonly #options: KubeWatchOptions;
  #silent = false;

  constructor(response: ServerResponse, options: KubeWatchOptions) {
    this.#response = response;
    this.#options = options;
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    if (options.timeoutSeconds > 0) {
      response.on(
        "close",
        options.clock.after(options.timeoutSeconds * 1000, () => this.end()),
      );
    }
  }

  /** A pod that starts to match the selector is ADDED, one that stops matching is DELETED. */
  send({ type, object, before }: PodChange): void {
    const did = before !== undefined && this.#options.selects(before);
    const does = type !== "DELETED" && this.#options.selects(object);
    if (does) this.#say({ type: did ? "MODIFIED" : "ADDED", object });
    else if (did) this.#say({ type: "DELETED", object });
  }

  /** Sends an event unchanged. */
  say(type: PodChange["type"], object: PodObject): void {
    this.#say({ type, object });
  }

  bookmark(resourceVersion: number): void {
    if (!this.#options.bookmarks) return;
    this.#say({ type: "BOOKMARK", object: { kind: "Pod", metadata: { resourceVersion: String(resourceVersion) } } });
  }

  error(code: number, message: string): void {
    this.#say({ type: "ERROR", object: { kind: "Status", status: "Failure", reason: "Expired", code, message } });
    this.end();
  }

  silence(): void {
    this.#silent = true;
  }

  end(): void {
    if (!this.#silent) this.#response.end();
  }

  drop(): void {
    this.#response.socket?.resetAndDestroy();
  }

  #say(event: unknown): void {
    if (!this.#silent && !this.#response.writableEnded) this.#response.write(`${JSON.stringify(event)}\n`);
  }
}
