import { type BucketRef, CacheError, collectHeaders, type ObjectInfo } from "@frontcache/proto";
import type { ObjectRead } from "../../cache/object-read.js";
import type { Listing, ListQuestion } from "../../origin/origin.js";
import { type AnswerTo, answeredBy, type Cache, type Question, type ReadRequest } from "../../routing/cache.js";
import type { ReplicatedValues } from "../../values/replicated-values.js";
import { MULTIPART_BUCKET } from "../../values/value-buckets.js";
import { entryHeader } from "../../values/value-entry.js";
import type { ValueInfo, ValueRead } from "../../values/values.js";
import { ValueWrites } from "./value-writes.js";

/** The values as objects, for all interfaces of the cache. `isWritable`: requests that change objects of stores are taken, too. */
export function withValues(values: ReplicatedValues, isWritable: boolean): (next: Cache) => Cache {
  return (next) => new ValuesCache(values, isWritable, next);
}

/** Metadata of a value that is no header of its own is a header of the user's. */
const OWN_HEADERS = /^(?:cache-control|content-(?:disposition|encoding|language)|expires)$/;

/** Remembers descriptions of values that are read repeatedly: headers of answers are found by them. */
function remembering(describe: (value: ValueInfo) => ObjectInfo): (value: ValueInfo) => ObjectInfo {
  const described = new WeakMap<ValueInfo, ObjectInfo>();
  return (value) => {
    let info = described.get(value);
    if (info === undefined) {
      info = describe(value);
      described.set(value, info);
    }
    return info;
  };
}

/** A value as an object is described: for the same value, the same object. */
export const objectInfoOf = remembering(describe);

/** The same for another member, which needs all that is known of the value. */
const objectInfoForMember = remembering((value) => {
  return { ...describe(value), headers: collectHeaders([entryHeader(value)]).headers };
});

function describe({ version, size, contentType, createdMs, flags, metadata }: ValueInfo): ObjectInfo {
  const names = Object.keys(metadata);
  const own = names.map((name): [string, string] => [OWN_HEADERS.test(name) ? name : `x-amz-meta-${name}`, metadata[name]!]);
  if (flags !== 0) own.push(["x-amz-meta-frontcache-flags", String(flags)]);
  return {
    version,
    objectSize: size,
    lastModifiedMs: createdMs,
    ...(contentType !== undefined && { contentType }),
    headers: own.length === 0 ? "" : collectHeaders(own).headers,
  };
}

class ValuesCache implements Cache {
  readonly #values: ReplicatedValues;
  readonly #next: Cache;
  readonly #isWritable: boolean;
  readonly #ask: Cache["ask"];

  constructor(values: ReplicatedValues, isWritable: boolean, next: Cache) {
    this.#values = values;
    this.#isWritable = isWritable;
    this.#next = next;
    const writes = new ValueWrites(values);
    this.#ask = answeredBy({
      stat: async ({ ref, version, principal, signal }) => {
        const found = await values.head({ url: ref.url, principal, signal });
        if (found === undefined) throw new CacheError("NOT_FOUND", `${ref.url}: no such value`);
        if (version !== undefined && version !== found.version) {
          throw new CacheError("FAILED_PRECONDITION", `${ref.url}: the value has version ${found.version}`);
        }
        return { info: objectInfoOf(found), cachedBytes: found.size, ageMs: 0 };
      },
      list: (question) => listed(values, question),
      statBucket: async () => ({ region: undefined }),
      listBuckets: async () => ({
        buckets: values.buckets.filter(({ name }) => name !== MULTIPART_BUCKET).map(({ name }) => ({ name })),
      }),
      pass: async ({ ref }) => {
        throw new CacheError("INVALID_ARGUMENT", `${ref.url}: values have nothing of the kind`, { s3Code: "NotImplemented" });
      },
      write: (question) => writes.run(question),
      evict: (question) => next.ask(question),
      warm: (question) => next.ask(question),
      warmBlock: async ({ ref }) => {
        throw new CacheError("INVALID_ARGUMENT", `${ref.url}: values are not fetched from anywhere`);
      },
      touch: (question) => next.ask(question),
    });
  }

  open(request: ReadRequest): ObjectRead | Promise<ObjectRead> {
    const { ref, version, offset, length, forwarded, principal, signal } = request;
    if (ref.scheme !== "cache") return this.#next.open(request);
    if (!forwarded) this.#checkBucket(ref);
    const open = { url: ref.url, offset, length: length === 0 ? undefined : length, version, principal, signal };
    const read = forwarded ? this.#values.openHere(open) : this.#values.open(open);
    const info = forwarded ? objectInfoForMember : objectInfoOf;
    return read instanceof Promise ? read.then((opened) => asObjectRead(opened, info)) : asObjectRead(read, info);
  }

  async ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>> {
    const scheme = "ref" in question ? question.ref.scheme : undefined;
    if (question.kind === "write" && scheme !== "cache" && !this.#isWritable) {
      throw new CacheError("INVALID_ARGUMENT", "The specified method is not allowed.", { s3Code: "MethodNotAllowed" });
    }
    if (scheme !== "cache") return this.#next.ask(question);
    if ("ref" in question && question.kind !== "listBuckets") this.#checkBucket(question.ref);
    return this.#ask(question);
  }

  /** The bucket of running multipart uploads is hidden. */
  #checkBucket({ bucket }: BucketRef): void {
    if (bucket !== MULTIPART_BUCKET && this.#values.buckets.some(({ name }) => name === bucket)) return;
    const message = `cache://${bucket}: no such bucket: declare it by --cache-bucket`;
    throw new CacheError("NOT_FOUND", message, { s3Code: "NoSuchBucket" });
  }
}

function asObjectRead(read: ValueRead, describe: (value: ValueInfo) => ObjectInfo): ObjectRead {
  const { info, offset, length = 0, isLocal } = read;
  return {
    info: describe(info),
    offset,
    length,
    result: isLocal ? "hit" : "forwarded",
    ageMs: 0,
    next: (mayPipe) => read.next(mayPipe),
    close: () => read.close(),
  };
}

/** A page of values, grouped as S3 does. */
async function listed(values: ReplicatedValues, { ref, page, principal, signal }: ListQuestion): Promise<Listing> {
  const { bucket, prefix } = ref;
  const { delimiter, maxKeys, token, startAfter = "" } = page;
  const root = `cache://${bucket}/`;
  const objects: Listing["objects"][number][] = [];
  const prefixes: string[] = [];
  let after = token === undefined ? startAfter : Buffer.from(token, "base64url").toString();
  for (;;) {
    const found = await values.list({ bucket, prefix, after, limit: Math.min(1_000, maxKeys + 1), principal, signal });
    for (const info of found.values) {
      const key = info.url.slice(root.length);
      if (after !== "" && prefixes.length > 0 && key.startsWith(prefixes.at(-1)!)) {
        after = key;
        continue;
      }
      if (objects.length + prefixes.length === maxKeys) {
        return { objects, prefixes, nextToken: Buffer.from(after).toString("base64url") };
      }
      const end = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length);
      if (end < 0) objects.push({ key, objectSize: info.size, version: info.version, lastModifiedMs: info.createdMs });
      else {
        const common = key.slice(0, end + delimiter.length);
        // A page that begins inside a group does not repeat it.
        if (!isBehindGroup(token, common)) prefixes.push(common);
      }
      after = key;
    }
    if (!found.isTruncated) return { objects, prefixes };
  }
}

function isBehindGroup(token: string | undefined, common: string): boolean {
  return token !== undefined && Buffer.from(token, "base64url").toString().startsWith(common);
}
