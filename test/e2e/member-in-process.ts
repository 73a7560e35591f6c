import {
  createLog,
  declarations,
  type GivenFlags,
  parseOrigins,
  type RunningServer,
  readSettings,
  startServer,
} from "@frontcache/server/testing";
import { type MemberOptions, memberEnvironment, memberFlags, type TestMember } from "./member-process.js";

/** The event loop is late because of the test and other members as well: a member would reject reads. */
const SHARED_LOOP_FLAGS = ["--overload-after", "never"];

/**
 * A member in the process of the test, built as `frontcache serve` builds it, which costs a twentieth of a process. For tests that
 * neither kill nor stop it, and that are not about its command line.
 */
export class MemberInProcess implements TestMember {
  readonly #server: RunningServer;
  readonly log: readonly Record<string, unknown>[];
  #hasEnded = false;

  private constructor(server: RunningServer, log: readonly Record<string, unknown>[]) {
    this.#server = server;
    this.log = log;
  }

  /** Starts a member and waits until it listens. */
  static async start(options: MemberOptions): Promise<MemberInProcess> {
    const lines: Record<string, unknown>[] = [];
    const environment = memberEnvironment(options.endpoint, options.env);
    const given = readSettings(givenFlags([...SHARED_LOOP_FLAGS, ...memberFlags(options)]), environment);
    const log = createLog(given.logLevel, { write: (line) => void lines.push(JSON.parse(line)) });
    const settings = { ...given, origins: given.origins ?? emulated(environment) };
    return new MemberInProcess(await startServer(settings, environment, log), lines);
  }

  get grpc(): string {
    return this.#server.grpcAddress;
  }

  get http(): string {
    return this.#server.httpAddress;
  }

  get s3(): string {
    return this.#server.s3Address!;
  }

  get runs(): boolean {
    return !this.#hasEnded;
  }

  /** Shuts it down as SIGTERM does. */
  async stop(): Promise<0> {
    this.#hasEnded = true;
    await this.#server.close();
    return 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** The emulators that the environment names: the SDKs would read the environment of the test's process. */
function emulated({ AWS_ENDPOINT_URL_S3, AWS_REGION, STORAGE_EMULATOR_HOST }: NodeJS.ProcessEnv) {
  const keys = { accessKeyId: "AWS_ACCESS_KEY_ID", secretAccessKey: "AWS_SECRET_ACCESS_KEY" };
  const s3 = { buckets: "s3://*", endpoint: AWS_ENDPOINT_URL_S3, region: AWS_REGION, credentials: { keys } };
  const gcs = { buckets: "gs://*", endpoint: STORAGE_EMULATOR_HOST, credentials: "anonymous" };
  const origins = STORAGE_EMULATOR_HOST === undefined ? [s3] : [s3, gcs];
  return parseOrigins(JSON.stringify({ origins }), "the emulators");
}

/** Parses flags as the command line does: the last one wins, unless it may be repeated. */
function givenFlags(args: readonly string[]): GivenFlags {
  const given: Record<string, string> = {};
  for (const [at, flag] of args.entries()) {
    if (!flag.startsWith("--")) continue;
    const found = Object.entries(declarations).find(([, declaration]) => `--${declaration.flag}` === flag);
    if (found === undefined) throw new Error(`${flag} is not a flag of serve`);
    const [name, declaration] = found;
    const next = args[at + 1];
    const value = next === undefined || next.startsWith("--") ? "true" : next;
    given[name] = "repeatable" in declaration && given[name] !== undefined ? `${given[name]},${value}` : value;
  }
  return given;
}
