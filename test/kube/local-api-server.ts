import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { freePort } from "../bench/machine.js";
import { Authority } from "../security/authority.js";

const ISSUER = "https://kubernetes.default.svc";
const READY_MS = 120_000;

/** The executables of a Kubernetes API server. */
export interface ApiServerPrograms {
  readonly etcd: string;
  readonly apiServer: string;
}

/** Names of keys that sign tokens of service accounts. */
export interface SigningKeys {
  /** Signs new tokens. */
  readonly signing: string;
  /** Tokens of these are accepted, and published. */
  readonly accepted: readonly string[];
}

/** A real Kubernetes API server with an etcd of its own, which a test may restart with other keys. */
export class LocalApiServer implements AsyncDisposable {
  readonly #programs: ApiServerPrograms;
  readonly #directory: string;
  readonly #etcd: ChildProcess;
  readonly #etcdUrl: string;
  readonly #port: number;
  readonly #authorityPem: string;
  readonly #adminToken = randomBytes(24).toString("hex");
  readonly #keys = new Set<string>();
  #apiServer: ChildProcess | undefined;

  private constructor(
    programs: ApiServerPrograms,
    directory: string,
    at: { etcdUrl: string; port: number },
    authorityPem: string,
  ) {
    this.#programs = programs;
    this.#directory = directory;
    this.#etcdUrl = at.etcdUrl;
    this.#port = at.port;
    this.#authorityPem = authorityPem;
    const peerUrl = "http://127.0.0.1:0";
    this.#etcd = this.#spawn("etcd", programs.etcd, [
      ...["--name", "test", "--data-dir", join(directory, "etcd"), "--logger", "zap", "--log-level", "warn"],
      ...["--listen-client-urls", at.etcdUrl, "--advertise-client-urls", at.etcdUrl],
      ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl, "--initial-cluster", `test=${peerUrl}`],
    ]);
  }

  /** Starts etcd, and prepares certificates. `directory` is empty. */
  static async create(programs: ApiServerPrograms, directory: string): Promise<LocalApiServer> {
    const authority = await Authority.create("test-cluster");
    const pair = await authority.issue("kubernetes.default.svc");
    writeFileSync(join(directory, "tls.crt"), pair.cert);
    writeFileSync(join(directory, "tls.key"), pair.key);
    const at = { etcdUrl: `http://127.0.0.1:${await freePort()}`, port: await freePort() };
    const server = new LocalApiServer(programs, directory, at, authority.pem);
    writeFileSync(join(directory, "tokens.csv"), `${server.#adminToken},admin,admin,"system:masters"\n`, { mode: 0o600 });
    return server;
  }

  /** Writes a kubeconfig of an administrator, and returns its path. */
  kubeconfig(): string {
    const config = new KubeConfig();
    const caData = Buffer.from(this.#authorityPem).toString("base64");
    config.loadFromOptions({
      clusters: [{ name: "test", server: `https://127.0.0.1:${this.#port}`, caData, skipTLSVerify: false }],
      users: [{ name: "admin", token: this.#adminToken }],
      contexts: [{ name: "test", cluster: "test", user: "admin", namespace: "default" }],
      currentContext: "test",
    });
    const path = join(this.#directory, "admin.kubeconfig");
    writeFileSync(path, config.exportConfig(), { mode: 0o600 });
    return path;
  }

  /** Starts the API server, or stops the running one and starts it again. Resolves when it is ready. */
  async run({ signing, accepted }: SigningKeys): Promise<void> {
    await this.stop();
    for (const name of [signing, ...accepted]) this.#createKey(name);
    this.#apiServer = this.#spawn("apiserver", this.#programs.apiServer, [
      ...["--etcd-servers", this.#etcdUrl, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"],
      ...["--secure-port", `${this.#port}`, "--endpoint-reconciler-type", "none", "--service-cluster-ip-range", "10.96.0.0/16"],
      ...["--cert-dir", join(this.#directory, "certs"), "--tls-cert-file", join(this.#directory, "tls.crt")],
      ...["--tls-private-key-file", join(this.#directory, "tls.key"), "--authorization-mode", "RBAC"],
      ...["--token-auth-file", join(this.#directory, "tokens.csv")],
      ...["--service-account-issuer", ISSUER, "--api-audiences", ISSUER],
      ...["--service-account-signing-key-file", join(this.#directory, `${signing}.key`)],
      ...accepted.flatMap((name) => ["--service-account-key-file", join(this.#directory, `${name}.pub`)]),
      // No controllers run, which would create the `default` service accounts that it requires.
      ...["--disable-admission-plugins", "ServiceAccount"],
    ]);
    await this.#ready(this.#apiServer);
  }

  /** Stops the API server; etcd continues. */
  async stop(): Promise<void> {
    const running = this.#apiServer;
    this.#apiServer = undefined;
    if (running !== undefined) await ended(running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await ended(this.#etcd);
  }

  #createKey(name: string): void {
    if (this.#keys.has(name)) return;
    this.#keys.add(name);
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2_048 });
    writeFileSync(join(this.#directory, `${name}.key`), privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
    writeFileSync(join(this.#directory, `${name}.pub`), publicKey.export({ type: "spki", format: "pem" }));
  }

  /** Starts a program that is ended with this process. */
  #spawn(name: string, program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.#directory, `${name}.log`), "a");
    const child = spawn(program, args, { stdio: ["ignore", log, log] });
    closeSync(log);
    process.once("exit", () => child.kill("SIGKILL"));
    return child;
  }

  async #ready(child: ChildProcess): Promise<void> {
    for (const endMs = performance.now() + READY_MS; ; await new Promise((resolve) => setTimeout(resolve, 250))) {
      if (await this.#answersReady()) return;
      if (child.exitCode === null && performance.now() < endMs) continue;
      throw new Error(
        `the API server is not ready: ${readFileSync(join(this.#directory, "apiserver.log"), "utf8").slice(-2_000)}`,
      );
    }
  }

  async #answersReady(): Promise<boolean> {
    return await new Promise((resolve) => {
      const options = { host: "127.0.0.1", port: this.#port, path: "/readyz", ca: this.#authorityPem, timeout: 5_000 };
      const asked = request({ ...options, headers: { authorization: `Bearer ${this.#adminToken}` } }, (answer) => {
        answer.resume();
        resolve(answer.statusCode === 200);
      });
      asked.on("timeout", () => asked.destroy());
      asked.on("error", () => resolve(false));
      asked.end();
    });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
}
