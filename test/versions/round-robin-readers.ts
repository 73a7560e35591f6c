import type { CacheClient } from "@frontcache/client";
import { rampBytes, type S3Emulator } from "../emulators/s3.js";
import { Chance } from "../seeded-random.js";

/** Two ranges that lie in different blocks. */
export interface RangePair {
  readonly offsets: readonly [number, number];
  readonly length: number;
  /** Of every version of an object. */
  readonly objectBytes: number;
}

export interface RoundRobinOptions {
  readonly origin: S3Emulator;
  readonly bucket: string;
  readonly objects: number;
  readonly pair: RangePair;
  /** `http://host:port` of all members, which are asked in turn, as a Service asks them. */
  readonly members: readonly string[];
  /** Clients with near caches, which are asked in turn with the members, by ranges and by streams. Absent: none. */
  readonly nearClients?: readonly Pick<CacheClient, "readRange" | "stream">[] | undefined;
  readonly seed: number;
}

/** What the readers found. Everything but the first two must be 0. */
export interface RoundRobinReport {
  pairs: number;
  /** Overwrites that readers saw, others were replaced before. */
  changesSeen: number;
  /** Pairs of ranges of two versions, begun after the newer one had been received by anyone, without an overwrite meanwhile. */
  mixedPairs: number;
  /** Answers of an older version than anyone had received before their request was sent. */
  wentBack: number;
  /** Answers that are not one version's bytes, one line each. */
  wrong: string[];
}

interface ReadObject {
  readonly key: string;
  /** Versions in order. */
  readonly versions: { readonly etag: string; readonly seed: number }[];
  /** Number of the newest version that anyone has received. */
  newest: number;
}

const PERIOD = 251;

/** Objects that are overwritten while they are read through all members in turn, and what the answers say. */
export class RoundRobinReaders {
  readonly #options: RoundRobinOptions;
  readonly #chance: Chance;
  readonly #objects: ReadObject[];
  #nextSource = 0;
  readonly report: RoundRobinReport = { pairs: 0, changesSeen: 0, mixedPairs: 0, wentBack: 0, wrong: [] };

  constructor(options: RoundRobinOptions) {
    this.#options = options;
    this.#chance = new Chance(options.seed);
    this.#objects = Array.from({ length: options.objects }, (_, index) => ({ key: `object-${index}`, versions: [], newest: 0 }));
    for (let index = 0; index < options.objects; index++) this.overwrite(index);
  }

  /** Whether readers have received the current version of every object. */
  get areCurrent(): boolean {
    return this.#objects.every(({ versions, newest }) => newest === versions.length - 1);
  }

  /** Overwrites an object, by default any. */
  overwrite(index = this.#chance.below(this.#objects.length)): void {
    const { origin, bucket, pair } = this.#options;
    const { key, versions } = this.#objects[index]!;
    const seed = (versions.length * 7) % PERIOD;
    versions.push({ etag: origin.putRamp(bucket, key, pair.objectBytes, seed), seed });
  }

  /** Reads both ranges of an object, one after the other. */
  async readPair(index: number): Promise<void> {
    const object = this.#objects[index]!;
    const { offsets } = this.#options.pair;
    const [newestBefore, versionsBefore] = [object.newest, object.versions.length];
    const found: (number | undefined)[] = [];
    for (const offset of offsets) found.push(await this.#readRange(object, offset));
    const [first, second] = found;
    this.report.pairs++;
    const isUndisturbed = newestBefore === versionsBefore - 1 && object.versions.length === versionsBefore;
    const isAnswered = first !== undefined && second !== undefined;
    if (isAnswered && isUndisturbed && first !== second) this.report.mixedPairs++;
  }

  /** The number of the version that answers. */
  async #readRange(object: ReadObject, offset: number): Promise<number | undefined> {
    const { members, nearClients = [] } = this.#options;
    const source = this.#nextSource++ % (members.length + nearClients.length);
    const { newest } = object;
    const member = members[source];
    const number =
      member === undefined
        ? await this.#askNear(source - members.length, object, offset)
        : await this.#askMember(member, object, offset);
    if (number === undefined) return undefined;
    if (number < newest) this.report.wentBack++;
    if (number > object.newest) {
      object.newest = number;
      this.report.changesSeen++;
    }
    return number;
  }

  async #askMember(member: string, object: ReadObject, offset: number): Promise<number | undefined> {
    const { bucket, pair } = this.#options;
    const range = `bytes=${offset}-${offset + pair.length - 1}`;
    const answer = await fetch(`${member}/s3/${bucket}/${object.key}`, { headers: { range } });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const etag = answer.headers.get("etag")?.replaceAll('"', "");
    const number = object.versions.findLastIndex((version) => version.etag === etag);
    const where = `${object.key} at ${offset} by ${member}: ${answer.status}`;
    if (number < 0) {
      this.report.wrong.push(`${where} with ETag ${etag}: ${bytes.subarray(0, 200).toString("latin1")}`);
      return undefined;
    }
    const expected = rampBytes(offset, pair.length, object.versions[number]!.seed);
    if (answer.status !== 206 || !bytes.equals(expected)) this.report.wrong.push(`${where}: wrong bytes of version ${number}`);
    return number;
  }

  /** The client does not say which version it returns: the bytes do. */
  async #askNear(at: number, object: ReadObject, offset: number): Promise<number | undefined> {
    const { bucket, pair, nearClients = [] } = this.#options;
    const client = nearClients[at]!;
    const url = `s3://${bucket}/${object.key}`;
    const isStreamed = this.#nextSource % 2 === 0;
    const where = `${object.key} at ${offset} by near client ${at}${isStreamed ? ", streamed" : ""}`;
    try {
      const bytes = isStreamed
        ? Buffer.concat(await client.stream(url, offset, pair.length).toArray())
        : await client.readRange(url, offset, pair.length);
      const number = object.versions.findLastIndex(({ seed }) => bytes.equals(rampBytes(offset, pair.length, seed)));
      if (number >= 0) return number;
      this.report.wrong.push(`${where}: the bytes of no version`);
    } catch (error) {
      this.report.wrong.push(`${where}: ${(error as Error).message}`);
    }
    return undefined;
  }
}
