import { type BucketPattern, parseBucketPattern } from "../../config/bucket-pattern.js";
import { MappingReader, Problems } from "../../config/mapping-reader.js";
import { readTokenIssuers, type TokenIssuerRules } from "../../config/token-issuers.js";
import { readYaml } from "../../config/yaml-document.js";
import type { Authenticated } from "../authenticator.js";
import { ANONYMOUS_NAME, type Grant, Grants, type Operation, operations } from "../grants/grants.js";
import type { AccessesByName, OriginAccess } from "../origin-access.js";
import { clientPrincipal } from "../principal.js";
import type { SigningIdentity } from "../signatures/signer.js";
import { MAX_PER_ENTRY, texts } from "./entry-texts.js";
import { readOriginAccess } from "./identity-origin.js";

/** A key pair with which an identity signs S3 requests. */
export interface AccessKey extends SigningIdentity {
  /** The session token that requests with this key must carry; undefined: they must carry none. */
  readonly sessionToken: string | undefined;
  /** Whom a valid signature proves. */
  readonly authenticated: Authenticated;
}

/** The identities that are known, and what is granted to whom. */
export interface Identities {
  /** By their IDs. */
  readonly accessKeys: ReadonlyMap<string, AccessKey>;
  /** By the SHA-256 of a bearer token, in lower-case hex. */
  readonly tokens: ReadonlyMap<string, Authenticated>;
  /** By a name in a client certificate: `CN=name`, `DNS:host`, `URI:uri` or `email:address`. */
  readonly certificates: ReadonlyMap<string, Authenticated>;
  /** Issuers of tokens whose holders need no identity. */
  readonly issuers: TokenIssuerRules;
  /** The groups of each identity, by its name. */
  readonly groupsOf: ReadonlyMap<string, readonly string[]>;
  /** Credentials at origins, by the principals' names. */
  readonly originAccess: AccessesByName;
  readonly grants: Grants;
}

/** The whole file, and lists in it. */
const MAX_BYTES = 16 << 20;
const MAX_ENTRIES = 10_000;

/** A colon would let an identity pass for a principal of an issuer, such as `system:serviceaccount:ns:name`, or for a group. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@/+-]{0,127}$/;
/** An identity without credentials and groups gives none away, so it may be any principal: `system:serviceaccount:ns:name`. */
const ANY_NAME = /^[^\s*][^*\p{Cc}]{0,255}$/u;
const GROUP = /^[^\s*][^*\p{Cc}]{0,127}$/u;
/** A name, a beginning of names, or `group:` and one of them. */
const PRINCIPAL = /^(?:group:)?(?:\*|[^\s*][^*\p{Cc}]{0,255}\*?)$/u;
const SHA256 = /^[0-9a-f]{64}$/;
const ACCESS_KEY_ID = /^[\w-]{3,128}$/;
/** Secrets are of printable ASCII. AWS's have 40 characters. */
const SECRET = /^[!-~]{16,256}$/;
const SESSION_TOKEN = /^[!-~]{1,4096}$/;
const CERTIFICATE = /^(?:CN=|DNS:|URI:|email:)[^\p{Cc}]{1,512}$/u;

/** Operations that a grant without buckets can allow. */
const CLUSTER_OPERATIONS: ReadonlySet<Operation> = new Set(["status"]);

/**
 * Parses an identities file, YAML or JSON:
 *
 *     identities:
 *       - name: ada
 *         accessKeys:                             # for S3 clients
 *           - id: AKIAIOSFODNN7EXAMPLE
 *             secret: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
 *             # sessionToken: ...                 # if its requests carry one
 *         tokens: [<SHA-256 of a bearer token, in hex>]
 *         certificates: ["URI:spiffe://cluster/ada"]   # CN=, DNS:, URI: or email: in client certificates
 *         groups: [readers]
 *         origin: { accessKeyId: AKIA..., secretAccessKey: ... }   # see readOriginAccess
 *     kubernetes: {}                              # tokens of ServiceAccounts; see readTokenIssuers
 *     issuers:                                    # OpenID Connect
 *       - issuer: https://accounts.example.com
 *     grants:
 *       - to: [ada, team-*, group:readers]        # names, prefixes, groups, or anonymous
 *         operations: [read, list]                # read, list, write, delete, warm, evict, status, admin
 *         buckets: [s3://lake-*]
 *         prefixes: [public/]                     # default: all keys
 *
 * All problems are collected; no message contains a secret. Throws Problems.
 */
export function parseIdentities(content: string): Identities {
  if (content.length > MAX_BYTES) throw new Problems([`the file is larger than ${MAX_BYTES >> 20} MiB`]);
  const noted: string[] = [];
  const document = readYaml(content, noted);
  // A message of the YAML parser may quote the line, which may contain a secret.
  if (noted.length > 0)
    throw new Problems(["the file is not valid YAML: check it by another tool, since errors may quote secrets"]);
  const file = new MappingReader(document ?? {}, "", noted);
  const reading = new IdentityReading();
  for (const entry of entriesOf(file, "identities", noted)) reading.addIdentity(entry);
  // A file that is empty, or was written in part, must not deny everything to everybody.
  if (!file.has("grants")) noted.push("grants: missing: write an empty list to deny everything");
  const grants = [...entriesOf(file, "grants", noted)].flatMap((entry) => readGrant(entry) ?? []);
  const issuers = readTokenIssuers(file);
  file.end();
  if (noted.length > 0) throw new Problems(noted);
  const { accessKeys, tokens, certificates, groupsOf, originAccess } = reading;
  return { accessKeys, tokens, certificates, issuers, groupsOf, originAccess, grants: new Grants(grants) };
}

/** The mappings of a list. */
function* entriesOf(file: MappingReader, field: string, noted: string[]): Generator<MappingReader> {
  const list = file.take(field) ?? [];
  if (!Array.isArray(list) || list.length > MAX_ENTRIES) {
    noted.push(`${field}: is not a list of at most ${MAX_ENTRIES} entries`);
    return;
  }
  for (const [at, entry] of list.entries()) yield file.at(`${field}[${at}]`, entry);
}

/** Collects identities, and notes what two of them have in common. */
class IdentityReading {
  readonly accessKeys = new Map<string, AccessKey>();
  readonly tokens = new Map<string, Authenticated>();
  readonly certificates = new Map<string, Authenticated>();
  readonly groupsOf = new Map<string, readonly string[]>();
  readonly originAccess = new Map<string, readonly OriginAccess[]>();

  addIdentity(entry: MappingReader): void {
    const isReference =
      entry.has("origin") && !["accessKeys", "tokens", "certificates", "groups"].some((each) => entry.has(each));
    const form = isReference ? "the name of a principal" : "letters, digits and . _ @ / + -, at most 128";
    const [name] = texts(entry, "name", isReference ? ANY_NAME : NAME, `use ${form}`, { required: true });
    const groups = texts(entry, "groups", GROUP, "use names without * and control characters");
    if (name === ANONYMOUS_NAME && !isReference)
      entry.note("name", "is reserved for requests without credentials: give it only an origin");
    if (name !== undefined && this.groupsOf.has(name)) entry.note("name", "another identity has the same name");
    if (name !== undefined) this.groupsOf.set(name, groups);
    // A file with problems is not used, so the name of a broken identity does not matter.
    const of = (method: "token" | "signature" | "certificate", untilMs: number | undefined): Authenticated => ({
      principal: clientPrincipal(name ?? "", method, groups),
      untilMs,
    });
    const byToken = of("token", Number.POSITIVE_INFINITY);
    for (const hash of texts(entry, "tokens", SHA256, "use the SHA-256 of a token in lower-case hex", { isSecret: true })) {
      addOnce(this.tokens, hash, byToken, entry, "tokens");
    }
    const byCertificate = of("certificate", Number.POSITIVE_INFINITY);
    for (const each of texts(entry, "certificates", CERTIFICATE, "use CN=name, DNS:host, URI:uri or email:address")) {
      addOnce(this.certificates, each, byCertificate, entry, "certificates");
    }
    this.#addKeys(entry, of("signature", undefined));
    const access = readOriginAccess(entry, name ?? "");
    if (access.length > 0) this.originAccess.set(name ?? "", access);
    entry.end();
  }

  #addKeys(entry: MappingReader, authenticated: Authenticated): void {
    const keys = entry.take("accessKeys") ?? [];
    if (!Array.isArray(keys) || keys.length > MAX_PER_ENTRY) {
      entry.note("accessKeys", `is not a list of at most ${MAX_PER_ENTRY} keys`);
      return;
    }
    for (const [at, each] of keys.entries()) {
      const key = entry.at(`accessKeys[${at}]`, each);
      const [id] = texts(key, "id", ACCESS_KEY_ID, "use 3 to 128 letters, digits, - and _", { required: true });
      const secretForm = "use 16 to 256 printable characters";
      const [secret] = texts(key, "secret", SECRET, secretForm, { required: true, isSecret: true });
      const [sessionToken] = texts(key, "sessionToken", SESSION_TOKEN, "use printable characters", { isSecret: true });
      key.end();
      if (id !== undefined && secret !== undefined) {
        const pair = { accessKeyId: id, secretAccessKey: secret };
        addOnce(this.accessKeys, id, { ...pair, sessionToken, authenticated }, key, "id");
      }
    }
  }
}

function addOnce<T>(map: Map<string, T>, key: string, value: T, entry: MappingReader, field: string): void {
  if (map.has(key)) entry.note(field, "another identity has the same");
  map.set(key, value);
}

function readGrant(entry: MappingReader): Grant | undefined {
  const principals = texts(entry, "to", PRINCIPAL, "use a name, a prefix followed by *, group:name or anonymous", {
    required: true,
  });
  const allowed = texts(entry, "operations", /^[a-z]+$/, `use ${operations.join(", ")}`, { required: true });
  for (const each of allowed) {
    if (!(operations as readonly string[]).includes(each))
      entry.note("operations", `${JSON.stringify(each)} is unknown: use ${operations.join(", ")}`);
  }
  const buckets = texts(entry, "buckets", /^.+$/s, "use s3://name, s3://prefix* or gs://*").flatMap((text): BucketPattern[] => {
    try {
      return [parseBucketPattern(text)];
    } catch (error) {
      entry.note("buckets", (error as Error).message);
      return [];
    }
  });
  const given = entry.has("prefixes");
  const prefixes = texts(entry, "prefixes", /^[^\0]{0,1024}$/s, "use beginnings of keys, of at most 1024 characters");
  if (given && prefixes.length === 0) entry.note("prefixes", "is empty: omit it to grant all keys");
  const needsBuckets = allowed.some((each) => !CLUSTER_OPERATIONS.has(each as Operation));
  if (needsBuckets && buckets.length === 0) entry.note("buckets", "missing: use s3://name, s3://prefix* or gs://*");
  entry.end();
  return { principals, operations: new Set(allowed as Operation[]), buckets, prefixes: given ? prefixes : [""] };
}
