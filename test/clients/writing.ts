import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  GetObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
} from "@aws-sdk/client-s3";
import type { MemberProcess } from "../e2e/member-process.js";
import { rampBytes } from "../emulators/s3.js";
import type { Client } from "./clients.js";
import type { Exercise } from "./exercise.js";
import { WRITABLE_BUCKET } from "./objects.js";
import type { Stage } from "./stage.js";

/** The files that each client writes: an empty one, odd names, many small ones, and one in several parts. */
const FILES: ReadonlyMap<string, Buffer> = new Map([
  ["empty", Buffer.alloc(0)],
  ["dir/large.bin", rampBytes(0, (11 << 20) + 3, 7)],
  ["odd/a b+c&d=e'(f)#g.txt", Buffer.from("odd")],
  ["odd/é 日本.txt", Buffer.from("unicode")],
  ...Array.from({ length: 12 }, (_, at): [string, Buffer] => [`many/${at}.txt`, Buffer.from(`file ${at}`)]),
]);

/** Objects that exist before, and are deleted. */
const DELETED = Array.from({ length: 8 }, (_, at) => `old/${at}`);

const DELETED_AND_FILES = [...DELETED, ...FILES.keys()];

/** Writes the files into a folder. */
export function writeFiles(folder: string): void {
  for (const [name, bytes] of FILES) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
}

/**
 * A client writes through one member, if it writes at all and others could have cached older versions. All members must return at once
 * what it wrote. `folder`: with the files.
 */
export function writingOf({ writes: script, store }: Client, { members }: Stage, folder: string): Exercise[] {
  if (script === undefined || members.length === 1) return [];
  const perform: Exercise["perform"] = async (run) => {
    using bucket = new WrittenBucket(members, store, script.split(".")[0]!);
    await bucket.prepare();
    const { problem } = await run({ script, environment: bucket.environmentOf(folder) });
    return problem ?? bucket.difference();
  };
  return [{ name: "writes", perform }];
}

/** The members of a cluster, as a client of S3 sees them. */
class WrittenBucket implements Disposable {
  readonly #clients: readonly S3Client[];
  readonly #prefix: string;

  /** `prefix` begins the keys of one writer. */
  constructor(members: readonly MemberProcess[], store: Client["store"], prefix: string) {
    const credentials = { accessKeyId: "any", secretAccessKey: "any-secret" };
    const options = { forcePathStyle: true, region: "us-east-1", credentials };
    this.#prefix = prefix;
    this.#clients = members.map(
      ({ http, s3 }) => new S3Client({ ...options, endpoint: store === "gcs" ? `http://${http}/gs` : `http://${s3}` }),
    );
  }

  /** What the writer has to know. */
  environmentOf(folder: string): Readonly<Record<string, string>> {
    return {
      SOURCE: folder,
      BUCKET: WRITABLE_BUCKET,
      PREFIX: this.#prefix,
      FILES: JSON.stringify([...FILES.keys()]),
      DELETED: JSON.stringify(DELETED.map((name) => `${this.#prefix}/${name}`)),
    };
  }

  /** Every member caches an older version of each object. */
  async prepare(): Promise<void> {
    for (const name of DELETED_AND_FILES) {
      await this.#clients[0]!.send(new PutObjectCommand({ ...this.#named(name), Body: `an older version of ${name}` }));
    }
    for (const client of this.#clients) for (const name of DELETED_AND_FILES) await this.#read(client, name);
  }

  /** What the members return otherwise than it was written. Undefined: nothing. */
  async difference(): Promise<string | undefined> {
    const listed: string[] = [];
    for (let token: string | undefined; ; ) {
      const page: ListObjectsV2CommandOutput = await this.#clients[0]!.send(
        new ListObjectsV2Command({ Bucket: WRITABLE_BUCKET, Prefix: `${this.#prefix}/`, ContinuationToken: token }),
      );
      const names = (page.Contents ?? []).map(({ Key }) => Key!.slice(this.#prefix.length + 1));
      // Arrow leaves an empty object in place of a folder.
      listed.push(...names.filter((name) => name !== "" && !name.endsWith("/")));
      token = page.NextContinuationToken;
      if (token === undefined) break;
    }
    if (JSON.stringify(listed.sort()) !== JSON.stringify([...FILES.keys()].sort())) return `it leaves ${JSON.stringify(listed)}`;
    for (const client of this.#clients) {
      for (const [name, bytes] of FILES) {
        if ((await this.#read(client, name))?.equals(bytes) !== true) return `${JSON.stringify(name)} is not what it wrote`;
      }
      for (const name of DELETED) if ((await this.#read(client, name)) !== undefined) return `${name} is not deleted`;
    }
    return undefined;
  }

  async #read(client: S3Client, name: string): Promise<Buffer | undefined> {
    try {
      const { Body } = await client.send(new GetObjectCommand(this.#named(name)));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined;
      throw error;
    }
  }

  #named(name: string): { Bucket: string; Key: string } {
    return { Bucket: WRITABLE_BUCKET, Key: `${this.#prefix}/${name}` };
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.destroy();
  }
}
