import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { SigningIssuer } from "@frontcache/server/testing";
import type { Pair } from "../security/authority.js";

/** Answers a request in place of the emulator. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * An issuer of tokens on a port of this host: an OpenID Connect issuer, and a Kubernetes API server as far as tokens of ServiceAccounts
 * are concerned.
 */
export class IssuerEmulator implements AsyncDisposable {
  readonly #server: Server;
  readonly url: string;
  #signing: SigningIssuer | undefined;
  /** Requests by path. */
  readonly requests: string[] = [];
  /** Replaces the answers to paths. */
  readonly answers = new Map<string, Answer>();
  /** Credentials that the API server accepts; undefined: any. */
  apiToken: string | undefined;
  /** Whether the API server publishes its keys. */
  mayDiscover = true;
  /** Tokens that the API server was asked about. */
  readonly reviews: { readonly token: string; readonly audiences: readonly string[] }[] = [];
  /** The user that the API server names in its answer to a review of a token; undefined: the token is not valid. */
  reviewed: string | undefined;

  private constructor(server: Server, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** `tls`: serves HTTPS with this certificate, for `localhost`. `nowMs`: the time at which tokens are issued. */
  static async start(tls?: Pair, nowMs: () => number = Date.now): Promise<IssuerEmulator> {
    let answer: RequestListener = () => {};
    const listener: RequestListener = (request, response) => answer(request, response);
    const server = (tls === undefined ? createServer(listener) : createTlsServer(tls, listener)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const emulator = new IssuerEmulator(server, `${tls === undefined ? "http://127.0.0.1" : "https://localhost"}:${port}`);
    emulator.#signing = await SigningIssuer.create(emulator.url, nowMs);
    answer = (request, response) => emulator.#answer(request, response);
    return emulator;
  }

  /** Its keys and tokens. */
  get signing(): SigningIssuer {
    return this.#signing!;
  }

  /** Closes the port and all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!;
    this.requests.push(path);
    const replaced = this.answers.get(path);
    if (replaced !== undefined) {
      replaced(request, response);
      return;
    }
    switch (path) {
      case "/.well-known/openid-configuration":
        this.#discovery(request, response, { issuer: this.url, jwks_uri: `${this.url}/openid/v1/jwks` });
        break;
      case "/openid/v1/jwks":
        this.#discovery(request, response, this.signing.keySet);
        break;
      case "/apis/authentication.k8s.io/v1/tokenreviews":
        void this.#review(request, response);
        break;
      default:
        response.writeHead(404).end();
    }
  }

  #discovery(request: IncomingMessage, response: ServerResponse, document: object): void {
    if (!this.#isAuthorized(request)) json(response, 401, { kind: "Status" });
    // As Kubernetes API servers answer.
    else if ("keys" in document && request.headers.accept?.includes("application/jwk-set+json") !== true) json(response, 406, {});
    else if (!this.mayDiscover) json(response, 403, { kind: "Status" });
    else json(response, 200, document);
  }

  #isAuthorized({ headers }: IncomingMessage): boolean {
    return this.apiToken === undefined || headers.authorization === `Bearer ${this.apiToken}`;
  }

  async #review(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const { spec } = JSON.parse(text) as { spec: { token: string; audiences: string[] } };
    this.reviews.push(spec);
    const isGet = request.method !== "POST";
    if (isGet || !this.#isAuthorized(request)) json(response, isGet ? 405 : 401, { kind: "Status" });
    else if (this.reviewed === undefined) json(response, 201, { status: { authenticated: false } });
    else {
      const { audiences } = spec;
      json(response, 201, { status: { authenticated: true, user: { username: this.reviewed }, audiences } });
    }
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
