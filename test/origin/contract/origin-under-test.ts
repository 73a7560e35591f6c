import { type ErrorCode, type ObjectRef, parseObjectUrl } from "@frontcache/proto";
import { eventually } from "@frontcache/proto/testing";
import { expect } from "vitest";
import type { Origin, OriginAnswer } from "../../../server/src/origin/origin.js";
import { live, rangeOf } from "../../../server/src/testing/origin/requests.js";
import type { Faults } from "../../emulators/faults.js";
import type { Traffic } from "../../emulators/traffic.js";

export const MiB = 1 << 20;

/** What the contract needs of an emulator; both of them have it. */
export interface ContractStore {
  /** Both return the version as an origin names it. */
  put(bucket: string, key: string, body: string, options?: { contentType?: string }): string;
  putRamp(bucket: string, key: string, size: number, seed?: number): string;
  delete(bucket: string, key: string): void;
  readonly faults: Faults;
  readonly traffic: Traffic;
  readonly openSockets: number;
  close(): Promise<void>;
}

/** A store with the origin under test in front of it. */
export interface ContractSubject {
  readonly scheme: "s3" | "gs";
  readonly store: ContractStore;
  /** Waits long for bytes: what ends early in the tests ends for another reason. */
  readonly origin: Origin;
  /** The same with an idle time-out of a tenth of a second or so. */
  readonly impatient: Origin;
  /** Bound of the connections of each. */
  readonly maxConnections: number;
}

/** An error of the store's own with what it means. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly fetch: ErrorCode;
  /** Default: as for fetch. */
  readonly stat?: ErrorCode;
}

/** Passes where the call rejects with a CacheError of that code, whose message is one line without secrets. */
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

/** The subject of one run of the contract, which is there as soon as the tests run, not when they are declared. */
export class OriginUnderTest {
  #subject: ContractSubject | undefined;

  constructor(private readonly start: () => Promise<ContractSubject>) {}

  /** The bucket `bucket` has the object `ramp`: 10 MiB + 7 bytes, of seed 3. */
  async open(): Promise<void> {
    this.#subject = await this.start();
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

  get impatient(): Origin {
    return this.#subject!.impatient;
  }

  get maxConnections(): number {
    return this.#subject!.maxConnections;
  }

  ref(key: string, bucket = "bucket"): ObjectRef {
    return parseObjectUrl(`${this.scheme}://${bucket}/${key}`);
  }

  /** Asks for a range of an object of the bucket `bucket`. */
  fetch(key: string, offset: number, length: number, version?: string, signal: AbortSignal = live): Promise<OriginAnswer> {
    return this.origin.fetch(rangeOf(this.ref(key), { offset, length, ...(version !== undefined && { version }) }, signal));
  }

  /** Takes faults away, and waits until no request is under way. */
  async rest(): Promise<void> {
    this.store.faults.clear();
    await eventually(() => expect(this.store.traffic.open).toBe(0));
    expect(this.store.openSockets).toBeLessThanOrEqual(2 * this.maxConnections);
  }

  async close(): Promise<void> {
    this.origin.close();
    this.impatient.close();
    await eventually(() => expect(this.store.openSockets).toBe(0));
    await this.store.close();
  }
}
