import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Sources of credentials. */
export type SourceKind = "imds" | "pod-identity" | "sts" | "google-metadata";

/** The failure of a source: a status with the service's error code, or a connection that is closed without a response. */
export type SourceFailure = { readonly status: number; readonly code: string } | "closed";

/** A service on a local port that issues credentials `key1`, `key2`, ... (for Google: tokens), or fails as configured. */
export class CredentialSource implements AsyncDisposable {
  /** Undefined: it works. */
  failure: SourceFailure | undefined;
  /** Lifetime of issued credentials. */
  lifetimeMs = 3_600_000;
  /** Requests for credentials, including failed ones. */
  asked = 0;
  issued = 0;
  readonly #kind: SourceKind;
  readonly #server = createServer((request, response) => this.#answer(request, response));
  #url = "";

  private constructor(kind: SourceKind) {
    this.#kind = kind;
  }

  static async start(kind: SourceKind): Promise<CredentialSource> {
    const source = new CredentialSource(kind);
    await source.listen();
    return source;
  }

  /** `http://127.0.0.1:port`; the port is the same after each `listen`. */
  get url(): string {
    return this.#url;
  }

  async listen(): Promise<void> {
    this.#server.listen(this.#url === "" ? 0 : Number(new URL(this.#url).port), "127.0.0.1");
    await once(this.#server, "listening");
    this.#url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    response.setHeader("Metadata-Flavor", "Google");
    if (this.failure !== undefined) this.#fail(this.failure, request, response);
    else if (this.#kind === "imds" && request.method === "PUT") response.end("session token");
    else if (this.#kind === "imds" && request.url!.endsWith("/security-credentials/")) response.end("role");
    else if (this.#kind === "google-metadata" && !request.url!.includes("/token")) response.end("project");
    else this.#issue(response);
  }

  #issue(response: ServerResponse): void {
    this.asked++;
    const key = `key${++this.issued}`;
    const isXml = this.#kind === "sts";
    response.setHeader("Content-Type", isXml ? "text/xml" : "application/json");
    response.end(isXml ? assumedRole(key, this.#expiration) : JSON.stringify(this.#json(key)));
  }

  #fail(failure: SourceFailure, request: IncomingMessage, response: ServerResponse): void {
    this.asked++;
    if (failure === "closed") {
      request.socket.destroy();
      return;
    }
    const { status, code } = failure;
    const xml = `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>no</Message></Error></ErrorResponse>`;
    const isXml = this.#kind === "sts";
    response.writeHead(status, { "Content-Type": isXml ? "text/xml" : "application/json" });
    response.end(isXml ? xml : JSON.stringify({ Code: code, Message: "no", error: code }));
  }

  #json(key: string): unknown {
    if (this.#kind === "google-metadata") return { access_token: key, expires_in: this.lifetimeMs / 1000, token_type: "Bearer" };
    const keys = { AccessKeyId: key, SecretAccessKey: "secret", Token: "token", Expiration: this.#expiration };
    return { Code: "Success", Type: "AWS-HMAC", LastUpdated: new Date().toISOString(), ...keys };
  }

  get #expiration(): string {
    return new Date(Date.now() + this.lifetimeMs).toISOString();
  }
}

function assumedRole(key: string, expiration: string): string {
  const credentials = `<AccessKeyId>${key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>${expiration}</Expiration>`;
  const user = "<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>i:s</AssumedRoleId></AssumedRoleUser>";
  const result = `<AssumeRoleWithWebIdentityResult><Credentials>${credentials}</Credentials>${user}</AssumeRoleWithWebIdentityResult>`;
  return `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">${result}</AssumeRoleWithWebIdentityResponse>`;
}
