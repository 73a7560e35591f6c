import { type Settings, SettingsError } from "../config/settings.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { type Certificates, certificateProblems, expiryMs, readCertificates } from "./certificates.js";
import { FailureCount } from "./failure-count.js";
import { HandshakeFailures } from "./handshake-failures.js";
import { MemberAddresses } from "./member-addresses.js";
import { type MemberAuthentication, MemberProof } from "./member-authentication.js";
import { Tokens } from "./tokens.js";
import { WatchedFiles } from "./watched-files.js";

/** How often the files of certificates and tokens are read. They are few and small. */
const POLL_MS = 1_000;

/** How often the certificate is checked for expiry. */
const CHECK_MS = 3_600_000;

/** How a member authenticates its clients, and how it authenticates itself to other members. */
export interface Security {
  /** Undefined: plain text. */
  readonly tls: TlsSecurity | undefined;
  /** The tokens that are valid now; undefined: no token is required. */
  readonly tokens: Tokens | undefined;
  /** Recognizes other members. */
  readonly members: MemberAuthentication;
}

/** TLS with certificates that can be rotated. New certificates apply to new connections. */
export interface TlsSecurity {
  readonly current: Certificates;
  /** Whether clients must present a certificate. Never changes. */
  readonly mutual: boolean;
  /** The name expected in other members' certificates; undefined: the host of the member's address. */
  readonly serverName: string | undefined;
  /** Observes the handshakes of the listeners. */
  readonly handshakes: HandshakeFailures;
  onChange(listener: (certificates: Certificates) => void): void;
}

/** The settings that configure a member's security. */
export type SecuritySettings = Pick<Settings, "tlsCert" | "tlsKey" | "tlsCa" | "tlsServerName" | "membersName" | "authTokenFile">;

/** A member's security as configured. It follows changes of its files until it is closed, and logs problems of the certificate. */
export class MemberSecurity implements Security {
  readonly tls: TlsSecurity | undefined;
  readonly members: MemberAuthentication;
  readonly #addresses: MemberAddresses;
  readonly #isByAddress: boolean;
  readonly #certificates: WatchedFiles<Certificates> | undefined;
  readonly #tokens: WatchedFiles<Tokens> | undefined;
  readonly #clock: Clock;
  readonly #log: Log;
  #cancelCheck: () => void = () => {};

  private constructor(
    settings: SecuritySettings,
    certificates: WatchedFiles<Certificates> | undefined,
    tokens: WatchedFiles<Tokens> | undefined,
    clock: Clock,
    log: Log,
  ) {
    this.#certificates = certificates;
    this.#tokens = tokens;
    this.#clock = clock;
    this.#log = log;
    this.#addresses = new MemberAddresses(clock);
    const { membersName: name = settings.tlsCa === undefined ? undefined : settings.tlsServerName } = settings;
    this.#isByAddress = name === undefined;
    const refusals = new FailureCount(clock, log, "not-a-member", "a request of a member's kind did not come from a member");
    this.members = new MemberProof({ name, addresses: this.#addresses, refusals });
    if (certificates === undefined) return;
    this.tls = tlsOf(settings, certificates, new HandshakeFailures(clock, log));
    certificates.onChange(() => this.#checkCertificate());
    this.#checkCertificate();
  }

  /** Rejects with a SettingsError if a file cannot be read or used. */
  static async open(settings: SecuritySettings, clock: Clock, log: Log): Promise<MemberSecurity> {
    const { tlsCert, tlsKey, tlsCa, authTokenFile } = settings;
    const watch = watcher(clock, log);
    let certificates: WatchedFiles<Certificates> | undefined;
    if (tlsCert !== undefined && tlsKey !== undefined) {
      const paths = tlsCa === undefined ? [tlsCert, tlsKey] : [tlsCert, tlsKey, tlsCa];
      certificates = await watch("--tls-cert and --tls-key", paths, readCertificates);
    }
    try {
      const parse = ([text]: readonly Buffer[]): Tokens => Tokens.parse(String(text));
      const tokens = authTokenFile === undefined ? undefined : await watch("--auth-token-file", [authTokenFile], parse);
      return new MemberSecurity(settings, certificates, tokens, clock, log);
    } catch (error) {
      await certificates?.close();
      throw error;
    }
  }

  get tokens(): Tokens | undefined {
    return this.#tokens?.current;
  }

  /**
   * Recognizes the members of a list from now on. `hosts`: addresses and host names of the other members, now. Logs a warning if
   * nothing but its address proves a member.
   */
  followMembers(hosts: () => readonly string[]): void {
    if (!this.#isByAddress) return;
    this.#addresses.follow(hosts);
    this.#log.warn({ event: "members-by-address" }, BY_ADDRESS);
  }

  /** The member list has changed. */
  membersChanged(): void {
    if (this.#isByAddress) this.#addresses.refresh();
  }

  /** Stops following the files and the member list. */
  async close(): Promise<void> {
    this.#cancelCheck();
    await Promise.all([this.#certificates?.close(), this.#tokens?.close(), this.#addresses.close()]);
  }

  /** Logs each problem at the start, after a change, and once per hour while it lasts. */
  #checkCertificate(): void {
    this.#cancelCheck();
    const { current, serverName } = this.tls!;
    for (const problem of certificateProblems(current, serverName, this.#clock.nowMs()))
      this.#log.warn({ event: "certificate-problem", expires: new Date(expiryMs(current)).toISOString() }, problem);
    this.#cancelCheck = this.#clock.after(CHECK_MS, () => this.#checkCertificate());
  }
}

const BY_ADDRESS =
  "members are recognized by their IP addresses alone: anybody on a member's host counts as a member; use mutual TLS with --members-name";

function tlsOf(
  { tlsCa, tlsServerName }: SecuritySettings,
  files: WatchedFiles<Certificates>,
  handshakes: HandshakeFailures,
): TlsSecurity {
  return {
    get current() {
      return files.current;
    },
    mutual: tlsCa !== undefined,
    serverName: tlsServerName,
    handshakes,
    onChange: (listener) => files.onChange(listener),
  };
}

/** Opens the files of a flag. A file that cannot be used is a wrong setting at the start, and a line in the log later. */
function watcher(clock: Clock, log: Log) {
  return async <Thing>(flag: string, paths: string[], read: (contents: readonly Buffer[]) => Thing) => {
    const onRefused = ({ message }: Error): void => log.warn({ event: "file-refused", flag, paths }, message);
    try {
      return await WatchedFiles.open({ paths, read, onRefused, everyMs: POLL_MS, clock });
    } catch (error) {
      throw new SettingsError([`${flag}: cannot use ${paths.join(", ")}: ${(error as Error).message}`]);
    }
  };
}
