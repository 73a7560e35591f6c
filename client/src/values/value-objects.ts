import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { CacheError, socketPathOf, type ValueEvent, type ValueInfo } from "@frontcache/proto";
import type { OpenedMonitor } from "../members/value-transport.js";
import type { CallOptions } from "../options.js";
import type { PutBody } from "../writing/put-source.js";
import { askValues, orUndefined, type ValueCall } from "./ask-values.js";
import { ElCacheValues, type FoundValue } from "./elcache-values.js";
import type { ValueOptions } from "./stored-values.js";
import { ValueLock } from "./value-lock.js";
import type { ValueWriter } from "./value-writer.js";

/**
 * The values of one bucket: objects without an origin, written once and read everywhere, with a time to live. Create it with
 * `CacheClient.objects`. The calls of memcache-filestore are those of StoredValues, ElCacheValues adds those of ElCache's SDK, and this
 * class those of filezcache (docs/values.md).
 */
export class ValueObjects extends ElCacheValues {
  /** As in filezcache: stores a value, and refuses while another client writes the key (ValueConflict `already_started`). */
  async insert(key: string, body: PutBody, options: ValueOptions = {}): Promise<ValueInfo> {
    return await this.put(key, body, { ...options, whileWritten: "refuse" });
  }

  /** Stores the bytes of a local file, as `insert` does. */
  async insertFile(key: string, path: string, options: ValueOptions = {}): Promise<ValueInfo> {
    return await this.insert(key, { file: path }, options);
  }

  /** Opens a writer that only its owner appends to, or runs `feed` with it. The value is dropped if the writer ends early. */
  insertStream(key: string, size?: number, options: ValueOptions = {}): ValueWriter {
    return this.writeStream(key, size, { ...options, whileWritten: "refuse" });
  }

  async appendStream(writer: ValueWriter, bytes: Uint8Array | string): Promise<void> {
    await writer.write(bytes);
  }

  async finishStream(writer: ValueWriter): Promise<ValueInfo> {
    return await writer.finish();
  }

  /** Opens a value, complete or still being written, with its file if that is on this host; undefined: no such value. */
  async lookup(key: string, options: CallOptions = {}): Promise<FoundValue | undefined> {
    const found = await orUndefined(this.readStream(key, { ...options, follow: true }));
    const file = found && (await this.using.fileOf?.(found.info));
    if (found === undefined || file === undefined) return found;
    // Of a value that is being written, the file may have what has arrived.
    const complete = await this.metadata(key, options);
    const isComplete = complete?.version === found.info.version && complete.size === found.info.size;
    return isComplete ? { ...found, file } : found;
  }

  /** Waits until a value is complete and copies it to a local file. The file appears when it is whole. Undefined: there is no value. */
  async lookupFile(key: string, path: string, options: CallOptions = {}): Promise<ValueInfo | undefined> {
    const found = await this.lookup(key, options);
    if (found === undefined) return undefined;
    const draft = `${path}.${process.pid}.part`;
    try {
      await pipeline(found.stream, createWriteStream(draft));
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      throw CacheError.from(error);
    }
    return (await this.metadata(key, options)) ?? found.info;
  }

  /** Marks a value as used, so that others are evicted first. */
  async access(key: string, options: CallOptions = {}): Promise<void> {
    await this.get(key, { ...options, offset: 0, length: 1 }).catch((error: unknown) => {
      const { code } = CacheError.from(error);
      if (code !== "NOT_FOUND" && code !== "OUT_OF_RANGE") throw error;
    });
  }

  /** The members that keep a value, or would keep it: addresses of their gRPC listeners. */
  where(key: string): readonly string[] {
    const all = this.using.owners.addressesOf(this.urlOf(key), 0).map(({ grpcAddress }) => grpcAddress);
    // A client that stays on a Unix socket asks the member there first, whether it keeps the value or not.
    const listed = all.filter((address) => socketPathOf(address) === undefined);
    return (listed.length === 0 ? all : listed).slice(0, 2);
  }

  /** Locks a value: it is not evicted, deleted or overwritten until `release`, or until this process ends. Rejects with NOT_FOUND. */
  async lock(key: string, options: CallOptions = {}): Promise<ValueLock> {
    const url = this.urlOf(key);
    const send = async (holder: string, seconds: number): Promise<void> => {
      await this.ask(seconds === 0 ? { kind: "unlock", url, holder } : { kind: "lock", url, holder, seconds }, options);
    };
    return await ValueLock.take(send, this.using);
  }

  /** Events of the keys with a prefix, until the loop ends or the signal is aborted. */
  async *monitor(prefix = "", options: Pick<CallOptions, "signal"> = {}): AsyncGenerator<ValueEvent, void> {
    const { bucket } = this;
    const url = `cache://${bucket}`;
    let monitor: OpenedMonitor | undefined;
    let done = (): void => {};
    const over = new Promise<void>((resolve) => {
      done = resolve;
    });
    const opened = new Promise<OpenedMonitor>((resolve, reject) => {
      this.using
        .run(url, { signal: options.signal, isLong: true }, async (limits) => {
          const at: ValueCall<OpenedMonitor>["at"] = (by, address) => by.monitor(address, { bucket, prefix }, limits);
          resolve(await askValues({ url, isRepeatable: true, at }, this.using, limits));
          await over;
        })
        .catch(reject);
    });
    try {
      monitor = await opened;
      yield* monitor.events();
    } catch (error) {
      if (options.signal?.aborted !== true) throw CacheError.from(error);
    } finally {
      monitor?.destroy();
      done();
    }
  }
}
