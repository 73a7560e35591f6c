import type { CallingMember, MemberKey } from "@frontcache/client/members";
import type { MemberInfo } from "@frontcache/proto";
import { remoteAddress } from "../config/addresses.js";
import { type Settings, SettingsError } from "../config/settings.js";
import { openKubeAccess } from "../kubernetes/kube-access.js";
import { bucketOfHost } from "../runtime/bucket-of-host.js";
import type { Clock } from "../runtime/clock.js";
import type { Log } from "../runtime/log.js";
import { AuditLog } from "./audit/audit-log.js";
import { LineFile } from "./audit/line-file.js";
import { type Authenticator, AuthenticatorChain } from "./authenticator.js";
import { CertificateAuthenticator } from "./certificate-authenticator.js";
import { type Certificates, certificateProblems, expiryMs, readCertificates } from "./certificates.js";
import { FailureCount } from "./failure-count.js";
import { Authorization } from "./grants/authorization.js";
import { HandshakeFailures } from "./handshake-failures.js";
import { type Identities, parseIdentities } from "./identities/identities-file.js";
import { IdentityTokenAuthenticator } from "./identities/identity-tokens.js";
import { MemberAddresses } from "./member-addresses.js";
import { type MemberAuthentication, MemberProof } from "./member-authentication.js";
import { MemberKeys, parseMemberKeys } from "./member-keys.js";
import { NO_ORIGIN_ACCESSES, type OriginAccesses, originAccesses } from "./origin-access.js";
import { SessionSignatures } from "./session-signatures.js";
import { SignatureAuthenticator } from "./signatures/signature-authenticator.js";
import { SignatureV2Authenticator } from "./signatures/signature-v2.js";
import { AccessKeyAuthenticator } from "./tokens/access-key-authenticator.js";
import { JwtAuthenticator } from "./tokens/jwt-authenticator.js";
import { TokenFileAuthenticator, Tokens } from "./tokens/token-file.js";
import { WatchedFiles } from "./watched-files.js";

/** How often the files of certificates and tokens are read. They are few and small. */
const POLL_MS = 1_000;

/** How often the certificate is checked for expiry. */
const CHECK_MS = 3_600_000;

/** How a member authenticates its clients, and how it authenticates itself to other members. */
export interface Security {
  /** Undefined: plain text. */
  readonly tls: TlsSecurity | undefined;
  /** Authenticates clients by what their requests present; undefined: nothing but the connection is checked. */
  readonly authenticator: Authenticator | undefined;
  /** Whether a request without credentials is made for the anonymous principal, whose grants decide. Otherwise it is refused. */
  readonly allowsAnonymous: boolean;
  /** Whether the connection of a member suffices, without further credentials. */
  readonly exemptsMembers: boolean;
  /** Decides which principal may do what. */
  readonly authorization: Authorization;
  /** The token that this member sends to others; undefined: none. */
  readonly ownToken: string | undefined;
  /** Recognizes other members. */
  readonly members: MemberAuthentication;
  /** How this member proves itself to others; undefined: not by a key. */
  readonly caller: CallingMember | undefined;
  /** Signs the addresses of upload sessions. Absent: they are not signed. */
  readonly sessions?: SessionSignatures | undefined;
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
export type SecuritySettings = Pick<
  Settings,
  | "name"
  | "tlsCert"
  | "tlsKey"
  | "tlsCa"
  | "tlsServerName"
  | "membersName"
  | "membersKeyFile"
  | "authTokenFile"
  | "identitiesFile"
  | "auditLog"
  | "s3ExternalHost"
  | "s3Domain"
  | "sigv2"
  | "allowBucket"
  | "kubeconfig"
>;

/** The files that are followed; undefined: not configured. */
interface SecurityFiles {
  certificates?: WatchedFiles<Certificates>;
  tokens?: WatchedFiles<Tokens>;
  identities?: WatchedFiles<Identities>;
  keys?: WatchedFiles<readonly MemberKey[]>;
}

/** A member's security as configured. It follows changes of its files until it is closed, and logs problems of the certificate. */
export class MemberSecurity implements Security {
  readonly tls: TlsSecurity | undefined;
  readonly authenticator: Authenticator | undefined;
  readonly allowsAnonymous: boolean;
  readonly exemptsMembers: boolean;
  readonly authorization: Authorization;
  readonly members: MemberProof;
  /** Credentials of principals' own at origins. */
  readonly originAccesses: OriginAccesses;
  readonly sessions: SessionSignatures | undefined;
  readonly #addresses: MemberAddresses;
  readonly #keys: MemberKeys | undefined;
  readonly #files: SecurityFiles;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #issuers: JwtAuthenticator | undefined;
  readonly #auditFile: LineFile | undefined;
  #cancelCheck: () => void = () => {};

  private constructor(settings: SecuritySettings, files: SecurityFiles, clock: Clock, log: Log) {
    const { certificates, keys, identities } = files;
    this.#files = files;
    this.#clock = clock;
    this.#log = log;
    const { name: self, membersName = settings.tlsCa === undefined ? undefined : settings.tlsServerName } = settings;
    this.#addresses = new MemberAddresses(clock);
    this.#keys = keys === undefined ? undefined : new MemberKeys({ name: self, file: keys, clock, log });
    const refusals = new FailureCount(clock, log, "not-a-member", "a request of a member's kind did not come from a member");
    const proofs = { keys: this.#keys, certifiedName: membersName, addresses: this.#addresses };
    this.members = new MemberProof({ self, ...proofs, refusals });
    this.#issuers = identities && issuersOf(identities, settings, clock, log);
    this.authenticator = authenticatorOf(settings, files, this.#issuers, clock);
    this.allowsAnonymous = identities !== undefined;
    this.exemptsMembers = identities !== undefined;
    const { auditLog, allowBucket: buckets } = settings;
    if (identities !== undefined && auditLog !== "log" && auditLog !== "none") this.#auditFile = auditFile(auditLog, log);
    const write = this.#auditFile?.write ?? ((fields: object) => log.always(fields, "audit"));
    const audit = identities === undefined || auditLog === "none" ? undefined : new AuditLog(write, clock);
    this.authorization = new Authorization({ buckets, grants: () => identities?.current.grants, audit });
    identities?.onChange(() => audit?.record({ outcome: "allowed", operation: "reload", object: settings.identitiesFile! }));
    this.originAccesses = identities === undefined ? NO_ORIGIN_ACCESSES : originAccesses(() => identities.current.originAccess);
    if (identities !== undefined && keys !== undefined) this.sessions = new SessionSignatures(() => keys.current);
    if (certificates === undefined) return;
    this.tls = tlsOf(settings, certificates, new HandshakeFailures(clock, log));
    certificates.onChange(() => this.#checkCertificate());
    this.#checkCertificate();
  }

  /** Rejects with a SettingsError if a file cannot be read or used. */
  static async open(settings: SecuritySettings, clock: Clock, log: Log): Promise<MemberSecurity> {
    const { tlsCert, tlsKey, tlsCa, authTokenFile, membersKeyFile, identitiesFile } = settings;
    const watch = watcher(clock, log);
    const files: SecurityFiles = {};
    try {
      if (tlsCert !== undefined && tlsKey !== undefined) {
        const paths = tlsCa === undefined ? [tlsCert, tlsKey] : [tlsCert, tlsKey, tlsCa];
        files.certificates = await watch("--tls-cert and --tls-key", paths, readCertificates);
      }
      if (authTokenFile !== undefined) {
        files.tokens = await watch("--auth-token-file", [authTokenFile], ([text]) => Tokens.parse(String(text)));
      }
      if (identitiesFile !== undefined) {
        files.identities = await watch("--identities-file", [identitiesFile], ([text]) => parseIdentities(String(text)), true);
      }
      if (membersKeyFile !== undefined) {
        files.keys = await watch("--members-key-file", [membersKeyFile], ([text]) => parseMemberKeys(String(text)));
      }
      return new MemberSecurity(settings, files, clock, log);
    } catch (error) {
      await closeAll(files);
      throw error;
    }
  }

  get ownToken(): string | undefined {
    return this.#files.tokens?.current.own;
  }

  get caller(): CallingMember | undefined {
    return this.#keys?.caller;
  }

  /** Calls back whenever connections to other members have to be replaced, because their proof is not by the newest key. */
  onRenewal(listener: () => void): void {
    this.#keys?.onRenewal(listener);
  }

  /** Recognizes the other members from now on. Logs a warning if nothing but its address proves a member. */
  followMembers(others: () => readonly MemberInfo[]): void {
    this.#keys?.follow((hostPort) => others().find((member) => addressesOf(member).includes(hostPort))?.name);
    if (!this.members.isByAddress) return;
    this.#addresses.follow(() =>
      others()
        .flatMap(addressesOf)
        .map((address) => remoteAddress.parse(address).host),
    );
    this.#log.warn({ event: "members-by-address" }, BY_ADDRESS);
  }

  /** The member list has changed. */
  membersChanged(): void {
    if (this.members.isByAddress) this.#addresses.refresh();
  }

  /** Stops following the files and the member list. */
  async close(): Promise<void> {
    this.#cancelCheck();
    this.#keys?.close();
    await Promise.all([closeAll(this.#files), this.#addresses.close(), this.#issuers?.close()]);
    await this.#auditFile?.close();
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

function auditFile(path: string, log: Log): LineFile {
  return new LineFile(path, ({ message }, lines) =>
    log.error({ event: "audit-log-failed", path, lines }, `cannot write lines of the audit log: ${message}`),
  );
}

const BY_ADDRESS =
  "members are recognized by their IP addresses alone: anybody on a member's host counts as a member; set --members-key-file, or use mutual TLS with --members-name";

function addressesOf({ grpcAddress, httpAddress = grpcAddress }: MemberInfo): string[] {
  return [grpcAddress, httpAddress];
}

async function closeAll({ certificates, tokens, identities, keys }: SecurityFiles): Promise<void> {
  await Promise.all([certificates?.close(), tokens?.close(), identities?.close(), keys?.close()]);
}

/** Authenticates clients by the files that are configured; undefined: by none. */
function authenticatorOf(
  settings: SecuritySettings,
  files: SecurityFiles,
  issuers: JwtAuthenticator | undefined,
  clock: Clock,
): Authenticator | undefined {
  const { identities, tokens } = files;
  const authenticators: Authenticator[] = [];
  if (identities !== undefined) {
    const { s3ExternalHost: externalHost, s3Domain } = settings;
    const bucketOf = (host: string): string | undefined => bucketOfHost(host, s3Domain);
    const namesBucket = (host: string): boolean => bucketOf(host) !== undefined;
    authenticators.push(new SignatureAuthenticator({ file: identities, externalHost, namesBucket, clock }));
    authenticators.push(
      new SignatureV2Authenticator({ file: identities, isEnabled: settings.sigv2, bucketOfHost: bucketOf, clock }),
    );
    authenticators.push(new IdentityTokenAuthenticator(identities), new AccessKeyAuthenticator(identities, clock));
  }
  if (tokens !== undefined) authenticators.push(new TokenFileAuthenticator(tokens));
  // After the files of tokens, which may contain tokens of any form. Requests without other credentials are a certificate's.
  if (issuers !== undefined) authenticators.push(issuers);
  if (identities !== undefined) authenticators.push(new CertificateAuthenticator(identities));
  return authenticators.length === 0 ? undefined : new AuthenticatorChain(authenticators);
}

/** Authenticates by tokens of the issuers that the identities file names, and follows the file. */
function issuersOf(
  identities: WatchedFiles<Identities>,
  { kubeconfig }: SecuritySettings,
  clock: Clock,
  log: Log,
): JwtAuthenticator {
  const openAccess = () => openKubeAccess(kubeconfig);
  const issuers = new JwtAuthenticator({ rules: identities.current.issuers, openAccess, clock, random: Math.random, log });
  identities.onChange((current) => issuers.use(current.issuers));
  return issuers;
}

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
  return async <Thing>(flag: string, paths: string[], read: (contents: readonly Buffer[]) => Thing, waitsForWriters = false) => {
    const onRefused = ({ message }: Error): void => log.warn({ event: "file-refused", flag, paths }, message);
    try {
      return await WatchedFiles.open({ paths, read, onRefused, waitsForWriters, everyMs: POLL_MS, clock });
    } catch (error) {
      throw new SettingsError([`${flag}: cannot use ${paths.join(", ")}: ${(error as Error).message}`]);
    }
  };
}
