import { type ErrorCode, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import type { Origin, OriginAnswer } from "@frontcache/server";
import { live, rangeOf } from "@frontcache/server/testing";
import { expect } from "vitest";
import type { Faults } from "../../emulators/faults.js";
import type { Traffic } from "../../emulators/traffic.js";

export const MiB = 1 << 20;

/** The part of an emulator that the contract uses. */
export interface ContractStore {
  /** Both return the version as an origin reports it. */
  put(bucket: string, key: string, body: string, options?: { contentType?: string }): string;
  putRamp(bucket: string, key: string, size: number, seed?: number): string;
  delete(bucket: string, key: string): void;
  readonly faults: Faults;
  readonly traffic: Traffic;
  readonly openSockets: number;
  close(): Promise<void>;
}

/** A store with the origin under test. */
export interface ContractSubject {
  readonly scheme: "s3" | "gs";
  readonly store: ContractStore;
  /** Has long timeouts: a request that ends early in a test ends for another reason. */
  readonly origin: Origin;
  /** The same with an idle timeout of about a tenth of a second. */
  readonly shortTimeout: Origin;
  /** The bound of connections of each of them. */
  readonly maxConnections: number;
}

/** An error of the store with its meaning. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly fetch: ErrorCode;
  /** Default: as for fetch. */
  readonly stat?: ErrorCode;
}

/** Passes if the call rejects with a CacheError of that code, whose message is one line without secrets. */
export async function fails(code: ErrorCode, act: () => Promise<unknown>): Promise<void> {
  const error = await act().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({
    name: "CacheError",
    code,
    message: expect.not.stringMatching(/\n|AWSAccessKeyId|Signature=/),
  });
}

/** The subject of one run of the contract. It exists when the tests run, not when they are declared. */
export class OriginUnderTest {
  #subject: ContractSubject | undefined;

  readonly #start: () => Promise<ContractSubject>;

  constructor(start: () => Promise<ContractSubject>) {
    this.#start = start;
  }

  /** The bucket `bucket` has the object `ramp`: 10 MiB + 7 bytes with seed 3. */
  async open(): Promise<void> {
    this.#subject = await this.#start();
    this.store.putRamp("bucket", "ramp", 10 * MiB + 7, 3);
  }

  get scheme(): "s3" | "gs" {
    return this.#subject!.scheme;
  }

  get store(): ContractStore {
    return this.#subject!.store;
  }

  get origin(): Origin {
    return this.#subject!.origin;
  }

  get shortTimeout(): Origin {
    return this.#subject!.shortTimeout;
  }

  get maxConnections(): number {
    return this.#subject!.maxConnections;
  }

  ref(key: string, bucket = "bucket"): ObjectRef {
    return parseObjectUrl(`${this.scheme}://${bucket}/${key}`);
  }

  /** Requests a range of an object of the bucket `bucket`. */
  fetch(key: string, offset: number, length: number, version?: string, signal: AbortSignal = live): Promise<OriginAnswer> {
    return this.origin.fetch(rangeOf(this.ref(key), { offset, length, ...(version !== undefined && { version }) }, signal));
  }

  /** Removes faults, and waits until no request is running. */
  async rest(): Promise<void> {
    this.store.faults.clear();
    await eventually(() => expect(this.store.traffic.open).toBe(0));
    expect(this.store.openSockets).toBeLessThanOrEqual(2 * this.maxConnections);
  }

  async close(): Promise<void> {
    this.origin.close();
    this.shortTimeout.close();
    await eventually(() => expect(this.store.openSockets).toBe(0));
    await this.store.close();
  }
}
